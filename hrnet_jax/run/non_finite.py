"""Steps with loss, gradients or statistics that are not finite: left out, if that is allowed, or the run's end.

What a step does not tell of itself, a gradient's square that overflows in Adam's moments, is found before they
are saved.
"""

import json
from collections.abc import Mapping

import jax
import numpy as np
import tqdm
from jax.experimental import multihost_utils

from hrnet_jax import buckets, distributed, state_hash, training, validation
from hrnet_jax.run import logger, progress, setup

FILE = "not_finite.jsonl"


class NonFiniteHandler:
    """Keeps what is needed to look into such a step; stops the run when there are too many.

    Args:
      workdir: the run directory.
      run: `skip_not_finite` of its configuration says how many may be left out.
      start: the steps done so far; later ones that a stopped run met are forgotten.
    """

    def __init__(self, workdir: buckets.Path, run: setup.Run, start: int):
        self._path, self._run = workdir / FILE, run
        validation.check_regular(self._path)
        text = self._path.read_bytes().decode(errors="replace") if self._path.exists() else ""
        lines = [line for line in text.split("\n") if line]  # damaged ones may hold what else ends lines
        before = [i for i, line in enumerate(lines) if logger.parse(line).get("step", start) < start]
        # Damaged lines among them count; of those that follow, cut off by a crash or not, none knows the step.
        kept = lines[: max(before, default=-1) + 1]
        self._count = len(kept)
        distributed.barrier("steps that were not finite read")
        if distributed.is_primary() and (ended := "".join(f"{line}\n" for line in kept)) != text:
            buckets.write_atomically(self._path, ended)

    def __call__(self, found: progress.NonFiniteStep) -> None:
        """Takes note of a step.

        Raises:
          ValueError: it is one too many.
        """
        self._count += 1
        rate = float(self._run.schedule(found.step))
        rows = multihost_utils.process_allgather(found.rows).ravel()
        if distributed.is_primary():
            _append(self._path, found, rate, self._run.examples.identify(rows))
        which = f"the loss ({found.loss:.3g}), a gradient or a statistic of step {found.step:,} (counted from 0)"
        text = f"{which} is not finite"
        if self._count > self._run.config.skip_not_finite:
            raise ValueError(
                f"{text}, at learning rate {rate:.2g}: {self._path} names the examples in its batch;"
                " look at them; the same command goes on from the last checkpoint and comes to the very same step,"
                " --config.skip_not_finite=N leaves out up to N such steps; a lower learning rate is another run"
            )
        if distributed.is_primary():
            tqdm.tqdm.write(f"note: {text}: it is left out; {self._path} names the examples in its batch")


def check_finite(state: training.TrainState, step: int) -> None:
    """Makes sure that the state after a number of steps is finite: weights, statistics, the optimizer's part.

    Raises:
      ValueError: it is not.
    """
    spoilt = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if not all(np.isfinite(part).all() for _, part in state_hash.local_shards(leaf))
    ]
    if not distributed.all_agree(not spoilt):
        arrays = f" ({len(spoilt)} arrays: {', '.join(spoilt)[:100]})" if spoilt else ""
        raise ValueError(
            f"the state after step {step:,} is not finite{arrays}, though losses and gradients were:"
            " probably a gradient's square overflowed in Adam's moments. It is not saved: the same command goes on"
            " from the last checkpoint and comes to the same step; a lower learning rate is another run"
        )


def _append(
    path: buckets.Path,
    found: progress.NonFiniteStep,
    rate: float,
    ids: Mapping[str, list[int]],
) -> None:
    entry = {
        "step": found.step,
        "loss": str(found.loss),
        "learning_rate": rate,
        **ids,
    }
    buckets.append_text(path, json.dumps(entry) + "\n")
