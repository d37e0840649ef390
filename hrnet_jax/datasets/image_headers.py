"""Headers of JPEG and PNG files, and limits that are checked before decoding.

A file of a few bytes can claim 4 billion pixels, or keep a decoder busy for hours. OpenCV reads many more formats,
but data sets use only these two.
"""

import re
import struct

MAX_PIXELS = 100_000_000
"""Pixels of a photo: 300 MB decoded, in each loading thread. COCO's and MPII's photos have 2 million at most.

Decoding a progressive JPEG takes up to 600 MB more: two bytes for each colour of each pixel."""

MAX_BYTES = MAX_PIXELS  # of a photo's file: even the best JPEG takes less than a byte per pixel
MAX_SIDE = 32_766  # pixels of a photo's side, the limit of OpenCV's warpAffine
MAX_SCANS = 100  # of a progressive JPEG: encoders write about 10

_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)", re.DOTALL)  # the header comes first: width, height
_JPEG = b"\xff\xd8"
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame: holds the size
_SEQUENTIAL = {0xC0, 0xC1}
_SCAN = 0xDA


def size(encoded: bytes) -> tuple[int, int]:
    """Returns width and height of a JPEG or PNG file from its header.

    Raises ValueError if it is of another format, or exceeds a limit.
    """
    width, height, scans = _claims(encoded)
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limits = f"1 to {MAX_SIDE:,} pixels a side are accepted, {MAX_PIXELS:,} in all"
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
    raise ValueError("not a JPEG or PNG file: save it as one")


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
