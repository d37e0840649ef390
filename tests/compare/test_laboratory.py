"""Reports on made-up measurements; `test_torch_runner` compares networks."""

import dataclasses

import numpy as np
import pytest

from configs import default
from hrnet_jax.compare import jax_runner, laboratory, measured
from hrnet_jax.compare.measured import HEATMAPS, Measurement
from hrnet_jax.compare.problem import Setup

KINDS = {"conv1": "Conv", "bn1": "BatchNorm", "final_layer": "Conv", HEATMAPS: "HRNet"}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def measure(**changes) -> Measurement:
    layers = {"conv1": draw(2, 4, 8, 8), "bn1": draw(2, 4, 8, 8, seed=1), "final_layer": draw(2, 3, 2, 2)}
    layers[HEATMAPS] = layers["final_layer"]
    weights = {"conv1.weight": draw(4, 3, 3, 3), "bn1.weight": draw(4), "final_layer.weight": draw(3, 4, 1, 1)}
    state = weights | {"bn1.running_mean": draw(4), "bn1.running_var": draw(4)}
    states = [state, state]
    return dataclasses.replace(Measurement(layers, dict(layers), weights, [3.0, 2.0], states), **changes)


@pytest.fixture
def compare(monkeypatch):
    """Compares two made-up measurements."""

    def run(found: Measurement, reference: Measurement, precision="float64", isolated=None, **options):
        monkeypatch.setattr(jax_runner, "measure", lambda *_: found)
        monkeypatch.setattr(jax_runner, "isolated_outputs", lambda *_: isolated or {})
        monkeypatch.setattr(jax_runner, "kinds", lambda _: KINDS)
        setup = Setup(default.get_config(), {}, "", None)  # type: ignore[arg-type]
        return laboratory.compare(setup, reference, precision, 2, **options)

    return run


def section(run, name):
    return next(found for found in run["sections"] if found["name"] == name)


def test_equal_measurements_hold(compare):
    run = compare(measure(), measure())
    assert run["held"] and all(part["first"] is None and part["worst"] == 0 for part in run["sections"])
    assert run["steps"]["deviation"] == [0, 0] and run["steps"]["drift"] == [0, 0]
    assert laboratory.failures(run) == []


def test_the_first_layer_above_the_tolerance_is_named(compare):
    reference = measure()
    found = {name: array * (1 if name == "conv1" else 1 + 1e-6) for name, array in reference.evaluation.items()}
    isolated = {"evaluation": found | {"final_layer": reference.evaluation["final_layer"]}}
    run = compare(measure(evaluation=found), reference, isolated=isolated)
    assert not run["held"] and not section(run, "evaluation")["held"] and section(run, "training")["held"]
    first = section(run, "evaluation")["first"]
    assert (first["index"], first["name"]) == (1, "bn1") and first["deviation"] == pytest.approx(1e-6)
    (text,) = laboratory.failures(run)
    assert "first above 1.0e-09 is bn1 (BatchNorm), 1.0e-06" in text and text.endswith("1.0e-06: introduced there")
    rows = section(run, "evaluation")["rows"]
    assert rows[2]["isolated"] == 0 and rows[3]["isolated"] is None
    assert "! layers in evaluation mode" in laboratory.table(run)


def test_a_deviation_of_earlier_layers_is_called_propagated(compare):
    reference = measure()
    found = {name: array * (1 + 1e-6) for name, array in reference.evaluation.items()}
    run = compare(measure(evaluation=found), reference, isolated={"evaluation": reference.evaluation})
    assert laboratory.failures(run)[0].endswith("propagated")


@pytest.mark.parametrize("sampled", [False, True])
def test_gradients_that_are_rounding_errors_of_zero_are_compared_with_the_others(compare, sampled):
    """Such as those of a bias before batch normalization."""
    reference = measure()
    noise, other = 1e-15 * draw(4), 1e-15 * draw(4, seed=1)

    def with_noise(bias: np.ndarray) -> Measurement:
        return measure(gradients=reference.gradients | {"conv1.bias": bias})

    expected = with_noise(noise)
    if sampled:
        rows = {name: measured.sample(array, 3) for name, array in expected.gradients.items()}
        expected = dataclasses.replace(expected, gradients=rows)
    assert section(compare(with_noise(other), expected), "gradients")["held"]
    assert not section(compare(with_noise(1e-12 * draw(4)), expected), "gradients")["held"]
    assert not section(compare(with_noise(other), expected, tolerance=0.0), "gradients")["held"]
    floor = laboratory.estimate_noise_floor(with_noise(other), expected)["gradients"]
    assert 0 < floor["conv1.bias"] < 1e-8
    layers = {"conv1": noise.reshape(1, 4, 1, 1), HEATMAPS: draw(2, 3, 2, 2)}
    changed = layers | {"conv1": other.reshape(1, 4, 1, 1)}
    assert not compare(measure(evaluation=changed), measure(evaluation=layers))["held"]


def test_gradients_are_listed_backward(compare):
    reference = measure()
    run = compare(measure(gradients={n: 2 * g for n, g in reference.gradients.items()}), reference)
    names = [row["name"] for row in section(run, "gradients")["rows"]]
    assert names == ["final_layer.weight", "bn1.weight", "conv1.weight"]
    assert section(run, "gradients")["first"]["name"] == "final_layer.weight"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_and_infinity_fail(compare, wrong):
    state = dict(measure().states[0])
    state["bn1.running_var"] = np.array([1, wrong, 1, 1])
    run = compare(measure(states=[state, state]), measure())
    assert not run["held"]
    assert section(run, "statistics")["worst_name"] == "bn1.running_var"
    assert section(run, "state")["first"]["name"] == "bn1.running_var"


