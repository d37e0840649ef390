"""The stacked Hourglass: its properties, and in float64 its agreement with Princeton's and bearpaw's code."""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from hrnet_jax import configuration, losses, models, optimizer, training
from hrnet_jax.compare import measured, problem
from hrnet_jax.models import hourglass, hourglass_names, layers
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


def images(tag: str, people: int) -> np.ndarray:
    height, width = map(int, tag.rsplit("_", 1)[1].split("x"))
    return problem.draw_images(tag, (people, 3, height, width))


def all_heatmaps(model, variables, image) -> list[np.ndarray]:
    """Returns the heatmaps of every stack in evaluation mode, the last as the network returns it."""
    last, kept = jax.jit(functools.partial(model.apply, mutable=["intermediates"]))(variables, image)
    return [*kept["intermediates"]["heatmaps"], last]


@pytest.mark.parametrize("tag", NETWORKS)
def test_heatmaps_of_every_stack_equal_the_reference(shared, tag):
    numbers, keys = read(shared, tag)
    expected = numbers["heatmaps"].transpose(0, 1, 3, 4, 2)
    people = {EIGHT: 2, JUNE: 2, BEARPAW: 3}[tag]
    found = all_heatmaps(NETWORKS[tag], weights_of(tag, keys), images(tag, people))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert measured.deviation(ours[: len(theirs)], theirs) < 1e-9


def train(tag: str, numbers: Mapping, keys: Mapping, config) -> tuple[list[float], dict, dict]:
    """Returns the losses before three steps, the gradients before the first and the state after two."""
    variables = weights_of(tag, keys)
    joints, visible = (jnp.asarray(numbers[f"train/{name}"], jnp.float32) for name in ("joints", "vis"))
    image = images(tag, len(joints))
    targets, weights = top_down.make_target_fn(config)(joints, visible)
    loss = top_down.make_heatmap_loss(config, NETWORKS[tag])
    transformation = optimizer.make_transformation(config, lambda _: config.learning_rate)

    @jax.jit
    def differentiate(params, stats):
        return jax.value_and_grad(loss, has_aux=True)(params, stats, image, targets, weights)

    state = training.init_state(variables, transformation)
    values, gradients, states = [], [], []
    for _ in range(3):
        (value, (stats, _)), gradient = differentiate(state.params, state.batch_stats)
        state = training.update(state, gradient, stats, transformation)
        values.append(float(value))
        gradients.append(gradient)
        states.append(state)
    second = {"params": states[1].params, "batch_stats": states[1].batch_stats}
    return values, loading.to_pytorch({"params": gradients[0]}), loading.to_pytorch(second)


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


@pytest.mark.parametrize("tag", [BEARPAW, pytest.param(EIGHT, marks=pytest.mark.slow)])
def test_losses_gradients_and_steps_equal_the_reference(shared, monkeypatch, tag):
    monkeypatch.setitem(losses.LOSSES, "princeton", princeton)
    config = configuration.default("hourglass")
    config.update_from_flattened_dict(TRAINING[tag])
    numbers, keys = read(shared, tag)
    values, gradients, state = train(tag, numbers, keys, config)
    np.testing.assert_allclose(values, numbers["train/losses"], rtol=1e-8)
    assert_rows_equal(gradients, numbers["train/grad_names"], numbers["train/grads"])
    assert_rows_equal(state, numbers["train/after2_names"], numbers["train/after2"])


SIZE = (32, 16)


def small(**changes) -> hourglass.StackedHourglass:
    sizes = {"stacks": 2, "features": 8, "depth": 1, "stem_features": (4, 8, 6)}
    return hourglass.StackedHourglass(5, **sizes | changes)


def drawn(model) -> tuple[dict, jax.Array]:
    """Returns float32 variables, and two images."""
    variables = jax.tree.map(np.float32, problem.draw_variables(models.shapes(model, SIZE)))
    return variables, jnp.asarray(problem.draw_images("small", (2, 3, *SIZE)), jnp.float32)


def test_every_stack_learns_from_its_heatmaps_and_the_last_one_predicts():
    """Also with nothing passed on from one stack to the next."""
    model = small()
    variables, image = drawn(model)
    assert variables.keys() == {"params", "batch_stats"}
    cut = ("merge_preds.0.conv.conv", "merge_features.0.conv.conv")
    variables["params"] |= {name: jax.tree.map(np.zeros_like, variables["params"][name]) for name in cut}
    targets, weights = jnp.full((2, 8, 4, 5), 0.5, jnp.float32), jnp.ones((2, 5), jnp.float32)
    loss = top_down.make_heatmap_loss(configuration.default("hourglass"), model)

    @jax.jit
    def run(variables):
        found, stats = layers.apply_in_training(model, variables, image)
        alone, _ = model.apply(variables, image, train=True, mutable=["batch_stats"])
        arguments = variables["params"], variables["batch_stats"], image, targets, weights
        compared = jax.value_and_grad(loss, has_aux=True)(*arguments)
        return found, stats, alone, compared

    found, stats, alone, ((total, (_, prediction)), gradients) = run(variables)
    assert [heatmaps.shape for heatmaps in found] == [(2, 8, 4, 5)] * 2
    assert jax.tree.structure(stats) == jax.tree.structure(variables["batch_stats"])
    assert not np.allclose(found[0], found[1], atol=0.1)
    for heatmaps in (alone, prediction):
        np.testing.assert_allclose(heatmaps, found[1], rtol=1e-3, atol=1e-3)
    expected = sum(float(losses.mse(heatmaps, targets, weights).mean()) for heatmaps in found)
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    assert all(np.abs(gradients[f"outs.{i}.conv"]["weight"]).max() > 0 for i in (0, 1))


def test_half_precision_keeps_heatmaps_and_statistics_in_float32_and_remat_changes_nothing():
    model = small()
    variables, image = drawn(model)
    again, half = model.clone(remat=True), model.clone(dtype=jnp.bfloat16)

    @jax.jit
    def run(variables):
        return model.apply(variables, image), again.apply(variables, image)

    plain, remat = run(variables)
    np.testing.assert_allclose(remat, plain, rtol=1e-5, atol=1e-5)
    found = jax.eval_shape(functools.partial(layers.apply_in_training, half), variables, image)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {"float32"}
    counts = [models.count_multiply_adds(each, SIZE) for each in (model, again)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("size", [(320, 224), (96, 64), (0, 64)])
def test_image_sides_must_be_multiples_of_64(size):
    config = configuration.default("hourglass")
    config.image_size = size
    with pytest.raises(ValueError, match=r"`image_size` \(=\(\d+, \d+\)\) must be multiples of 64: nearest are"):
        models.build(config)
    with pytest.raises(ValueError, match=r"must be multiples of 64"):
        models.shapes(hourglass.StackedHourglass(3), size)


def test_the_multiple_follows_from_the_depth():
    config = configuration.default("hourglass")
    config.update_from_flattened_dict({"image_size": (96, 32), "model.depth": 3})
    assert models.build(config).depth == 3 and models.multiple(models.architecture(config)) == 32
    assert models.multiple(models.architecture(configuration.default())) == 32


@pytest.mark.parametrize(
    ("field", "value"), [("features", 7), ("stem_features", (4, 5, 6)), ("stem_features", (4, 6))]
)
def test_channels_that_cannot_be_halved_are_refused(field, value):
    config = configuration.default("hourglass")
    config.model[field] = value
    with pytest.raises(ValueError, match=r"`model.features` \(=.*`model.stem_features` \(=.*must be even"):
        models.build(config)
