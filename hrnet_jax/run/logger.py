"""The log of a run: figures in ``metrics.jsonl`` (a line per logged step) and TensorBoard, and pictures.

What is logged is on disk when the call returns, so that a checkpoint saved afterwards never knows of a step that
the log does not; in a bucket, it is there when `Logbook.upload` returns.
"""

import json
import time
from typing import Any

import cv2
import numpy as np

from hrnet_jax import buckets, validation
from hrnet_jax.run import tensorboard

METRICS = "metrics.jsonl"


class Logger:
    """Writes a run's figures and pictures where people look for them.

    Args:
      workdir: the run directory.
      start_step: the steps done so far; what a stopped run logged after it is forgotten.
    """

    def __init__(self, workdir: buckets.Path, start_step: int):
        self._pictures = workdir / "pictures"
        buckets.make_directory(self._pictures)
        kept = [line for line in read(workdir) if line["step"] <= start_step]
        self._start = {name for line in kept if line["step"] == start_step for name in line}
        self._path = workdir / METRICS
        self._lines = buckets.create(self._path, b"".join(_line(entry) for entry in kept))
        logged = {(line["step"], name) for line in kept for name in line}
        for path in self._pictures.glob("[0-9]*.png"):
            if int(path.stem) > start_step:
                path.unlink()
            else:
                logged.add((int(path.stem), tensorboard.PICTURE))
        self._events = tensorboard.Events(workdir, lambda *key: key in logged)

    def logged_at_start(self, name: str) -> bool:
        """Whether the stopped run had logged a figure of the step that it goes on from."""
        return name in self._start

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Logs figures by name.

        Raises:
          ValueError: the log cannot be written.
        """
        with buckets.explain_write_errors(self._path):
            self._events.figures(step, figures)
            self._events.flush()
            self._lines.write(_line({"step": step, "time": round(time.time(), 3), **figures}))
            self._lines.flush()

    def picture(self, step: int, picture: np.ndarray) -> buckets.Path:
        """Logs an RGB picture ``[height, width, 3]`` uint8.

        Raises:
          ValueError: it cannot be written.
        """
        path = self._pictures / f"{step:07d}.png"
        png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        buckets.write_atomically(path, png)
        with buckets.explain_write_errors(path):
            self._events.picture(step, picture, png)
            self._events.flush()
        return path

    def upload(self) -> None:
        """Returns when all that was logged is in the bucket, if the run directory is in one.

        Raises:
          ValueError: the log cannot be written.
        """
        with buckets.explain_write_errors(self._path):
            self._events.upload()
            self._lines.upload()

    def close(self) -> None:
        """Closes the files.

        Raises:
          ValueError: the log cannot be written.
        """
        with buckets.explain_write_errors(self._path):
            self._lines.close()
            self._events.close()


class NullLogger:
    """The log of a process that leaves the writing to another."""

    def logged_at_start(self, name: str) -> bool:
        """See `Logbook`."""
        return False

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """See `Logbook`."""

    def picture(self, step: int, picture: np.ndarray) -> None:
        """See `Logbook`."""

    def upload(self) -> None:
        """See `Logbook`."""

    def close(self) -> None:
        """See `Logbook`."""


def read(workdir: buckets.Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's log in their order, without those that a crash cut off.

    Raises:
      OSError: it is a pipe, a device or a folder.
    """
    path = workdir / METRICS
    validation.check_regular(path)
    lines = path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []
    return [entry for entry in map(parse, lines) if entry]


def parse(line: str) -> dict[str, Any]:
    """Returns what a line of the log says, nothing if it is not whole."""
    try:
        entry = json.loads(line)
        validation.require(entry, "step", int, "line")
    except (ValueError, RecursionError):
        return {}
    return entry


def _line(entry: dict[str, Any]) -> bytes:
    return f"{json.dumps(entry)}\n".encode()
