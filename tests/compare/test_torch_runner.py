"""Comparison of networks with PyTorch: equal ones pass, and planted faults are found and named."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from made_weights import small_config

from hrnet_jax import training
from hrnet_jax.compare import jax_runner, laboratory, measured, problem
from hrnet_jax.compare.problem import Setup
from hrnet_jax.models import batch_norm, layers

pytest.importorskip("torch", reason="torch is not installed")
from hrnet_jax.compare import torch_runner

STEPS = 4


@functools.cache
def make(name: str = "hrnet", joints: str = "coco", people: int = 2, seed: int = 0, loss: str = "mse") -> Setup:
    config = small_config(name=name)
    config.update(skeleton=joints, loss=loss)
    return problem.make_setup(config, people, seed)


@functools.cache
def reference() -> measured.Measurement:
    return torch_runner.measure(make(), "float64", STEPS)


@functools.cache
def ours() -> measured.Measurement:
    return jax_runner.measure(make(), "float64", STEPS)


@pytest.fixture
def measured_once(monkeypatch):
    """Measures our default network only once for all tests that do not change it."""
    result = ours()
    monkeypatch.setattr(jax_runner, "measure", lambda *_: result)


def test_networks_are_equal_in_float64(measured_once):
    check_equal(make(), reference())


@pytest.mark.parametrize(
    "settings",
    [
        {"joints": "mpii", "people": 3, "seed": 4},
        {"name": "simple_baseline"},
        {"name": "hourglass", "people": 4},
        {"name": "hrnet_resolutions", "people": 3},
        {"name": "higher_hrnet", "people": 4},
        {"loss": "ohkm", "seed": 1},
    ],
)
def test_other_networks_and_losses_are_equal_in_float64(settings):
    check_equal(make(**settings), torch_runner.measure(make(**settings), "float64", STEPS))


@pytest.mark.long
def test_a_network_with_targets_for_each_level_is_equal_in_float64(shallow_resnet):
    config = small_config(name="cpn")
    config.update(loss="ohkm", hardest_joints=5)
    setup = problem.make_setup(config, people=4)
    assert len(setup.batch.targets) == 5
    check_equal(setup, torch_runner.measure(setup, "float64", STEPS))


def check_equal(setup, expected):
    perturbed = torch_runner.measure(problem.perturb(setup), "float64", STEPS)
    noise = laboratory.estimate_noise_floor(perturbed, expected)
    run = laboratory.compare(setup, expected, "float64", STEPS, noise)
    assert run["held"], laboratory.table(run)
    assert [part["name"] for part in run["sections"]] == list(measured.SECTIONS)
    for part in run["sections"]:
        assert part["worst"] < part["tolerance"] / 3 and len(part["rows"]) > 20
    assert len(run["steps"]["drift"]) == STEPS and run["steps"]["drift"][0] < 1e-8


def test_every_layer_with_parameters_is_compared_even_without_steps(monkeypatch):
    nothing = jax_runner.train(make(), "float64", 0)
    layers = measured.Measurement(ours().evaluation, ours().training, *nothing)
    monkeypatch.setattr(jax_runner, "measure", lambda *_: layers)
    run = laboratory.compare(make(), torch_runner.measure(make(), "float64", 0), "float64", 0)
    rows = run["sections"]
    assert run["held"] and [part["name"] for part in rows] == ["evaluation", "training"]
    kinds = jax_runner.kinds(make())
    expected = {name for name, kind in kinds.items() if kind in ("Conv", "BatchNorm", "ConvNorm", "BasicBlock")}
    assert expected <= {row["name"] for row in rows[0]["rows"]}


def compare_with_fault():
    """Returns the name of the first row above the tolerance in each section, and the report."""
    run = laboratory.compare(make(), reference(), "float64", 2)
    assert not run["held"]
    return {part["name"]: part["first"] and part["first"]["name"] for part in run["sections"]}, run


def test_a_wrong_padding_is_named_and_introduced_in_the_first_layer(monkeypatch):
    """Pads convolutions of stride 2 as TensorFlow's SAME."""
    original = jax.lax.conv_general_dilated

    def wrong(x, weight, strides, padding, **options):
        return original(x, weight, strides, ((0, 1), (0, 1)) if strides == (2, 2) else padding, **options)

    monkeypatch.setattr(jax.lax, "conv_general_dilated", wrong)
    first, run = compare_with_fault()
    assert first["evaluation"] == first["training"] == "conv1"
    assert "conv1 (Conv)" in laboratory.failures(run)[0] and "introduced there" in laboratory.failures(run)[0]
    introduced = {row["name"] for row in run["sections"][0]["rows"] if (row["isolated"] or 0) > 1e-9}
    strided = {"conv1", "conv2", "transition1.1.0.0", "stage2.0.fuse_layers.1.0.0.0"}
    assert strided <= introduced and "bn1" not in introduced and "final_layer" not in introduced


def test_a_wrong_momentum_changes_only_running_statistics(monkeypatch):
    def slow(self, running, newest):
        running.value = 0.9 * running.value + 0.11 * newest.reshape(-1).astype(running.value.dtype)

    monkeypatch.setattr(batch_norm.BatchNorm, "_update", slow)
    first, _ = compare_with_fault()
    assert first == {
        "evaluation": None,
        "training": None,
        "gradients": None,
        "statistics": "bn1.running_mean",
        "state": "bn1.running_mean",
    }


