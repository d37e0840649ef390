"""What a file is by its first bytes, for messages about files that are not what their names say."""

import re

HEAD = 512  # bytes that tell

_ARCHIVES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR"}
_TAR, _TAR_AT = b"ustar", 257
_FORMATS = {
    rb"RIFF....WEBP": "a WebP file",
    rb"....ftyp(hei|hev|mif1|msf1)": "a HEIC file",
    rb"....ftypavif": "an AVIF file",
    rb"....ftyp": "a video",
    rb"GIF8": "a GIF file",
    rb"BM....\0\0\0\0": "a BMP file",
    rb"II\*\0|MM\0\*": "a TIFF file",
    rb"\xff\xd8\xff": "a JPEG file",
    rb"\x89PNG\r\n": "a PNG file",
    rb"%PDF": "a PDF file",
    rb"\x89HDF\r\n": "an HDF5 file",
}
_OTHERS = {
    rb"$": ("empty", "copy or download it again"),
    rb"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    rb"\s*<(!doctype html|html)": (
        "a web page",
        "download the file itself, in a browser if the page asks something",
    ),
    rb"\0\x05\x16\x07": ("macOS's notes on another file", "give the file whose name lacks the `._`"),
}


def instead(head: bytes, remedy: str) -> str:
    """Returns what a file with this beginning is, and the way out: ``"a WebP file: save it as JPEG"``.

    `remedy` is for whole files of another format. Returns "" if the kind of file is unknown.
    """
    for pattern, (what, way_out) in _OTHERS.items():
        if re.match(pattern, head, re.IGNORECASE):
            return f"{what}: {way_out}"
    packed = next((name for start, name in _ARCHIVES.items() if head.startswith(start)), "")
    if packed := "tar" if head.startswith(_TAR, _TAR_AT) else packed:
        return f"packed by {packed}: unpack it"
    found = next((what for pattern, what in _FORMATS.items() if re.match(pattern, head, re.DOTALL)), "")
    return f"{found}: {remedy}" if found else ""
