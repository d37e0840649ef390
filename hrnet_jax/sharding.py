"""Shardings: the batch is split over all devices of all processes, and the state is replicated.

The same program runs on one CPU or eight chips with another mesh. Optionally the optimizer state, two thirds of
the state, is split too. Each device then updates its part of the weights and gathers the others.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MIN_SPLIT_SIZE = 1024
"""Arrays with fewer elements are replicated rather than split."""


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh with one axis, ``data``, over the given devices or all devices.

    Of several slices of TPUs, which only a slower network connects, one follows the other along the axis.
    """
    devices = list(devices or jax.devices())
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    each = len(devices) // slices
    ordered = mesh_utils.create_hybrid_device_mesh((each,), (slices,), devices)
    return Mesh(ordered, ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding with the whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_person(mesh: Mesh) -> NamedSharding:
    """Returns the sharding with the first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def place_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Puts this process's share of the global batch on its devices."""
    sharding = by_person(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def split(shape: Sequence[int], mesh: Mesh) -> NamedSharding:
    """Returns a sharding that splits the longest axis divisible by the number of devices.

    Arrays without such an axis or smaller than `MIN_SPLIT_SIZE` are replicated.
    """
    sides = [(side, axis) for axis, side in enumerate(shape) if side % mesh.size == 0]
    if math.prod(shape) < MIN_SPLIT_SIZE or not sides:
        return replicated(mesh)
    _, axis = max(sides)
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))


def state_sharding(state: Any, mesh: Mesh, fsdp: bool = False) -> Any:
    """Returns the sharding of each array of a state, for compiling, placing and restoring it.

    `fsdp` splits the ``opt_state`` of a `training.TrainState` over the devices. Weights are always replicated, so
    that evaluation and pictures can use them directly. A step needs them whole anyway.
    """
    shardings = jax.tree.map(lambda _: replicated(mesh), state)
    if not fsdp:
        return shardings
    return shardings.replace(opt_state=jax.tree.map(lambda leaf: split(leaf.shape, mesh), state.opt_state))


def bytes_on_each(tree: Any, shardings: Any) -> int:
    """Returns the bytes that a tree of arrays or shapes takes on each device, given a tree of shardings."""

    def size(leaf: Any, sharding: NamedSharding) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(size, tree, shardings)))


def place_state(state: Any, mesh: Mesh, fsdp: bool = False) -> Any:
    """Copies a state to the devices according to `state_sharding`. The result may be donated.

    Every process must pass the same whole arrays and copies only the shards of its own devices.
    """

    def place(leaf: Any, sharding: NamedSharding) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: np.array(array[index]))

    return jax.tree.map(place, state, state_sharding(state, mesh, fsdp))


def gather_to_host(tree: Any) -> Any:
    """Gathers arrays to the host. A single process gets them unchanged, on its devices.

    Collective: all processes must call it.
    """
    return tree if jax.process_count() == 1 else multihost_utils.process_allgather(tree, tiled=True)


def check_batch_size(name: str, batch_size: int, parts: int, mesh: Mesh) -> None:
    """Raises ValueError unless a batch, in the configuration field `name`, splits evenly over parts and devices.

    `batch_size` counts the people of a step on all devices; `parts` is the number of accumulated parts.
    """
    unit = parts * mesh.size
    if batch_size <= 0 or batch_size % unit:
        below, above = batch_size // unit * unit, (max(batch_size, 0) // unit + 1) * unit
        nearest = f"{below} or {above}" if below > 0 else f"{above}"
        times = f" times {parts} accumulated parts" if parts > 1 else ""
        raise ValueError(
            f"`{name}` (={batch_size}) must be a multiple of {unit}: {mesh.size} devices{times};"
            f" nearest is {nearest}"
        )
