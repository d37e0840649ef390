"""One training step as a pure function: the state and a batch in, the next state and its metrics out.

A step is the same for every task: the gradients of a loss, then the optimizer's update. It consists of two
functions, so that XLA compiles one while JAX traces the other.
"""

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from jax import flatten_util
from jax.sharding import Mesh, NamedSharding

from hrnet_jax import devices, models, sharding

INITIAL_DEVIATION = 0.001
"""Standard deviation of the initial convolutions, as in the original."""

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]

Loss = Callable[[Any, Any, Batch], tuple[jax.Array, tuple[Any, Metrics]]]
"""(params, batch_stats, batch) -> (loss, (next batch_stats, metrics)); a mean over the batch, for `jax.grad`."""

Gradients = Callable[[Any, Any, Batch], tuple[Any, tuple[Any, Metrics]]]
"""(params, batch_stats, batch) -> (gradients, (next batch_stats, metrics))."""


@flax.struct.dataclass
class TrainState:
    """The state of a run.

    Attributes:
      step: number of steps done.
      params: weights.
      batch_stats: running statistics of batch normalization.
      opt_state: state of the optimizer.
      average: moving average of weights and statistics, as ``params`` and ``batch_stats``; None without one.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    average: Any = None

    def variables(self, averaged: bool = False) -> dict[str, Any]:
        """Returns the variables of the network, or their moving average."""
        return self.average if averaged else {"params": self.params, "batch_stats": self.batch_stats}


Update = Callable[[TrainState, Any, Any, Metrics], tuple[TrainState, Metrics]]
"""(state, gradients, next batch_stats, metrics) -> (next state, metrics)."""


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """A training step, ``(state, batch) -> (next state, metrics)``: pure, for any JAX transformation."""

    gradients: Gradients
    update: Update

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Returns the next state, and the metrics of the batch before the update."""
        gradients, (batch_stats, metrics) = self.gradients(state.params, state.batch_stats, batch)
        return self.update(state, gradients, batch_stats, metrics)


@dataclasses.dataclass(frozen=True)
class CompiledStep(TrainStep):
    """A compiled training step. It donates the state it is given."""

    gradients: jax.stages.Compiled
    update: jax.stages.Compiled
    kept_bytes: int  # on each device

    @property
    def programs(self) -> tuple[jax.stages.Compiled, jax.stages.Compiled]:
        """The two compiled functions in the order in which they run."""
        return self.gradients, self.update

    def as_text(self) -> str:
        """Returns the compiler's text of both functions."""
        return "\n".join(program.as_text() or "" for program in self.programs)


@dataclasses.dataclass(frozen=True)
class LoweredStep:
    """A traced training step. Its update is already being compiled."""

    gradients: jax.stages.Lowered
    update: Future[jax.stages.Compiled]
    kept_bytes: int

    def compile(self) -> CompiledStep:
        """Compiles the gradients and waits for the update."""
        return CompiledStep(self.gradients.compile(), self.update.result(), self.kept_bytes)


def init_variables(model: nn.Module, image_size: tuple[int, int], seed: int) -> dict[str, Any]:
    """Draws initial weights on the host: convolutions from N(0, 0.001), the rest as PyTorch initializes it.

    Each weight has a random stream of its own, derived from its name, so its value does not depend on the rest of
    the network. (Compiling the network's own `init` would take a minute.)
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


def init_state(
    variables: Mapping[str, Any], optimizer: optax.GradientTransformation, *, averaged: bool = False
) -> TrainState:
    """Returns the state before the first step, with a moving average of the weights if they are `averaged`."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        average=dict(variables) if averaged else None,
    )


