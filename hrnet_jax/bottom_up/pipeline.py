"""Batches of whole photos for bottom-up training: reads photos, augments them and forms batches.

A batch is a dictionary of numpy arrays. B is the process's share of the batch size, S the side of the image, P the
most people of a photo, K the number of joints. There are R sizes of heatmaps, coarse first, and joints and masks
for each of them:

===========  ==========================  ==========================================================
image        [B, S, S, 3] uint8          the window of the photo, RGB
joints       [B, R, P, K, 2] float32     (x, y) in pixels of each heatmap; undefined for unlabelled joints
visible      [B, P, K] float32           1 for labelled joints, 0 for others and for rows without a person
mask_r       [B, s, s / 8] uint8         1 for pixels of heatmap r that count, packed along x by `numpy.packbits`
index        [B] int32                   row in the table of photos
===========  ==========================  ==========================================================

Joints are rounded toward zero, so that the pixel of a joint, its truncated coordinates, is that of float64.

Batches depend only on the seed and the step, and are shared by processes, as those of `hrnet_jax.pipeline`.
"""

import dataclasses
import functools
from typing import Any

import grain
import numpy as np

from hrnet_jax import pipeline
from hrnet_jax.bottom_up import augment
from hrnet_jax.datasets.annotated_photos import AnnotatedPhotos

Batch = pipeline.Batch


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Pixels per side of the image and of each heatmap, coarse first, and the most people of a photo."""

    image: int
    heatmaps: tuple[int, ...]
    people: int


def train_batches(
    photos: AnnotatedPhotos, *, sizes: Sizes, policy: augment.Policy | None, **loading: Any
) -> grain.DatasetIterator[Batch]:
    """Returns an infinite iterator over training batches. Each epoch visits all photos once in a new order.

    Close the iterator with ``close()``.

    Args:
      photos: to train on.
      sizes: of image and heatmaps. Of photos with more people, the first ones of the file are kept.
      policy: augmentation, or None for no augmentation.
      **loading: ``batch_size``, ``seed`` and other arguments of `pipeline.endless_batches`.

    Raises:
      ValueError: there are no photos, or as `pipeline.train_batches`.
    """
    if not len(photos):
        raise ValueError(f"split {photos.name!r} has no annotated photos to load: choose another")
    draw = functools.partial(_with_draw, policy=policy)
    make = functools.partial(_example, sizes=sizes, flip_order=photos.skeleton.flip_order)
    return pipeline.endless_batches(photos, draw, make, **loading)


def _with_draw(
    example: pipeline.Example, rng: np.random.Generator, *, policy: augment.Policy | None
) -> pipeline.Example:
    size = example["photo"].shape[:2]
    return example | {"draw": augment.sample(rng, size, policy) if policy else augment.Draw()}


def _example(example: pipeline.Example, *, sizes: Sizes, flip_order: np.ndarray) -> Batch:
    """Returns one row of a batch."""
    photo, draw = example["photo"], example["draw"]
    visible = _padded(example["visible"], sizes.people)
    views = [_view(example, size) for size in sizes.heatmaps]
    joints = np.stack([_padded(joints, sizes.people) for joints, _ in views])
    if draw.flip:
        joints, visible = joints[:, :, flip_order], visible[:, flip_order]
    to_image = augment.photo_to_image(draw, photo.shape[:2], sizes.image)
    return {
        "image": augment.warp_image(draw, to_image, photo, sizes.image),
        "joints": toward_zero(joints),
        "visible": visible.astype(np.float32),
        "index": np.array(example["index"], np.int32),
    } | {f"mask_{number}": np.packbits(mask, axis=-1) for number, (_, mask) in enumerate(views)}


def _view(example: pipeline.Example, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the joints ``[N, K, 2]`` and the mask ``[S, S]`` of a photo at a heatmap's size."""
    draw = example["draw"]
    matrix = augment.photo_to_image(draw, example["photo"].shape[:2], size)
    joints = augment.map_joints(draw, matrix, example["joints"], size)
    return joints, augment.warp_mask(draw, matrix, example["mask"], size)


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """Returns the first rows, and zeros for missing ones."""
    padded = np.zeros((count, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows[:count]
    return padded


def toward_zero(numbers: np.ndarray) -> np.ndarray:
    """Returns float64 numbers as float32, rounded toward zero."""
    nearest = numbers.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(numbers), np.nextafter(nearest, np.float32(0)), nearest)
