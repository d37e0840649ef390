"""Tasks: everything that differs between kinds of training.

``train.py`` and ``eval.py`` reach data, loss, metrics, evaluation and pictures through `Task` alone. A new task is
one file with a class that has these attributes: add it to `TASKS`, or name it as ``module:Class`` in
``config.task``.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import fields, training
from hrnet_jax.evaluation import report
from hrnet_jax.fields import Field
from hrnet_jax.tasks import bottom_up, top_down

Batch = dict[str, np.ndarray]
"""Arrays of this process's share of a batch, with ``index``: rows in the table of examples."""

Place = Callable[[Batch], Mapping[str, jax.Array]]
"""Puts a batch on the devices."""


Variables = Mapping[str, Any] | tuple[Mapping[str, Any], ...]
"""``params`` and ``batch_stats``, or several of these for an ensemble: ``eval.py`` with several checkpoints."""


class Data(Protocol):
    """The examples of a split."""

    @property
    def name(self) -> str:
        """Name of the split, such as ``train2017``."""
        ...

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def digest(self) -> str:
        """Returns a digest of the data, for the manifest of a run."""
        ...


class Examples(Data, Protocol):
    """The examples to train on."""

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Returns an endless iterator over batches from a step on, with a method ``close``."""
        ...

    def identify(self, rows: np.ndarray) -> dict[str, list]:
        """Returns the ids of examples by their rows, for the report of a non-finite step."""
        ...

    def loading_hint(self) -> str:
        """Returns how to load these data faster, appended to the note that the devices wait for data."""
        ...


class Evaluation(Data, Protocol):
    """The examples to evaluate on."""

    @property
    def score(self) -> str:
        """Metric that ranks checkpoints, such as ``AP``; higher is better."""
        ...

    @property
    def logged_score(self) -> str:
        """Full name of the score, such as ``val2017/gt_boxes/AP``."""
        ...

    @property
    def is_scored(self) -> bool:
        """False if the split has no ground truth to compute the score from."""
        ...

    def summary(self) -> str:
        """Returns the numbers of examples, for the terminal."""
        ...

    def metrics(self, variables: Mapping[str, Any], place: Place) -> dict[str, float]:
        """Evaluates while training. Returns metrics by full name, the `logged_score` among them."""
        ...

    def predict(self, variables: Variables, place: Place, progress: bool) -> Any:
        """Predicts everything that ``eval.py`` reports. Collective: all processes must call it."""
        ...

    def write(
        self,
        predictions: Any,
        variables: Variables,
        directory: pathlib.Path,
        against: report.OtherRun | None,
    ) -> None:
        """Writes the metrics, results and pictures of `predict` to a directory, and prints the main ones.

        `variables` are on the host. `against` is another run to compare with.
        """
        ...


class Task(Protocol):
    """A configuration seen as a task."""

    model: nn.Module
    """The network."""

    metrics: tuple[str, ...]
    """Names of a step's metrics, ``loss`` first."""

    def __init__(self, config: ConfigDict):
        """Builds the network and checks the fields of the task. Raises ValueError for a wrong one."""
        ...

    @classmethod
    def fields(cls, config: Mapping[str, Any]) -> dict[str, Field]:
        """Returns the fields of a nested configuration by full name. Raises ValueError for an unknown network."""
        ...

    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the arrays of a global batch that a training step reads, with their shapes."""
        ...

    def shapes(self) -> dict[str, Any]:
        """Returns the shapes of ``params`` and ``batch_stats``."""
        ...

    def init(self) -> dict[str, Any]:
        """Draws the initial ``params`` and ``batch_stats`` on the host."""
        ...

    def loss(
        self, params: Any, batch_stats: Any, batch: training.Batch
    ) -> tuple[jax.Array, tuple[Any, training.Metrics]]:
        """Computes the loss of a batch, a pure function; see `training.Loss`."""
        ...

    def memory_options(self, devices: int) -> Iterator[dict[str, Any]]:
        """Yields fields that make a step need less memory without changing the training, the cheapest first."""
        ...

    def picture(self, variables: Mapping[str, Any], batch: Batch) -> np.ndarray:
        """Draws inputs, targets and predictions of a batch as ``[height, width, 3]`` uint8."""
        ...

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint says of its network, as JSON; weights load only where it agrees."""
        ...

    def title(self) -> str:
        """Returns the network in words, for the terminal."""
        ...

    def examples(self) -> Examples:
        """Opens the examples to train on. Raises ValueError or FileNotFoundError if they do not fit the task."""
        ...

    def evaluation(self, *, trained: bool) -> Evaluation:
        """Opens the examples to evaluate on. If `trained`, raises ValueError where no score can be computed."""
        ...


TASKS: dict[str, type[Task]] = {"top_down": top_down.TopDown, "bottom_up": bottom_up.BottomUp}


def find(name: str) -> type[Task]:
    """Returns a task by its name in `TASKS`, or as ``module:Class``. Raises ValueError if there is none."""
    found = fields.find("task", name, TASKS)
    if not isinstance(found, type) or not hasattr(found, "loss"):
        raise ValueError(f"`task` (={name!r}) is not a class with the attributes of `hrnet_jax.tasks.Task`")
    return found


def build(config: ConfigDict) -> Task:
    """Returns the task of a configuration. Raises ValueError for a wrong field."""
    return find(config.task)(config)
