"""Reads the joints of people from the maps of a photo, before and after they are grouped.

`candidates` finds the peaks of the heatmaps. `bottom_up.grouping` makes people of them on the host. `adjust` and
`refine` return to the maps for fractions of a pixel and for missing joints. Heatmaps are ``[K, H, W]`` and tags
``[K, T, H, W]``, or ``[1, T, H, W]`` if all joints share them. People are ``[P, K, 3 + T]``: x and y in pixels of
the maps, value of the heatmap, tags. A missing joint has the value 0, and padding has no joints at all. Everything
here is pure, for one photo, and runs under ``jit`` and ``vmap``.

The algorithm is that of HigherHRNet's code (Cheng et al., CVPR 2020).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

CANDIDATES = 30  # peaks of each joint


class Candidates(NamedTuple):
    """The M highest peaks of each joint, in descending order."""

    values: jax.Array  # [K, M] of the heatmaps; 0 where there are fewer peaks
    places: jax.Array  # [K, M, 2] int32 x, y in pixels of the maps
    tags: jax.Array  # [K, M, T]


def candidates(heatmaps: jax.Array, tags: jax.Array, *, window: int = 5, count: int = CANDIDATES) -> Candidates:
    """Finds the highest peaks of each heatmap and reads the tags there.

    A peak is a pixel that is the maximum of a square around it. All pixels of a plateau are. Of equal values the
    first comes first, row by row.

    Args:
      heatmaps: ``[K, H, W]``.
      tags: ``[K or 1, T, H, W]``.
      window: side of the square in pixels, an odd number.
      count: number of peaks of each joint, M.
    """
    joints, height, width = heatmaps.shape
    values, index = lax.top_k(_peaks_only(heatmaps, window).reshape(joints, height * width), count)
    flat = jnp.broadcast_to(tags, (joints, *tags.shape[1:])).reshape(joints, -1, height * width)
    at_peaks = jnp.take_along_axis(flat, index[:, None], axis=2)
    return Candidates(values, jnp.stack([index % width, index // width], -1), jnp.moveaxis(at_peaks, 1, 2))


def _peaks_only(heatmaps: jax.Array, window: int) -> jax.Array:
    """Sets all pixels of heatmaps ``[K, H, W]`` to 0 that are not the maximum of the square around them."""
    highest = heatmaps
    for square in ((1, window, 1), (1, 1, window)):
        highest = lax.reduce_window(highest, -jnp.inf, lax.max, square, (1, 1, 1), "SAME")
    return jnp.where(highest == heatmaps, heatmaps, 0)


def adjust(heatmaps: jax.Array, people: jax.Array) -> jax.Array:
    """Moves the joints of people to fractions of a pixel, a quarter from its middle towards the higher neighbour.

    Args:
      heatmaps: ``[K, H, W]``.
      people: ``[P, K, 3 + T]`` with joints at whole pixels.

    Returns:
      ``[P, K, 3 + T]``. Joints are at least a quarter of a pixel to the right and below: coordinates are measured
      from the corner of a pixel instead of its middle, as in the original. Missing ones stay.
    """
    pixel = people[..., :2].astype(jnp.int32)
    joint = jnp.broadcast_to(jnp.arange(people.shape[1])[None], people.shape[:2])
    moved = people[..., :2] + _fraction(heatmaps, joint, pixel).astype(people.dtype)
    return people.at[..., :2].set(jnp.where(people[..., 2:3] > 0, moved, people[..., :2]))


def _fraction(heatmaps: jax.Array, joint: jax.Array, pixel: jax.Array) -> jax.Array:
    """Returns ``[..., 2]``: 0.75 along an axis if the next pixel is higher than the one before, otherwise 0.25.

    `joint` is ``[...]`` and `pixel` ``[..., 2]``. Neighbours are clamped to the heatmap.
    """

    def value(dx: int, dy: int) -> jax.Array:
        x, y = jnp.clip(pixel[..., 0] + dx, 0, width - 1), jnp.clip(pixel[..., 1] + dy, 0, height - 1)
        return heatmaps[joint, y, x]

    height, width = heatmaps.shape[1:]
    is_higher = jnp.stack([value(1, 0) > value(-1, 0), value(0, 1) > value(0, -1)], -1)
    return jnp.where(is_higher, 0.75, 0.25)


def refine(heatmaps: jax.Array, tags: jax.Array, people: jax.Array) -> jax.Array:
    """Fills the missing joints of people at the best pixel of the whole photo for their tags.

    That is the maximum of the heatmap less the rounded distance between the tags there and the mean tags of the
    person. A joint is filled if the heatmap is positive there. Nearly every person thus gets all joints, some of
    them far away. Filled joints are moved as by `adjust` and have no tags.

    Args:
      heatmaps: ``[K, H, W]``.
      tags: ``[K or 1, T, H, W]``.
      people: ``[P, K, 3 + T]``.

    Returns:
      ``[P, K, 3 + T]``. Joints that were found before stay as they are.
    """
    count, joints = people.shape[:2]
    found = people[..., 2] > 0
    missing = ~found & found.any(axis=1, keepdims=True)
    rows, columns = jnp.nonzero(missing, size=count * joints, fill_value=0)
    means = _mean_tags(people[..., 3:], found)

    def fill(step: jax.Array, filled: jax.Array) -> jax.Array:
        row, joint = rows[step], columns[step]
        return filled.at[row, joint, :3].set(_best_pixel(heatmaps, tags, joint, means[row]))

    return lax.fori_loop(0, missing.sum(), fill, people)


def _mean_tags(tags: jax.Array, found: jax.Array) -> jax.Array:
    """Returns the mean tags ``[P, T]`` over the found joints ``[P, K]`` of each person."""
    number = jnp.maximum(found.sum(axis=1, keepdims=True), 1)
    return jnp.where(found[..., None], tags, 0).sum(axis=1) / number.astype(tags.dtype)


def _best_pixel(heatmaps: jax.Array, tags: jax.Array, joint: jax.Array, mean: jax.Array) -> jax.Array:
    """Returns ``[3]``: place and value of the best pixel for a joint of a person, zeros if that is not positive.

    `mean` ``[T]`` are the person's tags.
    """
    heatmap = heatmaps[joint]
    distance = jnp.sqrt(jnp.square(tags[joint % len(tags)] - mean[:, None, None]).sum(axis=0))
    index = jnp.argmax(heatmap - jnp.round(distance))  # the first of equals
    pixel = jnp.stack([index % heatmap.shape[1], index // heatmap.shape[1]])
    value = heatmap[pixel[1], pixel[0]]
    place = pixel.astype(mean.dtype) + _fraction(heatmaps, joint, pixel).astype(mean.dtype)
    return jnp.where(value > 0, jnp.append(place, value), 0)
