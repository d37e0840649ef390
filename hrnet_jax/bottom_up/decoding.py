"""Reading of people from the maps of a photo, before and after their joints are grouped.

`candidates` finds the peaks of the heatmaps, which `grouping.group` makes people of on the host. `adjust` and
`refine` return to the maps for fractions of a pixel and for missing joints.

Maps are ``[K, 1 + T, H, W]``, see `aggregation`. People are ``[P, K, 3 + T]``: x and y in pixels of the maps,
value of the heatmap, tags. A missing joint has the value 0, and rows without any joint are padding.

Everything here is pure, for one photo, and runs under ``jit`` and ``vmap``. The algorithm is that of HigherHRNet's
release.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Candidates(NamedTuple):
    """The M highest peaks of each joint, in descending order."""

    values: jax.Array  # [K, M] of the heatmaps; 0 where there are fewer peaks
    places: jax.Array  # [K, M, 2] int32, x and y in pixels of the maps
    tags: jax.Array  # [K, M, T]


def candidates(maps: jax.Array, *, window: int = 5, count: int = 30) -> Candidates:
    """Finds the highest peaks of each heatmap and reads the tags there.

    A peak is a pixel that is the maximum of the square around it, and so are all pixels of a plateau. Of equal
    values the first comes first, row by row.

    Args:
      maps: ``[K, 1 + T, H, W]``.
      window: side of the square in pixels, an odd number.
      count: number of peaks of each joint, M.
    """
    joints, _, height, width = maps.shape
    values, index = lax.top_k(_peaks_only(maps[:, 0], window).reshape(joints, height * width), count)
    x, y = index % width, index // width
    tags = maps[jnp.arange(joints)[:, None], 1:, y, x]
    return Candidates(values, jnp.stack([x, y], -1), tags)


def _peaks_only(heatmaps: jax.Array, window: int) -> jax.Array:
    """Sets the pixels of heatmaps ``[K, H, W]`` to 0 that are not the maximum of the square around them."""
    highest = heatmaps
    for square in ((1, window, 1), (1, 1, window)):
        highest = lax.reduce_window(highest, -jnp.inf, lax.max, square, (1, 1, 1), "SAME")
    return jnp.where(highest == heatmaps, heatmaps, 0)


def adjust(maps: jax.Array, people: jax.Array) -> jax.Array:
    """Moves joints within their pixels, by a quarter from the middle towards the higher neighbour.

    As in the release, a pixel's middle is at 0.5 here, so that all joints move right and down.

    Args:
      maps: ``[K, 1 + T, H, W]``.
      people: ``[P, K, 3 + T]`` with joints at whole pixels.

    Returns:
      ``[P, K, 3 + T]``. Missing joints stay.
    """
    pixel = people[..., :2].astype(jnp.int32)
    joint = jnp.broadcast_to(jnp.arange(people.shape[1])[None], people.shape[:2])
    moved = people[..., :2] + _fraction(maps, joint, pixel)
    return people.at[..., :2].set(jnp.where(people[..., 2:3] > 0, moved, people[..., :2]))


def _fraction(maps: jax.Array, joint: jax.Array, pixel: jax.Array) -> jax.Array:
    """Returns ``[..., 2]``: 0.75 along an axis if the next pixel is higher than the one before, otherwise 0.25.

    `joint` is ``[...]`` and `pixel` ``[..., 2]``. Neighbours are clamped to the heatmap.
    """

    def value(dx: int, dy: int) -> jax.Array:
        x, y = jnp.clip(pixel[..., 0] + dx, 0, width - 1), jnp.clip(pixel[..., 1] + dy, 0, height - 1)
        return maps[joint, 0, y, x]

    height, width = maps.shape[2:]
    is_higher = jnp.stack([value(1, 0) > value(-1, 0), value(0, 1) > value(0, -1)], -1)
    return jnp.where(is_higher, 0.75, 0.25).astype(maps.dtype)


def refine(maps: jax.Array, people: jax.Array) -> jax.Array:
    """Fills the missing joints of people at the best pixel of the whole photo for their tags.

    That is the maximum of the heatmap less the rounded distance between the tags there and the mean tags of the
    person. The joint is filled if the heatmap is positive there. So nearly every person gets all joints, some of
    them far away. Filled joints are moved as by `adjust` and have no tags.

    Args:
      maps: ``[K, 1 + T, H, W]``.
      people: ``[P, K, 3 + T]``.

    Returns:
      ``[P, K, 3 + T]``. Joints that were found before stay.
    """
    people_count, joints = people.shape[:2]
    is_found = people[..., 2] > 0
    is_missing = ~is_found & is_found.any(axis=1, keepdims=True)
    rows, columns = jnp.nonzero(is_missing, size=people_count * joints, fill_value=0)
    means = _mean_tags(people[..., 3:], is_found)

    def fill(step: jax.Array, filled: jax.Array) -> jax.Array:
        row, joint = rows[step], columns[step]
        return filled.at[row, joint, :3].set(_best_pixel(maps, joint, means[row]))

    return lax.fori_loop(0, is_missing.sum(), fill, people)


def _mean_tags(tags: jax.Array, is_found: jax.Array) -> jax.Array:
    """Returns the mean tags ``[P, T]`` of each person over the found joints ``[P, K]``."""
    count = jnp.maximum(is_found.sum(axis=1, keepdims=True), 1)
    return jnp.where(is_found[..., None], tags, 0).sum(axis=1) / count.astype(tags.dtype)


def _best_pixel(maps: jax.Array, joint: jax.Array, tags: jax.Array) -> jax.Array:
    """Returns ``[3]``: place and value of a joint's best pixel for tags ``[T]``, zeros if no value is above 0."""
    heatmap, *tag_maps = maps[joint]
    # Summed one by one: a reduction would not be fused with the rest, which takes ten times as long on a CPU.
    squares = [jnp.square(of_component - tag) for of_component, tag in zip(tag_maps, tags, strict=True)]
    distance = jnp.sqrt(functools.reduce(operator.add, squares))
    index = jnp.argmax(heatmap - jnp.round(distance))  # the first of equals
    pixel = jnp.stack([index % heatmap.shape[1], index // heatmap.shape[1]])
    value = heatmap[pixel[1], pixel[0]]
    place = pixel.astype(maps.dtype) + _fraction(maps, joint, pixel)
    return jnp.where(value > 0, jnp.append(place, value), 0)