def make_gradients(loss: Loss, accumulation: int = 1) -> Gradients:
    """Returns the first half of a training step. It adds the loss to the metrics as ``loss``.

    `accumulation` is the number of parts of a batch that are computed one after another. Batch normalization sees
    one part at a time; gradients and metrics are means over the parts.
    """

    def with_metrics(params: Any, batch_stats: Any, batch: Batch) -> tuple[jax.Array, tuple[Any, Metrics]]:
        value, (batch_stats, metrics) = loss(params, batch_stats, batch)
        return value, (batch_stats, {"loss": value, **metrics})

    gradients_of = jax.grad(with_metrics, has_aux=True)

    def split(x: jax.Array) -> jax.Array:
        """Reshapes ``[B, ...]`` into ``[parts, B / parts, ...]``; each part has people of every device."""
        return x.reshape(len(x) // accumulation, accumulation, *x.shape[1:]).swapaxes(0, 1)

    def accumulated(params: Any, batch_stats: Any, batch: Batch) -> tuple[Any, tuple[Any, Metrics]]:
        def add(carry, part):
            total, batch_stats = carry
            gradients, (batch_stats, metrics) = gradients_of(params, batch_stats, part)
            return (jax.tree.map(jnp.add, total, gradients), batch_stats), metrics

        start = (jax.tree.map(jnp.zeros_like, params), batch_stats)
        (total, batch_stats), metrics = jax.lax.scan(add, start, jax.tree.map(split, batch))
        mean = jax.tree.map(lambda g: g / accumulation, total)
        return mean, (batch_stats, jax.tree.map(jnp.mean, metrics))

    def gradients(params: Any, batch_stats: Any, batch: Batch) -> tuple[Any, tuple[Any, Metrics]]:
        # XLA keeps a loop of one round, and compiles loops less well.
        return (gradients_of if accumulation == 1 else accumulated)(params, batch_stats, batch)

    return gradients


def make_update(
    optimizer: optax.GradientTransformation,
    replicated: NamedSharding,
    *,
    skip_non_finite: bool = False,
    average_decay: float = 0.0,
) -> Update:
    """Returns the second half of a training step.

    It adds to the metrics ``finite``: 1 if loss, weights and statistics are finite after the step, else 0. The
    weights are `replicated` after the step, also where the optimizer state is sharded. With `skip_non_finite`, a
    non-finite step changes nothing but the step counts. With an `average_decay`, the state's average follows the
    weights; see `move_average`.
    """

    def update_state(
        state: TrainState, gradients: Any, batch_stats: Any, metrics: Metrics
    ) -> tuple[TrainState, Metrics]:
        after = update(state, gradients, batch_stats, optimizer)
        # If the optimizer state is sharded, each device updates a part of the weights: gather them once.
        params, batch_stats = jax.lax.with_sharding_constraint((after.params, after.batch_stats), replicated)
        after = dataclasses.replace(after, params=params, batch_stats=batch_stats)
        if average_decay:
            after = dataclasses.replace(after, average=move_average(state, after.variables(), average_decay))
        finite = _finite(metrics["loss"], after, replicated)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(finite > 0, new, old) if jnp.issubdtype(new.dtype, jnp.floating) else new

        after = jax.tree.map(choose, after, state) if skip_non_finite else after
        return after, metrics | {"finite": finite}

    return update_state


def update(
    state: TrainState, gradients: Any, batch_stats: Any, optimizer: optax.GradientTransformation
) -> TrainState:
    """Returns the state after a step along the gradients."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes precisions
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return dataclasses.replace(
        state, step=state.step + 1, params=params, batch_stats=batch_stats, opt_state=opt_state
    )


def move_average(state: TrainState, variables: Mapping[str, Any], decay: float) -> Any:
    """Returns the moving average after a step that led from a state to new variables.

    As in TensorFlow's ``ExponentialMovingAverage``, the decay is at most ``(1 + step) / (10 + step)``, so that the
    initial weights are soon forgotten.
    """
    step = state.step.astype(jnp.float32)
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(
        lambda old, new: old + share.astype(old.dtype) * (new - old), state.average, dict(variables)
    )


def _finite(loss: jax.Array, after: TrainState, replicated: NamedSharding) -> jax.Array:
    """Returns 1 if loss, weights and statistics are finite, else 0.

    A non-finite gradient makes its weight non-finite: Adam divides it by the root of its square. Gradients are not
    checked leaf by leaf, since each check would be one more program for XLA's CPU compiler.
    """
    flat, _ = flatten_util.ravel_pytree((loss, after.params, after.batch_stats))
    return jnp.isfinite(jax.lax.with_sharding_constraint(flat, replicated)).all().astype(jnp.float32)


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    replicated: NamedSharding,
    *,
    accumulation: int = 1,
    skip_non_finite: bool = False,
    average_decay: float = 0.0,
) -> TrainStep:
    """Returns a training step; see `make_gradients` and `make_update` for the arguments."""
    update = make_update(optimizer, replicated, skip_non_finite=skip_non_finite, average_decay=average_decay)
    return TrainStep(make_gradients(loss, accumulation), update)


def lower_step(
    step: TrainStep, state: TrainState, batch: Any, metrics: tuple[str, ...], mesh: Mesh, *, fsdp: bool = False
) -> LoweredStep:
    """Traces a training step for the devices of a mesh, given the shapes of the state and of a global batch.

    `metrics` are the names of the metrics, ``loss`` among them. `fsdp` shards the optimizer state.
    """
    replicated = sharding.replicated(mesh)
    placed = sharding.state_sharding(state, mesh, fsdp)
    scalars = dict.fromkeys(metrics, jax.ShapeDtypeStruct((), jnp.float32))
    update = jax.jit(
        step.update,
        donate_argnums=0,
        in_shardings=(placed, _gradients_sharding(state, mesh, fsdp), replicated, replicated),
        out_shardings=(placed, replicated),
        compiler_options=devices.compiler_options(mesh.local_devices[0]),
    ).lower(state, state.params, state.batch_stats, scalars)
    executor = ThreadPoolExecutor(1)
    compiling = executor.submit(update.compile)
    executor.shutdown(wait=False)
    gradients = lower_gradients(step, state, batch, mesh, fsdp=fsdp)
    return LoweredStep(gradients, compiling, kept_bytes(state, mesh, fsdp=fsdp))


def kept_bytes(state: TrainState, mesh: Mesh, *, fsdp: bool = False) -> int:
    """Returns the bytes of what each device keeps while it computes gradients: moments and moving average."""
    placed = sharding.state_sharding(state, mesh, fsdp)
    return sharding.bytes_on_each((state.opt_state, state.average), (placed.opt_state, placed.average))


def lower_gradients(
    step: TrainStep, state: TrainState, batch: Any, mesh: Mesh, *, fsdp: bool = False
) -> jax.stages.Lowered:
    """Traces the first half of a training step, as `lower_step` does."""
    replicated = sharding.replicated(mesh)
    return jax.jit(
        step.gradients,
        in_shardings=(replicated, replicated, sharding.by_person(mesh)),
        out_shardings=(_gradients_sharding(state, mesh, fsdp), replicated),
        compiler_options=devices.compiler_options(mesh.local_devices[0]),
    ).lower(state.params, state.batch_stats, batch)


def _gradients_sharding(state: TrainState, mesh: Mesh, fsdp: bool) -> Any:
    """Returns the sharding of gradients, which is that of the optimizer's moments."""
    if not fsdp:
        return sharding.replicated(mesh)
    return jax.tree.map(lambda leaf: sharding.split(leaf.shape, mesh), state.params)
