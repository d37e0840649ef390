"""The stacked Hourglass in float64 against numbers of Princeton's and bearpaw's code, and its properties.

The networks run operation by operation: compiling eight stacks takes longer.
"""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from hrnet_jax import configuration, losses, models, optimizer
from hrnet_jax.compare import measured, problem
from hrnet_jax.models import hourglass, hourglass_names
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading

EIGHT, JUNE, BEARPAW = "hourglass8_128x128", "hourglass2_june2016_64x128", "hourglass2_bearpaw_128x64"
NETWORKS = {
    EIGHT: hourglass.StackedHourglass(17, dtype=jnp.dtype("float64")),
    JUNE: hourglass.StackedHourglass(17, stacks=2, residual_before_head=False, dtype=jnp.dtype("float64")),
    BEARPAW: hourglass.StackedHourglass(16, stacks=2, stem_features=(64, 128, 256), dtype=jnp.dtype("float64")),
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def read(shared: pathlib.Path, tag: str) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Returns the reference's numbers, and the shapes of its tensors by name."""
    folder = shared / "conformance/hourglass"
    with np.load(folder / f"net_{tag}.npz") as numbers:
        return dict(numbers), json.loads((folder / f"net_{tag}.keys.json").read_text())


def weights_of(tag: str, keys: Mapping[str, list[int]]) -> dict:
    """Returns the reference's weights, drawn from its own names."""
    original = hourglass_names.rename({name: name for name in keys})

    def draw(path: tuple[str, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = original[".".join(path[1:])]
        tensor = problem.draw_tensor(name, tuple(keys[name]))
        return tensor.transpose(2, 3, 1, 0) if leaf.ndim == 4 else tensor

    flat = traverse_util.flatten_dict(models.shapes(NETWORKS[tag], (64, 64)))
    return traverse_util.unflatten_dict({path: draw(path, leaf) for path, leaf in flat.items()})


def images(tag: str, numbers: Mapping[str, np.ndarray], keys: Mapping, people: int) -> np.ndarray:
    height, width = map(int, tag.rsplit("_", 1)[1].split("x"))
    return problem.draw_images(tag, (people, 3, height, width))


def all_heatmaps(model, variables, image) -> list[np.ndarray]:
    """Returns the heatmaps of every stack in evaluation mode, the last as the network returns it."""
    last, kept = model.apply(variables, image, mutable=["intermediates"])
    return [*kept["intermediates"]["heatmaps"], last]


@pytest.mark.parametrize("tag", NETWORKS)
def test_heatmaps_of_every_stack_equal_the_reference(shared, tag):
    numbers, keys = read(shared, tag)
    expected = numbers["heatmaps"].transpose(0, 1, 3, 4, 2)
    people = {EIGHT: 2, JUNE: 2, BEARPAW: 3}[tag]
    found = all_heatmaps(NETWORKS[tag], weights_of(tag, keys), images(tag, numbers, keys, people))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert measured.deviation(ours[: len(theirs)], theirs) < 1e-9


def train(tag: str, numbers: Mapping, keys: Mapping, config) -> tuple[list[float], dict, dict]:
    """Returns the losses before three steps, the gradients before the first and the state after two."""
    model, variables = NETWORKS[tag], weights_of(tag, keys)
    joints, visible = (jnp.asarray(numbers[f"train/{name}"], jnp.float32) for name in ("joints", "vis"))
    image = images(tag, numbers, keys, len(joints))
    targets, weights = top_down.make_target_fn(config)(joints, visible)
    loss = functools.partial(top_down.make_heatmap_loss(config, model), targets=targets, weights=weights)
    transformation = optimizer.make_transformation(config, lambda _: config.learning_rate)
    params, stats = variables["params"], variables["batch_stats"]
    opt_state, values, first = transformation.init(params), [], {}
    for step in range(3):
        if step == 2:
            state = loading.to_pytorch({"params": params, "batch_stats": stats})
            return [*values, float(loss(params, stats, image)[0])], first, state
        (value, (stats, _)), gradients = jax.value_and_grad(loss, has_aux=True)(params, stats, image)
        first = first or loading.to_pytorch({"params": gradients})
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = transformation.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        values.append(float(value))
    raise AssertionError


def assert_rows_equal(found: Mapping[str, np.ndarray], names: np.ndarray, rows: np.ndarray) -> None:
    """Compares norms and samples of tensors, relative to the norm where it is more than rounding noise."""
    renamed = hourglass_names.rename({str(name): row for name, row in zip(names, rows, strict=True)})
    renamed = {name: row for name, row in renamed.items() if name in found or "skip_layer" not in name}
    assert renamed.keys() == found.keys()
    largest = max(row[0] for row in renamed.values())
    for name, row in renamed.items():
        ours = measured.sample(found[name], 8)
        difference = np.abs(np.array([ours.norm, *ours.samples]) - row[: 1 + len(ours.samples)]).max()
        assert difference < 1e-8 * max(row[0], 1e-6 * largest), name


def princeton(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Mean over eight stacks, without weights."""
    del weights
    return jnp.square(heatmaps - targets).mean((1, 2)) / 8


TRAINING = {
    EIGHT: {"loss": "princeton", "image_size": (128, 128), "learning_rate": 1e-3},
    BEARPAW: {
        **{"skeleton": "mpii", "image_size": (128, 64), "heatmap.sigma": 1.0},
        **{"optimizer": "rmsprop", "momentum": 0.0, "learning_rate": 2.5e-4},
    },
}


@pytest.mark.parametrize("tag", TRAINING)
def test_losses_gradients_and_steps_equal_the_reference(shared, monkeypatch, tag):
    monkeypatch.setitem(losses.LOSSES, "princeton", princeton)
    config = configuration.default("hourglass")
    config.update_from_flattened_dict(TRAINING[tag])
    numbers, keys = read(shared, tag)
    values, gradients, state = train(tag, numbers, keys, config)
    np.testing.assert_allclose(values, numbers["train/losses"], rtol=1e-8)
    assert_rows_equal(gradients, numbers["train/grad_names"], numbers["train/grads"])
    assert_rows_equal(state, numbers["train/after2_names"], numbers["train/after2"])
