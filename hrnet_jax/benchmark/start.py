"""Time from the command to the end of the first training step, stage by stage.

`measure` runs this module as a program twice with the same compilation cache, which is empty the first time. The
first batch comes from the training split, or is made up if the split is not prepared.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from absl import flags
from ml_collections import ConfigDict, config_flags

STAGES = ("import", "data", "weights", "trace", "compile", "first step")


def measure(config: str, overrides: list[str], size: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of each of `STAGES` for a ``cold`` and a ``cached`` start.

    Takes the path of a configuration, command-line arguments that change its fields, and the batch size. Raises
    ValueError if the program fails.
    """
    command = [sys.executable, "-m", __name__, f"--config={config}", f"--batch={size}", *overrides]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        return {name: _start(command, environment) for name in ("cold", "cached")}


def _start(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    begin = time.time()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"the start failed with exit status {done.returncode}: see its error message above")
    times = json.loads(done.stdout.splitlines()[-1])
    return {stage: after - before for stage, before, after in zip(STAGES, [begin, *times], times, strict=False)}


def summary(measured: dict[str, dict[str, float]]) -> str:
    """Formats the result of `measure` for the terminal, one line per start."""
    return "\n".join(
        f"  {name:<8}{', '.join(f'{stage} {seconds:.1f} s' for stage, seconds in stages.items())}"
        f", in all {sum(stages.values()):.1f} s"
        for name, stages in measured.items()
    )


def _first_batch(config: ConfigDict) -> dict:
    """Loads a batch of the training split, or makes one up of whole photos or if the split is not prepared."""
    from hrnet_jax.benchmark import workload

    if workload.is_bottom_up(config) or not (pathlib.Path(config.data.dir) / config.data.train_split).is_dir():
        return workload.made_up_batch(config, config.batch_size)
    loader = workload.train_loader(config, workload.train_split(config), seed=config.seed, policy=None, threads=0)
    with contextlib.closing(loader):
        return next(loader)


def _stages() -> Iterator[None]:
    """Goes through `STAGES` up to the end of the first step. Yields at the end of each."""
    import jax

    from hrnet_jax import sharding
    from hrnet_jax.benchmark import workload
    from hrnet_jax.run import setup

    config = workload.with_batch_size(flags.FLAGS.config, flags.FLAGS.batch)
    yield
    batch = _first_batch(config)
    yield
    state, batch = workload.place_inputs(config, batch)
    yield
    lowered = setup.lower_step(config, workload.transformation(config), sharding.make_mesh())
    yield
    compiled = lowered.compile()
    yield
    jax.block_until_ready(compiled(state, batch))
    yield


if __name__ == "__main__":
    from hrnet_jax import console

    config_flags.DEFINE_config_file("config")
    flags.DEFINE_integer("batch", None, "Batch size.", required=True)
    console.start(lambda: print(json.dumps([time.time() for _ in _stages()])))
