"""Saving and restoring a run with orbax: ``checkpoints/last`` to go on from, ``checkpoints/best`` by score.

A checkpoint is a folder named by its step. It holds the whole state and a ``meta`` file that says what the
network is, so that weights are never put into another one.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from ml_collections import ConfigDict
from orbax.checkpoint.checkpoint_managers import preservation_policy

from hrnet_jax import models, skeletons

_WEIGHTS = ("params", "batch_stats")


def describe(config: ConfigDict) -> dict[str, Any]:
    """Returns what a network is: architecture, skeleton and the order of colours it was trained with."""
    joints = skeletons.load(config.skeleton).joints
    return json.loads(json.dumps({**models.architecture(config), "joints": joints}))


class Checkpoints:
    """The checkpoints of one run; saving happens in the background.

    Args:
      workdir: the run directory.
      description: what `describe` returns; stands in each checkpoint and is checked when restoring.
      score: the name of the figure that decides which is the best, such as ``PCKh@0.5/Mean``.
    """

    def __init__(self, workdir: str | os.PathLike, description: dict[str, Any], score: str = "AP"):
        root = pathlib.Path(workdir).resolve() / "checkpoints"
        self._description, self._score = description, score
        # Two of the last, for whoever finds the newest damaged and deletes it.
        self._last, self._best = _manager(root / "last", keep=2), _manager(root / "best", keep=1)

    def save(self, state: Any, step: int) -> None:
        """Saves the state to go on from; does nothing if this step is saved already."""
        if step not in self._last.all_steps():
            self._save(self._last, state, step, {})

    def save_best(self, state: Any, step: int, score: float) -> bool:
        """Saves the state if its score is above that of the best so far; says whether it did."""
        best = self.best_score()
        if best is not None and score <= best:
            return False
        for later in (kept for kept in self._best.all_steps() if kept >= step):
            self._best.delete(later)  # of a run that went on from an older checkpoint; orbax only goes forward
        self._save(self._best, state, step, {self._score: score})
        return True

    def best_score(self) -> float | None:
        """Returns the score of the best checkpoint, None if there is none."""
        self._best.wait_until_finished()
        step = self._best.latest_step()
        return (
            None
            if step is None
            else _meta(pathlib.Path(self._best.directory) / str(step))["figures"].get(self._score)
        )

    def restore(self, like: Any) -> Any | None:
        """Returns the last state, shaped and placed as `like`; None if nothing is saved.

        Raises:
          ValueError: it belongs to another network.
        """
        step = self._last.latest_step()
        if step is None:
            return None
        _check(pathlib.Path(self._last.directory) / str(step), self._description)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        return self._last.restore(step, args=args)["state"]

    def close(self) -> None:
        """Waits until everything is on disk."""
        for manager in (self._last, self._best):
            manager.wait_until_finished()
            manager.close()

    def _save(self, manager: ocp.CheckpointManager, state: Any, step: int, figures: dict[str, float]) -> None:
        meta = {"network": self._description, "figures": figures}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        manager.save(step, args=args)


def _manager(directory: pathlib.Path, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(keep), cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(directory, options=options)


def _meta(step_directory: pathlib.Path) -> dict[str, Any]:
    path = step_directory / "meta" / "metadata"
    try:
        meta = json.loads(path.read_text())
        return {"figures": {}, "counters": {}, "network": dict(meta["network"])} | meta
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} does not say what the network is ({error!r}): use another checkpoint") from error


def _check(step_directory: pathlib.Path, description: dict[str, Any]) -> None:
    """Raises ValueError unless the checkpoint is of the network described."""
    meta = _meta(step_directory)["network"]
    different = [
        f"{name} is {meta.get(name)!r} there and {value!r} here"
        for name, value in description.items()
        if meta.get(name) != value
    ]
    if different:
        raise ValueError(
            f"the checkpoint {step_directory} is of another network: {'; '.join(different)};"
            " choose the config it was trained with, or another checkpoint"
        )


def find(path: str | os.PathLike) -> pathlib.Path:
    """Returns the folder of one checkpoint, given it, a folder of checkpoints, or a run directory.

    In a run directory the best comes before the last; among several the newest is taken.

    Raises:
      FileNotFoundError: there is no checkpoint.
    """
    path = pathlib.Path(path).resolve()
    if (path / "meta" / "metadata").is_file():
        return path
    for folder in (path / "checkpoints" / "best", path / "checkpoints" / "last", path):
        steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit() and (p / "meta" / "metadata").is_file()]
        if steps:
            return folder / str(max(steps))
    raise FileNotFoundError(
        f"there is no checkpoint in {path}: give a run directory of train.py, or a folder below its `checkpoints`"
    )


def read_weights(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Reads only the weights and running statistics of a checkpoint, as numpy arrays.

    Args:
      path: anything that `find` takes.

    Returns:
      ``{"params": ..., "batch_stats": ...}``; what `describe` said of the network; and PyTorch's counters of
      steps that came with the weights, by name.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: it does not say what the network is, or is damaged.
    """
    directory = find(path)
    meta = _meta(directory)
    try:
        return _read_arrays(directory / "state"), meta["network"], meta["counters"]
    except Exception as error:  # orbax raises several kinds
        raise ValueError(f"the checkpoint {directory} is damaged ({error!r:.200}): use another one") from error


