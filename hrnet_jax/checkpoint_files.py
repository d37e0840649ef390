"""Reads and writes the files of one checkpoint and detects damage.

A checkpoint is a folder named by its step. ``state/`` holds the arrays in orbax's format. ``meta/metadata`` is
JSON with the description of the network, its score, metrics that are not logged yet and the fingerprint of the
state.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from hrnet_jax import buckets

MAX_BYTES = 2**33
"""Largest total size of the arrays of a checkpoint. HRNet-W48 with optimizer state has 764 million bytes."""

_WEIGHTS, _AVERAGE, _ALL = ("params", "batch_stats"), "average", ("",)  # prefixes of the names of arrays

DIGEST = "digest"  # the entry of the metadata with the digest of the other entries

_PART, _MERGED = "ocdbt.process_", "manifest.ocdbt"  # orbax's names for a process's arrays, and those of all
_ARRAY_KEY = ".zarray"  # suffix of the key that describes an array
_DEFAULTS = {"figures": {}, "counters": {}, "unlogged": [], "fingerprint": ""}  # missing in exported weights


def is_complete(checkpoint: buckets.Path) -> bool:
    """Whether a folder is a checkpoint that was written to the end."""
    return (checkpoint / "meta" / "metadata").is_file() and buckets.is_committed(checkpoint)


def complete_steps(folder: buckets.Path) -> list[int]:
    """Returns the steps of the complete checkpoints in a folder in ascending order."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit() and is_complete(path))


def digest(meta: Mapping[str, Any]) -> str:
    """Returns a digest of metadata without its `DIGEST` entry."""
    content = {name: value for name, value in meta.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_meta(checkpoint: buckets.Path) -> dict[str, Any]:
    """Returns the metadata of a checkpoint. Missing entries get defaults. Raises ValueError if it is damaged."""
    path = checkpoint / "meta" / "metadata"
    try:
        meta = json.loads(path.read_text())
        if meta.get(DIGEST, digest(meta)) != digest(meta):
            raise ValueError("the digest does not match")
        checked = {"network": dict(meta["network"]), "settings": dict(meta.get("settings", {}))}
        return _DEFAULTS | meta | checked
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} does not describe a network ({error!r}): use another checkpoint") from error


def find(path: str | os.PathLike) -> buckets.Path:
    """Returns the folder of one checkpoint, given it, a folder of checkpoints, or a run directory.

    In a run directory the best checkpoint takes precedence over the last. Among several the newest is taken.
    Raises FileNotFoundError if there is none.
    """
    path = buckets.absolute(path)
    if is_complete(path):
        return path
    for folder in (path / "checkpoints" / "best", path / "checkpoints" / "last", path):
        if steps := complete_steps(folder):
            return folder / str(steps[-1])
    raise FileNotFoundError(
        f"there is no checkpoint in {path}: give a run directory of train.py, or a folder below its `checkpoints`"
    )


