"""What memory a training step takes on the device, and whether that of the host stays flat."""

import contextlib
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from hrnet_jax import pipeline, sharding
from hrnet_jax.benchmark import race, step
from hrnet_jax.run import memory, setup

STATUS = pathlib.Path("/proc/self/status")
KEPT, AGAIN = "ours, activations kept", "ours, activations computed again"


def remat(config: ConfigDict, rounds: int) -> tuple[race.Race, dict[str, int]]:
    """Lets training steps that keep all activations, and ones that compute them again (``remat``), take turns.

    Returns:
      The race of those that fit into a device's memory, and the bytes that each of the two needs of it.

    Raises:
      ValueError: neither fits.
    """
    mesh, steps, needs = sharding.make_mesh(), {}, {}
    for name, again in ((KEPT, False), (AGAIN, True)):
        chosen = config.copy_and_resolve_references()
        chosen.model.remat = again
        compiled = setup.lower_step(chosen, step.adam(chosen), mesh).compile()
        needs[name] = memory.needed(compiled)
        if needs[name] <= memory.available(mesh):
            steps[name] = step.ours_training(chosen, compiled)
    if not steps:
        raise ValueError(f"no step fits: {sizes(needs).strip()}; take a smaller --batch")
    title = f"{step.title(config)}, training step"
    return race.run(title, "people", steps, reference=next(iter(steps)), rounds=rounds), needs


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
    anonymous()  # if it cannot be told, better now than after hours
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
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    if not sizes:
        raise ValueError(f"only Linux says, in {STATUS}, how much memory a process has for itself")
    return 1024 * sizes[0]


def growth(readings: list[tuple[int, float]]) -> str:
    """Returns what `host` found, for the terminal."""
    (first, start), (last, end) = readings[len(readings) // 2], readings[-1]
    return f"  the host, after {first:,} batches {start:.3f} GB, after {last:,} {end:.3f} GB"


def sizes(needs: dict[str, int]) -> str:
    """Returns what steps need, for the terminal."""
    return "  needed on the device: " + ", ".join(
        f"{name} {memory.gigabytes(size)}" for name, size in needs.items()
    )
