"""Resizing of whole photos, and the maps between photo, image and heatmaps.

An image shows the whole photo. Its short side is the network's input size times the scale, and its long side
follows from the shape of the photo. Several scales have a common geometry: the smallest image has sides that are
multiples of 64, and the others are as much larger as their scales. The base size is that of scale 1. Maps of every
scale are brought to it.

Sizes and pixels equal those of HigherHRNet's code, including its rounding.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hrnet_jax import geometry
from hrnet_jax.datasets import photos
from hrnet_jax.models import layers

BLOCK = 64  # sides of the smallest image are multiples

Size = tuple[int, int]
"""(height, width)."""


class Placement(NamedTuple):
    """How a photo lies in an image."""

    size: Size  # of the image
    center: tuple[int, int]  # (x, y): the pixel of the photo in the middle of the image
    scale: tuple[float, float]  # (width, height) of what the image shows, in units of 200 pixels of the photo


class Plan(NamedTuple):
    """The images of a photo."""

    base_size: Size
    placements: tuple[Placement, ...]  # of each scale, the largest first

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The base size and those of the images. Photos with equal ones share their programs."""
        return self.base_size, *(placement.size for placement in self.placements)


def check_scales(input_size: int, scales: Sequence[float]) -> None:
    """Raises ValueError unless the scales are distinct, 1 is among them, and the network can have their images."""
    if 1 not in scales or len(set(scales)) < len(scales) or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(
            f"`scales` (={tuple(scales)}) must be different positive numbers, among them 1: tags are read there"
        )
    if min(scales) * input_size < 1:
        raise ValueError(
            f"`input_size` (={input_size}) must be at least one pixel at the smallest of `scales`"
            f" (={tuple(scales)}): the papers use 512 and 640"
        )
    ratios = [BLOCK / layers.MULTIPLE * scale / min(scales) for scale in scales]
    if any(abs(ratio - round(ratio)) > 1e-9 for ratio in ratios):
        raise ValueError(
            f"`scales` (={tuple(scales)}) give images whose sides are not multiples of {layers.MULTIPLE} pixels:"
            " take multiples of half the smallest scale, such as (0.5, 1, 2)"
        )


def plan(photo_size: Size, input_size: int, scales: Sequence[float] = (1,)) -> Plan:
    """Plans the images of a photo.

    Args:
      photo_size: (height, width) of the photo.
      input_size: length of the image's short side at scale 1, up to rounding.
      scales: of the images relative to the input size, in any order; see `check_scales`.

    Raises:
      ValueError: the scales are wrong, or an image has sides that the network or OpenCV cannot process.
    """
    check_scales(input_size, scales)
    smallest = min(scales)
    placements = tuple(place(photo_size, input_size, scale, smallest) for scale in sorted(scales, reverse=True))
    for placement in placements:
        _check_image(placement.size, photo_size, scales)
    return Plan(place(photo_size, input_size, 1, smallest).size, placements)


def _check_image(size: Size, photo_size: Size, scales: Sequence[float]) -> None:
    """Raises ValueError if an image of a photo has sides that the network or OpenCV cannot process."""
    if max(size) > photos.MAX_SIDE:
        raise ValueError(
            f"`photo_size` (={photo_size}) gives an image of {size}, but sides are limited to {photos.MAX_SIDE}"
            " pixels: cut the photo, or take a smaller `input_size`"
        )
    if any(side % layers.MULTIPLE for side in size):
        raise ValueError(
            f"`scales` (={tuple(scales)}) lose a pixel by rounding: a photo of {photo_size} has an image of {size}"
            f" and sides must be multiples of {layers.MULTIPLE}: take powers of 2, such as (0.5, 1, 2)"
        )


def place(photo_size: Size, input_size: int, scale: float = 1, smallest: float = 1) -> Placement:
    """Places a photo in its image of one scale, given the smallest of all scales.

    Pixels of the image are square. The photo fills its short side. The long side may end with black pixels, or cut
    a fraction of a pixel off.
    """
    height, width = photo_size
    short, long = min(photo_size), max(photo_size)
    block = _round_up(smallest * input_size)
    short_side = int(block * scale / smallest)
    long_side = int(_round_up(block / short * long) * scale / smallest)
    across = short / geometry.PIXELS_PER_SCALE
    along = long_side / short_side * short / geometry.PIXELS_PER_SCALE
    center = int(width / 2 + 0.5), int(height / 2 + 0.5)
    if width < height:
        return Placement((long_side, short_side), center, (across, along))
    return Placement((short_side, long_side), center, (along, across))


def _round_up(length: float) -> int:
    """Rounds a length up to a multiple of `BLOCK`, but down if it is less than a pixel above one.

    The original loses the fraction by whole-number division: 1088.6 becomes 1088.
    """
    return int((length + BLOCK - 1) // BLOCK * BLOCK)


def photo_to_image(placement: Placement) -> np.ndarray:
    """Returns the map ``[2, 3]`` from photo to image pixels."""
    return geometry.photo_to_crop(*_geometry(placement), placement.size)


def heatmap_to_photo(placement: Placement, size: Size) -> np.ndarray:
    """Returns the map ``[2, 3]`` from pixels of heatmaps of a size to photo pixels.

    Heatmaps of another size than the image show the same part of the photo, up to rounding of the sides. The
    original maps joints by the placement of the smallest scale.
    """
    return geometry.inverse_photo_to_crop(*_geometry(placement), size)


def _geometry(placement: Placement) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns centre, scale and rotation of a placement."""
    return np.array(placement.center, np.float64), np.array(placement.scale, np.float64), 0.0


def resize(photo: np.ndarray, placement: Placement) -> np.ndarray:
    """Returns the image ``[H, W, 3]`` of a photo ``[height, width, 3]`` uint8."""
    return geometry.warp(photo, photo_to_image(placement), placement.size)


def group_by_size(
    photo_sizes: Sequence[Size], input_size: int, scales: Sequence[float] = (1,)
) -> Mapping[tuple[Size, ...], list[int]]:
    """Groups photos by the sizes of their images, see `Plan.sizes`. Returns their numbers in ascending order.

    Programs are compiled once for each group, and its photos can share batches.
    """
    groups: dict[tuple[Size, ...], list[int]] = {}
    for row, photo_size in enumerate(photo_sizes):
        groups.setdefault(plan(photo_size, input_size, scales).sizes, []).append(row)
    return groups
