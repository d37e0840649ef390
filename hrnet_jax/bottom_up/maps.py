"""Merges the outputs of a network into one heatmap and one vector of tags at each pixel.

Outputs are ``[B, h, w, C]``, one for each head, the finest last. Channels 0 to K - 1 are heatmaps. A head with more
channels has tags in the others: one map for each joint, or one for all. Everything here is pure and runs under
``jit``.
"""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Outputs = Sequence[jax.Array]
"""A network's outputs for images of one size, by head."""

Passes = Sequence[Outputs]
"""The outputs for images, and for the flip test also those for the mirrored images."""


class Maps(NamedTuple):
    """Heatmaps and tags of B photos, a plane for each joint."""

    heatmaps: jax.Array  # [B, K, H, W] float32
    tags: jax.Array  # [B, K, T, H, W] float32, or [B, 1, T, H, W] if all joints share them


def merge(
    outputs: Sequence[Passes],
    scales: Sequence[float],
    *,
    flip_order: Sequence[int],
    size: tuple[int, int] | None,
) -> Maps:
    """Merges the outputs of all scales, passes and heads.

    Heads are enlarged to the size of the finest and their heatmaps averaged. Passes are averaged after mirroring
    back, without a shift. Then the maps of each scale are resized again, and heatmaps averaged over the scales.
    Tags are only those of scale 1, and heads and passes give a component each: T = 1 for HigherHRNet, and 2 with
    the flip test. Interpolation is bilinear between pixel centres.

    Args:
      outputs: of each scale, the largest first.
      scales: these scales, 1 among them.
      flip_order: ``[K]`` index of the mirror joint of each joint, see `Skeleton.flip_order`.
      size: (H, W) of the maps, or None for that of the largest scale's finest head.
    """
    merged = [merge_passes(passes, flip_order) for passes in outputs]
    size = size or merged[0][0].shape[1:3]
    heatmaps = _mean([resize(heatmaps, size) for heatmaps, _ in merged])
    tags = [resize(tags, size) for tags in merged[list(scales).index(1)][1]]
    return Maps(_planes(heatmaps), jnp.stack([_planes(component) for component in tags], axis=2))


def merge_passes(passes: Passes, flip_order: Sequence[int]) -> tuple[jax.Array, list[jax.Array]]:
    """Merges heads and passes of one scale.

    Returns heatmaps ``[B, h, w, K]`` and a list of the T components of tags, ``[B, h, w, K]`` or ``[B, h, w, 1]``.
    """
    straight, *mirrored = [_merge_heads(outputs, len(flip_order)) for outputs in passes]
    parts = [straight, *(_mirror_back(maps, flip_order) for maps in mirrored)]
    return _mean([heatmaps for heatmaps, _ in parts]), [component for _, tags in parts for component in tags]


def _merge_heads(outputs: Outputs, num_joints: int) -> tuple[jax.Array, list[jax.Array]]:
    """Returns the heatmaps and tags of one pass at the size of the finest head."""
    size = outputs[-1].shape[1:3]
    lifted = [resize(output, size) for output in outputs]
    tags = [output[..., num_joints:] for output in lifted if output.shape[-1] > num_joints]
    return _mean([output[..., :num_joints] for output in lifted]), tags


def _mirror_back(maps: tuple[jax.Array, list[jax.Array]], flip_order: Sequence[int]) -> Sequence:
    """Maps heatmaps and tags of mirrored images back to the images. Tags that joints share keep their channel."""
    order = np.asarray(flip_order)
    heatmaps, tags = maps
    back = [component[:, :, ::-1] for component in tags]
    tags = [component[..., order] if component.shape[-1] == len(order) else component for component in back]
    return heatmaps[:, :, ::-1][..., order], tags


def resize(maps: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes maps ``[B, h, w, C]`` to a size (H, W) by bilinear interpolation between pixel centres.

    Like ``jax.image.resize`` without antialiasing and PyTorch's ``interpolate``. A pixel has two neighbours along
    each axis. JAX multiplies by matrices of mostly zeros instead, which takes twenty times as long on a CPU.
    """
    for axis, side in ((1, size[0]), (2, size[1])):
        maps = maps if maps.shape[axis] == side else _interpolate(maps, axis, side)
    return maps


def _interpolate(maps: jax.Array, axis: int, side: int) -> jax.Array:
    """Resizes one axis to a number of pixels."""
    last = maps.shape[axis] - 1
    position = np.clip((np.arange(side) + 0.5) * (last + 1) / side - 0.5, 0, last)
    low = position.astype(int)
    shape = [side if i == axis else 1 for i in range(maps.ndim)]
    weight = jnp.asarray((position - low).reshape(shape), maps.dtype)
    before, after = (jnp.take(maps, index, axis=axis) for index in (low, np.minimum(low + 1, last)))
    return before * (1 - weight) + after * weight


def _mean(maps: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, maps) / len(maps)


def _planes(maps: jax.Array) -> jax.Array:
    """Transposes maps ``[B, H, W, C]`` to ``[B, C, H, W]``."""
    return jnp.moveaxis(maps, -1, 1)
