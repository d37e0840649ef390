"""Stores of photos: folders, or zip files as COCO ships them. Validation of photos."""

import dataclasses
import os
import pathlib
import zipfile
from typing import Protocol

from hrnet_jax import validation
from hrnet_jax.datasets import photos


@dataclasses.dataclass(frozen=True)
class Photo:
    """A photo in an annotation file: id, file name, width and height (0 if unknown)."""

    id: int
    file_name: str
    width: int = 0
    height: int = 0


class PhotoStore(Protocol):
    """A folder or zip file of photos."""

    path: pathlib.Path

    def size(self, file_name: str) -> int:
        """Returns the encoded photo's size in bytes, 0 if it is missing."""
        ...

    def read(self, file_name: str) -> bytes:
        """Returns the encoded photo. Raises FileNotFoundError if it is missing, OSError if it cannot be read."""
        ...


class Folder:
    """Photos in a folder. Links may not lead out of it, but the folder itself may be a link."""

    def __init__(self, path: pathlib.Path, root: pathlib.Path):
        self.path = path
        self._inside = (path.resolve(), root.resolve())

    def _file(self, file_name: str) -> pathlib.Path:
        file = self.path / file_name.removeprefix(f"{self.path.name}/")
        target = pathlib.Path(os.path.realpath(file))  # unlike `resolve`, accepts circular links
        if not any(target.is_relative_to(folder) for folder in self._inside):
            raise ValueError(f"{file} is a link to {target}, outside {self.path}: put the photo itself there")
        return file

    def size(self, file_name: str) -> int:
        """Returns the file's size in bytes, 0 if it is missing, a folder, a pipe or a device."""
        file = self._file(file_name)
        return os.path.getsize(file) if os.path.isfile(file) else 0

    def read(self, file_name: str) -> bytes:
        """Returns the content of the file."""
        file = self._file(file_name)
        if not os.path.isfile(file):  # reading a pipe would block
            raise FileNotFoundError(file_name)
        return file.read_bytes()


class Zip:
    """Photos in a zip file as COCO ships them: ``val2017.zip`` holds ``val2017/000000000785.jpg``."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds
            problem = f"is not a complete zip file ({validation.one_line(error)})"
            raise ValueError(f"{path} {problem}: download it again") from error
        self._entries = {self._short(entry.filename): entry for entry in self._zip.infolist()}

    def _short(self, file_name: str) -> str:
        return file_name.removeprefix(f"{self.path.stem}/")

    def size(self, file_name: str) -> int:
        """Returns the entry's unpacked size in bytes, 0 if it is missing."""
        entry = self._entries.get(self._short(file_name))
        return entry.file_size if entry else 0

    def read(self, file_name: str) -> bytes:
        """Returns the unpacked entry, cut at the size it claims."""
        entry = self._entries.get(self._short(file_name))
        if entry is None:
            raise FileNotFoundError(file_name)
        try:
            validation.check_packing(entry)
            with self._zip.open(entry) as file:
                return file.read(entry.file_size)  # `ZipFile.read` would unpack all of it
        except Exception as error:  # zipfile and zlib raise many kinds
            raise OSError(validation.one_line(error)) from error


def locate(root: pathlib.Path, name: str) -> PhotoStore:
    """Finds the store called `name`: root/images/NAME/, root/NAME/, root/images/NAME.zip or root/NAME.zip.

    Raises FileNotFoundError if there is none, and ValueError if the name is not plain, or the zip file is damaged.
    """
    check_plain(name)
    parents = (root / "images", root)
    for parent in parents:
        if (parent / name).is_dir():
            return Folder(parent / name, root)
    for parent in parents:
        if (parent / f"{name}.zip").is_file():
            return Zip(parent / f"{name}.zip")
    tried = [f"{parent}/{tail}" for tail in (f"{name}/", f"{name}.zip") for parent in parents]
    raise FileNotFoundError(f"no photos of {name}: looked for {', '.join(tried)}")


def check_plain(name: str) -> None:
    """Raises ValueError for a name that leads to another folder, such as ``..``."""
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} cannot be the name of a split or of photos: use one such as 'val2017'")


def read_checked(store: PhotoStore, photo: Photo) -> tuple[bytes, tuple[int, int], str]:
    """Reads a photo, decodes it, and compares its size with the annotations'.

    Returns the encoded photo, its width and height, and the problem with it or "". Raises ValueError if it is a
    link out of the folder.
    """
    if (length := store.size(photo.file_name)) > photos.MAX_BYTES:
        return b"", (0, 0), f"{length:,} bytes, but up to {photos.MAX_BYTES:,} are accepted"
    try:
        image = store.read(photo.file_name)
    except FileNotFoundError:
        return b"", (0, 0), "missing"
    except OSError as error:
        return b"", (0, 0), f"cannot be read: {error}"
    try:
        width, height = photos.size(image)
        if photo.width and (width, height) != (photo.width, photo.height):
            return b"", (0, 0), f"{width}x{height}, but {photo.width}x{photo.height} in the annotations"
        photos.decode_unnamed(image)
    except ValueError as error:
        return b"", (0, 0), str(error)
    return image, (width, height), ""
