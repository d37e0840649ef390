"""Batch normalisation with PyTorch's arithmetic, over the whole batch or over groups of it."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """Returns float64 for float64 and float32 otherwise: the precision of statistics and heatmaps."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Settings of batch normalisation. They affect training results.

    Attributes:
      group_size: number of people normalised together. None for the whole global batch, across all devices. 32 as
        in the original, with 32 people per GPU. Groups within one device need no communication.
      frozen: whether to use the running statistics in training too, without updating them (for fine-tuning).
      momentum: weight of the new batch in the running statistics, as in PyTorch.
      epsilon: added to the variance.
    """

    group_size: int | None = None
    frozen: bool = False
    momentum: float = 0.1
    epsilon: float = 1e-5


def _grouped(x: jax.Array, group_size: int | None) -> jax.Array:
    """Reshapes ``[B, ...]`` to ``[groups, group_size, ...]``. A smaller batch is one group."""
    size = min(group_size or len(x), len(x))
    if len(x) % size:
        raise ValueError(
            f"`norm_group_size` (={group_size}) must divide the number of people in a forward pass (={len(x)})"
        )
    return x.reshape(len(x) // size, size, *x.shape[1:])


def _mean(x: jax.Array) -> jax.Array:
    """Averages ``[G, B, H, W, C]`` over people and pixels to ``[G, C]``.

    Sums each row first: XLA's CPU code for three axes at once is up to ten times slower. The division between the
    two sums keeps XLA from merging them.
    """
    return (x.sum(3) / math.prod(x.shape[1:4])).sum((1, 2))


def _broadcast(value: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcasts ``[G, C]`` or ``[1, C]`` over people and pixels to the shape of `x`."""
    return jax.lax.broadcast_in_dim(value, x.shape, (0, 4))


def _broadcast_rows(value: jax.Array, x: jax.Array) -> jax.Array:
    """Like `_broadcast`, for values with a gradient.

    The transpose of a broadcast is a sum. Two steps with a factor between them make it a sum over each row first,
    as in `_mean`. The factor is exact: a half, then two.
    """
    rows = jax.lax.broadcast_in_dim(0.5 * value, (*x.shape[:3], x.shape[4]), (0, 3))
    return jax.lax.broadcast_in_dim(2 * rows, x.shape, (0, 1, 2, 4))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def standardize(
    x: jax.Array, weight: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes ``(x - mean) / sqrt(var + epsilon) * weight + bias`` for every group and channel.

    The variance is computed in two passes and is accurate for large means. The custom derivative needs two sums
    over pixels in the backward pass instead of four.

    Args:
      x: ``[G, B, H, W, C]``, normalised within each of the G groups.
      weight: ``[1, C]``.
      bias: ``[1, C]``.
      epsilon: added to the variance.

    Returns:
      Normalised `x`, mean ``[G, C]``, and biased variance ``[G, C]``.
    """
    mean = _mean(x)
    centered = x - _broadcast(mean, x)
    var = _mean(jnp.square(centered))
    return centered * _broadcast(jax.lax.rsqrt(var + epsilon) * weight, x) + _broadcast(bias, x), mean, var


@standardize.defjvp
def _standardize_jvp(epsilon, primals, tangents):
    """Derivative of `standardize`, itself differentiable."""
    (x, weight, _), (dx, dweight, dbias) = primals, tangents
    y, mean, var = standardize(*primals, epsilon)
    inverse = jax.lax.rsqrt(var + epsilon)
    unit, scale = (x - _broadcast(mean, x)) * _broadcast(inverse, x), inverse * weight
    # Per-channel factors are combined before broadcasting, because each broadcast is a sum in the backward pass.
    dmean, slope = _mean(dx), _mean(unit * dx)
    dy = (
        _broadcast(scale, x) * dx
        + _broadcast_rows(dbias - scale * dmean, x)
        + unit * _broadcast_rows(dweight - scale * slope, x)
    )
    return (y, mean, var), (dy, dmean, 2 * slope / inverse)


_standardize = jax.jit(standardize, static_argnums=3)  # traced once per shape instead of once per layer


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's arithmetic.

    Unlike flax's own module, computes the variance in two passes and keeps the unbiased running variance. The
    running statistics are those of the first group. In the original they are those of the first GPU.
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises ``[B, H, W, C]`` over all axes but the last."""
        shape, dtype = (x.shape[-1],), at_least_float32(x.dtype)
        weight = self.param("weight", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        mean = self.variable("batch_stats", "running_mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "running_var", jnp.ones, shape, jnp.float32)
        weight, bias, running_mean, running_var = (
            a.astype(dtype).reshape(1, -1) for a in (weight, bias, mean.value, var.value)
        )
        epsilon = self.norm.epsilon
        if not train or self.norm.frozen:
            group, scale = x[None].astype(dtype), jax.lax.rsqrt(running_var + epsilon) * weight
            y = (group - _broadcast(running_mean, group)) * _broadcast_rows(scale, group)
            return (y + _broadcast_rows(bias, group))[0].astype(x.dtype)

        groups = _grouped(x, self.norm.group_size)
        y, batch_mean, batch_var = _standardize(groups.astype(dtype), weight, bias, epsilon)
        if not self.is_initializing():
            count = groups[0].size // groups.shape[-1]
            self._update(mean, batch_mean[0])
            self._update(var, batch_var[0] * (count / max(count - 1, 1)))
        return y.astype(x.dtype).reshape(x.shape)

    def _update(self, running: nn.Variable, newest: jax.Array) -> None:
        newest = newest.astype(running.value.dtype)
        running.value = (1 - self.norm.momentum) * running.value + self.norm.momentum * newest
