"""A predictor without weights, and photos for it."""

import pathlib

import cv2
import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.predict import boxes
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.network import Network

SIZE = (64, 32)


class Recorded:
    """A network without weights. A joint's place depends on the colours of the crop and on the photo's map."""

    def __init__(self):
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, image: np.ndarray, photo_to_crop: np.ndarray) -> tuple[np.ndarray, ...]:
        self.shapes.append(image.shape)
        count, joints = len(image), skeletons.COCO.num_joints
        colours = image.reshape(count, -1, 3).mean(1)
        places = colours[:, None, :2] + np.arange(joints)[:, None] + photo_to_crop[:, None, :, 2]
        scores = np.linspace(0, 1, joints)[None] * np.ones((count, 1))
        heatmaps = np.broadcast_to(scores[:, None, None], (count, SIZE[0] // 4, SIZE[1] // 4, joints))
        return places.astype(np.float32), scores.astype(np.float32), heatmaps.astype(np.float32)


def make_predictor(find_boxes: boxes.Finder = boxes.whole, **options) -> BoxPredictor:
    """Returns a predictor without weights, in batches of four."""
    network = Network(Recorded(), SIZE, skeletons.COCO)
    return BoxPredictor(**{"network": network, "find_boxes": find_boxes, "batch_size": 4, "threads": 2, **options})


def several(path: str, photo: np.ndarray) -> boxes.Found:
    """Finds as many people as the photo's first pixel says, of different sizes."""
    count = int(photo[0, 0, 0]) % 6
    found = np.array([[3 * i, 2 * i, 10 + i, 20 - i] for i in range(count)], np.float64)
    return found.reshape(-1, 4), np.linspace(1, 0.5, count)


def noise(seed: int, height: int = 40, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_photo(path: pathlib.Path, photo: np.ndarray) -> pathlib.Path:
    """Writes a photo in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, photo[..., ::-1])[1].tobytes())
    return path