def read_weights(
    path: str | os.PathLike, averaged: bool = False
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Reads only the weights and running statistics of a checkpoint, as numpy arrays, from a path as in `find`.

    `averaged` reads their moving average instead, see `training.TrainState`.

    Returns ``{"params": ..., "batch_stats": ...}``, the description of the network, and PyTorch's step counters by
    name for weights that came with any. Raises FileNotFoundError if there is no checkpoint, and ValueError if it
    is damaged, does not describe a network, or has no average.
    """
    folder = find(path)
    meta = read_meta(folder)
    if not averaged:
        return _read(folder, _WEIGHTS), meta["network"], meta["counters"]
    found = _read(folder, _ALL)
    if not found.get(_AVERAGE):
        raise ValueError(
            f"{folder} has no moving average of its weights: train with --config.average_decay=0.9998"
        )
    return found[_AVERAGE], meta["network"], meta["counters"]


def read_state(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads the whole state and the description of the network; see `read_weights`."""
    folder = find(path)
    return _read(folder, _ALL), read_meta(folder)["network"]


def read_settings(path: str | os.PathLike) -> dict[str, Any]:
    """Reads the settings of `write_weights`; {} for a checkpoint of a run, whose configuration has them."""
    return read_meta(find(path))["settings"]


def fingerprints(folder: buckets.Path) -> dict[int, str]:
    """Returns the fingerprints of the states in a folder of checkpoints, by step."""
    return {step: read_meta(folder / str(step))["fingerprint"] for step in complete_steps(folder)}


def write_weights(
    directory: str | os.PathLike,
    variables: Mapping[str, Any],
    description: Mapping[str, Any],
    counters: Mapping[str, int],
    settings: Mapping[str, Any] | None = None,
) -> buckets.Path:
    """Writes weights as a checkpoint of step 0 for `read_weights`, and returns its folder.

    `settings` are what is known of predictions with them, as JSON. Raises ValueError if the directory exists and
    is not empty, or the weights cannot be read back.
    """
    directory = buckets.absolute(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists and is not empty: give another name, or move it away")
    meta = {
        "network": dict(description),
        "figures": {},
        "counters": dict(counters),
        "settings": dict(settings or {}),
    }
    options = ocp.CheckpointManagerOptions(atomicity_options=buckets.atomicity_options(directory))
    with ocp.CheckpointManager(directory, options=options) as manager:
        state = ocp.args.StandardSave(dict(variables))
        manager.save(0, args=ocp.args.Composite(state=state, meta=ocp.args.JsonSave(meta)))
    check_readable(directory / "0")
    return directory / "0"


def check_readable(checkpoint: buckets.Path) -> None:
    """Raises ValueError unless a checkpoint that was just written can be read."""
    if damage := find_damage(checkpoint):
        raise ValueError(
            f"the checkpoint {checkpoint} was written, but cannot be read back ({damage!r:.200}): check the disk"
            " and its file system, or write to another one"
        ) from damage


def find_damage(checkpoint: buckets.Path) -> Exception | None:
    """Returns the reason why a checkpoint cannot be read, or None."""
    try:
        read_meta(checkpoint)
        merge_arrays(checkpoint)
        for pattern in ("_METADATA", "_sharding", "array_metadatas/*"):  # JSON that orbax parses late
            for path in (checkpoint / "state").glob(pattern):
                json.loads(path.read_text())
        _check_arrays(checkpoint / "state", _ALL)
    except Exception as error:  # tensorstore raises several kinds
        return error
    return None


def has_unmerged_arrays(checkpoint: buckets.Path) -> bool:
    """Whether the arrays of a checkpoint are all there, but not merged into one store as orbax's last step does.

    Version 0.1 left checkpoints so in directories with ``[`` in their path.
    """
    state = checkpoint / "state"
    if buckets.is_in_bucket(checkpoint) or (state / _MERGED).exists() or not state.is_dir():
        return False
    return any(path.name.startswith(_PART) for path in state.iterdir())


def merge_arrays(checkpoint: buckets.Path) -> None:
    """Completes a checkpoint in the case of `has_unmerged_arrays`. Otherwise does nothing."""
    if not has_unmerged_arrays(checkpoint):
        return

    def store(directory: buckets.Path) -> tensorstore.KvStore:
        return tensorstore.KvStore.open({"driver": "ocdbt", "base": buckets.kvstore_spec(directory)}).result()

    state = checkpoint / "state"
    with tensorstore.Transaction(atomic=True) as transaction:
        merged = store(state).with_transaction(transaction)
        for part in map(store, (path for path in state.iterdir() if path.name.startswith(_PART))):
            for key in part.list().result():
                merged[key] = part[key]


def _read(checkpoint: buckets.Path, prefixes: tuple[str, ...]) -> dict[str, Any]:
    """Reads the parts of a state whose names have one of the prefixes, as numpy arrays."""
    directory = checkpoint / "state"
    try:
        merge_arrays(checkpoint)
        _check_arrays(directory, prefixes)
        with ocp.PyTreeCheckpointer() as checkpointer:
            metadata = checkpointer.metadata(directory).item_metadata.tree
            wanted = {name: metadata[name] for name in metadata if name.startswith(prefixes)}
            restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
            args = ocp.args.PyTreeRestore(item=wanted, restore_args=restore_args, partial_restore=True)
            return checkpointer.restore(directory, args=args)
    except Exception as error:  # orbax raises several kinds
        raise ValueError(f"the checkpoint {checkpoint} is damaged ({error!r:.200}): use another one") from error


def _check_arrays(directory: buckets.Path, prefixes: tuple[str, ...]) -> None:
    """Reads all arrays with these prefixes to detect damage.

    Orbax detects damage too, but leaves its remaining reads to a closed event loop. Their hundreds of tracebacks
    from C++ would bury the message.
    """
    store = {"driver": "ocdbt", "base": buckets.kvstore_spec(directory)}
    keys = [key.decode() for key in tensorstore.KvStore.open(store).result().list().result()]
    names = [key.removesuffix(_ARRAY_KEY) for key in keys if key.endswith(_ARRAY_KEY) and key.startswith(prefixes)]
    if not names:
        raise ValueError("it has no weights")
    spec = {"driver": "zarr", "fill_missing_data_reads": False}
    opening = [tensorstore.open(spec | {"kvstore": store | {"path": name}}, open=True) for name in names]
    arrays = [array.result() for array in opening]
    size = sum(map(_bytes_to_read, arrays))
    if size > MAX_BYTES:  # a failed allocation in C++ would end the process
        raise ValueError(f"its arrays have {size:,} bytes, but at most {MAX_BYTES:,} are read")
    for array in arrays:
        array.read().result()


def _bytes_to_read(array: tensorstore.TensorStore) -> int:
    """Returns the memory needed to read an array. Chunks are read whole, even if larger than the array."""
    chunk = array.chunk_layout.read_chunk.shape or array.shape
    sides = (max(side, length or 0) for side, length in zip(array.shape, chunk, strict=True))
    return math.prod(sides) * array.dtype.numpy_dtype.itemsize
