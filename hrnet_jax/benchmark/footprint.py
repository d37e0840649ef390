"""Memory of a training step on the device, and of the loading process on the host."""

import contextlib
import pathlib

import grain
from ml_collections import ConfigDict

from hrnet_jax import sharding
from hrnet_jax.benchmark import race, workload
from hrnet_jax.run import memory, setup

STATUS = pathlib.Path("/proc/self/status")
KEPT, RECOMPUTED = "ours, activations kept", "ours, activations recomputed"


def measure_step(config: ConfigDict, rounds: int) -> tuple[race.Race, dict[str, int]]:
    """Runs a race of training steps that keep their activations against ones that recompute them (``remat``).

    Steps that do not fit into the device's memory are left out of the race. Raises ValueError if neither fits.
    Returns the race, and the bytes per device needed by each of the two steps.
    """
    mesh, steps, needed = sharding.make_mesh(), {}, {}
    for name, remat in ((KEPT, False), (RECOMPUTED, True)):
        variant = config.copy_and_resolve_references()
        variant.model.remat = remat
        compiled = setup.lower_step(variant, workload.transformation(variant), mesh).compile()
        needed[name] = memory.needed(compiled)
        if needed[name] <= memory.available(mesh):
            steps[name] = workload.train(variant, compiled)
    if not steps:
        raise ValueError(f"no step fits: {step_summary(needed).strip()}; take a smaller --batch")
    title = f"{workload.title(config)}, training step"
    return race.run(title, workload.unit(config), steps, reference=next(iter(steps)), rounds=rounds), needed


def measure_loading(loader: grain.DatasetIterator, batches: int, readings: int = 20) -> list[tuple[int, float]]:
    """Loads batches as in training and reads this process's memory on the way, evenly spaced. Closes the loader.

    Returns the number of batches loaded and the `anonymous_memory` in gigabytes at each reading.
    """
    anonymous_memory()  # fails now rather than after hours if the system does not report it
    found = []
    with contextlib.closing(loader):
        for number in range(1, batches + 1):
            next(loader)
            if number % max(1, batches // readings) == 0:
                found.append((number, anonymous_memory() / 1e9))
    return found


def anonymous_memory() -> int:
    """Returns the bytes of this process's anonymous resident memory. Raises ValueError if the system is not Linux.

    Mapped files do not count, since the system may reclaim their pages.
    """
    _, found, rest = (STATUS.read_text() if STATUS.is_file() else "").partition("RssAnon:")
    if not found:
        raise ValueError(f"the memory of a process is read from {STATUS}, which has it on Linux only")
    return 1024 * int(rest.split()[0])


def loading_summary(readings: list[tuple[int, float]]) -> str:
    """Formats the readings of `measure_loading` for the terminal: halfway and at the end."""
    (first, start), (last, end) = readings[len(readings) // 2], readings[-1]
    return f"  the host, after {first:,} batches {start:.3f} GB, after {last:,} {end:.3f} GB"


def step_summary(needed: dict[str, int]) -> str:
    """Formats the memory needed by steps for the terminal."""
    sizes = [f"{name} {memory.gigabytes(size)}" for name, size in needed.items()]
    return f"  needed on the device: {', '.join(sizes)}"