def read_everything(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads all of a checkpoint, the optimizer's state included, as numpy arrays.

    Args:
      path: anything that `find` takes.

    Returns:
      The arrays by the state's parts; what `describe` said of the network.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: it does not say what the network is, or is damaged.
    """
    directory = find(path)
    meta = _meta(directory)
    try:
        return _read_arrays(directory / "state", ("",)), meta["network"]
    except Exception as error:  # orbax raises several kinds
        raise ValueError(f"the checkpoint {directory} is damaged ({error!r:.200}): use another one") from error


def _read_arrays(directory: pathlib.Path, parts: tuple[str, ...] = _WEIGHTS) -> dict[str, Any]:
    """Reads the parts of a state whose names begin so."""
    _look_for_damage(directory, parts)
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(directory).item_metadata.tree
        wanted = {name: metadata[name] for name in metadata if name.startswith(parts)}
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args, partial_restore=True)
        return checkpointer.restore(directory, args=args)


def _look_for_damage(directory: pathlib.Path, parts: tuple[str, ...]) -> None:
    """Raises ValueError, as tensorstore does, if anything of these parts is missing or cut short.

    Orbax would find that too, but leaves the rest of its reads to a closed event loop: hundreds of tracebacks,
    from C++, would bury the message.
    """
    base = {"driver": "file", "path": f"{directory}/"}
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    keys = [key for key in store.list().result() if key.startswith(tuple(name.encode() for name in parts))]
    if not keys:
        raise ValueError("it holds no weights")
    for key in keys:
        if not store.read(key).result().value:  # what is left of an array whose file is gone
            raise ValueError(f"a file of {key.decode()} is missing")


def write_weights(
    directory: str | os.PathLike,
    variables: Mapping[str, Any],
    description: Mapping[str, Any],
    counters: Mapping[str, int],
) -> pathlib.Path:
    """Writes weights alone as a checkpoint, of step 0, that `read_weights` reads; returns its folder.

    Raises:
      ValueError: the directory holds something already.
    """
    directory = pathlib.Path(directory).resolve()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists and is not empty: delete it, or give another name")
    meta = {"network": dict(description), "figures": {}, "counters": dict(counters)}
    with ocp.CheckpointManager(directory) as manager:
        state = ocp.args.StandardSave(dict(variables))
        manager.save(0, args=ocp.args.Composite(state=state, meta=ocp.args.JsonSave(meta)))
    return directory / "0"
