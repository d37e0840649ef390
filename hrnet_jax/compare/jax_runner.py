"""Measuring our network: every layer, every gradient, the state after every step."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax import models, optimizer, training
from hrnet_jax.compare.measured import HEATMAPS, Measured
from hrnet_jax.compare.problem import Problem
from hrnet_jax.models import batch_norm, layers
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading

PRECISIONS = ("float64", "highest", "default", "bfloat16")
"""float64; float32 with products of full, or of the device's default precision; activations in bfloat16."""

WITH_PARAMETERS = (layers.Conv, layers.ConvTranspose, batch_norm.BatchNorm)
"""The layers that compute with parameters; the others only add, repeat and pass on."""

_DTYPES = {"float64": jnp.float64, "highest": jnp.float32, "default": jnp.float32, "bfloat16": jnp.bfloat16}


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Sets JAX to a precision of `PRECISIONS`."""
    with contextlib.ExitStack() as settings:
        if precision == "float64":
            settings.enter_context(jax.enable_x64(True))
        if precision == "highest":
            settings.enter_context(jax.default_matmul_precision("highest"))
        yield


def measure(problem: Problem, precision: str, steps: int) -> Measured:
    """Measures our network.

    Args:
      problem: network, weights and batch.
      precision: one of `PRECISIONS`.
      steps: how many steps of Adam to take on the batch.
    """
    with computing_in(precision):
        trained = train(problem, precision, steps)  # first: it needs most memory, and leaves the least
        evaluation, training_mode = (outputs(problem, precision, train=train) for train in (False, True))
        return Measured(evaluation, training_mode, *trained)


def born(problem: Problem, precision: str, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the layers' outputs when each layer with parameters is fed the reference's own input.

    What differs then is born in the layer and not inherited from the layers before it.

    Args:
      problem: network, weights and batch.
      precision: one of `PRECISIONS`.
      inputs: of the reference, by mode and layer; see `Measured.inputs`.
    """
    with computing_in(precision):
        return {
            mode: outputs(problem, precision, train=mode == "training", fed=fed) for mode, fed in inputs.items()
        }


def _model(problem: Problem, precision: str) -> nn.Module:
    return models.build(problem.config).clone(dtype=_DTYPES[precision], remat=False)


def _cast(tree: Any, precision: str) -> Any:
    """Brings float64 arrays to the precision that parameters have."""
    dtype = np.float64 if precision == "float64" else np.float32
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def outputs(
    problem: Problem, precision: str, *, train: bool, fed: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Runs the network forward and returns what every layer puts out, in the order of computation.

    Args:
      problem: network, weights and batch.
      precision: one of `PRECISIONS`.
      train: whether batch normalisation uses the batch's statistics.
      fed: inputs to give to these layers instead of what comes out of the layers before, in PyTorch's layout.
    """
    model, names = _model(problem, precision), []

    @jax.jit
    def run(variables, image, fed):
        recorded: dict[str, jax.Array] = {}
        with nn.intercept_methods(functools.partial(_record, recorded, fed)):
            model.apply(variables, image, train=train, mutable=["batch_stats"])
        names.extend(recorded)
        return list(recorded.values())

    fed = {name: _nhwc(array) for name, array in (fed or {}).items()}
    variables, image, fed = _cast((problem.variables, problem.batch.image, fed), precision)
    found = jax.device_get(run(variables, image, fed))
    return {name: _nchw(array) for name, array in zip(names, found, strict=True)}


def _record(recorded: dict[str, jax.Array], fed: Mapping[str, jax.Array], call, args, kwargs, context):
    """Notes what a module puts out, and feeds it another input if there is one for it."""
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    name = ".".join(module.path) or HEATMAPS
    if name in fed and isinstance(module, WITH_PARAMETERS):
        args = (fed[name].astype(args[0].dtype), *args[1:])
    result = call(*args, **kwargs)
    if isinstance(result, list):  # an exchange unit's branches
        recorded |= {f"{name}[{i}]": branch for i, branch in enumerate(result)}
    else:
        recorded[name] = result
    return result


def train(problem: Problem, precision: str, steps: int) -> tuple[dict[str, np.ndarray], list[float], list]:
    """Returns the gradients of the first step, the losses before, and the states after each step."""
    config, batch = problem.config, problem.batch
    adam = optimizer.adam(lambda _: config.learning_rate, 0.0)
    loss = top_down.make_heatmap_loss(config, _model(problem, precision))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, image, targets, weights):
        value_and_gradients = jax.value_and_grad(loss, has_aux=True)
        (value, (batch_stats, _)), gradients = value_and_gradients(
            state.params, state.batch_stats, image, targets, weights
        )
        return training.update(state, gradients, batch_stats, adam), value, gradients

    variables, *arrays = _cast((problem.variables, batch.image, batch.targets, batch.weights), precision)
    with jax.numpy_dtype_promotion("standard"):
        state = training.init_state(variables, adam)
    first, losses, states = {}, [], []
    for _ in range(steps):
        state, value, gradients = step(state, *arrays)
        first = first or loading.to_pytorch({"params": gradients})
        losses.append(float(value))
        states.append(loading.to_pytorch({"params": state.params, "batch_stats": state.batch_stats}))
    return first, losses, states


def kinds(problem: Problem) -> dict[str, str]:
    """Returns the class of each layer by its name, in the order of computation."""
    found: dict[str, str] = {}

    def note(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            found[".".join(context.module.path) or HEATMAPS] = type(context.module).__name__
        return result

    image = jax.ShapeDtypeStruct((1, *problem.config.image_size, 3), jnp.float32)
    with nn.intercept_methods(note):  # not `models.shapes`, which need not call the layers again
        jax.eval_shape(models.build(problem.config).init, jax.random.key(0), image)
    return found


def _nchw(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).transpose(0, 3, 1, 2)


def _nhwc(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 3, 1)
