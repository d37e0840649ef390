"""A fingerprint of a run's state. It is independent of devices and processes and changes with any single bit."""

import functools
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_WORD = np.dtype(np.uint32)


def compute(state: Any) -> str:
    """Returns the fingerprint of a tree of arrays with items of four or eight bytes, 16 hexadecimal digits.

    Collective: all processes must call it. Each reads only the shards on its own devices.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    sums = np.array([_sum(leaf) for _, leaf in leaves], _WORD)
    if jax.process_count() > 1:
        sums = multihost_utils.process_allgather(sums).sum(0, dtype=_WORD)
    lines = sorted(
        f"{jax.tree_util.keystr(path)} {value}\n" for (path, _), value in zip(leaves, sums, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _sum(array: jax.Array) -> np.uint32:
    """Returns the weighted sum of an array's local words, modulo 2^32. Each word has its own odd weight.

    Integer sums depend on neither order nor sharding. An odd weight preserves a change of any bit.
    """
    total = np.zeros(1, _WORD)
    for index, shard in local_shards(array):
        words = np.ascontiguousarray(shard).reshape(-1).view(_WORD)
        count = array.dtype.itemsize // _WORD.itemsize
        positions = _positions(array.shape, index).reshape(-1) * count
        positions = np.add.outer(positions, np.arange(count, dtype=_WORD)).reshape(-1)
        total += np.sum(words * (2 * positions + 1), dtype=_WORD)
    return total[0]


def local_shards(array: jax.Array) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yields the index and data of the shards on this process's devices, without replicas."""
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            yield shard.index, np.asarray(shard.data)


def _positions(shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
    """Returns the positions, modulo 2^32, of a shard's elements in the flattened array."""
    axes = []
    for axis, (size, part) in enumerate(zip(shape, index, strict=True)):
        start, stop, _ = part.indices(size)
        stride = math.prod(shape[axis + 1 :])
        axes.append((np.arange(start, stop) * stride).astype(_WORD))
    return functools.reduce(np.add.outer, axes, np.zeros((), _WORD))
