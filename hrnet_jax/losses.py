"""Losses between predicted and target heatmaps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

HARDEST_JOINTS = 8
"""Joints per person in `ohkm`."""

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(heatmaps, targets, weights) -> scalar."""


def _per_joint(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns half the mean squared error of each heatmap, ``[B, K]``. The weight scales the difference."""
    error = (heatmaps - targets) * weights[:, None, None]
    return 0.5 * jnp.square(error).mean((1, 2))


def mse(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes half the mean squared error, as the original's ``JointsMSELoss``.

    Args:
      heatmaps: ``[B, h, w, K]`` predictions.
      targets: ``[B, h, w, K]``.
      weights: ``[B, K]``. As in the original, joints with weight 0 have no error but count in the mean.

    Returns:
      Scalar mean over people, joints and pixels.
    """
    return _per_joint(heatmaps, targets, weights).mean()


def ohkm(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes `mse` over the `HARDEST_JOINTS` joints of each person with the largest errors.

    Online hard keypoint mining (Chen et al., Cascaded Pyramid Network, CVPR 2018).
    """
    errors = _per_joint(heatmaps, targets, weights)
    hardest, _ = jax.lax.top_k(errors, min(HARDEST_JOINTS, errors.shape[1]))
    return hardest.mean()


LOSSES: dict[str, Loss] = {"mse": mse, "ohkm": ohkm}
