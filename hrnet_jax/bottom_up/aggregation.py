"""Aggregation of a network's outputs: all heads, the mirrored image and all scales become one set of maps.

Outputs are ``[B, h, w, C]``, one for each head, the finest last. Channels 0 to K - 1 are heatmaps. A head with
more channels has tags in the others: one map for each joint, or one for all joints. Maps are
``[B, K, 1 + T, h, w]``: the heatmap of each joint, then the T components of its tags. HigherHRNet has T = 1, and 2
with the flip test.

Everything here is pure and runs under ``jit``. Barriers end `merge_passes` and `merge_scales`: on CPUs, XLA would
fuse them with what follows, and compute their results anew for each pixel that is read.
"""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Outputs = Sequence[jax.Array]
"""A network's outputs for images of one size, by head."""

Passes = Sequence[Outputs]
"""The outputs for images, and for the flip test also those for the mirrored images."""


def merge_passes(passes: Passes, flip_order: Sequence[int]) -> jax.Array:
    """Merges the heads and passes of one scale (Cheng et al., section 3.4).

    Heads are enlarged to the size of the finest, and their heatmaps are averaged. The maps of mirrored images are
    mirrored back, without a shift. Heatmaps of both passes are averaged, and their tags are kept side by side.

    Args:
      passes: one or two, with the same heads.
      flip_order: ``[K]`` index of the mirror joint of each joint, see `Skeleton.flip_order`.

    Returns:
      Maps ``[B, K, 1 + T, h, w]``.

    Raises:
      ValueError: a head has another number of channels than those of K joints.
    """
    straight, *mirrored = [_merge_heads(outputs, len(flip_order)) for outputs in passes]
    both = [straight, *(_mirror_back(maps, flip_order) for maps in mirrored)]
    merged = [_mean([heatmaps for heatmaps, *_ in both]), *(tags for _, *of_pass in both for tags in of_pass)]
    return lax.optimization_barrier(jnp.moveaxis(jnp.stack(merged, axis=1), -1, 1))


def _merge_heads(outputs: Outputs, num_joints: int) -> list[jax.Array]:
    """Returns the heatmaps and each component of the tags of one pass, ``[B, h, w, K]`` of the finest head."""
    expected = num_joints, num_joints + 1, 2 * num_joints
    if not {output.shape[-1] for output in outputs} <= {*expected}:
        found = [output.shape[-1] for output in outputs]
        raise ValueError(
            f"`outputs` have {found} channels, but {num_joints} joints take {expected}, without tags, with shared"
            " ones or with their own: give the skeleton of the network"
        )
    enlarged = [interpolate(output, outputs[-1].shape[1:3], axes=(1, 2)) for output in outputs]
    heatmaps = [output[..., :num_joints] for output in enlarged]
    tags = [output[..., num_joints:] for output in enlarged if output.shape[-1] > num_joints]
    return [_mean(heatmaps), *(jnp.broadcast_to(component, heatmaps[0].shape) for component in tags)]


def _mirror_back(maps: Sequence[jax.Array], flip_order: Sequence[int]) -> list[jax.Array]:
    """Maps the maps ``[B, h, w, K]`` of mirrored images back to the images."""
    return [of_kind[:, :, ::-1][..., np.asarray(flip_order)] for of_kind in maps]


def merge_scales(
    merged: Sequence[jax.Array], scales: Sequence[float], size: Sequence[int] | None = None
) -> jax.Array:
    """Merges the maps of several scales: averages heatmaps, and takes tags from scale 1 alone.

    Args:
      merged: from `merge_passes` for each scale, the largest first.
      scales: these scales, 1 among them.
      size: (H, W) of the result, or None for that of the largest scale.

    Returns:
      Maps ``[B, K, 1 + T, H, W]``.
    """
    size = size or merged[0].shape[-2:]
    heatmaps = _mean([interpolate(maps[:, :, :1], size, axes=(3, 4)) for maps in merged])
    tags = interpolate(merged[list(scales).index(1)][:, :, 1:], size, axes=(3, 4))
    return lax.optimization_barrier(jnp.concatenate([heatmaps, tags], axis=2))


def interpolate(maps: jax.Array, size: Sequence[int], axes: Sequence[int]) -> jax.Array:
    """Resizes two axes to a size (H, W) by bilinear interpolation between pixel centres, without antialiasing.

    ``jax.image.resize`` gives the same, but multiplies by matrices of mostly zeros. On a CPU that takes several
    times as long.
    """
    for axis, side in zip(axes, size, strict=True):
        maps = maps if maps.shape[axis] == side else _interpolate_axis(maps, axis, side)
    return maps


def _interpolate_axis(maps: jax.Array, axis: int, side: int) -> jax.Array:
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
