"""Where arrays live: the batch split over all devices of all machines, the state on each of them.

The same program serves one CPU or eight chips: only the mesh differs.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


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


def place_state(state: Any, mesh: Mesh) -> Any:
    """Puts a copy of every array on each device. The arrays given stay usable when the result is donated."""
    return jax.tree.map(lambda leaf: jax.device_put(np.array(leaf), replicated(mesh)), state)


def at_hand(tree: Any) -> Any:
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
