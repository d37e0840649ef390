"""The log of a run: metrics in ``metrics.jsonl`` (one line per logged step) and TensorBoard, and pictures.

Each call returns when its entry is on disk, so that a checkpoint saved later never contains a step missing from
the log. In a bucket, entries are stored when `Logger.upload` returns.
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
    """Writes the metrics and pictures of a run. All methods raise ValueError if the log cannot be written.

    Entries of steps after `start_step`, the number of completed steps, were left by a stopped run and are deleted.
    """

    def __init__(self, workdir: buckets.Path, start_step: int):
        self._pictures = workdir / "pictures"
        buckets.make_directory(self._pictures)
        kept = [line for line in read(workdir) if line["step"] <= start_step]
        self._at_start = {name for line in kept if line["step"] == start_step for name in line}
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
        """Whether the stopped run had logged a metric at the step it resumes from."""
        return name in self._at_start

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Logs metrics by name."""
        with buckets.explain_write_errors(self._path):
            self._events.metrics(step, metrics)
            self._events.flush()
            self._lines.write(_line({"step": step, "time": round(time.time(), 3), **metrics}))
            self._lines.flush()

    def picture(self, step: int, picture: np.ndarray) -> buckets.Path:
        """Logs an RGB picture ``[height, width, 3]`` uint8."""
        path = self._pictures / f"{step:07d}.png"
        png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
        buckets.write_atomically(path, png)
        with buckets.explain_write_errors(path):
            self._events.picture(step, picture, png)
            self._events.flush()
        return path

    def upload(self) -> None:
        """Blocks until all entries are stored in the bucket, if the run directory is in one."""
        with buckets.explain_write_errors(self._path):
            self._events.upload()
            self._lines.upload()

    def close(self) -> None:
        """Closes the files."""
        with buckets.explain_write_errors(self._path):
            self._lines.close()
            self._events.close()


class NullLogger:
    """The log of all processes but the primary one. Writes nothing."""

    def logged_at_start(self, name: str) -> bool:
        """Returns False."""
        return False

    def _ignore(self, *entry: Any) -> None:
        """Does nothing."""

    metrics = picture = upload = close = _ignore


def read(workdir: buckets.Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's log in order, without those truncated by a crash.

    Raises OSError if the file is a pipe, a device or a directory.
    """
    path = workdir / METRICS
    validation.check_regular(path)
    lines = path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []
    return [entry for entry in map(parse, lines) if entry]


def parse(line: str) -> dict[str, Any]:
    """Parses a line of the log. Returns an empty dictionary if it is damaged."""
    try:
        entry = json.loads(line)
        validation.require(entry, "step", int, "line")
    except (ValueError, RecursionError):
        return {}
    return entry


def _line(entry: dict[str, Any]) -> bytes:
    return f"{json.dumps(entry)}\n".encode()
