import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from hrnet_jax.datasets import odd_photos, photo_stores


def marked(mark, suffix="JPEG", size=(40, 30)) -> bytes:
    image = Image.new("RGB", size)
    exif = image.getexif()
    exif[0x0110], exif[odd_photos.MARK] = "a camera", mark
    file = io.BytesIO()
    image.save(file, suffix, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
@pytest.mark.parametrize("mark", range(1, 9))
def test_the_mark_of_a_camera_is_read(suffix, mark):
    assert odd_photos.orientation(marked(mark, suffix)) == mark


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_mark_of_32_bits_behind_the_pixels_is_read(order):
    mark = struct.pack(f"{order}HIHHHII", 42, 8, 1, odd_photos.MARK, 4, 1, 6)
    exif = b"eXIf" + {"<": b"II", ">": b"MM"}[order] + mark
    plain = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8))[1].tobytes()
    assert len(plain) > 2**18 and odd_photos.orientation(plain) == odd_photos.UPRIGHT
    assert odd_photos.orientation(plain + exif) == 6


def test_photos_without_or_with_a_damaged_mark_are_upright():
    plain = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert odd_photos.orientation(plain) == odd_photos.UPRIGHT
    encoded = marked(6)
    for end in range(20, 90):
        assert odd_photos.orientation(encoded[:end]) in (1, 6)


def test_a_quarter_turn_is_named_as_the_cause(tmp_path):
    (tmp_path / "a.jpg").write_bytes(marked(6))
    store = photo_stores.Folder(tmp_path, tmp_path)
    _, _, problem, found = photo_stores.read_checked(store, photo_stores.Photo(1, "a.jpg", 30, 40))
    assert problem.startswith("40x30, but 30x40 in the annotations, as its camera's orientation mark turns it")
    assert found == photo_stores.Photo(1, "a.jpg", 30, 40, mark=6, is_as_shown=True)


@pytest.mark.parametrize("sizes", [(40, 30), (0, 0)])
def test_a_photo_has_the_mark_of_its_file(tmp_path, sizes):
    (tmp_path / "a.jpg").write_bytes(marked(6))
    store = photo_stores.Folder(tmp_path, tmp_path)
    found = photo_stores.read_checked(store, photo_stores.Photo(1, "a.jpg", *sizes))
    assert found.problem == "" and found.photo == photo_stores.Photo(1, "a.jpg", 40, 30, mark=6)


def png(pixels) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_few_bits_in_sixteen_are_dark():
    rng = np.random.default_rng(0)
    assert odd_photos.kind(png(rng.integers(0, 2**12, (30, 40, 3), np.uint16))) == odd_photos.DARK
    assert odd_photos.kind(png(rng.integers(0, 2**16, (30, 40, 3), np.uint16))) == ""
    assert odd_photos.kind(png(np.zeros((30, 40, 3), np.uint8))) == ""


def test_hidden_pixels_are_odd():
    pixels = np.full((30, 40, 4), 255, np.uint8)
    assert odd_photos.kind(png(pixels)) == ""
    pixels[:5, :, 3] = 0
    assert odd_photos.kind(png(pixels)) == odd_photos.TRANSPARENT
