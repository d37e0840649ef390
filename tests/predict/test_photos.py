import io

import cv2
import made_predictor as made
import numpy as np
import pytest
from PIL import Image

from hrnet_jax.datasets import photos as dataset_photos
from hrnet_jax.predict import photos

COLOURS = np.zeros((24, 16, 3), np.uint8)
COLOURS[:12, :8], COLOURS[:12, 8:], COLOURS[12:, :8], COLOURS[12:, 8:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), 90


def encode(pixels, kind: str, **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def marked(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


TURNED = {  # EXIF 2.3, 4.6.4: the place of the stored row 0 and column 0 in the photo as shown
    1: lambda shown: shown,
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: lambda shown: np.fliplr(np.rot90(shown, -1)),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: np.fliplr(np.rot90(shown, 1)),
    8: lambda shown: np.rot90(shown, -1),
}
"""The map from the photo as shown to the pixels as stored, by orientation."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_photos_are_turned_as_their_mark_says(orientation, kind):
    stored = np.ascontiguousarray(TURNED[orientation](COLOURS))
    options = {"lossless": True} if kind == "WEBP" else {}
    found, notes = photos.decode(encode(stored, kind, exif=marked(orientation), **options))
    np.testing.assert_array_equal(found, COLOURS)
    assert found.flags.c_contiguous
    if kind != "TIFF":  # Pillow turns TIFF by itself
        assert notes == ["turned as its EXIF mark says"] * (orientation > 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_as_opencv_turns_it(orientation):
    encoded = encode(made.noise(1), "JPEG", exif=marked(orientation))
    expected = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(photos.decode(encoded)[0], expected)


def test_jpeg_has_the_pixels_of_training():
    encoded = encode(made.noise(2), "JPEG", exif=marked(1))
    np.testing.assert_array_equal(photos.decode(encoded)[0], dataset_photos.decode(encoded, photo_id=0))


def with_alpha() -> Image.Image:
    alpha = np.full((24, 16), 255, np.uint8)
    alpha[:12, :8] = 0
    return Image.fromarray(np.dstack([COLOURS, alpha]))


def sixteen(kind: str, pixels=COLOURS) -> bytes:
    return cv2.imencode(kind, pixels[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


OVER_WHITE = COLOURS.copy()
OVER_WHITE[:12, :8] = 255
GREY = np.repeat(np.asarray(Image.fromarray(COLOURS).convert("L"))[..., None], 3, axis=2)
BLACK = Image.new("RGB", (16, 24))


@pytest.mark.parametrize(
    ("encoded", "expected", "note"),
    [
        (encode(COLOURS, "PNG"), COLOURS, None),
        (encode(COLOURS, "BMP"), COLOURS, None),
        (encode(Image.fromarray(COLOURS).convert("L"), "PNG"), GREY, None),
        (encode(with_alpha(), "PNG"), OVER_WHITE, "transparent pixels put over white"),
        (encode(with_alpha(), "WEBP", lossless=True), OVER_WHITE, "transparent pixels put over white"),
        (sixteen(".png"), COLOURS, "16 bits reduced to 8"),
        (sixteen(".tiff"), COLOURS, "16 bits reduced to 8"),
        (cv2.imencode(".png", GREY[..., 0].astype(np.uint16) * 257)[1].tobytes(), GREY, "16 bits reduced to 8"),
        (encode(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"), COLOURS, "converted from CMYK"),
        (encode(COLOURS, "GIF", save_all=True, append_images=[BLACK]), COLOURS, "the first of several frames"),
        (
            encode(COLOURS, "WEBP", lossless=True, save_all=True, append_images=[BLACK]),
            COLOURS,
            "the first of several frames",
        ),
    ],
)  # fmt: skip
def test_odd_photos_are_read_and_said(encoded, expected, note):
    found, notes = photos.decode(encoded)
    np.testing.assert_array_equal(found, expected)
    assert [text.startswith(note or "") for text in notes] == [True] * (note is not None)


def test_cmyk_jpeg_has_its_colours():
    found, notes = photos.decode(
        encode(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    )
    assert np.abs(found.astype(int) - COLOURS).max() <= 12  # JPEG is lossy at edges
    assert notes == ["converted from CMYK without its colour profile"]


NOISE = made.noise(3, 200, 200)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello, I am a text\n" * 9, "not a photo of a known format"),
        (b"version https://git-lfs.github.com/spec/v1\n", "known format, but a pointer of Git LFS: fetch"),
        (b"", "the file is empty"),
        (encode(NOISE, "JPEG")[:9000], "not a complete image"),
        (encode(NOISE, "PNG")[:9000], "truncated"),
        (encode(NOISE, "TIFF")[:9000], "truncated"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC photos cannot be read: save it as JPEG"),
        (cv2.imencode(".tiff", np.full((4, 4), 0.5, np.float32))[1].tobytes(), "floating-point"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(content, message, tmp_path):
    (path := tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(photos.PhotoError) as error:
        photos.read_photo(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text


def test_any_error_of_a_decoder_is_one_of_the_photo(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("Failed to decode\nframe")

    monkeypatch.setattr(photos, "decode", fail)
    (tmp_path / "a\nb.avif").write_bytes(b"x")
    with pytest.raises(photos.PhotoError) as raised:
        photos.read_photo(tmp_path / "a\nb.avif")
    assert str(raised.value).endswith("b.avif': cannot be read (Failed to decode frame)")
    assert "\n" not in str(raised.value)


def test_missing_and_huge_photos_are_refused(tmp_path):
    with pytest.raises(photos.PhotoError, match=r"nowhere\.jpg: there is no such file"):
        photos.read_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(photos.PhotoError, match="not a file"):
        photos.read_photo(tmp_path)
    path = made.write_photo(tmp_path / "photo.png", NOISE)
    with pytest.raises(photos.PhotoError, match=r"200x200, but up to 39,999 pixels .* make it smaller"):
        photos.read_photo(path, max_pixels=39_999)
    assert photos.read_photo(path, max_pixels=40_000)[0].shape == (200, 200, 3)


def test_arrays_are_checked():
    assert photos.check_array(NOISE) is NOISE
    for wrong in (NOISE.astype(np.float32), NOISE[..., 0], NOISE[:0], np.dstack([NOISE, NOISE[..., :1]])):
        with pytest.raises(ValueError, match=r"`photo` .* must be \[height, width, 3\] uint8, RGB"):
            photos.check_array(wrong)
