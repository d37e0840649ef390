"""Batch normalisation with PyTorch's arithmetic, and whose statistics it uses."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import linen as nn


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the precision for what must not be rounded to that of the activations."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


@dataclasses.dataclass(frozen=True)
class Norm:
    """Whose statistics batch normalisation uses in training; it decides results.

    Attributes:
      group_size: number of people normalised together. None: the whole global batch, on however many devices
        it lies. 32: as the original, which normalised the 32 people of each GPU by themselves. When groups do
        not straddle devices, normalising needs no communication.
      frozen: use the running statistics in training as well, and leave them as they are (fine-tuning).
      momentum: weight of the newest batch in the running statistics (PyTorch's meaning of the word).
      epsilon: added to the variance.
    """

    group_size: int | None = None
    frozen: bool = False
    momentum: float = 0.1
    epsilon: float = 1e-5


def _grouped(x: jax.Array, group_size: int | None) -> jax.Array:
    """Splits the batch ``[B, ...]`` into ``[groups, group_size, ...]``; smaller batches are one group."""
    size = min(group_size or len(x), len(x))
    if len(x) % size:
        raise ValueError(
            f"`norm_group_size` (={group_size}) must divide the number of people worked on at once (={len(x)})"
        )
    return x.reshape(len(x) // size, size, *x.shape[1:])


def _mean(x: jax.Array) -> jax.Array:
    """Averages ``[G, B, H, W, C]`` over people and pixels: ``[G, C]``.

    Over a row first: XLA's CPU code for all three axes at once takes up to ten times as long. XLA would join two
    sums, but not those with a division between them.
    """
    return (x.sum(3) / math.prod(x.shape[1:4])).sum((1, 2))


def _repeat(value: jax.Array, x: jax.Array) -> jax.Array:
    """Repeats a value for each channel, ``[G, C]`` or ``[1, C]``, over people and pixels: the shape of ``x``."""
    return jax.lax.broadcast_in_dim(value, x.shape, (0, 4))


def _spread(value: jax.Array, x: jax.Array) -> jax.Array:
    """As `_repeat`, for values of which a gradient is asked.

    What goes forward as repeating comes back as a sum, which is to be over a row first, with a factor between the
    two sums, as in `_mean` (halving is exact).
    """
    rows = jax.lax.broadcast_in_dim(0.5 * value, (*x.shape[:3], x.shape[4]), (0, 3))
    return jax.lax.broadcast_in_dim(2 * rows, x.shape, (0, 1, 2, 4))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def standardize(
    x: jax.Array, weight: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gives every channel of each group of people the mean ``bias`` and the deviation ``weight``.

    The variance is taken in two passes, so that it survives a large mean. The derivative is written out: it needs
    two sums over the pixels in the backward pass, where that of the formula above it would take four.

    Args:
      x: ``[G, B, H, W, C]``, groups that are normalised by themselves.
      weight: ``[1, C]``.
      bias: the same.
      epsilon: added to the variance.

    Returns:
      ``x`` normalised, and each group's mean and (biased) variance, ``[G, C]``.
    """
    mean = _mean(x)
    centered = x - _repeat(mean, x)
    var = _mean(jnp.square(centered))
    return centered * _repeat(jax.lax.rsqrt(var + epsilon) * weight, x) + _repeat(bias, x), mean, var


@standardize.defjvp
def _standardize_jvp(epsilon, primals, tangents):
    """The derivative of `standardize`; it holds for derivatives of derivatives, too."""
    (x, weight, _), (dx, dweight, dbias) = primals, tangents
    y, mean, var = standardize(*primals, epsilon)
    inverse = jax.lax.rsqrt(var + epsilon)
    unit, scale = (x - _repeat(mean, x)) * _repeat(inverse, x), inverse * weight
    # Vectors of a value a channel are gathered before they are spread: each spreading is one sum going back.
    dmean, slope = _mean(dx), _mean(unit * dx)
    dy = _repeat(scale, x) * dx + _spread(dbias - scale * dmean, x) + unit * _spread(dweight - scale * slope, x)
    return (y, mean, var), (dy, dmean, 2 * slope / inverse)


_standardize = jax.jit(standardize, static_argnums=3)  # traced once for all layers of a shape


class BatchNorm(nn.Module):
    """Batch normalisation as PyTorch computes it.

    The variance is taken in two passes and the running variance is the unbiased one; flax's own module does
    neither. The running statistics follow the first group, as the original's followed its first GPU.
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
            y = (group - _repeat(running_mean, group)) * _spread(scale, group) + _spread(bias, group)
            return y[0].astype(x.dtype)

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
