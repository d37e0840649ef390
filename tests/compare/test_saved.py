"""Files of numbers, without running a network."""

import dataclasses
import json

import numpy as np
import pytest
from made_weights import small_config

import hrnet_jax
from hrnet_jax.compare import jax_runner, measured, problem, saved
from hrnet_jax.compare.measured import HEATMAPS, Measurement
from hrnet_jax.torch_interop import loading


@pytest.fixture(scope="module")
def setup():
    return problem.make_setup(small_config((64, 32)))


@pytest.fixture
def path(setup, monkeypatch, tmp_path):
    """A file of our own numbers, with the weights for gradients."""
    gradients = loading.to_pytorch({"params": setup.variables["params"]})
    found = Measurement({HEATMAPS: setup.batch.targets}, {}, gradients, [3.0, 2.0], [gradients, gradients])
    monkeypatch.setattr(jax_runner, "measure", lambda *_: found)
    saved.write_ours(tmp_path / "ours.npz", setup, "highest", 2)
    return str(tmp_path / "ours.npz")


def change(path: str, **arrays) -> str:
    """Writes a copy of a file with other arrays."""
    with np.load(path) as file:
        np.savez(f"{path}-changed.npz", **dict(file) | arrays)
    return f"{path}-changed.npz"


def test_our_numbers_are_read_with_their_program(setup, path):
    found, reference, about = saved.read(path, lambda: setup, None)
    precision, program = saved.origin(path, about)
    assert precision == "highest" and program == saved.program(setup)
    assert reference.losses == [3.0, 2.0] and found.config == setup.config
    assert (
        program["hrnet_jax"] == hrnet_jax.__version__ and program["code"]["sources"] and program["versions"]["jax"]
    )
    assert saved.title(path, about).startswith(f"{path}, in highest by hrnet_jax {hrnet_jax.__version__} (commit ")


def test_the_batch_has_the_targets_of_the_file(setup, path):
    targets = np.nextafter(setup.batch.targets, 2)  # as drawn on another machine
    found, _, _ = saved.read(change(path, targets=targets), lambda: setup, None)
    np.testing.assert_array_equal(found.batch.targets, targets)
    np.testing.assert_array_equal(found.batch.image, setup.batch.image)


def test_a_file_has_enough_steps(setup, path):
    _, reference, _ = saved.read(path, lambda: setup, 0)
    assert reference.losses == [] and reference.gradients == {} and HEATMAPS in reference.evaluation
    with pytest.raises(ValueError, match=r"--steps \(=3\): .*ours\.npz has 2"):
        saved.read(path, lambda: setup, 3)


@pytest.mark.parametrize(
    ("field", "value"), [("optimizer", "sgd"), ("momentum", 0.5), ("weight_decay", 0.1), ("gradient_clip", 1.0)]
)
def test_numbers_of_another_optimizer_are_refused(setup, path, field, value):
    config = setup.config.copy_and_resolve_references()
    config[field] = value
    with pytest.raises(ValueError, match=rf"is of another setup: `{field}` is .* there and {value!r} here"):
        saved.read(path, lambda: dataclasses.replace(setup, config=config), None)


def test_inputs_with_other_last_bits_have_another_digest(setup):
    image = setup.batch.image.copy()
    image[0, 0, 0, 0] = np.nextafter(image[0, 0, 0, 0], np.inf)
    other = dataclasses.replace(setup, batch=dataclasses.replace(setup.batch, image=image))
    assert saved.program(other)["inputs"] != saved.program(setup)["inputs"]


def test_numbers_of_other_parameters_are_refused(setup, path):
    with np.load(path) as file:
        names = ["conv9.weight", *file["gradients/names"][1:]]
    with pytest.raises(ValueError, match="is of another network: 2 parameters differ, the first "):
        saved.read(change(path, **{"gradients/names": np.array(names)}), lambda: setup, None)


def test_numbers_of_another_number_of_tensors_are_refused(setup, path):
    about = measured.load(path)[1]
    about["lengths"] = about["lengths"][1:]
    with pytest.raises(ValueError, match="was computed with other weights or another batch"):
        saved.read(change(path, about=json.dumps(about)), lambda: setup, None)


def test_an_unknown_precision_is_refused(path):
    about = measured.load(path)[1] | {"precision": "float8"}
    with pytest.raises(ValueError, match="is of precision 'float8', none of float64, highest, default, bfloat16"):
        saved.origin(path, about)


def test_numbers_of_pytorch_have_no_program(setup, tmp_path):
    path = str(tmp_path / "reference.npz")
    found = Measurement({HEATMAPS: setup.batch.targets}, {}, {}, [], [])
    saved.write_pytorch(path, setup, found, {"float32": {"evaluation": {HEATMAPS: 1e-7}}})
    _, reference, about = saved.read(path, lambda: setup, None)
    assert reference.noise_floors == {"float32": {"evaluation": {HEATMAPS: 1e-7}}}
    with pytest.raises(ValueError, match="holds numbers of PyTorch: give it as --reference"):
        saved.origin(path, about)
