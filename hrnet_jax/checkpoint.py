"""Saves and restores a run with orbax: ``checkpoints/last`` to resume from and ``checkpoints/best`` by score.

Each checkpoint describes its network, so that weights are never loaded into another one. The files of a checkpoint
are documented in `checkpoint_files`.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from hrnet_jax import buckets, checkpoint_files, distributed, state_hash, training, validation

DAMAGED = ".damaged"
"""Suffix of the folder of a damaged checkpoint that was set aside."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A restored run: the whole state, and the metrics of steps that are in no line of the log yet."""

    state: training.TrainState
    unlogged: list[dict[str, float]]


class Checkpoints:
    """The checkpoints of one run. Arrays are written in the background after the fingerprint is computed.

    The first one is read back before the run goes on, so that none relies on a directory that loses them.

    The description of the network is part of each checkpoint and checked on restoring. `score` names the metric
    that selects the best one, such as ``PCKh@0.5/Mean``. Raises ValueError if `workdir` cannot be written to.
    """

    def __init__(self, workdir: str | os.PathLike, description: dict[str, Any], score: str = "AP"):
        root = buckets.absolute(workdir) / "checkpoints"
        self._description, self._score = description, score
        self._read_back = False  # whether a checkpoint was written to this directory and read again
        try:
            # Two of the last, in case the newest is damaged.
            self._last, self._best = _manager(root / "last", keep=2), _manager(root / "best", keep=1)
            trial = root / f".trial-{jax.process_index()}"
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise ValueError(
                f"{root} cannot be written to ({error.strerror or error}): make it writable, or give another"
                " --workdir"
            ) from error

    def save(self, state: training.TrainState, step: int, unlogged: Sequence[dict[str, float]] = ()) -> None:
        """Saves the state to resume from after a number of completed steps, unless it is already saved.

        `unlogged` are metrics of steps that are in no line of the log yet. Raises ValueError if this checkpoint or
        the one before it cannot be written, or the first cannot be read back.
        """
        if step not in self._last.all_steps():
            self._best.wait_until_finished()  # else a crash may leave the later step without the best before it
            self._save(self._last, state, step, {"unlogged": list(unlogged)})

    def save_best(self, state: training.TrainState, step: int, score: float) -> bool:
        """Saves the state if its score exceeds the best so far, and waits for the write. Returns whether it did.

        Raises ValueError if the checkpoint cannot be written.
        """
        best = self.best_score()
        if best is not None and score <= best:
            return False
        for later in (kept for kept in self._best.all_steps() if kept >= step):
            self._best.delete(later)  # left by a run resumed from an older step; orbax steps only increase
        self._save(self._best, state, step, {"figures": {self._score: score}})
        with _explain_write_errors(self._best):
            self._best.wait_until_finished()
        return True

    def best_score(self) -> float | None:
        """Returns the score of the best checkpoint, or None. Sets a damaged checkpoint aside.

        Raises ValueError if the checkpoint is in a bucket and is damaged or cannot be reached.
        """
        step = self._best.latest_step()
        if step is None:
            return None
        try:
            return checkpoint_files.read_meta(_folder(self._best, step))["figures"].get(self._score)
        except ValueError as error:
            self._set_aside(self._best, {step: error})
            return None

    def restore(self, like: training.TrainState) -> Restored | None:
        """Restores the newest checkpoint that is not damaged, or returns None if nothing is saved.

        Damaged checkpoints are reported and renamed, and the one before is restored. In a bucket the connection
        may have failed instead, so there the user has to move the checkpoint away. `like` has the shapes, types
        and shardings of the state. Raises ValueError if the checkpoint is of another network, all are damaged, or
        one in a bucket is damaged.
        """
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        damage: dict[int, Exception] = {}
        for step in sorted(self._last.all_steps(), reverse=True):
            try:
                restored = self._restore(step, like)
            except (_DifferentNetwork, jax.errors.JaxRuntimeError):
                raise
            except Exception as error:  # orbax raises several kinds
                damage[step] = error
                continue
            self._set_aside(self._last, damage)
            return restored
        if damage:
            reasons = "; ".join(f"{_folder(self._last, step)} ({error!r:.200})" for step, error in damage.items())
            raise ValueError(
                f"all checkpoints are damaged: {reasons}: there is none to resume from; start a new run in another"
                " --workdir, with --config.init_from if `checkpoints/best` is intact"
            )
        return None

    def close(self) -> None:
        """Waits until everything is on disk. Raises ValueError if a checkpoint cannot be written."""
        for manager in (self._last, self._best):
            with _explain_write_errors(manager):
                manager.wait_until_finished()
            manager.close()

    def _restore(self, step: int, like: training.TrainState) -> Restored:
        folder = _folder(self._last, step)
        damage = checkpoint_files.find_damage(folder)
        if not distributed.all_agree(damage is None):
            raise damage or ValueError("another process cannot read it")
        meta = checkpoint_files.read_meta(folder)
        _check_network(folder, meta["network"], self._description)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(_parts(like)))
        state = dataclasses.replace(like, **self._last.restore(step, args=args)["state"])
        if (found := state_hash.compute(state)) != meta["fingerprint"]:
            raise ValueError(f"its fingerprint is {found}, not {meta['fingerprint']}")
        return Restored(state, meta["unlogged"])

    def _set_aside(self, manager: ocp.CheckpointManager, damage: Mapping[int, Exception]) -> None:
        """Renames damaged checkpoints and reports them. Raises ValueError for those in a bucket."""
        for step, error in damage.items():
            folder = _folder(manager, step)
            text = f"the checkpoint {folder} is damaged ({error!r:.200})"
            if buckets.is_in_bucket(folder):
                raise ValueError(
                    f"{text}, or cannot be reached: try again, or move it away to resume from the one before"
                ) from error
            names = (f"{step}{f'-{number}' * (number > 1)}{DAMAGED}" for number in itertools.count(1))
            free = next(name for name in names if not (folder.parent / name).exists())
            distributed.barrier(f"{manager.directory} {free}")
            if distributed.is_primary():
                folder.rename(folder.parent / free)
            distributed.log_once(f"note: {text}: continuing without it; it is kept as {free}")
            distributed.barrier(f"{manager.directory} {free} is set aside")
        if damage:
            manager.reload()

    def _save(
        self, manager: ocp.CheckpointManager, state: training.TrainState, step: int, entries: dict[str, Any]
    ) -> None:
        meta = {"network": self._description, "figures": {}, "fingerprint": state_hash.compute(state), **entries}
        meta[checkpoint_files.DIGEST] = checkpoint_files.digest(meta)
        args = ocp.args.Composite(state=ocp.args.StandardSave(_parts(state)), meta=ocp.args.JsonSave(meta))
        with _explain_write_errors(manager):
            if not manager.save(step, args=args):
                raise ValueError(f"orbax does not save step {step} after {manager.latest_step()}")
            if not self._read_back:
                manager.wait_until_finished()
        if not self._read_back:
            checkpoint_files.check_readable(_folder(manager, step))
            self._read_back = True


