"""Reading of people from the maps of a photo, before and after their joints are grouped.

`candidates` finds the peaks of the heatmaps, which `grouping.group` makes people of on the host. `adjust` and
`refine` return to the maps for fractions of a pixel and for missing joints.

Maps are ``[K, 1 + T, H, W]``, see `aggregation`. People are ``[P, K, 3 + T]``: x and y in pixels of the maps,
value of the heatmap, tags. All are 0 for a missing joint, and rows of zeros are padding. Everything
here is pure, for one photo, and runs under ``jit`` and ``vmap``. The algorithm is that of HigherHRNet's release.
"""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

BLOCK = 16  # side in pixels of the squares that maps are searched by
AT_ONCE = 4  # blocks that are searched before the next are chosen


class Candidates(NamedTuple):
    """The M highest peaks of each joint, in descending order."""

    values: jax.Array  # [K, M] of the heatmaps; 0 where there are fewer peaks
    places: jax.Array  # [K, M, 2] int32, x and y in pixels of the maps; anywhere for values of 0
    tags: jax.Array  # [K, M, T]


def candidates(maps: jax.Array, *, window: int = 5, count: int = 30) -> Candidates:
    """Finds the highest peaks of each heatmap and reads the tags there.

    A peak is a pixel that is the maximum of the square around it, and so are all pixels of a plateau. Of equal
    values the first comes first, row by row.

    Args:
      maps: ``[K, 1 + T, H, W]``.
      window: side of the square in pixels, an odd number.
      count: number of peaks of each joint, M; no more than there are pixels.
    """
    values, x, y = _highest(_peaks_only(maps[:, 0], window), count)
    tags = maps[jnp.arange(len(maps))[:, None], 1:, y, x]
    return Candidates(values, jnp.stack([x, y], -1), tags)


def _highest(heatmaps: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the highest values of each heatmap ``[K, H, W]``, the first of equals first, and their x and y."""
    joints, height, width = heatmaps.shape
    # They are in the rows with the highest maxima, so that few pixels are sorted.
    _, rows = lax.top_k(heatmaps.max(axis=2), min(count, height))
    rows = jnp.sort(rows, axis=1)
    pixels = jnp.take_along_axis(heatmaps, rows[..., None], axis=1).reshape(joints, -1)
    values, index = lax.top_k(pixels, min(count, height * width))
    return values, index % width, jnp.take_along_axis(rows, index // width, axis=1)


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

    Only blocks that may have the best pixel by the ranges of their values are searched.

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
    means = people[..., 3:].sum(axis=1) / jnp.maximum(is_found.sum(axis=1, keepdims=True), 1).astype(people.dtype)
    lowest, highest = _block_ranges(maps)

    def fill(step: jax.Array, filled: jax.Array) -> jax.Array:
        row, joint = rows[step], columns[step]
        bounds = _bounds(lowest[joint], highest[joint], means[row])
        pixel = _best_pixel(maps, bounds, joint, means[row])
        value = maps[joint, 0, pixel[1], pixel[0]]
        place = pixel.astype(maps.dtype) + _fraction(maps, joint, pixel)
        return filled.at[row, joint, :3].set(jnp.where(value > 0, jnp.append(place, value), 0))

    return lax.fori_loop(0, is_missing.sum(), fill, people)


class _Search(NamedTuple):
    """How far the blocks of a joint's maps have been searched."""

    bounds: jax.Array  # [N] of the blocks' scores, -inf for those that were searched
    score: jax.Array  # of the best pixel so far
    index: jax.Array  # int32, that pixel in the map, row by row


def _best_pixel(maps: jax.Array, bounds: jax.Array, joint: jax.Array, tags: jax.Array) -> jax.Array:
    """Returns x and y of a joint's best pixel for tags ``[T]``. Of equal ones it is the first, row by row.

    `bounds` are those of the blocks, which are searched in descending order while one may have a better pixel.
    """
    height, width = maps.shape[2:]
    columns = -(-width // BLOCK)
    block = jnp.arange(len(bounds), dtype=jnp.int32)
    first = block // columns * BLOCK * width + block % columns * BLOCK  # pixel of each block, by index in the map
    last = height * width - 1
    search_block = jax.vmap(functools.partial(_best_of_block, maps, joint, tags))

    def is_open(search: _Search) -> jax.Array:
        may_be_earlier = (search.bounds == search.score) & (first < search.index)
        return ((search.bounds > search.score) | may_be_earlier).any()

    def step(search: _Search) -> _Search:
        _, blocks = lax.top_k(search.bounds, min(AT_ONCE, len(bounds)))
        scores, indices = search_block(blocks)
        scores, indices = jnp.append(scores, search.score), jnp.append(indices, search.index)
        score = scores.max()
        index = jnp.where(scores == score, indices, last).min()
        return _Search(search.bounds.at[blocks].set(-jnp.inf), score, index)

    # Not -inf, which is the bound of blocks that were searched: the search ends whatever the maps are.
    lowest = jnp.finfo(bounds.dtype).min.astype(bounds.dtype)
    index = lax.while_loop(is_open, step, _Search(bounds, lowest, jnp.int32(last))).index
    return jnp.stack([index % width, index // width])


def _block_ranges(maps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the lowest and highest values ``[K, 1 + T, N]`` of maps in each of their N blocks, row by row."""
    *channels, height, width = maps.shape
    below, right = -height % BLOCK, -width % BLOCK
    padded = jnp.pad(maps, ((0, 0), (0, 0), (0, below), (0, right)), mode="edge")
    blocks = padded.reshape(*channels, (height + below) // BLOCK, BLOCK, (width + right) // BLOCK, BLOCK)
    return blocks.min(axis=(3, 5)).reshape(*channels, -1), blocks.max(axis=(3, 5)).reshape(*channels, -1)


def _bounds(lowest: jax.Array, highest: jax.Array, tags: jax.Array) -> jax.Array:
    """Returns the highest scores ``[N]`` that blocks may have for tags ``[T]``, given a joint's ranges there."""
    outside = jnp.maximum(lowest[1:] - tags[:, None], tags[:, None] - highest[1:])
    # Less by a few float32 steps, because the distance of a pixel may be computed otherwise before it is rounded.
    nearest = _length(jnp.maximum(outside, 0)) * (1 - 1e-6)
    return highest[0] - jnp.round(nearest)


def _best_of_block(
    maps: jax.Array, joint: jax.Array, tags: jax.Array, block: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the score of the best pixel of a block, and the pixel's index in the map."""
    height, width = maps.shape[2:]
    size = min(BLOCK, height), min(BLOCK, width)
    columns = -(-width // BLOCK)
    # The last blocks of rows and columns begin earlier where the map would end within them.
    y = jnp.minimum(block // columns * BLOCK, height - size[0])
    x = jnp.minimum(block % columns * BLOCK, width - size[1])
    start = jnp.array([joint, 0, y, x], jnp.int32)
    heatmap, *tag_maps = lax.dynamic_slice(maps, start, (1, maps.shape[1], *size))[0]
    scores = heatmap - jnp.round(_length([of_tag - tag for of_tag, tag in zip(tag_maps, tags, strict=True)]))
    index = jnp.argmax(scores).astype(jnp.int32)  # the first of equals
    return scores.ravel()[index], (y + index // size[1]) * width + x + index % size[1]


def _length(components: Sequence[jax.Array] | jax.Array) -> jax.Array:
    """Returns the length of vectors, summed one by one: a reduction would not be fused with the rest on a CPU."""
    return jnp.sqrt(functools.reduce(operator.add, [jnp.square(component) for component in components]))
