"""Adam and its learning rate as one optax chain; the rate is a function of the step alone."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

Schedule = Callable[[Any], Any]
"""Step (a number or a traced array) -> learning rate."""

DROP = 0.1
"""What the learning rate is multiplied by at each drop."""


def schedule(
    learning_rate: float, drop_epochs: Sequence[int], steps_per_epoch: int, warmup_steps: int = 0
) -> Schedule:
    """Returns the learning rate as a function of the step: a tenth after each of the given epochs.

    With `warmup_steps` it grows linearly from nothing over the first steps. The original has none: Adam's first
    steps then move every weight by the learning rate, which is as large as the weights are at the start.

    Raises:
      ValueError: a drop is no number of epochs from 0 on, or a whole one whose step is beyond 32 bits.
    """

    def sound(epoch: Any) -> bool:
        if isinstance(epoch, int | np.integer) and not isinstance(epoch, bool):
            return 0 <= int(epoch) * steps_per_epoch < 2**31
        return isinstance(epoch, float | np.floating) and bool(epoch >= 0)  # NaN is not

    if not isinstance(drop_epochs, tuple | list) or not all(map(sound, drop_epochs)):
        raise ValueError(
            f"`learning_rate_drops` (={drop_epochs}) must be a tuple of numbers of epochs, such as (170, 200), of"
            " fewer than 2**31 steps; () is for none"
        )
    drops = {epoch * steps_per_epoch: DROP for epoch in drop_epochs}
    rate = optax.piecewise_constant_schedule(learning_rate, drops)
    if not warmup_steps:
        return rate
    return lambda step: rate(step) * jnp.minimum((step + 1.0) / warmup_steps, 1.0)


def adam(learning_rate: Schedule, weight_decay: float) -> optax.GradientTransformation:
    """Returns Adam with PyTorch's defaults; `weight_decay` is added to the gradients, as PyTorch's Adam does.

    A weight decay above 0 warns: the original's configs name 1e-4 but never use it, and using it ruins the run.
    """
    if not weight_decay:
        return optax.adam(learning_rate)
    warnings.warn(
        f"`weight_decay` (={weight_decay}) is above 0: with Adam, 1e-4 is known to cost HRNet 60 AP;"
        " the published results use 0",
        stacklevel=2,
    )
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate))