def _parts(state: training.TrainState) -> dict[str, Any]:
    """Returns the fields of a state except those that are None: states of version 0.1.0 have no average."""
    return {name: part for name, part in vars(state).items() if part is not None}


class _DifferentNetwork(ValueError):
    """The checkpoint is intact but of another network."""


@contextlib.contextmanager
def _explain_write_errors(manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns errors of writing a checkpoint, or the one before it, into a ValueError for the user."""
    try:
        yield
    except jax.errors.JaxRuntimeError:  # another process is lost
        raise
    except Exception as error:  # orbax raises several kinds
        steps = [step for step in manager.all_steps() if checkpoint_files.is_complete(_folder(manager, step))]
        raise ValueError(
            f"a checkpoint in {manager.directory} could not be written ({error!r:.300}): make room, or find the"
            f" cause; earlier checkpoints are intact ({f'step {max(steps):,}' if steps else 'none yet'}), and the"
            " same command resumes from there"
        ) from error


def _folder(manager: ocp.CheckpointManager, step: int) -> buckets.Path:
    return buckets.path(manager.directory) / str(step)


def _manager(directory: buckets.Path, keep: int) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(keep),
        cleanup_tmp_directories=True,
        atomicity_options=buckets.atomicity_options(directory),
    )
    return ocp.CheckpointManager(directory, options=options)


def _check_network(checkpoint: buckets.Path, there: dict[str, Any], description: dict[str, Any]) -> None:
    """Raises _DifferentNetwork unless the checkpoint is of the network described."""
    if differences := validation.differences({name: there.get(name) for name in description}, description):
        raise _DifferentNetwork(
            f"the checkpoint {checkpoint} is of another network: {'; '.join(differences.values())};"
            " choose the config it was trained with, or another checkpoint"
        )
