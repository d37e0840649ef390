"""Compiling the training step, and whether it fits: what it needs of a device's memory, and what that has."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrnet_jax import models, sharding, training

MOST_PARTS = 32
"""Gradients accumulated over more parts than this are not tried when a step does not fit."""


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """A compiled training step, which is two programs one after the other; see `training.join`.

    As one it would take longer to compile: XLA's compiler for CPUs keeps little more than one core busy.

    Attributes:
      gradients: of `training.make_gradients`.
      update: of `training.make_update`; the state given to it is donated.
      moments: bytes on each device of the optimizer's state, which lies there while gradients are computed.
    """

    gradients: jax.stages.Compiled
    update: jax.stages.Compiled
    moments: int

    def __call__(
        self, state: training.TrainState, batch: dict[str, jax.Array]
    ) -> tuple[training.TrainState, training.Metrics]:
        """Takes a step; the state given is gone after it."""
        return training.join(self.gradients, self.update)(state, batch)

    @property
    def programs(self) -> tuple[jax.stages.Compiled, jax.stages.Compiled]:
        """Both programs, in the order in which they run."""
        return self.gradients, self.update

    def as_text(self) -> str:
        """Returns both programs as the compiler writes them, one below the other."""
        return "\n".join(program.as_text() or "" for program in self.programs)


@dataclasses.dataclass(frozen=True)
class LoweredStep:
    """A training step that is traced, while one of its programs is being compiled already; see `CompiledStep`."""

    gradients: jax.stages.Lowered
    update: Future[jax.stages.Compiled]
    moments: int

    def compile(self) -> CompiledStep:
        """Compiles the other program, too."""
        return CompiledStep(self.gradients.compile(), self.update.result(), self.moments)


def compile_step(config: ConfigDict, optimizer: optax.GradientTransformation, mesh: Mesh) -> CompiledStep:
    """Compiles the training step for the devices of a mesh; the state given to it is donated.

    Raises:
      ValueError: it needs more memory than a device has; names what would need less.
    """
    step = lower_step(config, optimizer, mesh).compile()
    needs, has = needed(step), available(mesh)
    if needs > has:
        raise ValueError(
            f"a training step needs {gigabytes(needs)} on each device, which has {gigabytes(has)}: "
            + "; ".join([*_ways_out(config, optimizer, mesh, has), "or take a smaller --config.batch_size"])
        )
    return step


def lower_step(config: ConfigDict, optimizer: optax.GradientTransformation, mesh: Mesh) -> LoweredStep:
    """Returns the training step of a configuration, traced and ready to be compiled."""
    model, whole = models.build(config), sharding.replicated(mesh)
    shapes = models.shapes(model, tuple(config.image_size))
    state = jax.eval_shape(lambda variables: training.init_state(variables, optimizer), shapes)
    where = sharding.state_sharding(state, mesh, config.fsdp)
    # Gradients lie as the moments do that follow them.
    split = jax.tree.map(lambda leaf: sharding.split(leaf.shape, mesh), state.params) if config.fsdp else whole
    metrics = dict.fromkeys(training.METRICS, jax.ShapeDtypeStruct((), jnp.float32))
    gradients_of = training.make_gradients(config, model)  # what does not fit is told before anything is begun
    update = jax.jit(
        training.make_update(config, optimizer, whole),
        donate_argnums=0,
        in_shardings=(where, split, whole, whole),
        out_shardings=(where, whole),
    ).lower(state, state.params, state.batch_stats, metrics)
    beside = ThreadPoolExecutor(1)
    compiling = beside.submit(update.compile)
    beside.shutdown(wait=False)  # it ends when that is done
    gradients = jax.jit(
        gradients_of,
        in_shardings=(whole, whole, sharding.by_person(mesh)),
        out_shardings=(split, whole),
    ).lower(state.params, state.batch_stats, training.batch_shapes(config))
    return LoweredStep(gradients, compiling, sharding.bytes_on_each(state.opt_state, where.opt_state))


def needed(step: CompiledStep) -> int:
    """Returns the bytes that a step takes on each device: what goes in and comes out, and what lies between."""
    gradients, update = map(_needed, step.programs)
    return max(gradients + step.moments, update)


def _needed(program: jax.stages.Compiled) -> int:
    sizes: Any = program.memory_analysis()
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
