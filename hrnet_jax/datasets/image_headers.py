"""What the file of a photo says of itself, read before it is decoded: whether to decode it at all.

A few bytes can claim a photo of 4 billion pixels, or send a decoder over the same pixels for hours. Only JPEG and
PNG are decoded, of the many formats that OpenCV would take: it is what data sets are made of.
"""

import re
import struct

MAX_PIXELS = 100_000_000
"""Of a photo: 300 MB decoded, which each thread that loads may hold; COCO's and MPII's have 2 million at most.

A progressive JPEG takes up to 600 MB more while it is decoded: two bytes for each colour of each pixel."""

MAX_BYTES = MAX_PIXELS
"""Of a photo's file: a byte for each of that many pixels is more than JPEG takes at its finest."""

MAX_SIDE = 32_766
"""Of a photo, in pixels: OpenCV cuts crops out of nothing longer."""

MAX_SCANS = 100
"""Times that a progressive JPEG goes over its pixels: encoders take about 10."""

_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)", re.DOTALL)  # the header comes first: width, height
_JPEG = b"\xff\xd8"
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame: holds the size
_SEQUENTIAL = {0xC0, 0xC1}
_SCAN = 0xDA


def size(encoded: bytes) -> tuple[int, int]:
    """Returns width and height of a photo, as the file has them.

    Args:
      encoded: a JPEG or PNG file.

    Raises:
      ValueError: it is of another format, or larger than what is decoded here; says so, and the way out.
    """
    width, height, scans = _claims(encoded)
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        limits = f"1 to {MAX_SIDE:,} pixels a side are taken, {MAX_PIXELS:,} in all"
        raise ValueError(f"{width}x{height}, but {limits}: make it smaller")
    if len(encoded) > MAX_BYTES or scans > MAX_SCANS:
        limits = f"up to {MAX_BYTES:,} and {MAX_SCANS} are taken"
        raise ValueError(f"{len(encoded):,} bytes, {scans:,} scans, but {limits}: save it again")
    return width, height


def _claims(encoded: bytes) -> tuple[int, int, int]:
    """Returns width, height and how often all pixels are gone over."""
    if encoded.startswith(_JPEG):
        return _jpeg_claims(encoded)
    if found := _PNG.match(encoded):
        return int.from_bytes(found[1], "big"), int.from_bytes(found[2], "big"), 1
    raise ValueError("not a JPEG or PNG file: save it as one")


def _jpeg_claims(encoded: bytes) -> tuple[int, int, int]:
    """Goes from marker to marker as libjpeg does, up to the first scan."""
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
    raise ValueError("not a whole image")
