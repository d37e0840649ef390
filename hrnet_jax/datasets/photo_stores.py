"""Where photos lie: folders, or zip files as COCO ships them; and whether a photo is what it should be."""

import dataclasses
import os
import pathlib
import zipfile
from typing import Protocol

import cv2
import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import image_headers

DECODE_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


@dataclasses.dataclass(frozen=True)
class Photo:
    """What an annotation file says of a photo: its id, file name, width and height (0 if it does not say)."""

    id: int
    file_name: str
    width: int = 0
    height: int = 0


class Place(Protocol):
    """Where photos lie."""

    path: pathlib.Path

    def size(self, file_name: str) -> int:
        """Returns the encoded photo's bytes, 0 if it is missing."""
        ...

    def read(self, file_name: str) -> bytes:
        """Returns the encoded photo. Raises FileNotFoundError if it is missing, OSError if it cannot be read."""
        ...


class Folder:
    """Photos in a folder, which no photo's path may leave; the folder itself may be a link."""

    def __init__(self, path: pathlib.Path, root: pathlib.Path):
        self.path = path
        self._inside = (path.resolve(), root.resolve())

    def _file(self, file_name: str) -> pathlib.Path:
        file = self.path / file_name.removeprefix(f"{self.path.name}/")
        target = pathlib.Path(os.path.realpath(file))  # unlike `resolve`, takes links in a circle
        if not any(target.is_relative_to(folder) for folder in self._inside):
            raise ValueError(f"{file} is a link to {target}, outside {self.path}: put the photo itself there")
        return file

    def size(self, file_name: str) -> int:
        """Returns the file's bytes, 0 if it is missing, or is a folder, a pipe or a device."""
        file = self._file(file_name)
        return os.path.getsize(file) if os.path.isfile(file) else 0

    def read(self, file_name: str) -> bytes:
        """Returns the file's bytes."""
        file = self._file(file_name)
        if not os.path.isfile(file):  # reading a pipe would wait for ever
            raise FileNotFoundError(file_name)
        return file.read_bytes()


class Zip:
    """Photos in a zip file as COCO ships them: ``val2017.zip`` holds ``val2017/000000000785.jpg``."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises what its parser happens to
            raise ValueError(
                f"{path} is not a whole zip file ({validation.one_line(error)}): download it again"
            ) from error
        self._entries = {self._short(entry.filename): entry for entry in self._zip.infolist()}

    def _short(self, file_name: str) -> str:
        return file_name.removeprefix(f"{self.path.stem}/")

    def size(self, file_name: str) -> int:
        """Returns the unpacked entry's bytes, 0 if it is missing."""
        entry = self._entries.get(self._short(file_name))
        return entry.file_size if entry else 0

    def read(self, file_name: str) -> bytes:
        """Returns the unpacked entry, no more than the bytes that it claims."""
        entry = self._entries.get(self._short(file_name))
        if entry is None:
            raise FileNotFoundError(file_name)
        try:
            validation.check_packing(entry)
            with self._zip.open(entry) as file:
                return file.read(entry.file_size)  # `ZipFile.read` would unpack a gigabyte before it looks
        except Exception as error:  # zipfile and what unpacks for it raise what they happen to
            raise OSError(validation.one_line(error)) from error


def locate(root: pathlib.Path, name: str) -> Place:
    """Finds the photos called `name`: root/images/NAME/, root/NAME/, root/images/NAME.zip or root/NAME.zip.

    Raises:
      FileNotFoundError: they are in none of these.
      ValueError: it is no plain name, or the zip file is damaged.
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
    """Raises ValueError unless a name, such as a split's, stands for something inside the folder it is put to."""
    if name in ("", ".", "..") or "/" in name:
        raise ValueError(f"{name!r} cannot be the name of a split or of photos: use one such as 'val2017'")


def decode(encoded: bytes, *, photo_id: int) -> np.ndarray:
    """Turns a JPEG or PNG file's bytes into a photo.

    Args:
      encoded: the file.
      photo_id: to name the photo by if it cannot be read.

    Returns:
      [height, width, 3] uint8, RGB. A camera's orientation mark is ignored, as in the original: annotations
      count pixels as stored.

    Raises:
      ValueError: it is of another format, too large, see `headers`, or not whole.
    """
    try:
        return _decode(encoded)
    except ValueError as error:
        raise ValueError(
            f"photo {photo_id} ({len(encoded)} bytes) cannot be decoded ({error}): mend or remove it, then prepare"
            " the data again with --force"
        ) from error


def _decode(encoded: bytes) -> np.ndarray:
    """As `decode`; its errors say what the photo is."""
    size = image_headers.size(encoded)
    try:
        photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), DECODE_FLAGS)
    except cv2.error as error:
        raise ValueError(f"not what OpenCV takes: {validation.one_line(error)}") from error
    if photo is None or photo.shape[1::-1] != size:
        raise ValueError("not a whole image")
    return photo


def read_checked(place: Place, photo: Photo) -> tuple[bytes, tuple[int, int], str]:
    """Reads a photo and looks whether it is what the annotations speak of.

    Returns:
      The encoded photo, its width and height, and what is wrong with it, "" if nothing is.

    Raises:
      ValueError: it is a link that leads elsewhere.
    """
    if (length := place.size(photo.file_name)) > image_headers.MAX_BYTES:
        return b"", (0, 0), f"{length:,} bytes, but up to {image_headers.MAX_BYTES:,} are taken"
    try:
        image = place.read(photo.file_name)
    except FileNotFoundError:
        return b"", (0, 0), "missing"
    except OSError as error:
        return b"", (0, 0), f"cannot be read: {error}"
    try:
        width, height = image_headers.size(image)
        if photo.width and (width, height) != (photo.width, photo.height):
            return b"", (0, 0), f"{width}x{height}, but {photo.width}x{photo.height} in the annotations"
        _decode(image)
    except ValueError as error:
        return b"", (0, 0), str(error)
    return image, (width, height), ""
