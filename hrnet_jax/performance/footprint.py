"""What memory a training step takes on the device, and whether that of the host stays flat."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import memory, pipeline, sharding
from hrnet_jax.performance import race, step

KEPT, AGAIN = "ours, activations kept", "ours, activations computed again"


def remat(config: ConfigDict, rounds: int) -> tuple[race.Race, dict[str, int]]:
    """Lets training steps that keep all activations, and ones that compute them again (``remat``), take turns.

    Returns:
      The race, and the bytes that each of the two steps needs on a device.
    """
    steps, needs = {}, {}
    for name, again in ((KEPT, False), (AGAIN, True)):
        chosen = config.copy_and_resolve_references()
        chosen.model.remat = again
        compiled = memory.compile_step(chosen, step.adam(chosen), sharding.make_mesh())
        steps[name], needs[name] = step.ours_training(chosen, compiled), memory.needed(compiled)
    title = f"{step.title(config)}, training step"
    return race.run(title, "people", steps, reference=KEPT, rounds=rounds), needs


def host(loader: Iterator[pipeline.Batch], batches: int, readings: int = 20) -> list[tuple[int, float]]:
    """Loads batches as training does, and reads this process's memory on the way.

    Args:
      loader: see `pipeline.train_batches`; it is closed.
      batches: to load.
      readings: of the memory, evenly spread.

    Returns:
      How many batches were loaded, and the gigabytes that the process then had for itself: without the files
      that it has mapped, which the system may take back.
    """
    with contextlib.closing(loader) as loader:  # pyright: ignore[reportArgumentType]
        found = []
        for number in range(1, batches + 1):
            next(loader)
            if number % max(1, batches // readings) == 0:
                found.append((number, anonymous() / 1e9))
    return found


def anonymous() -> int:
    """Returns the bytes of memory that this process has for itself.

    Raises:
      ValueError: this system does not tell; Linux does.
    """
    file = pathlib.Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.is_file() else []
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    if not sizes:
        raise ValueError("only Linux says, in /proc/self/status, how much memory a process has for itself")
    return 1024 * sizes[0]


def lines(needs: dict[str, int], readings: list[tuple[int, float]]) -> str:
    """Returns what was found, for the terminal."""
    (first, start), (last, end) = readings[len(readings) // 2], readings[-1]
    sizes: list[Any] = [f"{name.removeprefix('ours, ')}: {memory.gigabytes(size)}" for name, size in needs.items()]
    return "\n".join([
        f"  needed on the device with {', with '.join(sizes)}",
        f"  the host, after {first:,} batches {start:.3f} GB, after {last:,} {end:.3f} GB",
    ])  # fmt: skip
