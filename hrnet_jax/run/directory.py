"""The run directory: its configuration, and a lock against two runs in one directory.

It holds ``config.json``, ``manifest.json``, ``metrics.jsonl`` (one line per logged step), TensorBoard events,
``pictures/`` and ``checkpoints/``.
"""

import fcntl
import json
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ml_collections import ConfigDict

from hrnet_jax import buckets, checkpoint_files, configuration, tasks, validation
from hrnet_jax.fields import Field

CONFIG, LOCK = "config.json", "lock"

_UNKNOWN = Field(None, "A field that the task does not have.")


def check(workdir: str | os.PathLike, config: ConfigDict, matters: Callable[[Field], bool]) -> None:
    """Checks that the configuration of a run directory agrees with another one in the fields that matter.

    Raises ValueError if fields differ, or the directory's configuration cannot be read.
    """
    relevant = _differences(workdir, config, matters)
    if not relevant:
        return
    extend = "add --extend to go on with these, " if all(field.extendable for _, field in relevant) else ""
    raise ValueError(
        f"the run directory {workdir} belongs to another config: {'; '.join(text for text, _ in relevant)};"
        f" {extend}give the config it was started with, or another --workdir"
    )


def extension(workdir: str | os.PathLike, config: ConfigDict, steps: int) -> list[str]:
    """Describes how a configuration with this number of steps extends the run in a directory.

    Raises ValueError if other than extendable fields differ, or there is no run, or nothing left to train.
    """
    workdir = buckets.path(workdir)
    done = checkpoint_files.complete_steps(workdir / "checkpoints" / "last")
    if not done or not (workdir / CONFIG).is_file():
        raise ValueError(
            f"--extend: there is no run in {workdir} to go on with: leave it out, or give another one"
        )
    check(workdir, config, lambda field: not (field.resumable or field.extendable))
    changes = [text for text, _ in _differences(workdir, config, lambda field: field.extendable)]
    if changes and steps <= done[-1]:
        raise ValueError(
            f"--extend: the run in {workdir} has done {done[-1]:,} steps, and this config ends after {steps:,}:"
            " give more --config.epochs"
        )
    return changes


def _differences(
    workdir: str | os.PathLike, config: ConfigDict, matters: Callable[[Field], bool]
) -> list[tuple[str, Field]]:
    """Returns the differences from a run directory's configuration in fields that matter, with the fields."""
    path, known = buckets.path(workdir) / CONFIG, tasks.find(config.task).fields(config.to_dict())
    try:
        there = configuration.with_defaults(json.loads(path.read_text()), known)
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or give another --workdir") from error
    here = configuration.with_defaults(json.loads(config.to_json_best_effort()), known)
    texts = validation.differences(there, here)
    found = ((text, known.get(name, _UNKNOWN)) for name, text in texts.items())
    return [(text, field) for text, field in found if matters(field)]


def hold(workdir: str | os.PathLike) -> AbstractContextManager:
    """Creates a run directory if there is none, and returns a lock on it.

    The lock lasts until closed or until this process ends for any reason. Buckets cannot be locked: there a second
    run is NOT refused, and both corrupt each other's files. Raises ValueError if it is not a run directory, cannot
    be written to, or another run holds it.
    """
    workdir = buckets.path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir (={workdir}) is a file: give a directory")
    started = (workdir / CONFIG).is_file()
    if not started and workdir.is_dir() and {path.name for path in workdir.iterdir()} - {LOCK, "config.new"}:
        raise ValueError(
            f"the run directory {workdir} is not empty and has no config.json: give another --workdir"
        )
    return nullcontext() if buckets.is_in_bucket(workdir) else _lock(workdir)


def claim(workdir: str | os.PathLike, config: ConfigDict, extend: bool = False) -> None:
    """Writes the configuration to a run directory held by `hold`. To `extend` a run, call `extension` before.

    Raises ValueError if it belongs to a run with another configuration, or cannot be written to.
    """
    workdir = buckets.path(workdir)
    # Without checkpoints there is nothing to mix up.
    if not extend and any(workdir.glob("checkpoints/*/[0-9]*")):
        check(workdir, config, lambda field: not field.resumable)
    buckets.write_atomically(workdir / CONFIG, config.to_json_best_effort(indent=1))


def _lock(workdir: buckets.Path) -> AbstractContextManager:
    path = workdir / LOCK
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise ValueError(f"--workdir (={workdir}) cannot be written to ({error}): give another one") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system releases it when the process ends
    except BlockingIOError as error:
        lock.close()
        raise ValueError(
            f"another run ({path.read_text().strip()}) is writing to {workdir}: stop it, or give another --workdir"
        ) from error
    except OSError as error:  # some network file systems do not support locks
        print(
            f"note: {path} cannot be locked ({error.strerror}): a second run here would NOT be refused", flush=True
        )
        return lock
    lock.truncate(0)
    print(f"process {os.getpid()} on {platform.node()}", file=lock, flush=True)
    return lock
