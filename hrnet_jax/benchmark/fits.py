"""How many people of a training step fit into the memory of TPUs that are not there.

The compiler assigns memory within a minute or two, and then writes code for many more. Only the first is needed
here: a process compiles, and is ended once the compiler has dumped what it assigned. What comes later is not
seen: the code itself, and whether it can be written.
"""

import json
import multiprocessing
import os
import pathlib
import re
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from ml_collections import ConfigDict

from hrnet_jax import devices, pipeline, skeletons, tasks, training
from hrnet_jax.benchmark import scale, tpu, workload
from hrnet_jax.run import memory, setup

TOPOLOGIES = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
"""Four chips of each generation."""

AT_ONCE = 2  # processes that compile; each needs some GB of the host's memory
RESERVED = 2**30
"""Bytes of a chip that arrays cannot have: the compiler keeps some, on v5e a quarter; code takes the rest."""

_PROGRAM, _REPORT = "*.after_optimizations.txt", "*-memory-usage-report.txt"
_ASSIGNED = "*_after_buffer_assignment.txt"  # written after these two, unless the memory is too small
_BYTES = re.compile(r"default \(color=0\)\s+Total bytes: (\d+)")


def measure(config: ConfigDict, topology: str, people: int, chips: int = 0, slices: int = 1) -> dict[str, Any]:
    """Compiles the gradients of a step with some people on each chip, or half of them, and so on, until they fit.

    Returns the ``people``, the bytes that their step ``needs`` on each chip, and that a chip ``has``; ``sent``,
    what chips exchange, as `scale.totals` gives it. ``people`` is 0 if none fit, with the needs of the fewest.
    Raises ValueError if the compiler fails for another reason.
    """
    found: dict[str, Any] = {}
    for count in _counts(config, people):
        found = _assign(config, topology, count, chips, slices)
        if found["needs"] <= found["has"]:
            return {"people": count, **found}
    return {"people": 0, **found}


def measure_all(
    config: ConfigDict, topologies: Sequence[str], people: int, chips: int = 0, slices: int = 1
) -> dict[str, dict[str, Any]]:
    """Returns `measure` of a configuration by topology."""
    with ThreadPoolExecutor(AT_ONCE) as executor:
        found = executor.map(lambda topology: measure(config, topology, people, chips, slices), topologies)
        return dict(zip(topologies, found, strict=True))


def same_program(config: ConfigDict) -> str:
    """Returns what the memory of a step depends on: of rows in which it is equal, one needs compiling."""
    fields, joints = config.to_dict(), skeletons.load(config.skeleton).num_joints
    names = ("model", "image_size", "loss", "codec", "optimizer", "average_decay", "fsdp")
    parts = [fields[name] for name in names if name in fields]
    return " ".join(map(str, [*parts, joints]))


def _counts(config: ConfigDict, people: int) -> Iterator[int]:
    """Yields numbers of people, each half of the one before, in whole groups of batch normalisation."""
    while people >= 1:
        yield tpu.whole_groups(config, people)
        people //= 2


def _assign(config: ConfigDict, topology: str, people: int, chips: int, slices: int) -> dict[str, Any]:
    """Compiles in a process of its own until memory is assigned."""
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _run_until_assigned(folder, _compile, config, topology, people, chips, slices)
        return _read(folder, f"{workload.title(config, f'{people} people on a chip')}, for {topology}")


def _run_until_assigned(folder: pathlib.Path, compile_step: Callable[..., None], *arguments: Any) -> None:
    """Runs a function in a process of its own, until it ends or has dumped the assigned memory to a folder."""
    process = multiprocessing.get_context("spawn").Process(target=compile_step, args=(folder, *arguments))
    process.start()
    try:
        while process.is_alive() and not any(folder.glob(_ASSIGNED)):
            process.join(0.1)
    finally:
        process.kill()
        process.join()


def _compile(
    folder: pathlib.Path, config: ConfigDict, topology: str, people: int, chips: int, slices: int
) -> None:
    """Compiles the gradients of a step, dumping what the compiler does, and writes what stays beside them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler waits for the compiler
    pipeline.end_with_parent()
    jax.config.update("jax_enable_compilation_cache", False)  # a program found there is not dumped
    try:
        mesh = tpu.mesh_of(topology, chips, slices)
        config = tpu.on_chips(config, mesh, people)
        task, transformation = tasks.build(config), workload.transformation(config)
        state = setup.state_shapes(config, task, transformation)
        kept = training.kept_bytes(state, mesh, fsdp=config.fsdp)
        sizes = {"kept": kept, "has": memory.available(mesh) - RESERVED}
        (folder / "sizes.json").write_text(json.dumps(sizes))
        step = setup.make_train_step(config, task, transformation, mesh)
        lowered = training.lower_gradients(step, state, task.inputs(), mesh, fsdp=config.fsdp)
        options = devices.compiler_options(mesh.local_devices[0])
        lowered.compile({**options, "xla_dump_to": os.fspath(folder)})
    except Exception as error:  # whatever it is, `_read` says it
        (folder / "error.txt").write_text(str(error) or repr(error))


def _read(folder: pathlib.Path, title: str) -> dict[str, Any]:
    """Reads what the compiler assigned. Raises ValueError if it failed, other than for lack of memory."""
    error = (folder / "error.txt").read_text() if (folder / "error.txt").is_file() else ""
    reports = "".join(report.read_text() for report in folder.glob(_REPORT))
    sizes = json.loads((folder / "sizes.json").read_text()) if reports else {}
    needs = int(found[1]) + sizes["kept"] if (found := _BYTES.search(reports)) else 0
    if not needs or (error and needs <= sizes["has"]):
        raise ValueError(f"{title} cannot be compiled: {(error or 'the compiler ended').splitlines()[0]:.300}")
    program = next(folder.glob(_PROGRAM)).read_text()
    return {"needs": needs, "has": sizes["has"], "sent": scale.totals(scale.read_collectives(program))}


def cell(found: Mapping[str, Any]) -> str:
    """Formats what `measure` returns for one topology."""
    needs = memory.gigabytes(found["needs"])
    return f"{found['people']}: {needs}" if found["people"] else f"none: {needs}"


def line(title: str, cells: Iterable[str]) -> str:
    """Formats a line of the table."""
    return f"{title:<40}" + "".join(f"{cell:<16}" for cell in cells)
