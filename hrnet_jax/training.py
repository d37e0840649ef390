"""One training step as a pure function: the state and a batch in, the next state and its figures out."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from jax import flatten_util
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from hrnet_jax import heatmap, losses, models, skeletons
from hrnet_jax.models import layers

INITIAL_DEVIATION = 0.001
"""Standard deviation of the convolutions at the start, as in the original."""

STEP_INPUTS = ("image", "joints", "visible")
"""What the training step reads of a batch, see ``pipeline.py``."""

METRICS = ("loss", "pck")
"""What of a batch is measured before the update, see `make_gradients`."""

Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """Everything a run must remember: number of steps done, weights, running statistics, Adam's moments."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState


Loss = Callable[..., tuple[jax.Array, tuple[Any, jax.Array]]]
"""See `make_loss`."""

Gradients = Callable[[Any, Any, dict[str, jax.Array]], tuple[Any, tuple[Any, Metrics]]]
"""See `make_gradients`."""

Update = Callable[[TrainState, Any, Any, Metrics], tuple[TrainState, Metrics]]
"""See `make_update`."""

Step = Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, Metrics]]
"""See `join`."""


def init_variables(model: nn.Module, image_size: tuple[int, int], seed: int) -> dict[str, Any]:
    """Draws a network's weights on the host: convolutions from N(0, 0.001), the rest as PyTorch starts it.

    Each weight has a random stream of its own, so that it is the same whatever else the network has. (Compiling
    the network's own `init` would take a minute.)
    """

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        if path[-1] in ("running_var", "weight") and len(leaf.shape) == 1:
            return np.ones(leaf.shape, np.float32)
        if path[-1] != "weight":
            return np.zeros(leaf.shape, np.float32)
        name = np.frombuffer(".".join(path).encode(), np.uint8)
        random = np.random.default_rng([seed, *name])
        return INITIAL_DEVIATION * random.standard_normal(leaf.shape, np.float32)

    flat = traverse_util.flatten_dict(models.shapes(model, image_size))
    return traverse_util.unflatten_dict({path: draw(path, leaf) for path, leaf in flat.items()})


def init_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
    )


def make_target_fn(config: ConfigDict) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns the function from joints and visibility to heatmaps and weights that a configuration asks for."""
    height, width = config.image_size

    def draw(joints: jax.Array, visible: jax.Array) -> tuple[jax.Array, jax.Array]:
        return heatmap.render(
            joints,
            visible,
            image_size=(height, width),
            heatmap_size=(height // layers.STRIDE, width // layers.STRIDE),
            sigma=config.heatmap.sigma,
            unbiased=config.heatmap.unbiased,
        )

    return draw


def _parts(batch: dict[str, jax.Array], count: int) -> dict[str, jax.Array]:
    """Splits ``[B, ...]`` into ``[count, B / count, ...]``, each part with its share of every device's people."""

    def split(x: jax.Array) -> jax.Array:
        return x.reshape(len(x) // count, count, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, batch)


def make_loss(config: ConfigDict, model: nn.Module) -> Loss:
    """Returns the function whose gradient training follows.

    It takes ``params``, ``batch_stats``, normalised images, target heatmaps and the joints' weights, and returns
    the loss, and the statistics after this batch with the heatmaps.

    Raises:
      ValueError: the loss is not one of `losses.LOSSES`.
    """
    if config.loss not in losses.LOSSES:
        raise ValueError(f"`loss` (={config.loss!r}) must be one of {', '.join(losses.LOSSES)}")
    loss_function = losses.LOSSES[config.loss]

    def loss(params, batch_stats, image, targets, weights):
        variables = {"params": params, "batch_stats": batch_stats}
        heatmaps, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
        targets, weights = targets.astype(heatmaps.dtype), weights.astype(heatmaps.dtype)
        return loss_function(heatmaps, targets, weights), (updates["batch_stats"], heatmaps)

    return loss


def update(
    state: TrainState, gradients: Any, batch_stats: Any, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state after a step along these gradients."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes precisions
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), batch_stats, opt_state)


def _finite(loss: jax.Array, after: TrainState, whole: NamedSharding) -> jax.Array:
    """Returns 1 if a loss, and weights and statistics after its step, are finite numbers, else 0.

    A gradient that is not finite makes its weight so: Adam divides it by the root of its square. The gradients
    themselves are not looked at, nor leaf by leaf: each would be one more program for XLA's CPU compiler.
    """
    flat, _ = flatten_util.ravel_pytree((loss, after.params, after.batch_stats))
    return jnp.isfinite(jax.lax.with_sharding_constraint(flat, whole)).all().astype(jnp.float32)


def _choose(finite: jax.Array, after: TrainState, before: TrainState) -> TrainState:
    """Returns the state after a step if it was finite, else that before; what counts steps goes on in any case."""

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(finite > 0, new, old) if jnp.issubdtype(new.dtype, jnp.floating) else new

    return jax.tree.map(choose, after, before)


