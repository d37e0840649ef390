"""What is measured of a network, and how far two measurements are apart.

Everything is kept under PyTorch's names and in PyTorch's layout, whichever side it was measured on.
"""

import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SAMPLES = 64  # numbers kept of each array in a file

HEATMAPS = "heatmaps"
"""What the network's output is called among those of its layers."""

STEP_OF_STATE = 2
"""After how many steps the whole state is compared: Adam's second step is the first to depend on its history."""


@dataclasses.dataclass(frozen=True)
class Sampled:
    """An array of which little was kept.

    Attributes:
      norm: its Euclidean length.
      samples: some of its numbers, evenly spaced from the first to the last.
    """

    norm: float
    samples: np.ndarray


Arrays = Mapping[str, np.ndarray | Sampled]


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a network did with a batch.

    Attributes:
      evaluation: outputs of the layers in evaluation mode, in the order of computation; the last, the network's
        own, is called `HEATMAPS`.
      training: the same in training mode.
      gradients: of the loss in each parameter, before the first step.
      losses: of each step on the same batch, before the step.
      states: parameters and running statistics after each step; empty where not known.
      inputs: computes the inputs of the layers that hold parameters, by mode and name; none where not known.
      yardsticks: for one of `YARDSTICKS`, the deviation of that run of PyTorch's, by section and name.
    """

    evaluation: Arrays
    training: Arrays
    gradients: Arrays
    losses: list[float]
    states: Sequence[Arrays]
    inputs: Callable[[], Mapping[str, Arrays]] = dict
    yardsticks: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(default_factory=dict)

    def section(self, name: str) -> Arrays:
        """Returns the arrays that are compared under a name of `SECTIONS`."""
        if name == "statistics":
            return {key: array for key, array in self._state(1).items() if is_statistic(key)}
        if name == "state":
            return self._state(STEP_OF_STATE)
        return getattr(self, name)

    def _state(self, step: int) -> Arrays:
        return self.states[step - 1] if len(self.states) >= step else {}


SECTIONS = {
    "evaluation": "layers in evaluation mode",
    "training": "layers in training mode",
    "gradients": "gradients before the first step",
    "statistics": "running statistics after one step",
    "state": f"parameters and statistics after {STEP_OF_STATE} steps",
}


YARDSTICKS = {"float64": "nudged", "highest": "float32", "default": "float32", "bfloat16": "bfloat16"}
"""The run of PyTorch that says what each of our precisions may lose; "nudged": float64, see `problem.nudged`."""


def is_statistic(name: str) -> bool:
    """Whether a name is that of a running statistic."""
    return name.endswith((".running_mean", ".running_var"))


def sample(array: np.ndarray, count: int) -> Sampled:
    """Keeps the length and some numbers of an array."""
    flat = np.asarray(array, np.float64).ravel()
    index = np.linspace(0, flat.size - 1, min(count, flat.size)).astype(int)
    return Sampled(float(np.linalg.norm(flat)), flat[index])


def deviation(ours: np.ndarray, reference: np.ndarray | Sampled) -> float:
    """Returns how far an array is from its reference: the largest difference, relative to the largest value.

    Of a sampled reference, relative to the largest sample, or to the root mean square if that is larger; or the
    relative difference of lengths if that is larger. Not a number where one of the two holds something that is
    none; infinite where shapes differ.
    """
    if isinstance(reference, Sampled):
        found = sample(ours, len(reference.samples))
        if found.samples.shape != reference.samples.shape:
            return float("inf")
        scale = max(reference.norm / np.sqrt(ours.size), np.abs(reference.samples).max(initial=0.0))
        largest = np.abs(found.samples - reference.samples).max(initial=0.0)
        parts = _relative(largest, scale), _relative(abs(found.norm - reference.norm), reference.norm)
        return float(np.max(parts))
    if ours.shape != reference.shape:
        return float("inf")
    difference = np.abs(np.asarray(ours, np.float64) - reference).max(initial=0.0)
    return _relative(float(difference), float(np.abs(reference).max(initial=0.0)))


def _relative(difference: float, scale: float) -> float:
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale else float("inf")


def save(
    path: str | os.PathLike,
    measured: Measured,
    yardsticks: Mapping[str, Mapping[str, Mapping[str, float]]],
    about: Mapping[str, Any],
    labels: Mapping[str, np.ndarray],
) -> None:
    """Writes what a machine without PyTorch needs for comparing: lengths and samples of every array.

    Args:
      path: of the ``.npz`` file.
      measured: by the twin, in float64.
      yardsticks: deviations of the twin's other runs; see `Measured`.
      about: what was computed, to be checked by whoever reads it.
      labels: ``targets`` and ``weights`` of the batch, which another machine's `exp` would draw a bit differently.
    """
    content: dict[str, Any] = {
        "about": json.dumps(dict(about)),
        "yardsticks": json.dumps(dict(yardsticks)),
        "losses": np.array(measured.losses),
        **labels,
    }
    for section in SECTIONS:
        arrays = measured.section(section)
        rows = [sample(np.asarray(array), SAMPLES) for array in arrays.values()]
        table = np.full((len(rows), 1 + SAMPLES), np.nan)
        for line, row in zip(table, rows, strict=True):
            line[: 1 + len(row.samples)] = [row.norm, *row.samples]
        content |= {f"{section}/names": np.array(list(arrays), str), f"{section}/rows": table}
    partial = pathlib.Path(path).with_suffix(".partial.npz")
    np.savez_compressed(partial, **content)
    os.replace(partial, path)


def load(path: str | os.PathLike) -> tuple[Measured, dict[str, Any], dict[str, np.ndarray]]:
    """Reads what `save` wrote, or the numbers of the authors' own code, ``net_*.npz``.

    Returns:
      What was measured; what was computed, empty if the file does not say; and the file's arrays.

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
            return _of_the_authors(arrays), {}, arrays
        about, yardsticks = (json.loads(str(arrays[name])) for name in ("about", "yardsticks"))
        sections = {name: _rows(arrays[f"{name}/names"], arrays[f"{name}/rows"]) for name in SECTIONS}
        losses = arrays["losses"].tolist()
    except (KeyError, ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{os.fspath(path)!r} holds no reference numbers: give a file of --save_reference, or a net_*.npz"
        ) from error
    evaluation, training, gradients, *states = (sections[name] for name in SECTIONS)
    return Measured(evaluation, training, gradients, losses, states, yardsticks=yardsticks), about, arrays


def _rows(names: np.ndarray, table: np.ndarray) -> dict[str, Sampled]:
    """Turns rows of length and samples, filled up with NaN, into `Sampled`."""
    rows = (row[~np.isnan(row)] if np.isnan(row[-1]) else row for row in table)
    return {str(name): Sampled(float(row[0]), row[1:]) for name, row in zip(names, rows, strict=True)}


def _of_the_authors(arrays: Mapping[str, np.ndarray]) -> Measured:
    """Reads the conformance data: heatmaps, gradients, losses, and the state after two steps."""
    gradients = _rows(arrays["train/grad_names"], arrays["train/grads"])
    state = _rows(arrays["train/after2_names"], arrays["train/after2"])
    state = {name: row for name, row in state.items() if not name.endswith("num_batches_tracked")}
    losses: list[float] = arrays["train/losses"].tolist()
    return Measured({HEATMAPS: arrays["heatmaps"]}, {}, gradients, losses, [{}, state])
