"""From the command to the end of a first training step: where the seconds go.

Cold, and with what JAX kept of the start before. People are those of the training split; made up where none is
prepared.

`measure` starts this module as a program, twice, with a cache directory that is empty the first time.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

STAGES = ("import", "data", "weights", "trace", "compile", "first step")


def measure(config: str, overrides: list[str], size: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of each of `STAGES`, of a ``cold`` and a ``cached`` start.

    Args:
      config: path of a configuration.
      overrides: of its fields, as on the command line.
      size: of the batch.

    Raises:
      ValueError: it could not be started.
    """
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "hrnet_jax.performance.start", f"--config={config}", *overrides]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "HRNET_JAX_BATCH": str(size)}
        return {name: _started(command, environment) for name in ("cold", "cached")}


def _started(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    begin = time.time()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"a start ended with status {done.returncode}; what it said of that stands above")
    times = json.loads(done.stdout.splitlines()[-1])
    return {stage: after - before for stage, before, after in zip(STAGES, [begin, *times], times, strict=False)}


def _first_batch(config: Any) -> Any:
    """Loads a batch of people of the training split; makes one up if none is prepared."""
    from hrnet_jax import pipeline
    from hrnet_jax.benchmark import step
    from hrnet_jax.datasets import records

    split, size = pathlib.Path(config.data.dir) / config.data.train_split, config.batch_size
    if not split.is_dir():
        return step.made_up_batch(config, size)
    loader = pipeline.train_batches(
        records.open_split(split),
        image_size=tuple(config.image_size),
        batch_size=size,
        seed=config.seed,
        policy=None,
        threads=0,
    )
    with contextlib.closing(loader) as batches:
        return next(batches)


def _run() -> None:
    """Prints when each stage was over."""
    import jax
    from absl import flags

    from hrnet_jax import sharding
    from hrnet_jax.benchmark import step
    from hrnet_jax.run import setup

    given: Any = flags.FLAGS["config"].value
    config, times = step.sized(given, int(os.environ["HRNET_JAX_BATCH"])), []

    def over() -> None:
        times.append(time.time())

    over()
    batch = _first_batch(config)
    over()
    state, batch = step.first_step(config, batch)
    over()
    lowered = setup.lower_step(config, step.adam(config), sharding.make_mesh())
    over()
    compiled = lowered.compile()
    over()
    jax.block_until_ready(compiled(state, batch))
    over()
    print(json.dumps(times))


if __name__ == "__main__":
    from ml_collections import config_flags

    from hrnet_jax import console

    config_flags.DEFINE_config_file("config")
    console.start(_run)
