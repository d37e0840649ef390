"""Training and prediction compiled for TPUs that are not there: fits or not, and what takes the time.

The package libtpu compiles for any topology on a machine without TPUs. Memory, layouts and collectives are those
of the programs that a TPU would run. Times are the compiler's estimates: cycles at the chip's clock, without
waiting.
"""

import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from hrnet_jax import configuration, devices, inference, models, rows, sharding, tasks
from hrnet_jax.benchmark import programs, scale, workload
from hrnet_jax.evaluation import evaluate
from hrnet_jax.run import memory, setup

FIRST_LINE = "estimates of the TPU compiler, not measurements: nothing ran on a TPU"
TOPOLOGY = "v5e:2x2"  # compiled for if none is named
LARGEST = 3  # costs that are named
_ALONE = {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost"}
"""Environment in which libtpu asks no server about the machine."""


def mesh_of(topology: str, chips: int = 0, slices: int = 1) -> Mesh:
    """Returns a mesh of described devices, of the first chips if a number is given, or of several equal slices.

    Raises ValueError if the compiler is missing or refuses the name, for chips that nothing is known of, for more
    chips than there are, and for some chips of several slices.
    """
    if chips and slices > 1:
        raise ValueError(f"--chips (={chips}) leaves slices of different sizes: omit it or --slices (={slices})")
    for name, value in _ALONE.items():
        os.environ.setdefault(name, value)
    topology = topology.lower()
    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
    options |= {"num_slices": slices} if slices > 1 else {}
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"--topology (={topology}) cannot be compiled for ({str(error).splitlines()[0]:.200}): take a name"
            " such as v5e:2x2 or v4:2x2x1, and pip install 'hrnet_jax[tpu]'"
        ) from error
    if chips > len(described):
        raise ValueError(f"--chips (={chips}) must be at most {len(described)}, the chips of {topology}")
    devices.find(described[0].device_kind)
    if chips:  # `make_mesh` takes whole rectangles
        return Mesh(np.array(described[:chips]), ("data",), axis_types=(AxisType.Auto,))
    return sharding.make_mesh(described)


def select(names: Sequence[str], config: ConfigDict, changes: Mapping[str, Any]) -> dict[str, ConfigDict]:
    """Returns configurations of rows, such as ``coco:hrnet_w32_256x192``, or ``all``, with some fields changed.

    Without names, returns the configuration itself. Raises ValueError for an unknown row, or field of a row.
    """
    if not names:
        return {workload.title(config): config}
    known = {f"{table}:{name}": row for table in rows.TABLES for name, row in rows.load(table).items()}
    chosen = {name: rows.select(known, name) for name in (known if "all" in names else names)}
    for name, row in chosen.items():
        if unknown := changes.keys() - configuration.flatten(row.to_dict()):
            raise ValueError(f"{name} has no field --config.{min(unknown)}")
        row.update_from_flattened_dict(dict(changes))
    return chosen


def whole_groups(config: ConfigDict, people: int) -> int:
    """Returns the people of whole groups of batch normalisation, or all people if they are fewer than a group."""
    group = config.model.norm_group_size or 1
    return people - people % group if people > group else people


def on_chips(config: ConfigDict, mesh: Mesh, people: int) -> ConfigDict:
    """Returns a configuration for some people on each chip, of which none shares a group with another chip."""
    config = config.copy_and_resolve_references()
    config.batch_size, config.accumulation = people * mesh.size, 1
    config.model.norm_group_size = min(config.model.norm_group_size, people)
    return config


def milliseconds(cost: Mapping[str, Any], mesh: Mesh) -> dict[str, float]:
    """Returns the milliseconds of each kind of operation."""
    _, chip = devices.find(mesh.devices.flat[0].device_kind)
    return {kind: 1e3 * row["cycles"] / chip.clock for kind, row in cost["kinds"].items()}


def measure(config: ConfigDict, mesh: Mesh, people: int) -> dict[str, Any]:
    """Compiles the training step, with some people on each device, and prediction, with the flip test at half of
    them. People are as many as fill groups of batch normalisation.

    Returns the memory that each device has, and needs in both, and for each the costs that `_costs` describes.
    Raises ValueError for a network that reads whole photos, and if a program does not fit.
    """
    if workload.is_bottom_up(config):
        raise ValueError(
            f"`model.name` (={config.model.name!r}) reads whole photos, which are not compiled here yet"
        )
    people = whole_groups(config, people)
    config = on_chips(config, mesh, people)
    step, seconds = _timed(setup.lower_step(config, workload.transformation(config), mesh).compile)
    state = _bytes_of_state(config, mesh)
    training = {"memory": memory.needed(step), **_costs(step.programs, mesh, people, seconds)}
    config.eval.batch_size = (math.ceil(people / 2) if config.eval.flip_test else people) * mesh.size
    prediction, seconds = _timed(_lower_prediction(config, mesh).compile)
    people = config.eval.batch_size // mesh.size
    analysis: Any = prediction.memory_analysis()
    needed = state + analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    predicting = {"memory": needed, **_costs([prediction], mesh, people, seconds)}
    return {
        "title": workload.title(config),
        "has": memory.available(mesh),
        "step": training,
        "predict": predicting,
    }


