"""The laboratory on real networks: equal ones are found equal, planted faults are found and named."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax.compare import jax_runner, laboratory, measured, problem
from hrnet_jax.compare.problem import Problem
from hrnet_jax.models import batch_norm

pytest.importorskip("torch", reason="torch is not installed")
from hrnet_jax.compare import torch_runner


def configure(name: str = "hrnet", joints: str = "coco", **changes):
    config = default.get_config()
    config.image_size, config.skeleton = (64, 32), joints
    config.model = getattr(default, name)()
    if name == "hrnet":
        config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    config.update(changes)
    return config


@functools.cache
def pose(name: str = "hrnet", joints: str = "coco", people: int = 2, seed: int = 0, **changes) -> Problem:
    config = configure(name, joints, **changes)
    weights, title = problem.weights_of(config, "", seed)
    return Problem(config, weights, title, problem.random_batch(config, people, seed))


@functools.cache
def reference(posed_with: tuple = ()) -> measured.Measured:
    return torch_runner.measure(pose(**dict(posed_with)), "float64", 2)


@pytest.mark.parametrize(
    "settings",
    [{}, {"joints": "mpii", "people": 3, "seed": 4}, {"name": "simple_baseline"}, {"loss": "ohkm", "seed": 1}],
)
def test_networks_are_equal_in_float64(settings):
    twin, other = (
        torch_runner.measure(p, "float64", 4) for p in (pose(**settings), problem.perturbed(pose(**settings)))
    )
    run = laboratory.compare(pose(**settings), twin, "float64", 4, laboratory.yardsticks(other, twin))
    assert run["held"], laboratory.table(run)
    assert [part["name"] for part in run["sections"]] == list(measured.SECTIONS)
    for part in run["sections"]:
        assert part["worst"] < part["tolerance"] / 3 and len(part["rows"]) > 20
    assert len(run["steps"]["drift"]) == 4 and run["steps"]["drift"][0] < 1e-8


def test_every_layer_with_parameters_is_compared():
    """Also without a step, when nothing but layers is."""
    run = laboratory.compare(pose(), torch_runner.measure(pose(), "float64", 0), "float64", 0)
    rows = run["sections"]
    assert run["held"] and [part["name"] for part in rows] == ["evaluation", "training"]
    kinds = jax_runner.kinds(pose())
    expected = {name for name, kind in kinds.items() if kind in ("Conv", "BatchNorm", "ConvNorm", "BasicBlock")}
    assert expected <= {row["name"] for row in rows[0]["rows"]}


def planted(monkeypatch, **settings):
    run = laboratory.compare(pose(**settings), reference(), "float64", 2)
    assert not run["held"]
    return {part["name"]: part["first"] and part["first"]["name"] for part in run["sections"]}, run


def test_a_wrong_padding_is_found_and_named(monkeypatch):
    """Convolutions of stride 2 padded as TensorFlow's SAME: the first of them is named, and born there."""
    right = jax.lax.conv_general_dilated

    def wrong(x, weight, strides, padding, **options):
        return right(x, weight, strides, ((0, 1), (0, 1)) if strides == (2, 2) else padding, **options)

    monkeypatch.setattr(jax.lax, "conv_general_dilated", wrong)
    first, run = planted(monkeypatch)
    assert first["evaluation"] == first["training"] == "conv1"
    assert "conv1 (Conv)" in laboratory.findings(run)[0] and "born there" in laboratory.findings(run)[0]
    born = {row["name"] for row in run["sections"][0]["rows"] if (row["own"] or 0) > 1e-9}
    strided = {"conv1", "conv2", "transition1.1.0.0", "stage2.0.fuse_layers.1.0.0.0"}
    assert strided <= born and "bn1" not in born and "final_layer" not in born


def test_a_wrong_momentum_is_found_and_named(monkeypatch):
    """Only running statistics are off then, and the layers of no mode."""
    monkeypatch.setattr(batch_norm.BatchNorm, "_update", _slow)
    first, _ = planted(monkeypatch)
    assert first == {
        "evaluation": None,
        "training": None,
        "gradients": None,
        "statistics": "bn1.running_mean",
        "state": "bn1.running_mean",
    }


def _slow(self, running, newest):
    running.value = 0.9 * running.value + 0.11 * newest.reshape(-1).astype(running.value.dtype)


def test_a_biased_variance_is_told_from_a_wrong_mean(monkeypatch):
    right = batch_norm.BatchNorm._update

    def biased(self, running, newest):
        right(self, running, newest * (1 - 1e-6) if running.name == "running_var" else newest)

    monkeypatch.setattr(batch_norm.BatchNorm, "_update", biased)
    assert planted(monkeypatch)[0]["statistics"] == "bn1.running_var"


def test_a_wrong_epsilon_is_born_in_the_first_norm(monkeypatch):
    config = pose().config
    build = problem.models.build
    monkeypatch.setattr(
        problem.models, "build", lambda _: build(config).clone(norm=batch_norm.Norm(group_size=32, epsilon=1.1e-5))
    )
    first, run = planted(monkeypatch)
    assert first["evaluation"] == first["training"] == "bn1"
    assert "born there" in laboratory.findings(run)[0]


@pytest.mark.parametrize("precision", ["highest", "bfloat16"])
def test_lower_precisions_lose_about_what_pytorch_does(precision):
    own = torch_runner.measure(pose(), measured.YARDSTICKS[precision], 2)
    run = laboratory.compare(pose(), reference(), precision, 2, laboratory.yardsticks(own, reference()))
    evaluation = run["sections"][0]
    assert evaluation["held"], laboratory.table(run)
    assert evaluation["worst"] > evaluation["tolerance"] / 100


def test_saved_numbers_do_for_the_twin(tmp_path):
    measured.save(tmp_path / "numbers.npz", reference(), {}, {}, {})
    kept, _, _ = measured.load(tmp_path / "numbers.npz")
    run = laboratory.compare(pose(), kept, "float64", 2)
    assert run["held"], laboratory.table(run)
    assert [len(part["rows"]) > 20 for part in run["sections"]] == [True] * 5 and run["steps"]["drift"] == []


def test_frozen_statistics_are_compared_as_such():
    config = configure()
    config.model.norm_frozen = True
    weights, title = problem.weights_of(config, "")
    posed = Problem(config, weights, title, problem.random_batch(config, 2))
    run = laboratory.compare(posed, torch_runner.measure(posed, "float64", 2), "float64", 2)
    assert run["held"], laboratory.table(run)


def test_groups_are_what_pytorch_computes_on_each_device():
    """Two devices of two people: each normalises its own, gradients are averaged, the first's statistics kept."""
    config = configure()
    config.model.norm_group_size = 2
    weights, title = problem.weights_of(config, "")
    whole = problem.random_batch(config, 4)
    halves = [
        dataclasses.replace(whole, **{k: getattr(whole, k)[part] for k in ("image", "targets", "weights")})
        for part in (slice(0, 2), slice(2, 4))
    ]
    with jax_runner.computing_in("float64"):
        outputs = jax_runner.outputs(Problem(config, weights, title, whole), "float64", train=True)
        gradients, losses, states = jax_runner.train(Problem(config, weights, title, whole), "float64", 1)
    devices = [torch_runner.measure(Problem(config, weights, title, half), "float64", 1) for half in halves]
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
