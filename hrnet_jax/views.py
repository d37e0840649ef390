"""Views of a person: crops at several scales and rotations, whose heatmaps are averaged in the crop's own frame.

Every view is cut from the photo, so that smaller scales show more of it and larger ones show it finer. Views are
`augment.Draw`: none for the crop as it is, otherwise several of which the first is the crop as it is.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hrnet_jax import augment, geometry
from hrnet_jax.codecs import Codec

_EDGE = 1e-4  # heatmap pixels that rounding may move a border


def make(scales: Sequence[float], rotations: Sequence[float]) -> tuple[augment.Draw, ...]:
    """Returns the views of every scale at every rotation; () for the crop as it is.

    Args:
      scales: sizes of the person in the view relative to the crop, 1 among them.
      rotations: degrees, 0 among them; see `geometry.photo_to_crop`.

    Raises:
      ValueError: 1 or 0 is missing, a number occurs twice or is not finite, or a scale is not positive.
    """
    for name, numbers, neutral in (("eval.scales", scales, 1), ("eval.rotations", rotations, 0)):
        if neutral not in numbers or len(set(numbers)) < len(numbers) or not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"`{name}` (={tuple(numbers)}) must be different numbers, among them {neutral}: the crop as it is"
            )
    if min(scales) <= 0:
        raise ValueError(f"`eval.scales` (={tuple(scales)}) must be positive")
    chosen = sorted(itertools.product(scales, rotations), key=lambda view: view != (1, 0))
    views = tuple(augment.Draw(scale_factor=1 / scale, rotation=angle) for scale, angle in chosen)
    return views if len(views) > 1 else ()


def average(heatmaps: jax.Array, views: Sequence[augment.Draw], codec: Codec) -> jax.Array:
    """Averages the heatmaps of views. Each pixel is the mean over the views that see it.

    Args:
      heatmaps: ``[B, V, h, w, C]`` of each view.
      views: from `make`, V of them.
      codec: of the heatmaps.

    Returns:
      ``[B, h, w, C]`` of the first view, the crop as it is.
    """
    total, seen = heatmaps[:, 0], np.ones(heatmaps.shape[2:4])
    for i, view in enumerate(views[1:], start=1):
        matrix = to_view(view, heatmaps.shape[2:4], by_corners=codec.by_corners)
        moved, inside = _resample(heatmaps[:, i], matrix)
        total += codec.turned(moved, np.linalg.inv(matrix[:, :2]))
        seen += inside
    return total / jnp.asarray(seen, total.dtype)[None, :, :, None]


def to_view(view: augment.Draw, size: Sequence[int], *, by_corners: bool) -> np.ndarray:
    """Returns the map ``[2, 3]`` from heatmap pixels of the crop to those of a view, for a size (h, w)."""
    height, width = size
    extent = np.array([width, height]) / geometry.PIXELS_PER_SCALE  # of any box: it does not matter

    def to_heatmap(factor: float, rotation: float) -> np.ndarray:
        where = (np.zeros(2), factor * extent, rotation, (height, width))
        return geometry.invert(geometry.crop_to_photo(*where)) if by_corners else geometry.photo_to_crop(*where)

    return geometry.compose(geometry.invert(to_heatmap(1.0, 0.0)), to_heatmap(view.scale_factor, view.rotation))


def _resample(heatmaps: jax.Array, matrix: np.ndarray) -> tuple[jax.Array, np.ndarray]:
    """Returns heatmaps ``[B, h, w, C]`` read at mapped pixels, bilinearly, and ``[h, w]`` which of these exist.

    Pixels that do not exist are 0.
    """
    batch, height, width, channels = heatmaps.shape
    last = np.array([width, height]) - 1
    points = geometry.apply(matrix, np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2))
    inside = ((points > -_EDGE) & (points < last + _EDGE)).all(-1)
    points = np.clip(points, 0, last)
    low = np.minimum(points.astype(int), np.maximum(last - 1, 0))
    flat, found = heatmaps.reshape(batch, -1, channels), jnp.zeros((), heatmaps.dtype)
    for corner in itertools.product((0, 1), repeat=2):
        x, y = np.minimum(low + corner, last).T
        weight = np.where(corner, points - low, 1 - (points - low)).prod(-1) * inside
        found += jnp.asarray(weight, flat.dtype)[None, :, None] * flat[:, y * width + x]
    return found.reshape(heatmaps.shape), inside.reshape(height, width)
