"""The log of a run: figures in ``metrics.jsonl`` (a line per logged step) and TensorBoard, and pictures.

What is logged is on disk when the call returns, so that a checkpoint saved afterwards never knows of a step that
the log does not.
"""

import json
import os
import pathlib
import time
from typing import Any

import cv2
import numpy as np

from hrnet_jax.running import tensorboard

METRICS = "metrics.jsonl"


class Logbook:
    """Writes a run's figures and pictures where people look for them.

    Args:
      workdir: the run directory.
      start_step: the steps done so far; what a stopped run logged after it is forgotten.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int):
        self._pictures = workdir / "pictures"
        self._pictures.mkdir(exist_ok=True)
        kept = [line for line in read(workdir) if line["step"] <= start_step]
        self._start = {name for line in kept if line["step"] == start_step for name in line}
        _replace(workdir / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
        self._lines = (workdir / METRICS).open("a")
        logged = {(line["step"], name) for line in kept for name in line}
        pictures = {(int(path.stem), tensorboard.PICTURE) for path in self._pictures.glob("[0-9]*.png")}
        pictures = {(step, tag) for step, tag in pictures if step <= start_step}
        self._events = tensorboard.Events(workdir, lambda *key: key in logged or key in pictures)

    def logged_at_start(self, name: str) -> bool:
        """Whether the stopped run had logged a figure of the step that it goes on from."""
        return name in self._start

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Logs figures by name.

        Raises:
          ValueError: the log cannot be written.
        """
        try:
            self._events.figures(step, figures)
            self._events.flush()
            self._lines.write(json.dumps({"step": step, "time": round(time.time(), 3), **figures}) + "\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())
        except OSError as error:
            raise _unwritable(self._lines.name, error) from error

    def picture(self, step: int, picture: np.ndarray) -> pathlib.Path:
        """Logs an RGB picture ``[height, width, 3]`` uint8.

        Raises:
          ValueError: it cannot be written.
        """
        path = self._pictures / f"{step:07d}.png"
        png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        try:
            path.write_bytes(png)
            self._events.picture(step, picture, png)
            self._events.flush()
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    def close(self) -> None:
        """Closes the files."""
        self._lines.close()
        self._events.close()


class Silent:
    """The log of a process that leaves the writing to another."""

    def logged_at_start(self, name: str) -> bool:
        """See `Logbook`."""
        return False

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """See `Logbook`."""

    def picture(self, step: int, picture: np.ndarray) -> None:
        """See `Logbook`."""

    def close(self) -> None:
        """See `Logbook`."""


def _unwritable(path: Any, error: OSError) -> ValueError:
    return ValueError(
        f"{path} cannot be written ({error.strerror}): make room, or make it writable; the same command then goes"
        " on from the last checkpoint"
    )


def read(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's log in their order, without those that a crash cut off."""
    path = workdir / METRICS
    lines = [_parsed(line) for line in path.read_text(errors="replace").splitlines()] if path.exists() else []
    return [line for line in lines if line]


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        return entry if isinstance(entry["step"], int) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _replace(path: pathlib.Path, text: str) -> None:
    """Writes a file so that a crash leaves either the old one or the new."""
    partial = path.with_name(f".{path.name}")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
