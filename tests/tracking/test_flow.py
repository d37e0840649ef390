import sys
import types

import cv2
import numpy as np
import pytest

from hrnet_jax.tracking import flow

SIZE = 96, 128


def texture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Returns a photo of smooth random spots."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # pyright: ignore


def shifted(photo: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def middle(found: np.ndarray) -> np.ndarray:
    """Returns the median displacement away from the border."""
    height, width = found.shape[0] // 4, found.shape[1] // 4
    return np.median(found[height:-height, width:-width].reshape(-1, 2), axis=0)


@pytest.mark.parametrize("name", flow.METHODS)
def test_flow_is_the_displacement_of_the_pixels_of_the_earlier_photo(name):
    earlier = texture()
    found = flow.open_source(name)("0", earlier, shifted(earlier, 4, -2))
    assert found.shape == (*SIZE, 2) and found.dtype == np.float32
    np.testing.assert_allclose(middle(found), [4, -2], atol=0.3)


def test_flow_of_a_smaller_computation_is_in_pixels_of_the_photo():
    earlier = cv2.resize(texture(), (400, 288))
    found = flow.dis(earlier, shifted(earlier, 8, 6), longer_side=200)
    assert found.shape == (288, 400, 2)
    np.testing.assert_allclose(middle(found), [8, 6], atol=0.5)


def test_enlarged_flow_has_the_scale_of_each_axis():
    found = flow.enlarge(np.ones((10, 20, 2), np.float32), (20, 60))
    assert found.shape == (20, 60, 2) and found[5, 5].tolist() == [3, 2]


@pytest.fixture
def module(monkeypatch):
    made = types.ModuleType("flow_of_a_user")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def test_a_function_of_the_user_gives_flow(module):
    module.still = lambda earlier, following: np.full((*earlier.shape[:2], 2), 0.5)
    found = flow.open_source("flow_of_a_user:still")("0", texture(), texture())
    assert found.dtype == np.float32 and (found == 0.5).all()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, *SIZE)),
        np.zeros((*SIZE[::-1], 2)),
        np.zeros((SIZE[0] // 2, SIZE[1] // 2, 2)),
        np.zeros((*SIZE, 2), int),
        np.full((*SIZE, 2), np.nan),
    ],
)
def test_flow_of_another_shape_or_kind_is_refused(module, wrong):
    module.wrong = lambda earlier, following: wrong
    with pytest.raises(ValueError, match="the flow of flow_of_a_user:wrong from frame 7"):
        flow.open_source("flow_of_a_user:wrong")("7", texture(), texture())


def test_unknown_sources_small_photos_and_photos_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"`flow` \(='raft'\) must be one of dis"):
        flow.open_source("raft")
    with pytest.raises(ValueError, match="too small"):
        flow.dis(texture()[:20], texture()[:20])
    with pytest.raises(ValueError, match="new shot"):
        flow.open_source("dis")("0", texture(), texture()[:50])


def test_flow_is_read_from_files_named_as_the_earlier_frame(tmp_path):
    written = np.random.default_rng(0).normal(size=(*SIZE, 2)).astype(np.float32)
    (tmp_path / "000342").mkdir()
    cv2.writeOpticalFlow(str(tmp_path / "000342" / "000007.flo"), written)
    np.save(tmp_path / "000008.npy", 2 * written.astype(np.float64))
    source = flow.open_source(str(tmp_path))
    np.testing.assert_array_equal(source("images/val/000342/000007.jpg", texture(), texture()), written)
    np.testing.assert_array_equal(source("images/val/000342/000008.jpg", texture(), texture()), 2 * written)
    with pytest.raises(FileNotFoundError, match=r"000342/000009\.flo"):
        source("000342/000009", texture(), texture())
    with pytest.raises(ValueError, match=r"000342/000007\.flo has the shape"):
        source("000342/000007", texture()[1:], texture()[1:])


def test_damaged_files_are_refused(tmp_path):
    for name in ("000001.flo", "000002.npy"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=name):
            flow.open_source(str(tmp_path))(name, texture(), texture())
