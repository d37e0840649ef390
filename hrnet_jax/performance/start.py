"""From the command to the end of a first training step, on made-up people: where the seconds go.

Cold, and with what JAX kept of the start before.

`measure` starts this module as a program, twice, with a cache directory that is empty the first time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

STAGES = ("import", "weights and batch", "trace", "compile", "first step")


def measure(config: str, overrides: list[str], size: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of each of `STAGES`, of a ``cold`` and a ``cached`` start.

    Args:
      config: path of a configuration.
      overrides: of its fields, as on the command line.
      size: of the batch.

    Raises:
      subprocess.CalledProcessError: it could not be started.
    """
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "hrnet_jax.performance.start", f"--config={config}", *overrides]
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "HRNET_JAX_BATCH": str(size)}
        return {name: _started(command, environment) for name in ("cold", "cached")}


def _started(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    begin = time.time()
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    times = json.loads(output.splitlines()[-1])
    return {stage: after - before for stage, before, after in zip(STAGES, [begin, *times], times, strict=False)}


def _run() -> None:
    """Prints when each stage was over."""
    from typing import Any

    import jax
    from absl import flags

    from hrnet_jax import memory, sharding
    from hrnet_jax.performance import step

    given: Any = flags.FLAGS["config"].value
    config, times = step.sized(given, int(os.environ["HRNET_JAX_BATCH"])), []

    def over() -> None:
        times.append(time.time())

    over()
    state, batch = step.first_step(config)
    over()
    lowered = memory.lower_step(config, step.adam(config), sharding.make_mesh())
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
