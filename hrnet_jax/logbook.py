"""The run directory: which configuration it belongs to, and the log of its figures and pictures.

``config.json``, ``metrics.jsonl`` (a line per logged step), TensorBoard events and ``pictures/``; checkpoints are
``checkpoint.py``'s.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import jax
import numpy as np
import tensorboardX
from ml_collections import ConfigDict
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

FREE_FIELDS = (
    "data.dir",
    "eval.",
    "loader.",
    "log_every",
    "eval_every",
    "checkpoint_every",
    "picture_every",
    "model.remat",
)
"""Fields (or groups of them) that may differ when a run goes on: they do not change what it learns."""

MUCH_WAITING = 0.25
"""Share of the time that the devices may wait for data before that is complained of."""


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def check(workdir: str | os.PathLike, config: ConfigDict, matters: Callable[[str], bool]) -> None:
    """Makes sure that a run directory's configuration is the one given, as far as it matters.

    Args:
      workdir: a run directory.
      config: the configuration to compare.
      matters: which fields (``"model.width"``) must not differ.

    Raises:
      ValueError: fields differ, or the directory's configuration cannot be read.
    """
    path = pathlib.Path(workdir) / "config.json"
    try:
        theirs = _flat(json.loads(path.read_text()))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): write it again, or give another --workdir") from error
    ours = _flat(json.loads(config.to_json_best_effort()))
    different = [
        f"`{name}` is {theirs.get(name)!r} there and {ours.get(name)!r} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name) and matters(name)
    ]
    if different:
        raise ValueError(
            f"the run directory {workdir} belongs to another config: {'; '.join(different)};"
            " give the config it was started with, or another --workdir"
        )


def claim(workdir: str | os.PathLike, config: ConfigDict) -> pathlib.Path:
    """Makes a run directory for a configuration, or makes sure that an existing one belongs to it.

    Raises:
      ValueError: the directory belongs to a run with another configuration, or is none.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / "config.json"
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir (={workdir}) is a file: give a directory")
    if not path.is_file() and workdir.is_dir() and any(workdir.iterdir()):
        raise ValueError(
            f"the run directory {workdir} is not empty and has no config.json: give another --workdir"
        )
    if any(workdir.glob("checkpoints/*/[0-9]*")):  # else the run never got anywhere: nothing to mix up
        check(workdir, config, lambda name: not name.startswith(FREE_FIELDS))
    workdir.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(config.to_json_best_effort(indent=1))
    path.with_suffix(".new").replace(path)
    return workdir


class Logbook:
    """Writes a run's figures and pictures where people look for them.

    Args:
      workdir: the run directory.
      start_step: the steps done so far; what a stopped run logged after it is forgotten.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int):
        self._pictures = workdir / "pictures"
        self._pictures.mkdir(exist_ok=True)
        path = workdir / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(line for line in lines if _step_of(line) <= start_step))
        self._lines = path.open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(str(workdir), purge_step=start_step + 1)

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Logs figures by name."""
        self._lines.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, picture: np.ndarray) -> pathlib.Path:
        """Logs an RGB picture ``[height, width, 3]`` uint8."""
        path = self._pictures / f"{step:07d}.png"
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
        height, width, _ = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
        # The writer's own `add_image` would need a second imaging library, to encode the picture again.
        summary = Summary(value=[Summary.Value(tag="crops", image=image)])
        self._board._get_file_writer().add_summary(summary, step)
        return path

    def close(self) -> None:
        """Writes out what is still in memory."""
        self._lines.close()
        self._board.close()


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

    def complaint(self, data_wait: float, decoded: bool) -> str | None:
        """Says what to do about it when the devices wait much for data for the first time; None if they do not.

        Args:
          data_wait: the share of the time.
          decoded: whether photos are kept decoded already.
        """
        if self._complained or data_wait <= MUCH_WAITING:
            return None
        self._complained = True
        return (
            f"{data_wait:.0%} of the time goes into waiting for photos: raise --config.loader.threads, or"
            " --config.loader.workers where there are many cores"
        ) + ("" if decoded else ", or keep the photos decoded (`python -m hrnet_jax.prepare ... --decoded`)")


def _step_of(line: str) -> float:
    """The step of a logged line; a line that a crash cut off counts as later than all."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return float("inf")
