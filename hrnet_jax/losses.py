"""How far predicted heatmaps are from their targets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

HARDEST_JOINTS = 8


def _per_joint(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Half the mean squared error of each heatmap, ``[B, K]``; the weight multiplies both sides."""
    error = (heatmaps - targets) * weights[:, None, None]
    return 0.5 * jnp.square(error).mean((1, 2))


def mse(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean over people and joints of half the mean squared error: the original's `JointsMSELoss`.

    Args:
      heatmaps: ``[B, h, w, K]`` predictions.
      targets: ``[B, h, w, K]``.
      weights: ``[B, K]``; joints of weight 0 add nothing but are counted in the mean, as in the original.
    """
    return _per_joint(heatmaps, targets, weights).mean()


def ohkm(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """As `mse`, but over the 8 joints of each person with the largest error (online hard keypoint mining)."""
    errors = _per_joint(heatmaps, targets, weights)
    hardest, _ = jax.lax.top_k(errors, min(HARDEST_JOINTS, errors.shape[1]))
    return hardest.mean()


Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

LOSSES: dict[str, Loss] = {"mse": mse, "ohkm": ohkm}