def batch_shapes(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns what `SEEN` is of a whole batch, of all devices and machines."""
    size, joints = config.batch_size, skeletons.load(config.skeleton).num_joints
    return {
        "image": jax.ShapeDtypeStruct((size, *config.image_size, 3), jnp.uint8),
        "joints": jax.ShapeDtypeStruct((size, joints, 2), jnp.float32),
        "visible": jax.ShapeDtypeStruct((size, joints), jnp.float32),
    }


def make_gradients(config: ConfigDict, model: nn.Module) -> Gradients:
    """Returns the first half of a training step: what a batch says of the weights.

    It takes ``params``, ``batch_stats`` and what is `SEEN` of a batch, and returns the gradients, and the
    statistics after this batch with its `METRICS`: the loss and the share of joints found. With `accumulation` the
    batch is worked through in parts, one after the other: batch normalisation sees a part at a time, and the
    gradients are the mean of the parts'.

    Raises:
      ValueError: as `make_loss`.
    """
    loss_function, draw = make_loss(config, model), make_target_fn(config)
    dtype: jnp.dtype = model.dtype  # pyright: ignore[reportAttributeAccessIssue]

    def loss_and_updates(params, batch_stats, batch):
        image = layers.normalize(batch["image"], config.model.colors, dtype)
        targets, weights = draw(batch["joints"], batch["visible"])
        loss, (batch_stats, heatmaps) = loss_function(params, batch_stats, image, targets, weights)
        pck = heatmap.pck(heatmaps, targets.astype(heatmaps.dtype))
        return loss, (batch_stats, {"loss": loss, "pck": pck})

    gradients_of = jax.grad(loss_and_updates, has_aux=True)

    def accumulated(params, batch_stats, batch):
        """As `gradients_of`, but worked through in parts."""

        def add(carry, part):
            total, batch_stats = carry
            gradients, (batch_stats, metrics) = gradients_of(params, batch_stats, part)
            return (jax.tree.map(jnp.add, total, gradients), batch_stats), metrics

        start = (jax.tree.map(jnp.zeros_like, params), batch_stats)
        (total, batch_stats), metrics = jax.lax.scan(add, start, _parts(batch, config.accumulation))
        mean = jax.tree.map(lambda g: g / config.accumulation, total)
        return mean, (batch_stats, jax.tree.map(jnp.mean, metrics))

    def gradients(params, batch_stats, batch):
        # Even a loop of one round stays a loop for XLA, which compiles loops less well, on CPUs far less.
        found = gradients_of if config.accumulation == 1 else accumulated
        return found(params, batch_stats, batch)

    return gradients


def make_update(config: ConfigDict, optimizer: optax.GradientTransformation, whole: NamedSharding) -> Update:
    """Returns the second half of a training step: the weights follow the gradients.

    It takes the state, and what `make_gradients` says: gradients, statistics and metrics. It returns the next
    state, and the metrics with whether loss, weights and statistics are ``finite`` (1, or 0: with
    `skip_not_finite`, nothing is learnt then).

    Args:
      config: of the run.
      optimizer: what makes updates of gradients.
      whole: every device holds the whole array: so weights lie, even if the optimizer's state is split.
    """

    def update_state(
        state: TrainState, gradients: Any, batch_stats: Any, metrics: Metrics
    ) -> tuple[TrainState, Metrics]:
        after = update(state, gradients, batch_stats, optimizer)
        # If the optimizer's state is split, each device updates a part of the weights: they are gathered once.
        params, batch_stats = jax.lax.with_sharding_constraint((after.params, batch_stats), whole)
        after = TrainState(after.step, params, batch_stats, after.opt_state)
        finite = _finite(metrics["loss"], after, whole)
        after = _choose(finite, after, state) if config.skip_not_finite else after
        return after, metrics | {"finite": finite}

    return update_state


def join(gradients_of: Gradients, update_state: Update) -> Step:
    """Returns the training step that two halves make, compiled or not.

    It takes a state and a batch (see ``pipeline.py``; `SEEN` is read of it), and returns the next state and the
    metrics; see `make_gradients` and `make_update`.
    """

    def train_step(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        seen = {name: batch[name] for name in STEP_INPUTS}
        gradients, (batch_stats, metrics) = gradients_of(state.params, state.batch_stats, seen)
        return update_state(state, gradients, batch_stats, metrics)

    return train_step


def make_train_step(
    config: ConfigDict, model: nn.Module, optimizer: optax.GradientTransformation, whole: NamedSharding
) -> Step:
    """Returns the training step that a configuration describes: pure, for any transformation of functions.

    The arguments are those of the halves that it is joined from. (``train.py`` compiles each half by itself, which
    takes less time, see ``memory.py``.)
    """
    return join(make_gradients(config, model), make_update(config, optimizer, whole))
