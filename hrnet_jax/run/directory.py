"""The run directory: which configuration it belongs to, and that only one run at a time writes to it.

It holds ``config.json``, ``manifest.json``, ``metrics.jsonl`` (a line per logged step), TensorBoard events,
``pictures/`` and ``checkpoints/``.
"""

import fcntl
import json
import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from ml_collections import ConfigDict

from hrnet_jax import buckets, configuration

CONFIG, LOCK = "config.json", "lock"


def check(workdir: str | os.PathLike, config: ConfigDict, matters: Callable[[str], bool]) -> None:
    """Makes sure that a run directory's configuration is the one given, as far as it matters.

    Args:
      workdir: a run directory.
      config: the configuration to compare.
      matters: which fields (``"model.width"``) must not differ.

    Raises:
      ValueError: fields differ, or the directory's configuration cannot be read.
    """
    path = buckets.path(workdir) / CONFIG
    try:
        theirs = configuration.with_defaults(json.loads(path.read_text()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): write it again, or give another --workdir") from error
    ours = configuration.with_defaults(json.loads(config.to_json_best_effort()))
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


def hold(workdir: str | os.PathLike) -> AbstractContextManager:
    """Makes a run directory if there is none, and keeps other runs out of it.

    Returns:
      The open file that does so until it is closed or this process ends, however it does. In a bucket nothing can
      be locked: there, a second run is NOT refused, and both spoil each other's files.

    Raises:
      ValueError: it is no run directory, cannot be written to, or a run is writing to it.
    """
    workdir = buckets.path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"--workdir (={workdir}) is a file: give a directory")
    begun = (workdir / CONFIG).is_file()
    if not begun and workdir.is_dir() and {path.name for path in workdir.iterdir()} - {LOCK, "config.new"}:
        raise ValueError(
            f"the run directory {workdir} is not empty and has no config.json: give another --workdir"
        )
    return nullcontext() if buckets.is_in_bucket(workdir) else _lock(workdir)


def claim(workdir: str | os.PathLike, config: ConfigDict) -> None:
    """Makes a run directory that is held one of this configuration, or makes sure that it is.

    Raises:
      ValueError: it belongs to a run with another configuration, or cannot be written to.
    """
    workdir = buckets.path(workdir)
    if any(workdir.glob("checkpoints/*/[0-9]*")):  # else the run never got anywhere: nothing to mix up
        check(workdir, config, lambda name: not configuration.is_resumable(name))
    buckets.write_atomically(workdir / CONFIG, config.to_json_best_effort(indent=1))


def _lock(workdir: buckets.Path) -> AbstractContextManager:
    path = workdir / LOCK
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        raise ValueError(f"--workdir (={workdir}) cannot be written to ({error}): give another one") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lifts it when the process is gone
    except BlockingIOError as error:
        lock.close()
        raise ValueError(
            f"another run ({path.read_text().strip()}) is writing to {workdir}: stop it, or give another --workdir"
        ) from error
    except OSError as error:  # some network file systems have no locks
        print(
            f"note: {path} cannot be locked ({error.strerror}): a second run here would NOT be refused", flush=True
        )
        return lock
    lock.truncate(0)
    print(f"process {os.getpid()} on {platform.node()}", file=lock, flush=True)
    return lock
