"""Measurement of our network: layer outputs, gradients, and the state after every training step."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax import models, optimizer, sharding, training
from hrnet_jax.compare.measured import HEATMAPS, Arrays, Measurement
from hrnet_jax.compare.problem import Setup
from hrnet_jax.models import batch_norm, layers
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading

PRECISIONS = ("float64", "highest", "default", "bfloat16")
"""float64; float32 with matrix products of highest or default precision; activations in bfloat16."""

WITH_PARAMETERS = (layers.Conv, layers.ConvTranspose, batch_norm.BatchNorm)
"""Layers that compute with parameters. All others only add, repeat and pass on."""

_DTYPES = {"float64": jnp.float64, "highest": jnp.float32, "default": jnp.float32, "bfloat16": jnp.bfloat16}


def use_precision(precision: str) -> contextlib.AbstractContextManager:
    """Sets JAX to one of the `PRECISIONS`."""
    if precision == "float64":
        return jax.enable_x64(True)
    return jax.default_matmul_precision("highest") if precision == "highest" else contextlib.nullcontext()


def measure(setup: Setup, precision: str, steps: int) -> Measurement:
    """Measures our network in one of the `PRECISIONS` with a number of training steps on the batch."""
    with use_precision(precision):
        trained = train(setup, precision, steps)  # first: it needs most memory and keeps least
        evaluation, training_mode = (outputs(setup, precision, train=train) for train in (False, True))
        return Measurement(evaluation, training_mode, *trained)


def isolated_outputs(setup: Setup, precision: str, inputs: Mapping[str, Mapping]) -> dict[str, Arrays]:
    """Returns the outputs, by mode, of layers with parameters for the reference's `Measurement.inputs` to each.

    The layer itself introduces any deviation of these outputs. Nothing is propagated from the layers before.
    """
    with use_precision(precision):
        return {mode: outputs(setup, precision, train=mode == "training", inputs=inputs[mode]) for mode in inputs}


def _model(setup: Setup, precision: str) -> nn.Module:
    return models.build(setup.config).clone(dtype=_DTYPES[precision], remat=False)


def _cast(tree: Any, precision: str) -> Any:
    """Casts arrays to the precision of the parameters."""
    dtype = np.float64 if precision == "float64" else np.float32
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def outputs(
    setup: Setup, precision: str, *, train: bool, inputs: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Returns the output of every layer in the order of computation.

    With `train`, batch normalisation uses the statistics of the batch. `inputs`, in PyTorch's layout, replace the
    inputs of the layers of these names.
    """
    model, names = _model(setup, precision), []

    @jax.jit
    def run(variables, image, inputs):
        recorded: dict[str, jax.Array] = {}
        with nn.intercept_methods(functools.partial(_record, recorded, inputs)):
            model.apply(variables, image, train=train, mutable=["batch_stats"])
        names.extend(recorded)
        return list(recorded.values())

    replaced = {name: array.transpose(0, 2, 3, 1) for name, array in (inputs or {}).items()}
    found = jax.device_get(run(*_cast((setup.variables, setup.batch.image, replaced), precision)))
    return {name: np.asarray(array).transpose(0, 3, 1, 2) for name, array in zip(names, found, strict=True)}


def _record(recorded: dict[str, jax.Array], inputs: Mapping[str, jax.Array], call, args, kwargs, context):
    """Records the output of a module, after replacing its input if there is one for it."""
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    name = ".".join(module.path) or HEATMAPS
    if name in inputs and isinstance(module, WITH_PARAMETERS):
        args = (inputs[name].astype(args[0].dtype), *args[1:])
    result = call(*args, **kwargs)
    if isinstance(result, list | tuple):  # an exchange unit's branches, or the heads of a network
        recorded |= {f"{name}[{i}]": branch for i, branch in enumerate(result)}
    else:
        recorded[name] = result
    return result


def train(setup: Setup, precision: str, steps: int) -> tuple[dict[str, np.ndarray], list[float], list]:
    """Returns the gradients before the first step, the loss before each step and the state after each.

    The step is that of training (see `training.make_train_step`), from grey levels on. Only the targets are given:
    rendered again, they would have the last bits of this machine.
    """
    config, batch = setup.config, setup.batch
    transformation = optimizer.make_transformation(config, lambda _: config.learning_rate)
    task = top_down.TopDown(config, _model(setup, precision), lambda targets, weights: (targets, weights))
    replicated = sharding.replicated(sharding.make_mesh(jax.devices()[:1]))
    parts = training.make_train_step(task.loss, transformation, replicated)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, batch):
        gradients, (stats, metrics) = parts.gradients(state.params, state.batch_stats, batch)
        state, metrics = parts.update(state, gradients, stats, metrics)
        return state, metrics["loss"], gradients

    inputs = {
        "image": grey_levels(batch.image, config.model.colors),
        "joints": batch.targets,
        "visible": batch.weights,
    }
    variables, inputs = _cast((setup.variables, inputs), precision)
    with jax.numpy_dtype_promotion("standard"):
        state = training.init_state(variables, transformation)
    first, losses, states = {}, [], []
    for _ in range(steps):
        state, loss, gradients = step(state, inputs)
        first = first or loading.to_pytorch({"params": gradients})
        losses.append(float(loss))
        states.append(loading.to_pytorch({"params": state.params, "batch_stats": state.batch_stats}))
    return first, losses, states


def grey_levels(image: np.ndarray, colors: str) -> np.ndarray:
    """Returns the grey levels that `layers.normalize` turns into a normalised image, fractions included."""
    levels = 255 * (image * layers.IMAGENET_STD + layers.IMAGENET_MEAN)
    return levels if colors == "RGB" else levels[..., ::-1]


def kinds(setup: Setup) -> dict[str, str]:
    """Returns the class of each layer by its name, in the order of computation."""
    return _kinds(models.build(setup.config), tuple(setup.config.image_size))


@functools.lru_cache(maxsize=8)  # tracing a network takes seconds
def _kinds(model: nn.Module, image_size: tuple[int, int]) -> dict[str, str]:
    found: dict[str, str] = {}

    def record(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if context.method_name == "__call__":
            found[".".join(context.module.path) or HEATMAPS] = type(context.module).__name__
        return result

    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    with nn.intercept_methods(record):  # `models.shapes` is cached, so it may not call the layers
        jax.eval_shape(model.init, jax.random.key(0), image)
    return found
