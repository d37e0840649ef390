"""Saving and restoring a run with orbax: ``checkpoints/last`` to go on from, ``checkpoints/best`` by score.

A checkpoint is a folder named by its step. It holds the whole state and a ``meta`` file that says what the
network is, so that weights are never put into another one.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint.checkpoint_managers import preservation_policy

from hrnet_jax import buckets, distributed, state_hash

DAMAGED = ".damaged"
"""Ends the name of a checkpoint that was found damaged and put aside."""

MAX_BYTES = 2**33
"""Of all arrays of a checkpoint; HRNet-W48 with the optimizer's part has 764 million."""

_WEIGHTS = ("params", "batch_stats")
_ORBAX_FILES = ("_METADATA", "_sharding", "array_metadatas/*")  # JSON about the arrays, which orbax reads late
_DIGEST = "digest"  # of the rest of a `meta` file, in it
_ARRAY = ".zarray"  # ends the key of what describes an array
_EMPTY = {"figures": {}, "counters": {}, "unlogged": [], "fingerprint": ""}  # what weights alone do not tell


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a run goes on from: the whole state, and the figures of steps that are in no line of the log yet."""

    state: Any
    unlogged: list[dict[str, float]]


class Checkpoints:
    """The checkpoints of one run; writing happens in the background, after a fingerprint is taken.

    Args:
      workdir: the run directory.
      description: what `describe` returns; stands in each checkpoint and is checked when restoring.
      score: the name of the figure that decides which is the best, such as ``PCKh@0.5/Mean``.

    Raises:
      ValueError: the directory cannot be written to.
    """

    def __init__(self, workdir: str | os.PathLike, description: dict[str, Any], score: str = "AP"):
        root = buckets.absolute(workdir) / "checkpoints"
        self._description, self._score = description, score
        try:
            # Two of the last, in case that the newest is damaged.
            self._last, self._best = _manager(root / "last", keep=2), _manager(root / "best", keep=1)
            _try_to_write(root)
        except OSError as error:
            raise ValueError(
                f"{root} cannot be written to ({error.strerror or error}): make it writable, or give another"
                " --workdir"
            ) from error

    def save(self, state: Any, step: int, unlogged: Sequence[dict[str, float]] = ()) -> None:
        """Saves the state to go on from; does nothing if this step is saved already.

        Args:
          state: of the run.
          step: how many steps it has done.
          unlogged: figures of steps that are in no line of the log yet.

        Raises:
          ValueError: it, or the one before it, cannot be written.
        """
        if step not in self._last.all_steps():
            self._best.wait_until_finished()  # else a crash may leave the later step and not the best before it
            self._save(self._last, state, step, {"unlogged": list(unlogged)})

    def save_best(self, state: Any, step: int, score: float) -> bool:
        """Saves the state if its score is above that of the best so far, and waits for it; says whether it did.

        Raises:
          ValueError: it cannot be written.
        """
        best = self.best_score()
        if best is not None and score <= best:
            return False
        for later in (kept for kept in self._best.all_steps() if kept >= step):
            self._best.delete(later)  # of a run that went on from an older checkpoint; orbax only goes forward
        self._save(self._best, state, step, {"figures": {self._score: score}})
        self._wait(self._best)
        return True

    def best_score(self) -> float | None:
        """Returns the score of the best checkpoint, None if there is none; one that is damaged is put aside.

        Raises:
          ValueError: it is damaged, or cannot be reached, in a bucket.
        """
        step = self._best.latest_step()
        if step is None:
            return None
        try:
            return _meta(_folder(self._best, step))["figures"].get(self._score)
        except ValueError as error:
            self._put_aside(self._best, {step: error})
            return None

    def restore(self, like: Any) -> Restored | None:
        """Returns the last state that is whole, shaped and placed as `like`; None if nothing is saved.

        A damaged checkpoint is told of and kept under another name, and the one before it taken; but in a bucket,
        where it may be the link to it that failed, it is left to the user to delete it.

        Raises:
          ValueError: it belongs to another network, or all are damaged, or one in a bucket.
        """
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        damage: dict[int, Exception] = {}
        for step in sorted(self._last.all_steps(), reverse=True):
            try:
                restored = self._restore(step, like)
            except (_OtherNetwork, jax.errors.JaxRuntimeError):
                raise
            except Exception as error:  # orbax raises several kinds
                damage[step] = error
                continue
            self._put_aside(self._last, damage)
            return restored
        if damage:
            told = "; ".join(f"{_folder(self._last, step)} ({error!r:.200})" for step, error in damage.items())
            raise ValueError(
                f"all checkpoints are damaged: {told}: there is no other to go on from; start anew in another"
                " --workdir, with --config.init_from if `checkpoints/best` is whole"
            )
        return None

    def close(self) -> None:
        """Waits until everything is on disk.

        Raises:
          ValueError: something cannot be written.
        """
        for manager in (self._last, self._best):
            self._wait(manager)
            manager.close()

    def _restore(self, step: int, like: Any) -> Restored:
        folder = _folder(self._last, step)
        damage = _damage(folder)
        if not distributed.all_agree(damage is None):
            raise damage or ValueError("another process cannot read it")
        meta = _meta(folder)
        _check(folder, meta["network"], self._description)
        state = self._last.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(like)))["state"]
        if (found := state_hash.compute(state)) != meta["fingerprint"]:
            raise ValueError(f"its fingerprint is {found}, not {meta['fingerprint']}")
        return Restored(state, meta["unlogged"])

    def _put_aside(self, manager: ocp.CheckpointManager, damage: Mapping[int, Exception]) -> None:
        """Gives damaged checkpoints another name, and says so; in a bucket that is left to the user."""
        for step, error in damage.items():
            folder = _folder(manager, step)
            text = f"the checkpoint {folder} is damaged ({error!r:.200})"
            if buckets.is_in_bucket(folder):
                raise ValueError(
                    f"{text}, or cannot be reached: try again, or delete it to go on from the one before"
                ) from error
            names = (f"{step}{f'-{number}' * (number > 1)}{DAMAGED}" for number in itertools.count(1))
            free = next(name for name in names if not (folder.parent / name).exists())
            distributed.barrier(f"{manager.directory} {free}")
            if distributed.is_primary():
                folder.rename(folder.parent / free)
            distributed.log_once(f"note: {text}: going on without it; it is kept as {free}")
            distributed.barrier(f"{manager.directory} {free} is aside")
        if damage:
            manager.reload()

    def _save(self, manager: ocp.CheckpointManager, state: Any, step: int, told: dict[str, Any]) -> None:
        meta = {"network": self._description, "figures": {}, "fingerprint": state_hash.compute(state), **told}
        meta[_DIGEST] = _digest(meta)
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        try:
            if not manager.save(step, args=args):
                raise ValueError(f"orbax does not take step {step} after {manager.latest_step()}")
        except jax.errors.JaxRuntimeError:  # another process is gone
            raise
        except Exception as error:  # of this step or the one before: orbax raises several kinds
            raise _unsaved(manager, error) from error

    def _wait(self, manager: ocp.CheckpointManager) -> None:
        try:
            manager.wait_until_finished()
        except jax.errors.JaxRuntimeError:
            raise
        except Exception as error:
            raise _unsaved(manager, error) from error


class _OtherNetwork(ValueError):
    """The checkpoint is whole, but of another network."""


def _unsaved(manager: ocp.CheckpointManager, error: Exception) -> ValueError:
    whole = [step for step in manager.all_steps() if _is_whole(_folder(manager, step))]
    return ValueError(
        f"a checkpoint in {manager.directory} could not be written ({error!r:.300}): make room, or see why;"
        f" what was saved before is whole ({f'step {max(whole):,}' if whole else 'nothing yet'}), and the same"
        " command goes on from there"
    )


def _folder(manager: ocp.CheckpointManager, step: int) -> buckets.Path:
    return buckets.path(manager.directory) / str(step)


def _try_to_write(root: buckets.Path) -> None:
    """Raises OSError unless files can be made in a directory."""
    trial = root / f".trial-{jax.process_index()}"
    trial.touch()
    trial.unlink()


def _manager(directory: buckets.Path, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(keep),
        cleanup_tmp_directories=True,
        atomicity_options=buckets.atomicity(directory),
    )
    return ocp.CheckpointManager(directory, options=options)


def _digest(meta: Mapping[str, Any]) -> str:
    """Returns a digest of what a `meta` file tells besides it."""
    told = {name: value for name, value in meta.items() if name != _DIGEST}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _meta(step_directory: buckets.Path) -> dict[str, Any]:
    path = step_directory / "meta" / "metadata"
    try:
        meta = json.loads(path.read_text())
        if meta.get(_DIGEST, _digest(meta)) != _digest(meta):
            raise ValueError("its digest is another")
        return {**_EMPTY, "network": dict(meta["network"])} | meta
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} does not say what the network is ({error!r}): use another checkpoint") from error


def _damage(step_directory: buckets.Path) -> Exception | None:
    """Returns why a checkpoint cannot be read, None if it can."""
    try:
        _meta(step_directory)
        for pattern in _ORBAX_FILES:
            for path in (step_directory / "state").glob(pattern):
                json.loads(path.read_text())
        _look_for_damage(step_directory / "state", ("",))
    except Exception as error:  # tensorstore raises several kinds
        return error
    return None


def _check(step_directory: buckets.Path, there: dict[str, Any], description: dict[str, Any]) -> None:
    """Raises _OtherNetwork unless the checkpoint is of the network described."""
    different = [
        f"{name} is {there.get(name)!r} there and {value!r} here"
        for name, value in description.items()
        if there.get(name) != value
    ]
    if different:
        raise _OtherNetwork(
            f"the checkpoint {step_directory} is of another network: {'; '.join(different)};"
            " choose the config it was trained with, or another checkpoint"
        )


def find(path: str | os.PathLike) -> buckets.Path:
    """Returns the folder of one checkpoint, given it, a folder of checkpoints, or a run directory.

    In a run directory the best comes before the last; among several the newest is taken.

    Raises:
      FileNotFoundError: there is no checkpoint.
    """
    path = buckets.absolute(path)
    if _is_whole(path):
        return path
    for folder in (path / "checkpoints" / "best", path / "checkpoints" / "last", path):
        steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit() and _is_whole(p)]
        if steps:
            return folder / str(max(steps))
    raise FileNotFoundError(
        f"there is no checkpoint in {path}: give a run directory of train.py, or a folder below its `checkpoints`"
    )


def _is_whole(checkpoint: buckets.Path) -> bool:
    return (checkpoint / "meta" / "metadata").is_file() and buckets.is_committed(checkpoint)


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
    return _read(directory, _WEIGHTS), meta["network"], meta["counters"]


def read_everything(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `read_weights`, but reads the whole state, the optimizer's part included; returns it and the network."""
    directory = find(path)
    return _read(directory, ("",)), _meta(directory)["network"]


