import cv2
import numpy as np
import pytest

from hrnet_jax.tracking import settings, shots

SIZE = 240, 320


def scene(seed: int) -> np.ndarray:
    """Returns a photo with structure of all sizes."""
    rng, parts = np.random.default_rng(seed), []
    for size in (3, 12, 30):
        noise = rng.uniform(-1, 1, (*SIZE, 3)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), size)
        parts.append(blurred / blurred.std())
    return np.clip(128 + 30 * np.sum(parts, axis=0), 0, 255).astype(np.uint8)


def moved(photo: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(photo, matrix, photo.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def test_flow_agrees_within_a_shot_and_not_across_a_cut():
    photo, limit = scene(0), settings.PAPER.cut_error
    assert shots.compare(photo, photo).error < 0.001
    assert shots.compare(photo, moved(photo, 6, 3)).error < limit / 2
    assert shots.compare(photo, scene(2)).error > limit
    assert shots.compare(photo, photo[1:]).error == 1


def test_the_camera_moves_the_background_in_pixels_of_the_photo():
    photo = cv2.resize(scene(0), (960, 720))
    later = moved(photo, -12, 6)
    later[100:400, 300:600] = photo[100:400, 300:600]  # somebody who does not move with it
    assert shots.compare(photo, later).shift == pytest.approx([-12, 6], abs=1)
