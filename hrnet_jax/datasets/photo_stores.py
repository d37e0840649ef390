"""Stores of photos: folders, or zip files as COCO ships them. Validation of photos."""

import dataclasses
import functools
import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from hrnet_jax import file_kinds, validation
from hrnet_jax.datasets import file_names, odd_photos, photos

SUFFIXES = file_names.SUFFIXES
MISSING = "missing"  # begins the problem of a photo that is not there
AS_SHOWN = ", as its camera's orientation mark turns it: turn the pixels themselves (`exiftran -ai FILE`)"


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo in an annotation file: id, file name, width and height (0 if unknown).

    `source_id` is its id in the file if that is a numbered text, see `identifiers`. `crowd_index` is CrowdPose's
    measure of crowding, from 0 to 1, or None. `frame` is what `posetrack_coco` tells of a frame of a video. `mark`
    is the camera's orientation mark in its file (`odd_photos`), if that was read. `is_as_shown`: width and height
    are of the photo turned so, not as stored.
    """

    id: int
    file_name: str
    width: int = 0
    height: int = 0
    source_id: str = ""
    crowd_index: float | None = None
    frame: Mapping[str, Any] | None = None
    mark: int = odd_photos.UPRIGHT
    is_as_shown: bool = False


class Checked(NamedTuple):
    """A photo's file: encoded, width and height, the problem with it or "", and the photo as the file has it.

    The latter has the file's orientation mark, and its size if the annotations have none. Of another size than in
    the annotations, its size is unknown.
    """

    image: bytes
    size: tuple[int, int]
    problem: str
    photo: Photo


class PhotoStore(Protocol):
    """A folder or zip file of photos."""

    path: pathlib.Path

    def find(self, file_name: str) -> str:
        """Returns the name of the photo that is read under this one: the same, another, or "" for none.

        If there is no file of the name, the only one that differs in its first folders or in the suffix's case is
        taken (`file_names`).
        """
        ...

    def size(self, file_name: str) -> int:
        """Returns the encoded photo's size in bytes, 0 if it is missing."""
        ...

    def read(self, file_name: str) -> bytes:
        """Returns the encoded photo. Raises FileNotFoundError if it is missing, OSError if it cannot be read."""
        ...


class Folder:
    """Photos in a folder. Links lead out of the data set only with `follow_links`; the folder may be a link."""

    def __init__(self, path: pathlib.Path, root: pathlib.Path, follow_links: bool = False):
        self.path = path
        self._root, self._follow_links = root, follow_links
        self._inside = (path.resolve(), root.resolve())
        self._listing = functools.cache(_listing)
        self._found: dict[str, pathlib.Path | None] = {}

    def find(self, file_name: str) -> str:
        """Returns the name of the photo that is read under this one, relative to the folder, or ""."""
        file = self._locate(file_name)
        return os.path.relpath(file, self.path) if file else ""

    def _locate(self, file_name: str) -> pathlib.Path | None:
        if file_name not in self._found:
            plain = self.path / file_name
            self._found[file_name] = plain if os.path.lexists(plain) else self._other(file_name)
        return self._found[file_name]

    def _file(self, file_name: str) -> pathlib.Path | None:
        """Returns the file of a name, or None. Raises ValueError for a link out of the data set."""
        file = self._locate(file_name)
        target = pathlib.Path(os.path.realpath(file or self.path))  # unlike `resolve`, accepts circular links
        if not self._follow_links and not any(target.is_relative_to(folder) for folder in self._inside):
            way_out = "put the photo itself there (`cp -L` copies it), or allow such links with --follow-links"
            raise ValueError(f"{file} is {photos.LINK} to {target}, outside {self.path}: {way_out}")
        return file

    def _other(self, file_name: str) -> pathlib.Path | None:
        """Returns the only file that the name may mean, if no file has the name."""
        short = [*file_names.shorter(file_name, {self.path.name, self._root.name})]
        named = [self.path / name for name in (file_name, *short)]
        if "/" in file_name:  # from the data set's root
            named += [self._root / file_name, self._root / "images" / file_name]
        exact = {os.path.realpath(file): file for file in named if os.path.lexists(file)}
        similar = (
            file.with_name(name)
            for file in named
            for name in self._listing(file.parent).get(file_names.key(file.name), ())
        )
        found = exact or {os.path.realpath(file): file for file in similar}
        return next(iter(found.values())) if len(found) == 1 else None

    def size(self, file_name: str) -> int:
        """Returns the file's size in bytes, 0 if it is missing, a folder, a pipe or a device."""
        file = self._file(file_name)
        return os.path.getsize(file) if file and os.path.isfile(file) else 0

    def read(self, file_name: str) -> bytes:
        """Returns the content of the file."""
        file = self._file(file_name)
        if not file or not os.path.isfile(file):  # reading a pipe would block
            raise FileNotFoundError(file_name)
        return file.read_bytes()


def _listing(folder: pathlib.Path) -> dict[str, list[str]]:
    return file_names.by_key(os.listdir(folder) if os.path.isdir(folder) else [])