def test_a_biased_variance_is_distinguished_from_a_wrong_mean(monkeypatch):
    original = batch_norm.BatchNorm._update

    def biased(self, running, newest):
        original(self, running, newest * (1 - 1e-6) if running.name == "running_var" else newest)

    monkeypatch.setattr(batch_norm.BatchNorm, "_update", biased)
    assert compare_with_fault()[0]["statistics"] == "bn1.running_var"


def test_a_wrong_epsilon_is_introduced_in_the_first_norm(monkeypatch):
    make()
    build = problem.models.build
    wrong = batch_norm.Norm(group_size=32, epsilon=1.1e-5)
    monkeypatch.setattr(problem.models, "build", lambda config: build(config).clone(norm=wrong))
    first, run = compare_with_fault()
    assert first["evaluation"] == first["training"] == "bn1"
    assert "introduced there" in laboratory.failures(run)[0]


def slightly_larger(tree):
    return jax.tree.map(lambda array: array * (1 + 1e-6), tree)


def other_images(monkeypatch):
    """Not just larger ones: batch normalisation would undo that."""
    normalize = layers.normalize
    monkeypatch.setattr(layers, "normalize", lambda *given: normalize(*given) + 1e-6 * normalize(*given) ** 2)


def larger_gradients(monkeypatch):
    make = training.make_gradients

    def wrong(*given):
        gradients = make(*given)
        return lambda *inputs: (slightly_larger(gradients(*inputs)[0]), gradients(*inputs)[1])

    monkeypatch.setattr(training, "make_gradients", wrong)


def kept_statistics(monkeypatch):
    update = training.update
    monkeypatch.setattr(
        training, "update", lambda state, gradients, _, adam: update(state, gradients, state.batch_stats, adam)
    )


@pytest.mark.parametrize(
    ("plant", "sections"),
    [
        (other_images, {"gradients", "statistics", "state"}),
        (larger_gradients, {"gradients"}),
        (kept_statistics, {"statistics", "state"}),
    ],
)
def test_a_fault_in_the_step_of_training_is_found(monkeypatch, plant, sections):
    make()
    plant(monkeypatch)
    assert {name for name, first in compare_with_fault()[0].items() if first} == sections


@pytest.mark.parametrize("precision", ["highest", "bfloat16"])
def test_lower_precisions_lose_about_as_much_as_pytorch(precision):
    other = torch_runner.measure(make(), measured.NOISE_RUNS[precision], 0)
    expected = dataclasses.replace(reference(), gradients={}, losses=[], states=[])
    noise = laboratory.estimate_noise_floor(other, expected)
    evaluation = laboratory.compare(make(), expected, precision, 0, noise)["sections"][0]
    assert evaluation["held"], evaluation
    assert evaluation["worst"] > evaluation["tolerance"] / 100


def test_saved_numbers_replace_pytorch(tmp_path, measured_once):
    measured.save(tmp_path / "numbers.npz", reference(), {}, {}, {})
    kept, _, _ = measured.load(tmp_path / "numbers.npz")
    run = laboratory.compare(make(), kept, "float64", STEPS)
    assert run["held"], laboratory.table(run)
    assert [len(part["rows"]) > 20 for part in run["sections"]] == [True] * 5 and run["steps"]["drift"] == []


def test_frozen_statistics_are_equal_too():
    config = small_config()
    config.model.norm_frozen = True
    setup = problem.make_setup(config)
    run = laboratory.compare(setup, torch_runner.measure(setup, "float64", 2), "float64", 2)
    assert run["held"], laboratory.table(run)


def test_groups_of_batch_norm_equal_pytorch_on_several_devices():
    """Two devices of two people normalise their own, average gradients and keep the first one's statistics."""
    config = small_config()
    config.model.norm_group_size = 2
    setup = dataclasses.replace(make(people=4), config=config)
    halves = [
        dataclasses.replace(
            setup.batch, **{k: getattr(setup.batch, k)[part] for k in ("image", "targets", "weights")}
        )
        for part in (slice(0, 2), slice(2, 4))
    ]
    with jax_runner.use_precision("float64"):
        outputs = jax_runner.outputs(setup, "float64", train=True)
        gradients, losses, states = jax_runner.train(setup, "float64", 1)
    devices = [torch_runner.measure(dataclasses.replace(setup, batch=half), "float64", 1) for half in halves]
    assert losses[0] == pytest.approx(np.mean([device.losses[0] for device in devices]), rel=1e-12)
    for name, array in outputs.items():
        if name in devices[0].training:
            joined = np.concatenate([device.training[name] for device in devices])
            assert measured.deviation(array, joined) < 1e-9, name
    for name, gradient in gradients.items():
        mean = np.mean([device.gradients[name] for device in devices], axis=0)
        assert measured.deviation(gradient, mean) < 1e-8, name
    statistics = devices[0].section("statistics")
    assert max(laboratory.deviations(states[0], statistics).values()) < 1e-12
