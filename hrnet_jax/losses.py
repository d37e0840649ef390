"""Losses between predicted and target heatmaps, for each joint of each person.

The caller reduces them: training takes the mean over people and joints.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

HARDEST_JOINTS = 8
"""Joints per person in `ohkm`, if no other number is given."""

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


def ohkm(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array, hardest: int = HARDEST_JOINTS) -> jax.Array:
    """Keeps `mse` for the `hardest` joints of each person, those with the largest errors; 0 for the others.

    Online hard keypoint mining (Chen et al., Cascaded Pyramid Network, CVPR 2018). Others are arguments of `mse`.

    Returns:
      ``[B, K]`` errors times ``K / hardest``, so that their mean is the mean over the hardest joints.

    Raises:
      ValueError: there are fewer joints.
    """
    errors = mse(heatmaps, targets, weights)
    joints = errors.shape[1]
    if not 1 <= hardest <= joints:
        raise ValueError(f"`hardest` (={hardest}) must be from 1 to the number of joints, {joints}")
    kept = jax.nn.one_hot(jax.lax.top_k(errors, hardest)[1], joints, dtype=errors.dtype).sum(1)
    return errors * kept * (joints / hardest)


LOSSES: dict[str, Loss] = {"mse": mse, "ohkm": ohkm}
