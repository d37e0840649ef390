"""Photos that look different in a browser: orientation marks, 16-bit and transparent PNG files."""

import re
import struct

import cv2
import numpy as np

DARK, TRANSPARENT = "photos_dark", "photos_transparent"
TURNED = "photos_turned"  # kind of findings in photos with a mark
UPRIGHT = 1  # EXIF's mark of photos that are shown as stored; 5 to 8 also exchange width and height
QUARTER_TURN = 5  # and above
MARK = 0x0112  # of EXIF's tags
MAX_DARK = 64  # of 255, the brightest pixel: 10 or 12 bits in 16 give 3 or 15
MIN_HIDDEN = 0.001  # of the pixels

_EXIF = re.compile(rb"Exif\0\0(II\*\0|MM\0\*)|eXIf(II\*\0|MM\0\*)")
_PNG = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR.{8}(.)(.)", re.DOTALL)  # bits of a channel, kind of colours
_HEAD = 2**18  # bytes of a JPEG file searched for the mark: it comes before the pixels, but not in PNG
_LONG = 4  # TIFF's type of numbers of 32 bits; marks have 16
_ALPHA = 4  # bit of PNG's kinds of colours


def orientation(encoded: bytes) -> int:
    """Returns the camera's orientation mark in a JPEG or PNG file, 1 (upright) to 8, as EXIF defines them."""
    found = _EXIF.search(encoded, 0, len(encoded) if _PNG.match(encoded) else _HEAD)
    if found is None:
        return UPRIGHT
    start = found.start(1) if found[1] else found.start(2)
    tiff = encoded[start : start + _HEAD]
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        places = (first + 2 + 12 * row for row in range(count))
        at = next((place for place in places if struct.unpack_from(f"{order}H", tiff, place) == (MARK,)), None)
        if at is None:
            return UPRIGHT
        (kind,) = struct.unpack_from(f"{order}H", tiff, at + 2)
        (mark,) = struct.unpack_from(f"{order}{'I' if kind == _LONG else 'H'}", tiff, at + 8)
    except struct.error:
        return UPRIGHT
    return mark if UPRIGHT <= mark <= 8 else UPRIGHT


def kind(encoded: bytes) -> str:
    """Returns what is odd about a whole photo but for its mark, `DARK` or `TRANSPARENT`, or ""."""
    header = _PNG.match(encoded)
    if header and header[1] == b"\x10" and _decoded(encoded, cv2.IMREAD_COLOR).max() < MAX_DARK:
        return DARK
    if header and (header[2][0] & _ALPHA or b"tRNS" in encoded[:_HEAD]):
        pixels = _decoded(encoded, cv2.IMREAD_UNCHANGED)
        if pixels.ndim == 3 and pixels.shape[2] == 4 and np.mean(pixels[..., 3] == 0) > MIN_HIDDEN:
            return TRANSPARENT
    return ""


def _decoded(encoded: bytes, flags: int) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.zeros((1, 1)) if pixels is None else pixels
