"""Metrics and speed of a run between two lines of its log."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

MAX_DATA_WAIT = 0.25
"""Share of the time that the devices may wait for data without a warning."""

FINITE = "finite"
"""Metric of a step: 0 if its loss, a gradient or a statistic was not finite, else 1."""


@dataclasses.dataclass(eq=False)
class NonFiniteStep(Exception):
    """The loss, a gradient or a statistic of a step, counted from 0, was not finite.

    `rows` ``[B]`` are the row numbers of the people in the batch, this process's share.
    """

    step: int
    loss: float
    rows: np.ndarray


class Window:
    """The steps since the last line of the log.

    Args:
      first_step: number of the next step.
      before: metrics of earlier steps that are in no line yet, as returned by `unlogged`.
      not_finite: called with a NonFiniteStep by the method that waits for the step. If it does not raise, the
        step is left out of the means. By default the NonFiniteStep is raised.
      names: of the metrics to log.
    """

    def __init__(
        self,
        first_step: int,
        before: Sequence[dict[str, float]] = (),
        not_finite: Callable[[NonFiniteStep], None] | None = None,
        names: Sequence[str] = ("loss",),
    ):
        self._next_step, self._names = first_step, names
        self._finished, self._not_finite = list(before), not_finite
        self._running: list[tuple[int, dict[str, jax.Array], np.ndarray]] = []

    @property
    def newest(self) -> jax.Array | None:
        """A result of the newest step, or None. It is not ready while the devices are busy with the step."""
        return self._running[-1][1][FINITE] if self._running else None

    def add(self, metrics: dict[str, jax.Array], rows: np.ndarray) -> None:
        """Adds a step that was just dispatched and waits for the one before it.

        One step ahead keeps the devices busy and the progress bar accurate.
        """
        self._running.append((self._next_step, metrics, rows))
        self._next_step += 1
        self._wait(running=1)

    def unlogged(self) -> list[dict[str, float]]:
        """Waits for all steps and returns their metrics."""
        self._wait(running=0)
        return list(self._finished)

    def read(self) -> dict[str, float]:
        """Returns the mean metrics and starts a new window."""
        steps = self.unlogged()
        self._finished.clear()
        return {name: float(np.mean([step[name] for step in steps])) if steps else np.nan for name in self._names}

    def _wait(self, running: int) -> None:
        """Waits for all steps but the newest `running`."""
        while len(self._running) > running:
            step, arrays, rows = self._running.pop(0)
            metrics = {name: float(value) for name, value in jax.device_get(arrays).items()}
            if metrics.pop(FINITE):
                self._finished.append(metrics)
                continue
            found = NonFiniteStep(step, metrics["loss"], rows)
            if self._not_finite is None:
                raise found
            self._not_finite(found)


class Watch:
    """Measures throughput, and the share of the time that the devices wait for data."""

    def __init__(self, batch_size: int):
        self._batch_size, self._complained = batch_size, False
        self.restart()

    def restart(self) -> None:
        """Restarts the measurement. Called after evaluations and pictures to leave them out."""
        self._started, self._steps, self._waited = time.perf_counter(), 0, 0.0

    def next(self, batches: Iterator[Any], busy: jax.Array | None) -> Any:
        """Returns the next batch. The time counts as waiting if `busy` (`Window.newest`) is ready at its end."""
        started = time.perf_counter()
        batch = next(batches)
        if busy is not None and busy.is_ready():  # pyright: ignore[reportAttributeAccessIssue]
            self._waited += time.perf_counter() - started
        self._steps += 1
        return batch

    def read(self) -> dict[str, float]:
        """Returns images per second and the share of waiting, and restarts the measurement."""
        seconds = time.perf_counter() - self._started
        images, waited = self._steps * self._batch_size, self._waited
        self.restart()
        return {"images_per_second": images / seconds, "data_wait": waited / seconds}

    def complaint(self, data_wait: float, hint: str = "") -> str | None:
        """Returns advice, ending in `hint`, if the devices wait for data too long, but only once."""
        if self._complained or data_wait <= MAX_DATA_WAIT:
            return None
        self._complained = True
        return (
            f"{data_wait:.0%} of the time is spent waiting for photos: raise --config.loader.threads, or"
            f" --config.loader.workers on machines with many cores{hint}"
        )


def line(metrics: dict[str, float]) -> str:
    """Formats metrics for the progress bar."""
    special = ("loss", "learning_rate", "images_per_second", "data_wait")
    others = "".join(f"{value:.3f} {name}, " for name, value in metrics.items() if name not in special)
    return (
        f"{metrics['loss']:.2e} loss, {others}{metrics['learning_rate']:.0e} lr,"
        f" {metrics['images_per_second']:.0f} img/s, {metrics['data_wait']:.0%} waiting for data"
    )
