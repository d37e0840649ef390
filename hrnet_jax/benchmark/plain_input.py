"""The original's input pipeline: reads and decodes a photo's file per person and draws heatmaps joint by joint.

A reference for timing that serves no other purpose.
"""

import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import augment, geometry
from hrnet_jax.datasets import records
from hrnet_jax.models import layers


class OriginalLoader:
    """Loads batches like the original, from photos in files."""

    def __init__(self, config: ConfigDict, split: records.Split, directory: pathlib.Path):
        """Writes the photos of a split to a directory, named by their rows."""
        self.config, self.split, self.directory = config, split, directory
        self.policy, self.rng = augment.Policy(**config.augment), np.random.default_rng(0)
        self.order = _shuffled(len(split.people), self.rng)
        for row in np.unique(split.people.photo_index).tolist():
            (directory / str(row)).write_bytes(split.photos[row]["image"])

    def batch(self) -> dict[str, np.ndarray]:
        """Returns the next batch: images, targets and their weights, channels first."""
        rows = [self.person(next(self.order)) for _ in range(self.config.batch_size)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def person(self, index: int) -> dict[str, np.ndarray]:
        """Returns the row of a batch for one person, randomly augmented."""
        people, skeleton = self.split.people, self.split.skeleton
        draw = augment.sample(self.rng, people.visible[index], self.policy, skeleton)
        crop, joints, visible = self.crop(index, draw)
        pixels = crop.transpose(2, 0, 1).astype(np.float32) / 255
        mean, deviation = (np.reshape(x, (3, 1, 1)) for x in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
        targets, weights = self.targets(joints, visible)
        return {"image": (pixels - mean) / deviation, "targets": targets, "weights": weights}

    def crop(self, index: int, draw: augment.Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the crop of one person, its joints and their visibility."""
        people, (height, width) = self.split.people, self.config.image_size
        path = self.directory / str(people.photo_index[index])
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.cvtColor(np.asarray(cv2.imread(str(path), flags)), cv2.COLOR_BGR2RGB)
        view = augment.apply(
            draw,
            people.joints[index],
            people.visible[index],
            people.box[index],
            photo_width=photo.shape[1],
            aspect_ratio=width / height,
            skeleton=self.split.skeleton,
            precision=records.PRECISION[records.dataset(self.split.summary)],
        )
        matrix = geometry.photo_to_crop(view.center, view.scale, view.rotation, (height, width))
        photo = photo[:, ::-1, :] if view.flip else photo
        crop = cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR)
        joints = view.joints.copy()
        for number, visible in enumerate(view.visible):
            if visible > 0:
                joints[number] = (matrix @ np.append(joints[number], 1.0))[:2]
        return crop, joints, view.visible

    def targets(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draws [K, h, w] heatmaps with a truncated Gaussian per joint. Returns them and [K] weights."""
        height, width = (side // layers.STRIDE for side in self.config.image_size)
        radius = int(3 * (sigma := self.config.heatmap.sigma))
        offset = np.arange(2 * radius + 1, dtype=np.float32) - radius
        targets = np.zeros((len(joints), height, width), np.float32)
        weights = visible.astype(np.float32)
        for number, joint in enumerate(joints):
            x, y = (int(value / layers.STRIDE + 0.5) for value in joint)
            left, top, right, bottom = x - radius, y - radius, x + radius + 1, y + radius + 1
            if left >= width or top >= height or right < 0 or bottom < 0:
                weights[number] = 0
            if weights[number] <= 0.5:
                continue
            gaussian = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * sigma**2))
            rows, columns = slice(max(0, top), min(bottom, height)), slice(max(0, left), min(right, width))
            targets[number][rows, columns] = gaussian[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        return targets, weights


def _shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields all rows in a new order in each epoch, endlessly."""
    while True:
        yield from rng.permutation(count).tolist()
