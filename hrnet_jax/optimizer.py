"""Optimizers and learning rate schedules, as optax transformations that compute what PyTorch's do."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from hrnet_jax import fields

Value = TypeVar("Value")
Schedule = Callable[[Any], Any]
"""Step, as a number or a traced array -> learning rate."""

DROP = 0.1
"""Factor of the learning rate at each drop."""

RMSPROP_DECAY, EPSILON = 0.99, 1e-8  # PyTorch's defaults
NORM_EPSILON = 1e-6  # of PyTorch's `clip_grad_norm_`


def build(config: ConfigDict, steps_per_epoch: int) -> tuple[Schedule, optax.GradientTransformation]:
    """Returns the learning rate by step and the optimizer of a configuration.

    Raises:
      ValueError: a field is wrong.
    """
    make = fields.find("schedule", config.schedule, SCHEDULES)
    rate = warm_up(_call("schedule", config, make, steps_per_epoch), config.warmup_steps)
    return rate, make_transformation(config, rate)


def make_transformation(config: ConfigDict, rate: Schedule) -> optax.GradientTransformation:
    """Returns the optimizer of a configuration for a learning rate. Raises ValueError if a field is wrong."""
    for name, limit in (("momentum", 1.0), ("gradient_clip", math.inf)):
        if not 0 <= config[name] < limit:
            raise ValueError(f"`{name}` (={config[name]}) must be at least 0 and less than {limit}")
    if config.nesterov and (config.optimizer in OPTIMIZERS.keys() - {"sgd"} or not config.momentum):
        raise ValueError("`nesterov` (=True) needs `optimizer` sgd and a `momentum` above 0")
    optimizer = _call("optimizer", config, fields.find("optimizer", config.optimizer, OPTIMIZERS), rate)
    return optax.chain(clip(config.gradient_clip), optimizer) if config.gradient_clip else optimizer


def _call(field: str, config: ConfigDict, make: Callable[..., Value], argument: Any) -> Value:
    """Returns what the function that a field names makes. Some, such as optax's own, have other parameters."""
    try:
        return make(config, argument)
    except (TypeError, AttributeError) as error:
        given = {"schedule": "the steps of an epoch", "optimizer": "the learning rate's schedule"}[field]
        error.add_note(
            f"`{field}` (={config[field]!r}) is called with the configuration and {given}: wrap functions of other"
            " parameters in one of yours (docs/extending.md)"
        )
        raise


def step_schedule(learning_rate: float, drop_epochs: Sequence[int], steps_per_epoch: int) -> Schedule:
    """Returns a piecewise constant learning rate.

    Args:
      learning_rate: before the first drop.
      drop_epochs: numbers of epochs to multiply the rate by `DROP` after. Fractions are allowed.
      steps_per_epoch: steps in an epoch.

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
    return optax.piecewise_constant_schedule(learning_rate, drops)


def warm_up(rate: Schedule, steps: int) -> Schedule:
    """Returns a schedule that grows linearly from 0 over the first steps.

    The original has no warm-up: Adam's first steps change every weight by about the learning rate, and the initial
    weights are no larger than that.
    """
    if not steps:
        return rate
    return lambda step: rate(step) * jnp.minimum((step + 1.0) / steps, 1.0)


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


def sgd(
    learning_rate: Schedule, weight_decay: float, momentum: float, nesterov: bool
) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum as PyTorch's: the learning rate scales the momentum's result."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.trace(momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def rmsprop(learning_rate: Schedule, weight_decay: float, momentum: float) -> optax.GradientTransformation:
    """RMSprop (Tieleman & Hinton, 2012) with PyTorch's defaults: epsilon is added to the root."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_rms(RMSPROP_DECAY, EPSILON, eps_in_sqrt=False),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def clip(norm: float) -> optax.GradientTransformation:
    """Scales gradients down to a global norm, as PyTorch's ``clip_grad_norm_``."""

    def scale(gradients: Any, _: Any) -> Any:
        factor = jnp.minimum(norm / (optax.tree.norm(gradients) + NORM_EPSILON), 1)
        return jax.tree.map(lambda gradient: gradient * factor.astype(gradient.dtype), gradients)

    return optax.stateless(scale)


SCHEDULES: dict[str, Callable[[ConfigDict, int], Schedule]] = {
    "steps": lambda config, epoch: step_schedule(config.learning_rate, config.learning_rate_drops, epoch),
    "cosine": lambda config, epoch: optax.cosine_decay_schedule(config.learning_rate, config.epochs * epoch),
    "polynomial": lambda config, epoch: optax.polynomial_schedule(
        config.learning_rate, 0.0, config.schedule_power, config.epochs * epoch
    ),
    "constant": lambda config, epoch: optax.constant_schedule(config.learning_rate),
}
"""Learning rate schedules by name: functions of the configuration and the number of steps in an epoch."""

OPTIMIZERS: dict[str, Callable[[ConfigDict, Schedule], optax.GradientTransformation]] = {
    "adam": lambda config, rate: adam(rate, config.weight_decay),
    "adamw": lambda config, rate: optax.adamw(rate, weight_decay=config.weight_decay),
    "sgd": lambda config, rate: sgd(rate, config.weight_decay, config.momentum, config.nesterov),
    "rmsprop": lambda config, rate: rmsprop(rate, config.weight_decay, config.momentum),
}
"""Optimizers by name: functions of the configuration and the schedule."""
