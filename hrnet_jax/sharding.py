"""Where arrays live: the batch split over all devices of all machines, the state on each of them.

The same program serves one CPU or eight chips: only the mesh differs. What the optimizer remembers, two thirds of
the state, may be split over the devices, too: each then updates its part of the weights, and gathers the others'.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

SMALL = 1024
"""Arrays of fewer elements than this are not worth splitting."""


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh of one axis, ``data``, over the given devices or all there are."""
    devices = list(devices or jax.devices())
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def by_person(mesh: Mesh) -> NamedSharding:
    """The first axis is split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def place_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's share of a batch on its devices; together they are the global batch."""
    sharding = by_person(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def split(shape: Sequence[int], mesh: Mesh) -> NamedSharding:
    """The longest side that the devices divide evenly is split; `SMALL` arrays, and those without one, are not."""
    sides = [(side, axis) for axis, side in enumerate(shape) if side % mesh.size == 0]
    if math.prod(shape) < SMALL or not sides:
        return replicated(mesh)
    _, axis = max(sides)
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def state_sharding(state: Any, mesh: Mesh, fsdp: bool = False) -> Any:
    """Returns where each array of a state lives, for compiling, placing and restoring it.

    Args:
      state: arrays, or their shapes.
      mesh: the devices.
      fsdp: whether the ``opt_state`` of a `training.TrainState` is split over the devices. Weights never are, so
        that they can be evaluated and drawn with as they lie; a step needs them whole anyway.
    """
    where = jax.tree.map(lambda _: replicated(mesh), state)
    if not fsdp:
        return where
    return where.replace(opt_state=jax.tree.map(lambda leaf: split(leaf.shape, mesh), state.opt_state))


def bytes_on_each(tree: Any, where: Any) -> int:
    """Returns what arrays, or their shapes, take on each device if they live where `where` says."""

    def size(leaf: Any, place: NamedSharding) -> int:
        return math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(size, tree, where)))


def place_state(state: Any, mesh: Mesh, fsdp: bool = False) -> Any:
    """Puts every array where `state_sharding` says. The arrays given stay usable when the result is donated.

    Each process must give the same arrays, whole, and places what its own devices hold of them.
    """

    def place(leaf: Any, where: NamedSharding) -> jax.Array:
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, where, lambda part: np.array(whole[part]))

    return jax.tree.map(place, state, state_sharding(state, mesh, fsdp))


def gather_to_host(tree: Any) -> Any:
    """Returns arrays as they are if this process holds them whole, else whole copies on the host.

    With several processes, all of them ask.
    """
    return tree if jax.process_count() == 1 else multihost_utils.process_allgather(tree, tiled=True)


def check_batch_size(name: str, batch_size: int, parts: int, mesh: Mesh) -> None:
    """Raises ValueError unless the batch can be split evenly over parts and devices.

    Args:
      name: what the configuration calls this batch size.
      batch_size: people, on all devices together.
      parts: gradient accumulation.
      mesh: the devices.
    """
    unit = parts * mesh.size
    if batch_size <= 0 or batch_size % unit:
        below, above = batch_size // unit * unit, (max(batch_size, 0) // unit + 1) * unit
        nearest = f"{below} or {above}" if below > 0 else f"{above}"
        raise ValueError(
            f"`{name}` (={batch_size}) must be a multiple of {unit}: {mesh.size} devices"
            + (f" times {parts} accumulated parts" if parts > 1 else "")
            + f"; nearest is {nearest}"
        )
