"""What a run tells of itself between two lines of its log: mean figures, how fast it goes, what it waits for."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

MUCH_WAITING = 0.25
"""Share of the time that the devices may wait for data before that is complained of."""

FINITE = "finite"
"""Figure of a step that is 0 if its loss, a gradient or a statistic was not finite, else 1."""


class NonFiniteStep(Exception):
    """A step's loss, a gradient or a statistic was not finite.

    Attributes:
      step: the number of the step, from 0.
      loss: what it was.
      rows: ``[B]`` of the people in the step's batch, this process's share.
    """

    def __init__(self, step: int, loss: float, rows: np.ndarray):
        super().__init__(step, loss, rows)
        self.step, self.loss, self.rows = step, loss, rows


class Window:
    """The steps since the last line of the log.

    Args:
      first_step: the number of the first step to come.
      before: figures of steps before it that are in no line yet, as `unlogged` gave them.
      not_finite: what to do about a step that was not; raises what it is given, or else the step is left out of
        the means.
      names: of the metrics to log the mean of.
    """

    def __init__(
        self,
        first_step: int,
        before: Sequence[dict[str, float]] = (),
        not_finite: Callable[[NonFiniteStep], None] | None = None,
        names: Sequence[str] = ("loss",),
    ):
        self._names = names
        self._read, self._not_finite = list(before), not_finite or _raise
        self._running: list[tuple[int, dict[str, jax.Array], np.ndarray]] = []
        self._next = first_step

    @property
    def newest(self) -> jax.Array | None:
        """A result of the newest step, not ready while the devices work on it."""
        return self._running[-1][1][FINITE] if self._running else None

    def add(self, metrics: dict[str, jax.Array], rows: np.ndarray) -> None:
        """Takes what a step just begun reports, and waits for the step before it.

        One step ahead keeps the devices busy and the progress bar honest.

        Raises:
          NotFinite: the step before was not.
        """
        self._running.append((self._next, metrics, rows))
        self._next += 1
        self._settle(keep=1)

    def unlogged(self) -> list[dict[str, float]]:
        """Waits for all steps and returns their figures.

        Raises:
          NotFinite: a step was not.
        """
        self._settle(keep=0)
        return list(self._read)

    def read(self) -> dict[str, float]:
        """Returns the mean figures, and starts again.

        Raises:
          NotFinite: a step was not.
        """
        figures = self.unlogged()
        self._read.clear()
        means = {name: np.mean([entry[name] for entry in figures]) if figures else np.nan for name in self._names}
        return {name: float(mean) for name, mean in means.items()}

    def _settle(self, keep: int) -> None:
        """Waits for all steps but the newest `keep`."""
        while len(self._running) > keep:
            step, metrics, rows = self._running.pop(0)
            figures = {name: float(value) for name, value in jax.device_get(metrics).items()}
            if figures.pop(FINITE):
                self._read.append(figures)
            else:
                self._not_finite(NonFiniteStep(step, figures["loss"], rows))


def _raise(error: Exception) -> None:
    raise error


class Watch:
    """Measures how fast training goes and what share of the time the devices wait for data.

    Args:
      people: in a batch.
    """

    def __init__(self, people: int):
        self._people, self._complained = people, False
        self.restart()

    def restart(self) -> None:
        """Starts counting anew, so that what is not training (evaluations, pictures) is left out."""
        self._started, self._steps, self._waited = time.perf_counter(), 0, 0.0

    def next(self, batches: Iterator[Any], busy: jax.Array | None) -> Any:
        """Takes a batch; the time counts as waiting if the devices have nothing left to do at its end.

        Args:
          batches: the loader.
          busy: a result of the newest step, not ready while the devices work on it.
        """
        started = time.perf_counter()
        batch = next(batches)
        if busy is not None and busy.is_ready():  # pyright: ignore[reportAttributeAccessIssue]
            self._waited += time.perf_counter() - started
        self._steps += 1
        return batch

    def read(self) -> dict[str, float]:
        """Returns the figures since the last reading, and starts again."""
        passed = time.perf_counter() - self._started
        figures = {"images_per_second": self._steps * self._people / passed, "data_wait": self._waited / passed}
        self.restart()
        return figures

    def complaint(self, data_wait: float, hint: str = "") -> str | None:
        """Says what to do about it when the devices wait much for data for the first time; None if they do not.

        Args:
          data_wait: the share of the time.
          hint: what else would help, appended.
        """
        if self._complained or data_wait <= MUCH_WAITING:
            return None
        self._complained = True
        return (
            f"{data_wait:.0%} of the time goes into waiting for photos: raise --config.loader.threads, or"
            " --config.loader.workers where there are many cores"
        ) + hint


def line(figures: dict[str, float]) -> str:
    """What the progress bar says besides steps and time left."""
    special = ("loss", "learning_rate", "images_per_second", "data_wait")
    others = "".join(f"{value:.3f} {name}, " for name, value in figures.items() if name not in special)
    return (
        f"{figures['loss']:.2e} loss, {others}{figures['learning_rate']:.0e} lr,"
        f" {figures['images_per_second']:.0f} img/s, {figures['data_wait']:.0%} waiting for data"
    )
