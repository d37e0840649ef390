"""Compiling the training step, and whether it fits: what it needs of a device's memory, and what that has."""

import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrnet_jax import models, sharding, training

MOST_PARTS = 32
"""Gradients accumulated over more parts than this are not tried when a step does not fit."""


def compile_step(config: ConfigDict, optimizer: optax.GradientTransformation, mesh: Mesh) -> jax.stages.Compiled:
    """Compiles the training step for the devices of a mesh; the state given to it is donated.

    Raises:
      ValueError: it needs more memory than a device has; names what would need less.
    """
    compiled = lower_step(config, optimizer, mesh).compile()
    needs, has = needed(compiled), available(mesh)
    if needs > has:
        raise ValueError(
            f"a training step needs {gigabytes(needs)} on each device, which has {gigabytes(has)}: "
            + "; ".join([*_ways_out(config, optimizer, mesh, has), "or take a smaller --config.batch_size"])
        )
    return compiled


def lower_step(config: ConfigDict, optimizer: optax.GradientTransformation, mesh: Mesh) -> jax.stages.Lowered:
    """Returns the training step of a configuration, traced and ready to be compiled."""
    model = models.build(config)
    shapes = models.shapes(model, tuple(config.image_size))
    state = jax.eval_shape(lambda variables: training.init_state(variables, optimizer), shapes)
    where = sharding.state_sharding(state, mesh, config.fsdp)
    jitted = jax.jit(
        training.make_train_step(config, model, optimizer, sharding.replicated(mesh)),
        donate_argnums=0,
        in_shardings=(where, sharding.by_person(mesh)),
        out_shardings=(where, sharding.replicated(mesh)),
    )
    return jitted.lower(state, training.batch_shapes(config))


def needed(compiled: jax.stages.Compiled) -> int:
    """Returns the bytes that a program takes on each device: what goes in and comes out, and what lies between."""
    sizes: Any = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return kept + sizes.temp_size_in_bytes


def available(mesh: Mesh) -> int:
    """Returns the bytes that each device has; those that are the host's own processor share what the host has."""
    device: Any = mesh.local_devices[0]  # another machine's do not tell
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit", _host() // len(mesh.local_devices))


def _host() -> int:
    """Returns the bytes that this process may use of the host's memory."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = pathlib.Path("/sys/fs/cgroup/memory.max")
    limit = container.read_text().strip() if container.is_file() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def gigabytes(count: int) -> str:
    """Returns bytes in words."""
    return f"{count / 1e9:.2f} GB"


def _ways_out(config: ConfigDict, optimizer: optax.GradientTransformation, mesh: Mesh, has: int) -> Iterator[str]:
    """Says what a step would need with other options, until one makes it fit."""
    for fields in _cheaper(config, mesh):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict(fields)
        options = " ".join(f"--config.{name}={value}" for name, value in fields.items())
        print(f"too large for the device; compiling it with {options} to see what that needs", flush=True)
        needs = needed(lower_step(other, optimizer, mesh).compile())
        yield f"{options} needs {gigabytes(needs)}" + (" and fits" if needs <= has else "")
        if needs <= has:
            return


def _cheaper(config: ConfigDict, mesh: Mesh) -> Iterator[dict[str, Any]]:
    """Yields fields that save memory, those first that cost least: computing more, then smaller parts.

    Never parts in which fewer people would be normalised together: that is another training.
    """
    if not config.model.remat:
        yield {"model.remat": True}
    together = 1 if config.model.norm_frozen else config.model.norm_group_size or config.batch_size
    parts = 2 * config.accumulation
    while parts <= MOST_PARTS and config.batch_size % (parts * math.lcm(mesh.size, together)) == 0:
        yield {"model.remat": True, "accumulation": parts}
        parts *= 2
