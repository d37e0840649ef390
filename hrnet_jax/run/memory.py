"""Whether a training step fits into the memory of a device, and which options would make it fit."""

import errno
import os
import pathlib
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrnet_jax import devices, training

Lower = Callable[[ConfigDict], training.LoweredStep]
"""Traces the training step of a configuration."""

Options = Iterable[dict[str, Any]]
"""Fields that make a step need less memory, the cheapest first; see `tasks.Task.memory_options`."""


def compile_step(config: ConfigDict, lower: Lower, mesh: Mesh, options: Options = ()) -> training.CompiledStep:
    """Compiles the training step of a configuration.

    Raises ValueError if it needs more memory than a device has, with options that need less.
    """
    step = lower(config).compile()
    needs, has = needed(step), available(mesh)
    if needs > has:
        remedies = "; ".join(
            [*_alternatives(config, lower, options, has), "or take a smaller --config.batch_size"]
        )
        raise ValueError(
            f"a training step needs {gigabytes(needs)} on each device, which has {gigabytes(has)}: {remedies}"
        )
    return step


def needed(step: training.CompiledStep) -> int:
    """Returns the bytes that a step needs on each device: arguments, results and temporary arrays."""
    gradients, update = map(needed_by, step.programs)
    return max(gradients + step.kept_bytes, update)


def needed_by(program: jax.stages.Compiled) -> int:
    """Returns the bytes that a program needs on each device: arguments, results and temporary arrays."""
    sizes: Any = program.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return kept + sizes.temp_size_in_bytes


def available(mesh: Mesh) -> int:
    """Returns the bytes of memory of each device. CPU devices share the memory of the host.

    For devices that are only described, to compile for them, it is what their makers state.
    """
    device: Any = mesh.local_devices[0]  # devices of other hosts have no statistics
    try:
        stats = device.memory_stats() or {}
    except jax.errors.JaxRuntimeError:
        _, chip = devices.find(device.device_kind)
        return int(chip.memory)
    return stats.get("bytes_limit", _host() // len(mesh.local_devices))


def _host() -> int:
    """Returns the bytes of the host's memory that this process may use."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = pathlib.Path("/sys/fs/cgroup/memory.max")
    limit = container.read_text().strip() if container.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def gigabytes(count: int) -> str:
    """Formats a number of bytes."""
    return f"{count / 1e9:.2f} GB"


def _alternatives(config: ConfigDict, lower: Lower, options: Options, has: int) -> Iterator[str]:
    """Yields the memory that a step needs with other options, until it fits."""
    for fields in options:
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(fields)
        flags = " ".join(f"--config.{name}={value}" for name, value in fields.items())
        print(f"too large for the device: compiling with {flags} to see whether that fits", flush=True)
        needs = needed(lower(other).compile())
        yield f"{flags} needs {gigabytes(needs)}" + (" and fits" if needs <= has else "")
        if needs <= has:
            return


def explain_full_shared_memory(error: Exception, workers: int) -> str:
    """Returns the way out if loader processes failed because ``/dev/shm`` is full, else "".

    They pass batches through it. Containers often have 64 MB. A write to a page that it cannot hold ends the
    process with SIGBUS.
    """
    no_space = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if not workers or not (no_space or f"exit code -{int(signal.SIGBUS)}." in str(error)):
        return ""
    return (
        f"/dev/shm, through which the {workers} loader processes pass batches, is full ({error}): load in threads"
        " with --config.loader.workers=0, or enlarge it (docker run --shm-size=2g)"
    )
