"""Adam and its learning rate schedule, as an optax transformation."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

Schedule = Callable[[Any], Any]
"""Step, as a number or a traced array -> learning rate."""

DROP = 0.1
"""Factor of the learning rate at each drop."""


def schedule(
    learning_rate: float, drop_epochs: Sequence[int], steps_per_epoch: int, warmup_steps: int = 0
) -> Schedule:
    """Piecewise constant learning rate with an optional linear warm-up.

    The original has no warm-up: Adam's first steps change every weight by about the learning rate, and the initial
    weights are no larger than that.

    Args:
      learning_rate: before the first drop.
      drop_epochs: numbers of epochs to multiply the rate by `DROP` after. Fractions are allowed.
      steps_per_epoch: steps in an epoch.
      warmup_steps: number of first steps over which the rate grows linearly from 0. 0 for none.

    Returns:
      Learning rate as a function of the step.

    Raises:
      ValueError: a drop is not a non-negative number of epochs, or not fewer than 2**31 steps.
    """

    def is_valid(epoch: Any) -> bool:
        if isinstance(epoch, int | np.integer) and not isinstance(epoch, bool):
            return 0 <= int(epoch) * steps_per_epoch < 2**31
        return isinstance(epoch, float | np.floating) and bool(epoch >= 0)  # false for NaN

    if not isinstance(drop_epochs, tuple | list) or not all(map(is_valid, drop_epochs)):
        raise ValueError(
            f"`learning_rate_drops` (={drop_epochs}) must be a tuple of numbers of epochs such as (170, 200), each"
            " fewer than 2**31 steps, or () for none"
        )
    drops = {epoch * steps_per_epoch: DROP for epoch in drop_epochs}
    rate = optax.piecewise_constant_schedule(learning_rate, drops)
    if not warmup_steps:
        return rate
    return lambda step: rate(step) * jnp.minimum((step + 1.0) / warmup_steps, 1.0)


def adam(learning_rate: Schedule, weight_decay: float) -> optax.GradientTransformation:
    """Adam (Kingma & Ba, 2015) with PyTorch's defaults.

    Args:
      learning_rate: schedule.
      weight_decay: factor of the weights that is added to the gradients, as in PyTorch's ``Adam``. Warns above 0:
        the original's configurations state 1e-4 but never apply it, and applying it costs most of the accuracy.
    """
    if not weight_decay:
        return optax.adam(learning_rate)
    warnings.warn(
        f"`weight_decay` (={weight_decay}) is above 0: with Adam, 1e-4 is known to cost HRNet 60 AP;"
        " the published results use 0",
        stacklevel=2,
    )
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))
