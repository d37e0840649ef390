"""Measurements of a network, and the deviation between two of them.

Names and layouts are PyTorch's on both sides.
"""

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax.torch_interop import state_dict

SAMPLES = 64  # values kept of each array in a file
EPSILON = float(np.finfo(np.float64).eps)  # deviation of arrays that differ only between their samples
HEATMAPS = "heatmaps"  # name of the network's output among those of its layers

STEP_OF_STATE = 2
"""Number of steps before the states are compared: Adam's second step is the first to depend on its history."""

SECTIONS = {
    "evaluation": "layers in evaluation mode",
    "training": "layers in training mode",
    "gradients": "gradients before the first step",
    "statistics": "running statistics after one step",
    "state": f"parameters and statistics after {STEP_OF_STATE} steps",
}

NOISE_RUNS = {"float64": "perturbed", "highest": "float32", "default": "float32", "bfloat16": "bfloat16"}
"""The PyTorch run that gives the noise floor of each precision; "perturbed" is float64, see `problem.perturb`."""


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Euclidean norm of an array, and samples at evenly spaced positions from its first to its last value.

    The `digest` changes with any bit. It is empty if unknown.
    """

    norm: float
    samples: np.ndarray
    digest: str = ""


Arrays = Mapping[str, np.ndarray | Sampled]

NoiseFloors = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Deviations of PyTorch's own runs from its float64 run, by run (see `NOISE_RUNS`), section and name."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Outputs, gradients and training steps of a network on one batch.

    Attributes:
      evaluation: layer outputs in evaluation mode, in the order of computation, the last called `HEATMAPS`.
      training: the same in training mode.
      gradients: of the loss with respect to each parameter, before the first step.
      losses: on the same batch, before each step.
      states: parameters and running statistics after each step; empty if unknown.
      inputs: computes the inputs of the layers with parameters by mode and name; empty if unknown.
      noise_floors: of PyTorch.
    """

    evaluation: Arrays
    training: Arrays
    gradients: Arrays
    losses: list[float]
    states: Sequence[Arrays]
    inputs: Callable[[], Mapping[str, Arrays]] = dict
    noise_floors: NoiseFloors = dataclasses.field(default_factory=dict)

    def first_steps(self, count: int) -> "Measurement":
        """Returns the measurement as it would be with fewer training steps."""
        gradients = self.gradients if count else {}
        parts = {"losses": self.losses[:count], "states": self.states[:count]}
        return dataclasses.replace(self, gradients=gradients, **parts)

    def section(self, name: str) -> Arrays:
        """Returns the arrays of one of the `SECTIONS`."""
        if name not in ("statistics", "state"):
            return getattr(self, name)
        step = 1 if name == "statistics" else STEP_OF_STATE
        state = self.states[step - 1] if len(self.states) >= step else {}
        return state if name == "state" else {key: array for key, array in state.items() if is_statistic(key)}


def is_statistic(name: str) -> bool:
    """Whether a name is that of a running statistic."""
    return name.endswith((".running_mean", ".running_var"))


def sample(array: np.ndarray, count: int) -> Sampled:
    """Returns the norm of an array, up to `count` samples, and its digest."""
    flat = np.asarray(array, np.float64).ravel()
    index = np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)
    return Sampled(float(np.linalg.norm(flat)), flat[index], digest(array))


