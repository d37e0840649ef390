"""The results of a run as JSON lines, a photo or frame in each, in files of up to 10,000 lines.

A photo's line is written after its other files, so a photo with a line is done. A killed run may leave part of a
line at the end of a file, which is ignored. The frames of a video are a file of their own, which is named
``.partial`` until the video is complete. Each process and each start of a run writes new files::

    OUT/run.json                     what predicted, the same for all lines
    OUT/shards/000-00000.jsonl       lines of process 0, see `Poses.to_json`
    OUT/shards/000.skipped           source and reason of what process 0 could not read
    OUT/shards/000-of-001.done       process 0 of 1 has finished
"""

import contextlib
import io
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

from hrnet_jax import buckets, validation

LINES = 10_000
FOLDER, RUN = "shards", "run.json"
_SUFFIX, _PARTIAL, _STATE, _SKIPPED = ".jsonl", ".partial", ".state", ".skipped"
_ALL_DONE = "all.done"
_CONTINUE = "continue with --resume"


def prepare(
    out: pathlib.Path, run: dict[str, Any], process: int, resume: bool, keep_partial: bool = False
) -> None:
    """Makes the folder of a run's results and writes what predicts, or checks that it is the same.

    The frames of unfinished videos are removed, or kept to go on with.

    Raises ValueError if `out` is a file or cannot be written to, holds the results of another run, or holds any
    and `resume` is false.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out (={out}) is a file: give a folder")
    with buckets.explain_write_errors(out):
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    path = out / RUN
    if any((out / FOLDER).glob(f"{process:03d}-*{_SUFFIX}*")) and not resume:
        raise ValueError(f"--out (={out}) holds results: continue them with --resume, or give another folder")
    if path.is_file():
        if differences := validation.differences(validation.read_json(path), json.loads(json.dumps(run))):
            text = "; ".join(differences.values())
            raise ValueError(f"{path} is of another run: {text:.500}: give the same options, or another --out")
    else:
        buckets.write_atomically(path, json.dumps(run, indent=1) + "\n")
    for stale in () if keep_partial else (_PARTIAL, _STATE):
        for path in (out / FOLDER).glob(f"{process:03d}-*{stale}"):
            path.unlink()
    for marker in (out / FOLDER).glob(f"{process:03d}-of-*.done"):
        marker.unlink()
    for name in (f"{process:03d}{_SKIPPED}", _ALL_DONE):
        (out / FOLDER / name).unlink(missing_ok=True)


class Writer:
    """Appends the results of one process. Every line is with the system when `add` returns."""

    def __init__(self, out: pathlib.Path, process: int):
        self._folder, self._process = out / FOLDER, process
        numbers = [int(path.name[4:9]) for path in self._folder.glob(f"{process:03d}-*{_SUFFIX}")]
        self._next, self._lines = max(numbers, default=-1) + 1, 0
        self._file: io.FileIO | None = None

    def add(self, photo: dict[str, Any]) -> None:
        """Writes a line. Raises ValueError if that fails."""
        if self._file is None or self._lines == LINES:
            self.close()
            self._file = _open(self._path())
        _append(self._file, photo)
        self._lines += 1

    def new_partial(self) -> pathlib.Path:
        """Returns the path for the lines of a video that is not complete yet."""
        return self._path().with_suffix(_SUFFIX + _PARTIAL)

    def add_video(
        self,
        frames: Iterator[dict[str, Any]],
        partial: pathlib.Path | None = None,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes the frames of a video. They count as done only if none raises an error, nor does `finish`.

        The frames are appended to `partial`, which may have some already.
        """
        self.close()
        partial = partial or self.new_partial()
        with _open(partial, "ab") as file:
            for frame in frames:
                _append(file, frame)
        finish()
        partial.rename(partial.with_suffix(""))

    def skip(self, source: str, reason: str) -> None:
        """Writes down a photo or video that could not be read. Raises ValueError if that fails."""
        with _open(self._folder / f"{self._process:03d}{_SKIPPED}", "ab") as file:
            _append(file, [source, reason])

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._lines = None, 0

    def _path(self) -> pathlib.Path:
        self._next += 1
        return self._folder / f"{self._process:03d}-{self._next - 1:05d}{_SUFFIX}"


def _open(path: pathlib.Path, mode: Literal["xb", "ab"] = "xb") -> io.FileIO:
    with buckets.explain_write_errors(path, _CONTINUE):
        return open(path, mode, buffering=0)


def _append(file: io.FileIO, content: Any) -> None:
    """Writes a line without a buffer, which would be written once more when a file on a full disk is closed."""
    line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
    with buckets.explain_write_errors(pathlib.Path(os.fsdecode(file.name)), _CONTINUE):
        while line:
            line = line[file.write(line) :]


def finish(out: pathlib.Path, process: int, processes: int) -> bool:
    """Marks a process as finished. Returns whether all are, and this is the first process to notice."""
    folder = out / FOLDER
    (folder / f"{process:03d}-of-{processes:03d}.done").touch()
    if not all((folder / f"{i:03d}-of-{processes:03d}.done").is_file() for i in range(processes)):
        return False
    with contextlib.suppress(FileExistsError):
        (folder / _ALL_DONE).touch(exist_ok=False)
        return True
    return False


def read(out: pathlib.Path, *, with_partial: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the results of all processes, with those of unfinished videos unless they are left out."""
    suffixes = (_SUFFIX, _PARTIAL) if with_partial else (_SUFFIX,)
    for path in sorted((out / FOLDER).iterdir()):
        if path.suffix in suffixes:
            yield from read_file(path)


def unfinished(out: pathlib.Path, process: int) -> dict[str, pathlib.Path]:
    """Returns the files of a process's unfinished videos by the source of their first frame.

    A line that was not written to its end is removed, and so is a file without any.
    """
    found = {}
    for path in sorted((out / FOLDER).glob(f"{process:03d}-*{_PARTIAL}")):
        truncate(path)
        if first := next(read_file(path), None):
            found[first["source"]] = path
        else:
            path.unlink()
    return found


def truncate(path: pathlib.Path, lines: int | None = None) -> None:
    """Removes what follows the first lines of a file, all by default, and a line without an end."""
    with open(path, "rb") as file:
        size = sum(len(line) for line in itertools.islice(file, lines) if line.endswith(b"\n"))
    os.truncate(path, size)


def state_path(partial: pathlib.Path) -> pathlib.Path:
    """Returns the path of what a tracker remembers, beside the lines of an unfinished video."""
    return partial.with_suffix(_STATE)


def read_file(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yields the whole lines of a file."""
    with open(path) as file:
        yield from (json.loads(line) for line in file if line.endswith("\n"))


def skipped(out: pathlib.Path) -> list[tuple[str, str]]:
    """Returns source and reason of what no process could read."""
    lines = [
        line for path in sorted((out / FOLDER).glob(f"*{_SKIPPED}")) for line in path.read_text().splitlines()
    ]
    return [(source, reason) for source, reason in map(json.loads, lines)]


def done(out: pathlib.Path) -> set[str]:
    """Returns the sources of all complete results."""
    return {photo["source"] for photo in read(out, with_partial=False)}


def atomic_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the path under which to write a file before it is renamed to its name by `os.replace`."""
    return path.with_name(f".{path.name}.{os.getpid()}")
