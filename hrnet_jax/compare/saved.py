"""Files of numbers: PyTorch's for machines without it, and our own for other commits."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import hrnet_jax
from hrnet_jax import configuration, validation
from hrnet_jax.compare import jax_runner, measured, problem
from hrnet_jax.compare.measured import Measurement, NoiseFloors
from hrnet_jax.compare.problem import Setup
from hrnet_jax.run import manifest
from hrnet_jax.torch_interop import loading

LABELS = ("targets", "weights")
"""Fields of a batch that a file holds."""

PRECISION, PROGRAM = "precision", "program"
"""Entries of the summary of our own numbers. PyTorch's have neither."""

MakeSetup = Callable[..., Setup]
"""Makes the setup, given ``labels``, ``weights`` or nothing; see `problem.make_setup`."""


def write_pytorch(path: str | os.PathLike, setup: Setup, measurement: Measurement, floors: NoiseFloors) -> None:
    """Writes PyTorch's numbers in float64 and the noise floors of its other runs."""
    _write(path, setup, measurement, floors, {})


def write_ours(path: str | os.PathLike, setup: Setup, precision: str, steps: int) -> None:
    """Measures our network in one of `jax_runner.PRECISIONS`, and writes the numbers and their program."""
    measurement = jax_runner.measure(setup, precision, steps)
    _write(path, setup, measurement, {}, {PRECISION: precision, PROGRAM: program(setup)})


def _write(
    path: str | os.PathLike, setup: Setup, measurement: Measurement, floors: NoiseFloors, about: Mapping[str, Any]
) -> None:
    labels = {name: array for label in LABELS for name, array in _named(label, getattr(setup.batch, label))}
    measured.save(path, measurement, floors, {**problem.summarize(setup), **about}, labels)


def _named(label: str, value: Any) -> list[tuple[str, np.ndarray]]:
    """Returns an array, or those of a tuple, with their names in a file."""
    return [(f"{label}/{i}", x) for i, x in enumerate(value)] if isinstance(value, tuple) else [(label, value)]


def _label(arrays: Mapping[str, np.ndarray], label: str) -> Any:
    """Returns what `_named` named."""
    several = tuple(array for name, array in arrays.items() if name.startswith(f"{label}/"))
    return several or arrays[label]


def program(setup: Setup) -> dict[str, Any]:
    """Returns everything that determines the bits of our numbers: code, versions, device, digest of the inputs."""
    device = jax.devices()[0]
    inputs = measured.digest(setup.batch.image, *jax.tree.leaves(setup.variables))
    kind = {"hrnet_jax": hrnet_jax.__version__, "device": device.device_kind, "inputs": inputs}
    return kind | manifest.program(device)


def origin(path: str, about: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Returns precision and program of our own numbers from the summary of a file.

    Raises ValueError if the numbers are PyTorch's.
    """
    if PROGRAM not in about:
        raise ValueError(f"{path} holds numbers of PyTorch: give it as --reference, or a file of --measure")
    precision = validation.require(about, PRECISION, str, path)
    if precision not in jax_runner.PRECISIONS:
        raise ValueError(f"{path} is of precision {precision!r}, none of {', '.join(jax_runner.PRECISIONS)}")
    return precision, validation.require(about, PROGRAM, dict, path)


def title(path: str, about: Mapping[str, Any]) -> str:
    """Describes our own numbers for the report."""
    precision, made_with = origin(path, about)
    flat = configuration.flatten(made_with)
    package, commit, jax_version, device = (
        flat.get(name) or "unknown" for name in ("hrnet_jax", "code.commit", "versions.jax", "device")
    )
    return f"{path}, in {precision} by hrnet_jax {package} (commit {commit:.12}), jax {jax_version}, on {device}"


def read(path: str | os.PathLike, make: MakeSetup, steps: int | None) -> tuple[Setup, Measurement, dict[str, Any]]:
    """Reads a file of numbers, and makes the setup that they are of.

    Returns the setup with the file's targets, the measurement with `steps` training steps (None for all), and the
    summary of the file, which is empty for the authors' numbers.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no numbers, those of another setup, or fewer steps.
    """
    reference, about, arrays = measured.load(path)
    if steps is not None and steps > len(reference.losses):
        raise ValueError(f"--steps (={steps}): {path} has {len(reference.losses)}")
    if about:
        setup = make()
        _check_same(path, about, reference, setup)
        labels = {label: _label(arrays, label) for label in LABELS}
        setup = dataclasses.replace(setup, batch=dataclasses.replace(setup.batch, **labels))
    else:  # the authors' own numbers come with joints
        setup = make(labels=(arrays["train/joints"], arrays["train/vis"]))
        _check_authors(path, reference, setup)
    return setup, reference if steps is None else reference.first_steps(steps), about


def _check_same(path: str | os.PathLike, about: Mapping[str, Any], reference: Measurement, setup: Setup) -> None:
    """Raises ValueError unless the numbers are of this setup."""
    here = problem.summarize(setup)
    fields = configuration.fields("hrnet")
    about = {**{name: fields[name].default for name in problem.OPTIMIZER}, **about}  # version 0.1 had only these
    lengths, expected = about.get("lengths", []), here.pop("lengths")
    if different := loading.differences(about, here, here.keys()):
        raise ValueError(f"{path} is of another setup: {'; '.join(different):.400}")
    if reference.gradients:
        _check_parameters(path, reference, setup)
    if len(lengths) != len(expected) or not np.allclose(lengths, expected, rtol=1e-6):
        raise ValueError(
            f"{path} was computed with other weights or another batch than this ({setup.weights_title};"
            f" {setup.batch.title}): give the same --config, --checkpoint, --batch, --people and --seed"
        )


def _check_parameters(path: str | os.PathLike, reference: Measurement, setup: Setup) -> dict[str, np.ndarray]:
    """Returns our parameters by name. Raises ValueError unless the numbers have a gradient of each."""
    own = loading.to_pytorch({"params": setup.variables["params"]})
    if other := sorted(set(reference.gradients) ^ set(own)):
        raise ValueError(f"{path} is of another network: {len(other)} parameters differ, the first {other[0]}")
    return own


def _check_authors(path: str | os.PathLike, reference: Measurement, setup: Setup) -> None:
    """Raises ValueError unless the authors' numbers are of this network and of weights of these norms."""
    own = _check_parameters(path, reference, setup)
    after = reference.section("state")  # two steps change little
    off = [name for name in own if not np.isclose(np.linalg.norm(own[name]), after[name].norm, rtol=0.2)]  # type: ignore
    if off:
        raise ValueError(f"{path} is of other weights: {len(off)} parameters have another norm, first {off[0]}")
