"""Photos of a prepared split: records, and decoding of JPEG and PNG files within limits.

A file of a few bytes can claim 4 billion pixels, or keep a decoder busy for hours. The header is therefore checked
first. OpenCV reads many more formats, but data sets use only these two.
"""

import functools
import os
import pathlib
import re
import struct
from collections.abc import Sequence
from typing import Any

import cv2
import grain
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.shard_utils import FileInstruction

from hrnet_jax import file_kinds, validation

SPLIT = "photos"  # the only TFDS split of a directory of records
AS_ENCODED = {"image": tfds.decode.SkipDecoding()}
DECODE_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

MAX_PIXELS = 100_000_000
"""Pixels of a photo: 300 MB decoded, in each loading thread. COCO's and MPII's photos have 2 million at most.

Decoding a progressive JPEG takes up to 600 MB more: two bytes for each colour of each pixel."""

MAX_BYTES = MAX_PIXELS  # of a photo's file: even the best JPEG takes less than a byte per pixel
MAX_SIDE = 32_766  # pixels of a photo's side, the limit of OpenCV's warpAffine
MAX_SCANS = 100  # of a progressive JPEG: encoders write about 10

LINK = "a link"  # in the problem of a photo that is one
_LINK_TEXT = re.compile(rb"[^\0\r\n]+\.(jpe?g|png)\s*", re.IGNORECASE)  # Git on Windows, and zip files, keep it
_SHORT = 1024  # bytes: a path is shorter
_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)", re.DOTALL)  # the header comes first: width, height
_JPEG = b"\xff\xd8"
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame: holds the size
_SEQUENTIAL = {0xC0, 0xC1}
_SCAN = 0xDA


@functools.cache
def features() -> tfds.features.FeaturesDict:
    """Returns the fields of a record."""
    return tfds.features.FeaturesDict(
        {
            "photo_id": np.int64,
            "file_name": tfds.features.Text(),
            "width": np.int32,
            "height": np.int32,
            "image": tfds.features.Image(shape=(None, None, 3)),
        }
    )


class Records(Sequence[dict]):
    """Random access to the records that `write` made. Picklable.

    An element is ``{"photo_id", "file_name" (bytes), "width", "height", "image" (encoded bytes)}``. Reading it
    raises ValueError if the file is damaged, which ArrayRecord detects by checksums.
    """

    def __init__(self, shards: Sequence[FileInstruction]):
        self._shards = shards
        self._encoded: Any = grain.sources.ArrayRecordDataSource(shards)  # pyright: ignore[reportArgumentType]

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(row)
        try:
            return features().deserialize_example_np(self._encoded[row], decoders=AS_ENCODED)
        except Exception as error:  # ArrayRecord and protobuf raise several kinds
            what = f"record {row} of {self._file(row)} cannot be read ({validation.one_line(error)})"
            raise ValueError(f"{what}: prepare the split again, with --force") from error

    def _file(self, row: int) -> str:
        ends = np.cumsum([shard.take for shard in self._shards])
        return self._shards[int(np.searchsorted(ends, row, "right"))].filename


def read(directory: pathlib.Path) -> Records:
    """Opens the records of a prepared split.

    Only the numbers of records are read from TFDS's metadata. The rest names modules, which TFDS would import, and
    files anywhere on the disk. Raises FileNotFoundError if a file of records is missing, and ValueError if the
    metadata is damaged.
    """
    path = directory / "photos" / "1.0.0" / "dataset_info.json"
    try:
        (split,) = validation.require(validation.read_json(path), "splits", list, "it")
        lengths = [int(length) for length in validation.names(split["shardLengths"], "`shardLengths`")]
        if not lengths or min(lengths) < 0 or not sum(lengths) < validation.INT64_LIMIT:
            raise ValueError(f"`shardLengths` (={validation.short_repr(lengths)}) must be numbers of records")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): prepare the split again, with --force") from error
    shards = []
    for number, length in enumerate(lengths):
        file = path.with_name(f"photos-{SPLIT}.array_record-{number:05d}-of-{len(lengths):05d}")
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: prepare the split again, with --force")
        shards.append(FileInstruction(os.fspath(file), skip=0, take=length, examples_in_shard=length))
    return Records(shards)


def decode(encoded: bytes, *, photo_id: int) -> np.ndarray:
    """Decodes a JPEG or PNG file to [height, width, 3] uint8, RGB.

    The EXIF orientation is ignored as in the original: annotations refer to the pixels as stored. Raises
    ValueError with the photo's id if it is of another format, too large (see `size`), or incomplete.
    """
    try:
        return decode_unnamed(encoded)
    except ValueError as error:
        problem = f"photo {photo_id} ({len(encoded)} bytes) cannot be decoded ({error})"
        raise ValueError(f"{problem}: replace or remove it; prepare the data again with --force") from error


def decode_unnamed(encoded: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes; the errors do not name the photo."""
    header_size = size(encoded, max_pixels)
    try:
        photo = cv2.imdecode(np.frombuffer(encoded, np.uint8), DECODE_FLAGS)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode it: {validation.one_line(error)}") from error
    if photo is None or photo.shape[1::-1] != header_size:
        raise ValueError("not a complete image")
    return photo


def size(encoded: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Returns width and height of a JPEG or PNG file from its header.

    Raises ValueError if it is of another format, or exceeds a limit.
    """
    width, height, scans = _claims(encoded)
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > max_pixels:
        limits = f"1 to {MAX_SIDE:,} pixels a side are accepted, {max_pixels:,} in all"
        raise ValueError(f"{width}x{height}, but {limits}: make it smaller")
    if len(encoded) > MAX_BYTES or scans > MAX_SCANS:
        limits = f"up to {MAX_BYTES:,} and {MAX_SCANS} are accepted"
        raise ValueError(f"{len(encoded):,} bytes, {scans:,} scans, but {limits}: save it again")
    return width, height


def _claims(encoded: bytes) -> tuple[int, int, int]:
    """Returns width, height and the number of scans."""
    if encoded.startswith(_JPEG):
        return _jpeg_claims(encoded)
    if found := _PNG.match(encoded):
        return int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big"), 1
    raise ValueError(f"not a JPEG or PNG file{_instead(encoded)}")


def _instead(encoded: bytes) -> str:
    """Returns what a file is that is no photo, and the way out."""
    if len(encoded) < _SHORT and _LINK_TEXT.fullmatch(encoded):
        return (
            f", but the text of {LINK} to {encoded.decode(errors='replace').strip()}: put the photo itself there"
        )
    found = file_kinds.instead(encoded[: file_kinds.HEAD], "save it as one")
    return f", but {found}" if found else ": save it as one"


def _jpeg_claims(encoded: bytes) -> tuple[int, int, int]:
    """Reads the markers up to the first scan, as libjpeg does."""
    frame, at = None, len(_JPEG)
    while found := _MARKER.search(encoded, at):
        kind, at = found[1][0], found.end()
        rest = encoded[at : at + 8]
        if kind in _FRAMES and len(rest) == 8:
            frame = (kind, *struct.unpack_from(">HHB", rest, 3))
        elif kind == _SCAN and frame and len(rest) == 8:
            kind, height, width, colors = frame
            is_only = kind in _SEQUENTIAL and rest[2] == colors
            return width, height, 1 if is_only else encoded.count(bytes([0xFF, _SCAN]))
        if kind not in _BARE:
            at += int.from_bytes(rest[:2], "big")
    raise ValueError("not a complete image")