def _read(directory: buckets.Path, parts: tuple[str, ...]) -> dict[str, Any]:
    """Reads the parts of a checkpoint's state whose names begin so."""
    try:
        return _read_arrays(directory / "state", parts)
    except Exception as error:  # orbax raises several kinds
        raise ValueError(f"the checkpoint {directory} is damaged ({error!r:.200}): use another one") from error


def fingerprints(folder: buckets.Path) -> dict[int, str]:
    """Returns the fingerprints of the states in a folder of checkpoints, by step."""
    steps = [path for path in folder.glob("[0-9]*") if path.name.isdigit() and _is_whole(path)]
    return {int(path.name): _meta(path)["fingerprint"] for path in steps}


def _read_arrays(directory: buckets.Path, parts: tuple[str, ...]) -> dict[str, Any]:
    _look_for_damage(directory, parts)
    with ocp.PyTreeCheckpointer() as checkpointer:
        metadata = checkpointer.metadata(directory).item_metadata.tree
        wanted = {name: metadata[name] for name in metadata if name.startswith(parts)}
        restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        args = ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args, partial_restore=True)
        return checkpointer.restore(directory, args=args)


def _look_for_damage(directory: buckets.Path, parts: tuple[str, ...]) -> None:
    """Raises ValueError, as tensorstore does, if any array of these parts cannot be read, or they are too large.

    Orbax would find that too, but leaves the rest of its reads to a closed event loop: hundreds of tracebacks,
    from C++, would bury the message.
    """
    files = {"driver": "ocdbt", "base": buckets.store(directory)}
    keys = [key.decode() for key in tensorstore.KvStore.open(files).result().list().result()]
    names = [key.removesuffix(_ARRAY) for key in keys if key.endswith(_ARRAY) and key.startswith(parts)]
    if not names:
        raise ValueError("it holds no weights")
    whole = {"driver": "zarr", "fill_missing_data_reads": False}
    opened = [tensorstore.open(whole | {"kvstore": files | {"path": name}}, open=True) for name in names]
    arrays = [array.result() for array in opened]
    size = sum(map(_bytes_to_read, arrays))
    if size > MAX_BYTES:  # memory that C++ does not get ends the process
        raise ValueError(f"its arrays have {size:,} bytes, but up to {MAX_BYTES:,} are read")
    for array in arrays:
        array.read().result()


def _bytes_to_read(array: tensorstore.TensorStore) -> int:
    """Returns how much memory reading an array takes: chunks are read whole, also those larger than it."""
    chunk = array.chunk_layout.read_chunk.shape or array.shape
    sides = (max(side, length or 0) for side, length in zip(array.shape, chunk, strict=True))
    return math.prod(sides) * array.dtype.numpy_dtype.itemsize


def write_weights(
    directory: str | os.PathLike,
    variables: Mapping[str, Any],
    description: Mapping[str, Any],
    counters: Mapping[str, int],
) -> buckets.Path:
    """Writes weights alone as a checkpoint, of step 0, that `read_weights` reads; returns its folder.

    Raises:
      ValueError: the directory holds something already.
    """
    directory = buckets.absolute(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists and is not empty: delete it, or give another name")
    meta = {"network": dict(description), "figures": {}, "counters": dict(counters)}
    options = ocp.CheckpointManagerOptions(atomicity_options=buckets.atomicity(directory))
    with ocp.CheckpointManager(directory, options=options) as manager:
        state = ocp.args.StandardSave(dict(variables))
        manager.save(0, args=ocp.args.Composite(state=state, meta=ocp.args.JsonSave(meta)))
    return directory / "0"
