"""Reading of photos as people see them: turned as their EXIF mark says, in eight bits and three colours.

Data sets differ: their annotations refer to the pixels as stored, see `datasets.photos`.
"""

import io
import os
import pathlib
from collections.abc import Callable

import numpy as np
from PIL import Image, UnidentifiedImageError

from hrnet_jax import file_kinds, validation
from hrnet_jax.datasets import photos as dataset_photos

MAX_PIXELS = dataset_photos.MAX_PIXELS
MAX_BYTES = 2**30  # of a photo's file

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2"),
    *(".ppm", ".pgm", ".heic", ".heif"),
)
"""Suffixes by which a folder's photos are found. HEIC is among them to be reported, since it cannot be read."""

_ORIENTATION = 0x0112  # tag of EXIF
_BITS_PER_SAMPLE = 258  # tag of TIFF
_HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypheim")

_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda photo: photo[:, ::-1],
    3: lambda photo: photo[::-1, ::-1],
    4: lambda photo: photo[::-1],
    5: lambda photo: photo.swapaxes(0, 1),
    6: lambda photo: photo[::-1].swapaxes(0, 1),
    7: lambda photo: photo[::-1, ::-1].swapaxes(0, 1),
    8: lambda photo: photo[:, ::-1].swapaxes(0, 1),
}
"""EXIF's orientation -> the map from stored pixels to those shown. 1 is the identity."""


class PhotoError(ValueError):
    """A photo cannot be read. The message is one line that begins with its path."""


def read_photo(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, list[str]]:
    """Reads a photo of any common format but HEIC.

    Returns:
      ``[H, W, 3]`` uint8 RGB, and notes on what was changed: ``"turned as its EXIF mark says"``.

    Raises:
      PhotoError: the file is missing, no photo, incomplete, or has more than `max_pixels` pixels.
    """
    try:
        return decode(_read_bytes(pathlib.Path(path)), max_pixels)
    except Exception as error:  # each of Pillow's decoders has its own kinds of errors for damaged files
        name = os.fspath(path)
        raise PhotoError(f"{name if name.isprintable() else ascii(name)}: {_reason(error)}") from error


def _read_bytes(path: pathlib.Path) -> bytes:
    if not path.exists():
        raise ValueError("there is no such file")
    if not path.is_file():
        raise ValueError("not a file")  # reading a pipe would block
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, but up to {MAX_BYTES:,} are read")
    if not size:
        raise ValueError("the file is empty")
    return path.read_bytes()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return str(error) if isinstance(error, ValueError) else f"cannot be read ({validation.one_line(error)})"


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, list[str]]:
    """Decodes a photo; see `read_photo`. Raises one of several errors if that fails.

    Pillow reads the header and all formats but JPEG. JPEG is decoded as in training, so that the pixels are equal.
    """
    if encoded[4:12] in _HEIC:
        raise ValueError("HEIC photos cannot be read: save it as JPEG")
    with _open(encoded) as image:
        width, height = image.size
        if width * height > max_pixels or max(width, height) > dataset_photos.MAX_SIDE:
            limits = f"up to {max_pixels:,} pixels and {dataset_photos.MAX_SIDE:,} a side are read"
            raise ValueError(f"{width}x{height}, but {limits}: make it smaller")
        if image.format in ("JPEG", "MPO") and image.mode != "CMYK":
            photo, notes = dataset_photos.decode_unnamed(encoded, max_pixels), []
        else:
            photo, notes = _pixels(image)
        orientation = image.getexif().get(_ORIENTATION, 1)  # after the pixels: Pillow turns TIFF by itself
    if turn := _TURNS.get(orientation):
        photo, notes = np.ascontiguousarray(turn(photo)), [*notes, "turned as its EXIF mark says"]
    return photo, notes


def _open(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError as error:
        found = file_kinds.instead(encoded[: file_kinds.HEAD], "save it as JPEG")
        raise ValueError("not a photo of a known format" + f", but {found}" * bool(found)) from error


def _pixels(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Returns the pixels of an image as RGB, and notes on what that lost."""
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"the first of several frames ({image.format})")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range: save it with 8 bits")
    if image.mode.startswith("I"):
        return _grey_of_16_bits(image), [*notes, "16 bits reduced to 8"]
    if _is_of_16_bits(image):
        notes.append("16 bits reduced to 8")
    if image.mode == "CMYK":
        notes.append("converted from CMYK without its colour profile")
    if image.has_transparency_data:
        notes.append("transparent pixels put over white")
        image = image.convert("RGBA")
        return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[
            ..., :3
        ].copy(), notes
    return np.array(image.convert("RGB")), notes


def _is_of_16_bits(image: Image.Image) -> bool:
    """Whether Pillow reduces the colours of an image from 16 bits."""
    if image.format == "PNG":
        modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
        return any(";16" in mode for mode in modes)
    tags = getattr(image, "tag_v2", {})
    return 16 in tuple(np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 8)))


def _grey_of_16_bits(image: Image.Image) -> np.ndarray:
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() >= 2**16:
        raise ValueError("its pixels have more than 16 bits: save it with 8 bits")
    return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)


def check_array(photo: np.ndarray) -> np.ndarray:
    """Returns a photo given as an array. Raises ValueError unless it is ``[H, W, 3]`` uint8."""
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        wanted = "[height, width, 3] uint8, RGB"
        raise ValueError(f"`photo` (={photo.dtype} {list(photo.shape)}) must be {wanted}")
    if max(photo.shape) > dataset_photos.MAX_SIDE:
        shape = validation.short_repr(photo.shape)
        raise ValueError(f"`photo` (={shape}) may have up to {dataset_photos.MAX_SIDE:,} pixels a side")
    return photo