def test_a_missing_gradient_fails(compare):
    gradients = {name: g for name, g in measure().gradients.items() if name != "bn1.weight"}
    run = compare(measure(gradients=gradients), measure())
    assert section(run, "gradients")["first"] == {"index": 1, "name": "bn1.weight", "deviation": None}
    assert "missing" in laboratory.failures(run)[0]


@pytest.mark.parametrize("section_name", ["evaluation", "training"])
@pytest.mark.parametrize("missing", ["conv1", HEATMAPS])
def test_a_missing_layer_fails(compare, section_name, missing):
    layers = {name: array for name, array in measure().evaluation.items() if name != missing}
    run = compare(measure(**{section_name: layers}), measure())
    assert not run["held"] and section(run, section_name)["first"]["name"] == missing


def test_nothing_to_compare_fails(compare):
    assert not compare(measure(losses=[]), measure())["held"]
    nothing = Measurement({}, {}, {}, [1.0], [])
    assert not compare(measure(losses=[1.0]), nothing)["held"]


def test_every_loss_has_a_tolerance(compare):
    late = [1.0] * 3 + [1 + 1e-4]
    assert compare(measure(losses=late), measure(losses=[1.0] * 4))["held"]
    for number in (0, 2):
        off = [1.0] * 4
        off[number] += 1e-7
        run = compare(measure(losses=off), measure(losses=[1.0] * 4))
        assert not run["held"] and not run["steps"]["held"]


def test_a_tolerance_replaces_all_others(compare):
    late = [1.0] * 3 + [float(np.nextafter(1.0, 2.0))]
    run = compare(measure(losses=late), measure(losses=[1.0] * 4), tolerance=0.0)
    assert not run["held"] and run["steps"]["tolerance"] == [0.0] * 4
    (text,) = laboratory.failures(run)
    assert text == "losses: first above 0 is that of step 4, 2.2e-16: 1.0000000000000002, not 1.0"
    assert compare(measure(losses=late), measure(losses=[1.0] * 4), tolerance=1e-15)["held"]
    assert compare(measure(losses=late), measure(losses=late), tolerance=0.0)["held"]


def test_adjacent_losses_differ(compare):
    """Their ratio may be rounded to 1."""
    a, b = float(np.nextafter(2.0, 1.0)), float(np.nextafter(np.nextafter(2.0, 1.0), 1.0))
    run = compare(measure(losses=[b, 1.0]), measure(losses=[a, 1.0]), tolerance=0.0)
    assert not run["held"] and run["steps"]["deviation"][0] > 0


def test_results_of_adam_may_deviate_by_the_effect_of_a_perturbation(compare):
    reference = measure(losses=[1.0] * 4)
    state = {name: array * (1 + 2e-7) for name, array in reference.states[0].items()}
    off = measure(losses=[1.0, 1.0, 1 + 1e-7, 1.0], states=[reference.states[0], state])
    assert not compare(off, reference)["held"]
    noise = {"state": {"conv1.weight": 1e-7}, "steps": {"1": 0.0, "2": 0.0, "3": 1e-7, "4": 1e-7}}
    assert compare(off, reference, noise_floor=noise)["held"]
    early = measure(losses=[1.0, 1 + 1e-7, 1.0, 1.0])
    assert not compare(early, reference, noise_floor=noise)["held"]
    layers = {name: array * (1 + 2e-7) for name, array in reference.evaluation.items()}
    wide = noise | {"evaluation": {"conv1": 1e-3}, "training": {"conv1": 1e-3}}
    assert not compare(measure(evaluation=layers), measure(), noise_floor=wide)["held"]


def test_drift_is_the_distance_of_all_parameters(compare):
    state = {
        name: array * 1.5 if name.endswith("weight") else array for name, array in measure().states[0].items()
    }
    run = compare(measure(states=[measure().states[0], state]), measure())
    assert run["steps"]["drift"] == pytest.approx([0, 0.5])


def test_a_lower_precision_may_deviate_by_three_times_pytorchs_noise_floor(compare):
    reference = measure()
    found = {name: array * (1 + 2e-6) for name, array in reference.evaluation.items()}
    for own, held in ((1e-6, True), (0.5e-6, False)):
        other = measure(evaluation={n: array * (1 + own) for n, array in reference.evaluation.items()})
        noise = laboratory.estimate_noise_floor(other, reference)
        run = compare(measure(evaluation=found), reference, "highest", noise_floor=noise)
        part = section(run, "evaluation")
        assert part["held"] is held and part["tolerance"] == pytest.approx(3 * own)
        assert part["rows"][0]["noise_floor"] == pytest.approx(own)


def test_without_a_noise_floor_results_must_only_be_finite(compare):
    reference = measure()
    found = {name: array * 1.1 for name, array in reference.evaluation.items()}
    assert compare(measure(evaluation=found), reference, "bfloat16")["held"]
    assert not compare(measure(evaluation=found), reference, "bfloat16", tolerance=0.01)["held"]
    assert compare(measure(), reference, "bfloat16", tolerance=1e-30)["held"]
    broken = {name: array * np.nan for name, array in reference.evaluation.items()}
    assert not compare(measure(evaluation=broken), reference, "bfloat16")["held"]
