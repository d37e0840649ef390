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


def _groups(people: int, group_size: int | None) -> int:
    """Returns the number of groups in a batch. A smaller batch is one group."""
    size = min(group_size or people, people)
    if people % size:
        raise ValueError(
            f"`norm_group_size` (={group_size}) must divide the number of people in a forward pass (={people})"
        )
    return people // size


def _mean(x: jax.Array, groups: int) -> jax.Array:
    """Averages ``[B, H, W, C]`` over the people of each group and their pixels to ``[G, C]``.

    Divides people into groups only after the sums over pixels: TPUs have people in the 128 lanes of their vectors,
    and a reshape of a large array would tear these apart. Sums each row first: XLA's CPU code for two axes at once
    is up to ten times slower. The division between the two sums keeps XLA from merging them.
    """
    count = math.prod(x.shape[:3]) // groups
    people = (x.sum(2) / count).sum(1)
    return people.reshape(groups, -1, x.shape[-1]).sum(1)


def _of_people(value: jax.Array, people: int) -> jax.Array:
    """Repeats ``[G, C]`` for the people of each group: ``[B, C]``. Leaves one group ``[1, C]`` to be broadcast."""
    groups, channels = value.shape
    if groups == 1:
        return value
    return jax.lax.broadcast_in_dim(value, (groups, people // groups, channels), (0, 2)).reshape(people, channels)


def _broadcast(value: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcasts ``[G, C]`` over people and pixels to the shape of `x`."""
    return jax.lax.broadcast_in_dim(_of_people(value, x.shape[0]), x.shape, (0, 3))


def _broadcast_rows(value: jax.Array, x: jax.Array) -> jax.Array:
    """Like `_broadcast`, for values with a gradient.

    The transpose of a broadcast is a sum. Two steps with a factor between them make it a sum over each row first,
    as in `_mean`. The factor is exact: a half, then two.
    """
    people = _of_people(0.5 * value, x.shape[0])
    rows = jax.lax.broadcast_in_dim(people, (*x.shape[:2], x.shape[3]), (0, 2))
    return jax.lax.broadcast_in_dim(2 * rows, x.shape, (0, 1, 3))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def standardize(
    x: jax.Array, weight: jax.Array, bias: jax.Array, groups: int, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes ``(x - mean) / sqrt(var + epsilon) * weight + bias`` for every group and channel.

    Computes in float32 at least. The variance is computed in two passes and is accurate for large means.
    Activations in half precision need only one pass: what is lost of the mean of their squares in float32 is less
    than what the rounding of the activations themselves adds to it. The custom derivative needs two sums over
    pixels in the backward pass instead of four.

    Args:
      x: ``[B, H, W, C]``.
      weight: ``[1, C]``.
      bias: ``[1, C]``.
      groups: number of groups G of successive people, normalised each for itself.
      epsilon: added to the variance.

    Returns:
      Normalised `x`, mean ``[G, C]``, and biased variance ``[G, C]``.
    """
    one_pass, x = x.dtype.itemsize < 4, x.astype(at_least_float32(x.dtype))
    mean = _mean(x, groups)
    centered = x - _broadcast(mean, x)
    if one_pass:
        var = jnp.maximum(_mean(jnp.square(x), groups) - jnp.square(mean), 0)
    else:
        var = _mean(jnp.square(centered), groups)
    return centered * _broadcast(jax.lax.rsqrt(var + epsilon) * weight, x) + _broadcast(bias, x), mean, var


@standardize.defjvp
def _standardize_jvp(groups, epsilon, primals, tangents):
    """Derivative of `standardize`, itself differentiable."""
    (x, weight, _), (dx, dweight, dbias) = primals, tangents
    y, mean, var = standardize(*primals, groups, epsilon)
    x, dx = x.astype(y.dtype), dx.astype(y.dtype)
    inverse = jax.lax.rsqrt(var + epsilon)
    unit, scale = (x - _broadcast(mean, x)) * _broadcast(inverse, x), inverse * weight
    # Per-channel factors are combined before broadcasting, because each broadcast is a sum in the backward pass.
    dmean, slope = _mean(dx, groups), _mean(unit * dx, groups)
    dy = (
        _broadcast(scale, x) * dx
        + _broadcast_rows(dbias - scale * dmean, x)
        + unit * _broadcast_rows(dweight - scale * slope, x)
    )
    return (y, mean, var), (dy, dmean, 2 * slope / inverse)


_standardize = jax.jit(standardize, static_argnums=(3, 4))  # traced once per shape instead of once per layer


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's arithmetic.

    Unlike flax's own module, computes the variance of float32 in two passes and keeps the unbiased running
    variance. The running statistics are those of the first group. In the original they are those of the first GPU.
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
            exact, scale = x.astype(dtype), jax.lax.rsqrt(running_var + epsilon) * weight
            y = (exact - _broadcast(running_mean, exact)) * _broadcast_rows(scale, exact)
            return (y + _broadcast_rows(bias, exact)).astype(x.dtype)

        groups = _groups(len(x), self.norm.group_size)
        y, batch_mean, batch_var = _standardize(x, weight, bias, groups, epsilon)
        if not self.is_initializing():
            count = math.prod(x.shape[:3]) // groups
            self._update(mean, batch_mean[0])
            self._update(var, batch_var[0] * (count / max(count - 1, 1)))
        return y.astype(x.dtype)

    def _update(self, running: nn.Variable, newest: jax.Array) -> None:
        newest = newest.astype(running.value.dtype)
        running.value = (1 - self.norm.momentum) * running.value + self.norm.momentum * newest
