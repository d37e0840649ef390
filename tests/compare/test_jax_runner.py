"""The JAX networks in float64 against numbers of the authors' own code."""

import gc

import jax
import numpy as np
import pytest
from made_weights import small_config

from hrnet_jax import rows
from hrnet_jax.compare import jax_runner, laboratory, measured, problem
from hrnet_jax.compare.measured import HEATMAPS
from hrnet_jax.models import layers

CONFIGS = {
    "net_hrnet_w32_256x192": "hrnet_w32_256x192",
    "net_hrnet_w48_256x192": "hrnet_w48_256x192",
    "net_resnet50_256x192": "resnet50_256x192",
    "net_resnet152_256x192": "resnet152_256x192",
}
SLOW = ("net_hrnet_w48_256x192", "net_resnet152_256x192")
"""Take minutes and 11 GB to train, and differ from the others in numbers of channels and blocks only."""

pytestmark = pytest.mark.usefixtures("optimized")


def load(shared, name: str) -> tuple[problem.Setup, measured.Measurement, dict[str, np.ndarray]]:
    jax.clear_caches()  # the previous network leaves gigabytes
    gc.collect()
    reference, _, numbers = measured.load(shared / f"conformance/{name}.npz")
    config = rows.load("coco")[CONFIGS[name]].config()
    setup = problem.make_setup(config, labels=(numbers["train/joints"], numbers["train/vis"]))
    return setup, reference, numbers


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_equal_the_authors(shared, name):
    """Compares heatmaps and the outputs of stages."""
    setup, reference, numbers = load(shared, name)
    with jax_runner.use_precision("float64"):
        layers = jax_runner.outputs(setup, "float64", train=False)
    assert measured.deviation(layers[HEATMAPS], reference.evaluation[HEATMAPS]) < 1e-9
    for key in (key for key in numbers if key.startswith("tap/")):
        tap = stage(layers, key.removeprefix("tap/"))
        found = [tap.mean(), tap.std(), *measured.sample(tap, 16).samples]
        np.testing.assert_allclose(found, numbers[key], rtol=1e-9, atol=1e-9 * np.abs(numbers[key]).max())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CONFIGS]
)
def test_gradients_and_training_equal_the_authors(shared, name):
    """Compares all gradients, five losses and the state after two steps."""
    setup, reference, _ = load(shared, name)
    with jax_runner.use_precision("float64"):
        gradients, losses, states = jax_runner.train(setup, "float64", steps=5)
    for found, expected in ((gradients, reference.gradients), (states[1], reference.section("state"))):
        deviations = laboratory.deviations(found, expected)
        assert deviations.keys() == found.keys() == expected.keys()
        assert max(deviations.values()) < 1e-8
    off = np.abs(np.array(losses) / reference.losses - 1)
    assert (off[:3] < 1e-8).all() and (off < 1e-3).all()


def stage(layers: dict[str, np.ndarray], tap: str) -> np.ndarray:
    """Returns the i-th output of the last block or unit of a stage, called ``NAME.i`` in the reference."""
    child, number = tap.rsplit(".", 1)
    if child in layers:
        return layers[child]
    last = [name for name in layers if name.startswith(f"{child}.")][-1]
    if child == "deconv_layers":
        return np.maximum(layers[last], 0)  # the sequence ends with a ReLU
    parts = [name for name in layers if name.rpartition(".")[0] == child and "[" not in name]
    units = [name for name in layers if name.startswith(f"{child}.") and name.endswith(f"[{number}]")]
    return layers[units[-1] if units else parts[-1]]


@pytest.fixture(scope="module")
def setup():
    return problem.make_setup(small_config((32, 64)))


@pytest.fixture(scope="module")
def outputs(setup) -> dict[str, dict[str, np.ndarray]]:
    """Outputs of all layers in evaluation mode by precision."""
    found = {}
    for precision in jax_runner.PRECISIONS:
        with jax_runner.use_precision(precision):
            found[precision] = jax_runner.outputs(setup, precision, train=False)
    return found


def test_layers_come_in_the_order_of_computation(setup, outputs):
    names = list(outputs["default"])
    assert names[:4] == ["conv1", "bn1", "conv2", "bn2"] and names[-2:] == ["final_layer", HEATMAPS]
    block, unit = "stage2.0.branches.0.0", "stage2.0[0]"
    assert names.index(f"{block}.conv1") < names.index(block) < names.index(unit)
    assert set(jax_runner.kinds(setup)) == {name.partition("[")[0] for name in names}


def test_grey_levels_normalize_to_the_drawn_images(setup):
    image = setup.batch.image
    for colors in layers.COLORS:
        with jax.enable_x64(True):
            levels = jax.numpy.asarray(jax_runner.grey_levels(image, colors))
            again = layers.normalize(levels, colors, jax.numpy.dtype("float64"))
        np.testing.assert_allclose(again, image, rtol=0, atol=1e-14)


def test_replacing_an_input_changes_only_that_layer_and_later_ones(setup):
    free = jax_runner.outputs(setup, "default", train=True)
    same = jax_runner.outputs(setup, "default", train=True, inputs={"bn1": free["conv1"]})
    for name in free:
        np.testing.assert_array_equal(same[name], free[name])
    other = jax_runner.outputs(setup, "default", train=True, inputs={"bn2": 2 * free["conv2"] + 1})
    changed = [name for name in free if (other[name] != free[name]).any()]
    assert changed[0] == "bn2" and "conv2" not in changed


def test_float32_products_have_the_highest_precision():
    with jax_runner.use_precision("highest"):
        assert jax.config.jax_default_matmul_precision == "highest"
    with jax_runner.use_precision("default"):
        assert jax.config.jax_default_matmul_precision is None


def test_precisions_lose_as_much_as_expected(outputs):
    heatmaps = {precision: layers[HEATMAPS] for precision, layers in outputs.items()}
    assert heatmaps["float64"].dtype == np.float64 and not jax.config.jax_enable_x64
    off = {name: measured.deviation(found, heatmaps["float64"]) for name, found in heatmaps.items()}
    assert 0 < off["highest"] < 1e-5 and 1e-4 < off["bfloat16"] < 1e-1


def test_every_step_continues_from_the_previous_one(setup):
    gradients, losses, states = jax_runner.train(setup, "default", steps=3)
    assert losses[0] != losses[1] != losses[2] and len(states) == 3
    weight = "conv1.weight"
    start = problem.draw_tensor(weight, states[0][weight].shape).astype(np.float32)
    moved = np.abs(states[0][weight] - start)
    sure = np.abs(gradients[weight]) > 1e-6
    np.testing.assert_allclose(moved[sure], setup.config.learning_rate, rtol=0.05)  # Adam's first step