def digest(*arrays: np.ndarray) -> str:
    """Returns a digest of the types, shapes and bits of arrays, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def largest(array: np.ndarray | Sampled) -> float:
    """Returns the largest absolute value, of its samples if only they are known."""
    values = array.samples if isinstance(array, Sampled) else np.asarray(array, np.float64)
    return float(np.abs(values).max(initial=0.0))


def deviation(ours: np.ndarray, reference: np.ndarray | Sampled, least: float = 0.0) -> float:
    """Returns the largest absolute difference divided by the largest absolute value of the reference.

    The divisor is never smaller than `least`.

    For a sampled reference the divisor is the largest sample or the root mean square, if that is larger. The
    result is then at least the relative difference of the norms. If its digest is known, the result is 0 for the
    same bits and otherwise at least `EPSILON`, since arrays may differ between the samples.

    The result is NaN if either array has a NaN, and infinite if the shapes differ.
    """
    if isinstance(reference, Sampled):
        found = sample(ours, len(reference.samples))
        if found.samples.shape != reference.samples.shape:
            return np.inf
        root = np.sqrt(ours.size)
        scale = max(reference.norm / root, largest(reference), least)
        difference = np.abs(found.samples - reference.samples).max(initial=0.0)
        if found.digest == reference.digest:  # the norm of the same bits may be rounded in another way
            return float(np.max([relative(difference, scale), 0.0 * reference.norm]))
        norm = max(reference.norm, least * root)
        parts = relative(difference, scale), relative(abs(found.norm - reference.norm), norm)
        return float(np.max([*parts, EPSILON if reference.digest else 0.0]))
    if ours.shape != reference.shape:
        return np.inf
    difference = np.abs(np.asarray(ours, np.float64) - reference).max(initial=0.0)
    return relative(float(difference), max(largest(reference), least))


def relative(difference: float, scale: float) -> float:
    """Returns a difference divided by a scale: 0 without a difference, and infinite if only the scale is 0."""
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale else np.inf


def save(
    path: str | os.PathLike, measurement: Measurement, noise_floors: NoiseFloors, about: Mapping, labels: Arrays
) -> None:
    """Writes a file of numbers: norm, samples and digest of every array, and the losses.

    The file also has the summary of the setup, `about` (see `problem.summarize`), and as `labels` the ``targets``
    and ``weights`` of the batch, since `exp` rounds differently on other machines.
    """
    texts = {"about": json.dumps(dict(about)), "noise_floors": json.dumps(dict(noise_floors))}
    content: dict[str, Any] = {**texts, "losses": np.array(measurement.losses), **labels}
    for section in SECTIONS:
        arrays = measurement.section(section)
        rows = [sample(np.asarray(array), SAMPLES) for array in arrays.values()]
        table = np.full((len(arrays), 1 + SAMPLES), np.nan)
        for line, row in zip(table, rows, strict=True):
            line[: 1 + len(row.samples)] = [row.norm, *row.samples]
        content |= {f"{section}/names": np.array(list(arrays), str), f"{section}/rows": table}
        content[f"{section}/digests"] = np.array([row.digest for row in rows], str)
    with state_dict.write_atomically(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **content)


def load(path: str | os.PathLike) -> tuple[Measurement, dict[str, Any], dict[str, np.ndarray]]:
    """Reads a file of `save`, or the numbers of the authors' own code in ``net_*.npz``.

    Returns the measurement, the summary of its setup (empty for the authors' numbers), and all arrays of the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no reference numbers.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there are no reference numbers {os.fspath(path)!r}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        if "about" not in arrays:
            return _authors_measurement(arrays), {}, arrays
        if "yardsticks" in arrays:  # written by version 0.1
            arrays["noise_floors"] = np.array(str(arrays["yardsticks"]).replace('"nudged"', '"perturbed"'))
        about, noise_floors = (json.loads(str(arrays[name])) for name in ("about", "noise_floors"))
        sections = [
            _rows(arrays[f"{name}/names"], arrays[f"{name}/rows"], arrays.get(f"{name}/digests"))
            for name in SECTIONS
        ]
        losses = arrays["losses"].tolist()
    except (KeyError, ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{os.fspath(path)!r} holds no reference numbers: give a file written by --save_reference or"
            " --measure, or one of the authors' net_*.npz"
        ) from error
    evaluation, training, gradients, *states = sections
    return Measurement(evaluation, training, gradients, losses, states, noise_floors=noise_floors), about, arrays


def _rows(names: np.ndarray, table: np.ndarray, digests: np.ndarray | None = None) -> dict[str, Sampled]:
    """Turns rows of norm and samples, padded with NaN, into `Sampled`."""
    rows = (row[~np.isnan(row)] if np.isnan(row[-1]) else row for row in table)
    digests = np.full(len(names), "") if digests is None else digests  # the authors' numbers have none
    return {
        str(name): Sampled(float(row[0]), row[1:], str(digest))
        for name, row, digest in zip(names, rows, digests, strict=True)
    }


def _authors_measurement(arrays: Mapping[str, np.ndarray]) -> Measurement:
    """Returns the authors' heatmaps, gradients, losses, and state after two steps."""
    gradients = _rows(arrays["train/grad_names"], arrays["train/grads"])
    state = _rows(arrays["train/after2_names"], arrays["train/after2"])
    state = {name: row for name, row in state.items() if not name.endswith("num_batches_tracked")}
    losses: list[float] = arrays["train/losses"].tolist()
    return Measurement({HEATMAPS: arrays["heatmaps"]}, {}, gradients, losses, [{}, state])
