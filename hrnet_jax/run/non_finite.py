"""Handles steps with a non-finite loss, gradient or statistic: skips them up to a limit, then ends the run.

A step does not report an overflow of a gradient's square in Adam's moments. `check_finite` detects it before the
state is saved.
"""

import json

import jax
import numpy as np
import tqdm
from jax.experimental import multihost_utils

from hrnet_jax import buckets, distributed, state_hash, training, validation
from hrnet_jax.run import logger, progress, setup

FILE = "not_finite.jsonl"


class NonFiniteHandler:
    """Records non-finite steps in a file and ends the run after more than `skip_not_finite` of them.

    Records of steps after `start`, the number of completed steps, were left by a stopped run and are deleted.
    """

    def __init__(self, workdir: buckets.Path, run: setup.Run, start: int):
        self._path, self._run = workdir / FILE, run
        validation.check_regular(self._path)
        text = self._path.read_bytes().decode(errors="replace") if self._path.exists() else ""
        lines = [line for line in text.split("\n") if line]  # damaged lines may contain other line separators
        earlier = [i for i, line in enumerate(lines) if logger.parse(line).get("step", start) < start]
        # Damaged lines before the last of these count. The step of those after it is unknown.
        kept = lines[: max(earlier, default=-1) + 1]
        self._count = len(kept)
        distributed.barrier("non-finite steps read")
        if distributed.is_primary() and (content := "".join(f"{line}\n" for line in kept)) != text:
            buckets.write_atomically(self._path, content)

    def __call__(self, found: progress.NonFiniteStep) -> None:
        """Records a step. Raises ValueError if the limit is exceeded."""
        self._count += 1
        rate = float(self._run.schedule(found.step))
        rows = multihost_utils.process_allgather(found.rows).ravel()
        if distributed.is_primary():
            entry = {"step": found.step, "loss": str(found.loss), "learning_rate": rate}
            entry |= self._run.examples.identify(rows)
            buckets.append_text(self._path, json.dumps(entry) + "\n")
        text = (
            f"the loss ({found.loss:.3g}), a gradient or a statistic of step {found.step:,} (counted from 0)"
            " is not finite"
        )
        if self._count > self._run.config.skip_not_finite:
            raise ValueError(
                f"{text}, at learning rate {rate:.2g}: {self._path} lists the examples in its batch; inspect them."
                " The same command resumes from the last checkpoint and reaches the same step."
                " --config.skip_not_finite=N skips up to N such steps. --extend with a lower"
                " --config.learning_rate goes on from the last checkpoint"
            )
        if distributed.is_primary():
            tqdm.tqdm.write(f"note: {text}: it is skipped; {self._path} lists the examples in its batch")


def check_finite(state: training.TrainState, step: int) -> None:
    """Raises ValueError unless weights, statistics and optimizer state after a number of steps are finite."""
    non_finite = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if not all(np.isfinite(part).all() for _, part in state_hash.local_shards(leaf))
    ]
    if not distributed.all_agree(not non_finite):
        arrays = f" ({len(non_finite)} arrays: {', '.join(non_finite)[:100]})" if non_finite else ""
        raise ValueError(
            f"the state after step {step:,} is not finite{arrays}, though losses and gradients were:"
            " probably the square of a gradient overflowed in Adam's moments. It is not saved. The same command"
            " resumes from the last checkpoint and reaches the same step. --extend with a lower"
            " --config.learning_rate goes on from there"
        )