def _timed(compile_program: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    try:
        return compile_program(), time.perf_counter() - start
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"the compiler refuses the program ({str(error).splitlines()[0]:.300}): the part `fits` tells how many"
            " people fit"
        ) from error


def _bytes_of_state(config: ConfigDict, mesh: Mesh) -> int:
    """Returns the bytes of weights, statistics and moments on each device, which stay during an evaluation."""
    state = setup.state_shapes(config, tasks.build(config), workload.transformation(config))
    return sharding.bytes_on_each(state, sharding.state_sharding(state, mesh, config.fsdp))


def _lower_prediction(config: ConfigDict, mesh: Mesh) -> jax.stages.Lowered:
    model, size, settings = models.build(config), config.eval.batch_size, evaluate.heatmap_options(config)
    seen = (len(settings["views"]),) if settings["views"] else ()
    step = functools.partial(inference.predict_step, model, decoder=config.eval.decoder, **settings)
    everywhere, split = sharding.replicated(mesh), sharding.by_person(mesh)
    image = jax.ShapeDtypeStruct((size, *seen, *config.image_size, 3), jnp.uint8)
    crop = jax.ShapeDtypeStruct((size, 2, 3), jnp.float32)
    variables = models.shapes(model, tuple(config.image_size))
    options = devices.compiler_options(mesh.local_devices[0])
    program = jax.jit(step, in_shardings=(everywhere, split, split), out_shardings=split, compiler_options=options)
    return program.lower(variables, image, crop)


def _costs(compiled: Sequence[jax.stages.Compiled], mesh: Mesh, people: int, seconds: float) -> dict[str, Any]:
    """Returns the costs of programs that run one after the other.

    ``people`` on a device; ``cycles``, ``hbm`` in bytes and ``fill`` of vectors by kind of operation; the layers
    that cost most; collectives by purpose; bytes of code; ``seconds`` to compile; ``people_per_second`` of a chip
    by the cycles, and at most by the bandwidth of HBM and by the arithmetic.
    """
    _, chip = devices.find(mesh.devices.flat[0].device_kind)
    texts = [program.as_text() or "" for program in compiled]
    operations = [one for text in texts for one in programs.read(text)]
    cycles, hbm = (sum(getattr(one, name) for one in operations) for name in ("cycles", "hbm"))
    arithmetic = sum((program.cost_analysis() or {}).get("flops", 0.0) for program in compiled)
    code = sum(getattr(program.memory_analysis(), "generated_code_size_in_bytes", 0) for program in compiled)
    limits = {"HBM": hbm / chip.bandwidth, "arithmetic": arithmetic / chip.operations}
    return {
        "people": people,
        "milliseconds": 1e3 * cycles / chip.clock,
        "people_per_second": people / (cycles / chip.clock),
        "at_most": {name: people / limit for name, limit in limits.items()},
        "kinds": programs.by_kind(operations),
        "costliest": programs.costliest(operations, LARGEST),
        "collectives": scale.totals(one for text in texts for one in scale.read_collectives(text)),
        "code": code,
        "seconds": seconds,
    }


def table(measured: Mapping[str, Any], mesh: Mesh) -> str:
    """Formats `measure` for the terminal, or an ``error`` in its place."""
    if "error" in measured:
        return f"  {measured['error']}"
    name, chip = devices.find(mesh.devices.flat[0].device_kind)
    chips = mesh.size
    lines = [f"{measured['title']}, {name}, {chips} chip(s), {memory.gigabytes(measured['has'])} on a chip"]
    for program in ("step", "predict"):
        cost = measured[program]
        fits = "fits" if cost["memory"] <= measured["has"] else "DOES NOT FIT"
        host = cost["people_per_second"] * min(chip.host, chips)
        limits = ", ".join(f"{value:,.0f} by {name}" for name, value in cost["at_most"].items())
        lines += [
            f"  {program}: {cost['people']} people on a device, {memory.gigabytes(cost['memory'])}: {fits};"
            f" code {cost['code'] / 1e6:,.0f} MB, compiled in {cost['seconds']:,.0f} s",
            f"    {cost['milliseconds']:,.1f} ms: {cost['people_per_second']:,.0f} people/s a chip, {host:,.0f} a"
            f" host, {cost['people_per_second'] * chips:,.0f} in all; at most {limits}",
        ]
        lines += [
            f"      {kind:<28}{1e3 * row['cycles'] / chip.clock:>9,.2f} ms {row['hbm'] / 1e9:>8,.2f} GB"
            f"  vectors {row['fill']:>4.0%} full"
            for kind, row in cost["kinds"].items()
        ]
        lines += [
            f"      most: {row['layer'] or 'outside the network'}, {row['kind']}:"
            f" {1e3 * row['cycles'] / chip.clock:.2f} ms"
            for row in cost["costliest"]
        ]
        lines += [scale.communication_table(cost["collectives"])] if cost["collectives"] else []
    return "\n".join(lines)
