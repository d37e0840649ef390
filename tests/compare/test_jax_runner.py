"""The JAX networks against the numbers of the authors' own code, in float64; nothing here needs PyTorch."""

import gc
import importlib

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax.compare import jax_runner, laboratory, measured, problem
from hrnet_jax.compare.measured import HEATMAPS
from hrnet_jax.compare.problem import Problem

CONFIGS = {
    "net_hrnet_w32_256x192": "coco_hrnet_w32_256x192",
    "net_hrnet_w48_256x192": "coco_hrnet_w48_256x192",
    "net_resnet50_256x192": "coco_resnet50_256x192",
    "net_resnet152_256x192": "coco_resnet152_256x192",
}


def pose(config, people=2, labels=None) -> Problem:
    weights, title = problem.weights_of(config, "")
    return Problem(config, weights, title, problem.random_batch(config, people, labels=labels))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_networks_compute_and_learn_what_the_authors_do(shared, name):
    """Heatmaps and the stages' outputs, every gradient, five losses, and the whole state after two steps."""
    jax.clear_caches()  # the network before leaves gigabytes
    gc.collect()
    reference, _, numbers = measured.load(shared / f"conformance/{name}.npz")
    config = importlib.import_module(f"configs.{CONFIGS[name]}").get_config()
    posed = pose(config, labels=(numbers["train/joints"], numbers["train/vis"]))
    with jax_runner.computing_in("float64"):
        layers = jax_runner.outputs(posed, "float64", train=False)
        gradients, losses, states = jax_runner.train(posed, "float64", steps=5)
    assert measured.deviation(layers[HEATMAPS], reference.evaluation[HEATMAPS]) < 1e-9
    for key in (key for key in numbers if key.startswith("tap/")):
        tap = stage(layers, key.removeprefix("tap/"))
        found = [tap.mean(), tap.std(), *measured.sample(tap, 16).samples]
        np.testing.assert_allclose(found, numbers[key], rtol=1e-9, atol=1e-9 * np.abs(numbers[key]).max())
    for found, expected in ((gradients, reference.gradients), (states[1], reference.section("state"))):
        deviations = laboratory.deviations(found, expected)
        assert deviations.keys() == found.keys() == expected.keys()
        assert max(deviations.values()) < 1e-8
    off = np.abs(np.array(losses) / reference.losses - 1)
    assert (off[:3] < 1e-8).all() and (off < 1e-3).all()


def stage(layers: dict[str, np.ndarray], tap: str) -> np.ndarray:
    """The output that the reference calls ``NAME.i``: the i-th of a whole stage, of its last block or unit."""
    child, number = tap.rsplit(".", 1)
    if child in layers:
        return layers[child]
    last = [name for name in layers if name.startswith(f"{child}.")][-1]
    if child == "deconv_layers":
        return np.maximum(layers[last], 0)  # the sequence ends with a ReLU
    parts = [name for name in layers if name.rpartition(".")[0] == child and "[" not in name]
    units = [name for name in layers if name.startswith(f"{child}.") and name.endswith(f"[{number}]")]
    return layers[units[-1] if units else parts[-1]]


@pytest.fixture
def config():
    config = default.get_config()
    config.image_size = (32, 64)
    config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    return config


def test_layers_come_in_the_order_of_computation(config):
    names = list(jax_runner.outputs(pose(config), "default", train=False))
    assert names[:4] == ["conv1", "bn1", "conv2", "bn2"] and names[-2:] == ["final_layer", HEATMAPS]
    assert (
        names.index("stage2.0.branches.0.0.conv1")
        < names.index("stage2.0.branches.0.0")
        < names.index("stage2.0[0]")
    )
    assert set(jax_runner.kinds(pose(config))) == {name.partition("[")[0] for name in names}


def test_layers_can_be_fed(config):
    """Fed its own inputs nothing changes; fed others, only that layer and those after it do."""
    posed = pose(config)
    free = jax_runner.outputs(posed, "default", train=True)
    fed = jax_runner.outputs(posed, "default", train=True, fed={"bn1": free["conv1"]})
    for name in free:
        np.testing.assert_array_equal(fed[name], free[name])
    fed = jax_runner.outputs(posed, "default", train=True, fed={"bn2": 2 * free["conv2"] + 1})
    changed = [name for name in free if (fed[name] != free[name]).any()]
    assert changed[0] == "bn2" and "conv2" not in changed


def test_precisions_lose_what_they_should(config):
    posed = pose(config)
    heatmaps = {}
    for precision in jax_runner.PRECISIONS:
        with jax_runner.computing_in(precision):
            heatmaps[precision] = jax_runner.outputs(posed, precision, train=False)[HEATMAPS]
    assert heatmaps["float64"].dtype == np.float64 and not jax.config.jax_enable_x64
    off = {name: measured.deviation(found, heatmaps["float64"]) for name, found in heatmaps.items()}
    assert 0 < off["highest"] < 1e-5 and 1e-4 < off["bfloat16"] < 1e-1


def test_steps_go_on_from_each_other(config):
    posed = pose(config)
    gradients, losses, states = jax_runner.train(posed, "default", steps=3)
    assert losses[0] != losses[1] != losses[2] and len(states) == 3
    weight = "conv1.weight"
    start = problem.draw_tensor(weight, states[0][weight].shape).astype(np.float32)
    moved = np.abs(states[0][weight] - start)
    sure = np.abs(gradients[weight]) > 1e-6
    np.testing.assert_allclose(moved[sure], config.learning_rate, rtol=0.05)  # Adam's first step
