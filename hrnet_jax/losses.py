"""Losses between predicted and target heatmaps, for each joint of each person.

The caller reduces them: training takes the mean over people and joints.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

HARDEST_JOINTS = 8
"""Joints per person in `ohkm`."""

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(heatmaps ``[B, h, w, K]``, targets ``[B, h, w, K]``, weights ``[B, K]``) -> ``[B, K]``."""


def mse(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes half the mean squared error of each heatmap, as the original's ``JointsMSELoss``.

    Args:
      heatmaps: ``[B, h, w, K]`` predictions.
      targets: ``[B, h, w, K]``.
      weights: ``[B, K]`` factors of the differences. As in the original, they are therefore squared, and joints of
        weight 0 count in a mean over joints.

    Returns:
      ``[B, K]`` means over pixels.
    """
    error = (heatmaps - targets) * weights[:, None, None]
    return 0.5 * jnp.square(error).mean((1, 2))


def ohkm(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Keeps `mse` for the `HARDEST_JOINTS` joints of each person with the largest errors; 0 for the others.

    Online hard keypoint mining (Chen et al., Cascaded Pyramid Network, CVPR 2018). For the arguments see `mse`.

    Returns:
      ``[B, K]`` errors times ``K / HARDEST_JOINTS``, so that their mean is the mean over the hardest joints.
    """
    errors = mse(heatmaps, targets, weights)
    joints = errors.shape[1]
    count = min(HARDEST_JOINTS, joints)
    hardest = jax.nn.one_hot(jax.lax.top_k(errors, count)[1], joints, dtype=errors.dtype).sum(1)
    return errors * hardest * (joints / count)


LOSSES: dict[str, Loss] = {"mse": mse, "ohkm": ohkm}
