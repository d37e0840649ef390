import io

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


def test_photos_without_or_with_a_damaged_mark_are_upright():
    plain = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert odd_photos.orientation(plain) == odd_photos.UPRIGHT
    encoded = marked(6)
    for end in range(20, 90):
        assert odd_photos.orientation(encoded[:end]) in (1, 6)


def test_a_mark_is_odd_unless_the_sizes_show_that_it_is_ignored():
    assert odd_photos.kind(marked(3), (40, 30), (40, 30)) == odd_photos.TURNED
    assert odd_photos.kind(marked(6), (40, 30), (40, 30)) == ""
    assert odd_photos.kind(marked(6), (40, 30), (0, 0)) == odd_photos.TURNED
    assert odd_photos.kind(marked(6, size=(30, 30)), (30, 30), (30, 30)) == odd_photos.TURNED
    assert odd_photos.kind(marked(1), (40, 30), (40, 30)) == ""


def test_a_quarter_turn_is_named_as_the_cause(tmp_path):
    (tmp_path / "a.jpg").write_bytes(marked(6))
    store = photo_stores.Folder(tmp_path, tmp_path)
    _, _, problem = photo_stores.read_checked(store, photo_stores.Photo(1, "a.jpg", 30, 40))
    assert problem.startswith("40x30, but 30x40 in the annotations, as its camera's orientation mark turns it")


def png(pixels) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_few_bits_in_sixteen_are_dark():
    rng, size = np.random.default_rng(0), (40, 30)
    assert odd_photos.kind(png(rng.integers(0, 2**12, (30, 40, 3), np.uint16)), size, size) == odd_photos.DARK
    assert odd_photos.kind(png(rng.integers(0, 2**16, (30, 40, 3), np.uint16)), size, size) == ""
    assert odd_photos.kind(png(np.zeros((30, 40, 3), np.uint8)), size, size) == ""


def test_hidden_pixels_are_odd():
    pixels, size = np.full((30, 40, 4), 255, np.uint8), (40, 30)
    assert odd_photos.kind(png(pixels), size, size) == ""
    pixels[:5, :, 3] = 0
    assert odd_photos.kind(png(pixels), size, size) == odd_photos.TRANSPARENT
