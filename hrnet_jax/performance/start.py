"""From the command to the end of the first training step: where the seconds go, cold and with JAX's cache.

`measure` starts this module as a program, twice, with a cache directory that is empty the first time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

STAGES = ("import", "weights", "batch", "trace", "compile", "first step")


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

    from hrnet_jax import models, optimizer, sharding, training
    from hrnet_jax.performance import step

    config: Any = flags.FLAGS["config"].value
    size, times = int(os.environ["HRNET_JAX_BATCH"]), []

    def over() -> None:
        times.append(time.time())

    over()
    model, adam = models.build(config), optimizer.adam(lambda _: config.learning_rate, 0.0)
    variables = training.init_variables(model, tuple(config.image_size), 0)
    mesh = sharding.make_mesh()
    state = sharding.place_state(training.init_state(variables, adam), mesh)
    over()
    batch = sharding.place_batch(step.made_up_batch(config, size), mesh)
    over()
    lowered = jax.jit(training.make_train_step(config, model, adam), donate_argnums=0).lower(state, batch)
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
