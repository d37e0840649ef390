import gzip
import io
import re
import tarfile

import cv2
import numpy as np
import pytest

from hrnet_jax import file_kinds


def photo(suffix: str) -> bytes:
    return cv2.imencode(suffix, np.full((8, 8, 3), 90, np.uint8))[1].tobytes()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (photo(".webp"), "a WebP file: save it"),
        (photo(".bmp"), "a BMP file: save it"),
        (photo(".tiff"), "a TIFF file: save it"),
        (photo(".jpg"), "a JPEG file: save it"),
        (photo(".png"), "a PNG file: save it"),
        (b"GIF89a", "a GIF file: save it"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC file: save it"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "an AVIF file: save it"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video: save it"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file: save it"),
        (b"", "empty: copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: .*`git lfs pull`"),
        (b"\n<!DOCTYPE HTML><html>", "a web page: download the file itself"),
        (b"<html><head>", "a web page: "),
        (b"\0\x05\x16\x07\0\x02", r"macOS's notes on another file: give the file whose name lacks the `\._`"),
        (gzip.compress(b"[]", mtime=0), "packed by gzip: unpack it"),
        (tar(), "packed by tar: unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "packed by 7-Zip: unpack it"),
    ],
)
def test_a_file_is_known_by_its_first_bytes(content, what):
    assert re.fullmatch(f"{what}.*", file_kinds.instead(content[: file_kinds.HEAD], "save it"))


@pytest.mark.parametrize("content", [b"{}", b"PK\x03\x04", b"BM is text", b"hello", b"\x80\x02}q\0"])
def test_other_files_are_not_guessed(content):
    assert file_kinds.instead(content, "save it") == ""
