"""A fingerprint of a run's state: the same on any number of devices and machines, another if a single bit is."""

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
    """Returns the fingerprint of a tree of arrays of four or eight bytes a number: 16 hexadecimal digits.

    With several processes, all of them ask; each looks at what lies on its own devices.
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
    """Adds up the bits that lie here of an array, each word times an odd number of its own, modulo 2^32.

    Whole numbers add up to the same in any order, so in any split; and no odd factor hides a bit.
    """
    total = np.zeros(1, _WORD)
    for index, part in local_shards(array):
        words = np.ascontiguousarray(part).reshape(-1).view(_WORD)
        count = array.dtype.itemsize // _WORD.itemsize
        place = np.add.outer(_places(array.shape, index).reshape(-1) * count, np.arange(count, dtype=_WORD))
        total += np.sum(words * (2 * place.reshape(-1) + 1), dtype=_WORD)
    return total[0]


def local_shards(array: jax.Array) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yields the parts of an array that are on this process's devices, each once among all processes."""
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            yield shard.index, np.asarray(shard.data)


def _places(shape: tuple[int, ...], index: tuple[slice, ...]) -> np.ndarray:
    """Returns the positions in a flat array of the elements of a part of it, modulo 2^32."""
    axes = []
    for axis, (size, part) in enumerate(zip(shape, index, strict=True)):
        start, stop, _ = part.indices(size)
        stride = math.prod(shape[axis + 1 :])
        axes.append((np.arange(start, stop) * stride).astype(_WORD))
    return functools.reduce(np.add.outer, axes, np.zeros((), _WORD))