class Zip:
    """Photos in a zip file as COCO ships them: ``val2017.zip`` holds ``val2017/000000000785.jpg``.

    It may hold any folder, or none.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds
            with path.open("rb") as file:
                found = file_kinds.instead(file.read(file_kinds.HEAD), "give the folder or zip file of the photos")
            problem = f", but {found}" if found else f" ({validation.one_line(error)}): download it again"
            raise ValueError(f"{path} is not a complete zip file{problem}") from error
        files = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        self._entries = {entry.filename.replace("\\", "/"): entry for entry in files}  # as .NET writes folders
        real = [name for name in self._entries if not name.startswith("__MACOSX/")]
        self._bases = [f"{path.stem}/", "", file_names.common_folders(real)]
        self._by_key = file_names.by_key(self._entries)
        self._found: dict[str, str] = {}

    def find(self, file_name: str) -> str:
        """Returns the name of the entry that is read under this one, or ""."""
        if file_name not in self._found:
            self._found[file_name] = self._find(file_name)
        return self._found[file_name]

    def _find(self, file_name: str) -> str:
        for name in (file_name, *file_names.shorter(file_name, {self.path.stem})):
            named = [base + name for base in self._bases]
            found = next((each for each in named if each in self._entries), None)
            if found:
                return found
        keys = (file_names.key(base + file_name) for base in self._bases)
        similar = {other for key in keys for other in self._by_key.get(key, ())}
        return similar.pop() if len(similar) == 1 else ""

    def size(self, file_name: str) -> int:
        """Returns the entry's unpacked size in bytes, 0 if it is missing."""
        entry = self._entries.get(self.find(file_name))
        return entry.file_size if entry else 0

    def read(self, file_name: str) -> bytes:
        """Returns the unpacked entry, cut at the size it claims."""
        entry = self._entries.get(self.find(file_name))
        if entry is None:
            raise FileNotFoundError(file_name)
        try:
            validation.check_packing(entry)
            with self._zip.open(entry) as file:
                return file.read(entry.file_size)  # `ZipFile.read` would unpack all of it
        except Exception as error:  # zipfile and zlib raise many kinds
            raise OSError(validation.one_line(error)) from error


def locate(root: pathlib.Path, name: str, follow_links: bool = False) -> PhotoStore:
    """Finds the store called `name`: root/images/NAME/, root/NAME/, root/images/NAME.zip or root/NAME.zip.

    If there is none, it is root/images/ or root/images.zip, unless splits have folders there.

    Raises FileNotFoundError if there is none, and ValueError if the name is not plain, or the zip file is damaged.
    """
    check_plain(name)
    parents = (root / "images", root)
    images = root / "images"
    folders = [parent / name for parent in parents]
    zips = [parent / f"{name}.zip" for parent in parents]
    for path in [*folders, *zips, *[images] * has_photos(images), root / "images.zip"]:
        if path.is_dir() or (path.suffix == ".zip" and path.is_file()):
            return open_store(path, root, follow_links)
    tried = [f"{path}{'/' * (path in folders)}" for path in [*folders, *zips]]
    raise FileNotFoundError(f"no photos of {name}: looked for {', '.join(tried)}; or give them with --photos")


def has_photos(folder: pathlib.Path) -> bool:
    """Returns whether photos lie in a folder itself, not in folders below."""
    return folder.is_dir() and any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def open_store(path: pathlib.Path, root: pathlib.Path, follow_links: bool = False) -> PhotoStore:
    """Opens a folder or zip file of photos. Raises FileNotFoundError or ValueError if it is neither."""
    if path.is_dir():
        return Folder(path, root, follow_links)
    if not path.is_file():
        raise validation.missing(path)
    return Zip(path)


def check_plain(name: str) -> None:
    """Raises ValueError for a name that leads to another folder, such as ``..``."""
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} cannot be the name of a split or of photos: use one such as 'val2017'")


def _missing(store: PhotoStore, file_name: str) -> str:
    """Returns the problem with a photo that is not there, and a photo of the same name outside its folders."""
    name = pathlib.PurePosixPath(file_name).name
    other = store.find(name) if name != file_name else ""
    return MISSING + f", but there is {other}: correct `file_name`" * bool(other)


def read_size(store: PhotoStore, file_name: str) -> tuple[int, int]:
    """Returns width and height of a photo from its file, (0, 0) if it cannot be read."""
    try:
        return photos.size(store.read(file_name)) if store.size(file_name) <= photos.MAX_BYTES else (0, 0)
    except (OSError, ValueError):
        return 0, 0


def read_checked(store: PhotoStore, photo: Photo) -> Checked:
    """Reads a photo, decodes it, and compares its size with the annotations'.

    Raises ValueError if it is a link out of the folder.
    """
    if (length := store.size(photo.file_name)) > photos.MAX_BYTES:
        return Checked(b"", (0, 0), f"{length:,} bytes, but up to {photos.MAX_BYTES:,} are accepted", photo)
    try:
        image = store.read(photo.file_name)
    except FileNotFoundError:
        return Checked(b"", (0, 0), _missing(store, photo.file_name), photo)
    except OSError as error:
        return Checked(b"", (0, 0), f"cannot be read: {error}", photo)
    mark = odd_photos.orientation(image)
    try:
        width, height = photos.size(image)
        if photo.width and (width, height) != (photo.width, photo.height):
            is_as_shown = mark >= odd_photos.QUARTER_TURN and (height, width) == (photo.width, photo.height)
            found = {"mark": mark, "is_as_shown": True} if is_as_shown else {"width": 0, "height": 0}
            problem = f"{width}x{height}, but {photo.width}x{photo.height} in the annotations"
            problem += AS_SHOWN * is_as_shown
            return Checked(b"", (0, 0), problem, dataclasses.replace(photo, **found))
        photos.decode_unnamed(image)
    except ValueError as error:
        return Checked(b"", (0, 0), str(error), photo)
    found = dataclasses.replace(photo, width=width, height=height, mark=mark)
    return Checked(image, (width, height), "", found)
