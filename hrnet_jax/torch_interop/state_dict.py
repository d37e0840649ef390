"""Reading and writing of PyTorch's weight files.

Names become those of the authors' release. The prefixes ``module.`` (parallel training), ``_orig_mod.``
(compiler) and mmpose's ``backbone.``, ``keypoint_head.`` (0.x) and ``head.`` (1.x) are removed. Arrays stay in
PyTorch's layout ``[out, in, height, width]``.

A ``.pth`` file is a pickle and could run code when it is read. Only tensors and plain values are accepted.
"""

import collections
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

SUFFIXES = (".pth", ".pt", ".bin", ".tar", ".safetensors")  # ``.pth.tar`` is not an archive either

COUNTER = "num_batches_tracked"
"""Last part of the names of PyTorch's step counters, one for each batch normalisation."""

_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)*")
_MMPOSE = re.compile(r"^(backbone|keypoint_head|head)\.")
_METADATA = "hrnet_jax"  # key of our description of the network
_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}

_HARMLESS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr"),
)
"""Objects in training checkpoints besides tensors: the best score in the authors' files, logs in mmpose's. An
`_Ignored` replaces them, so they are never called."""

# Messages of torch about objects that it refuses to create.
_CODE = re.compile(r"GLOBAL ([\w.]+)|Trying to call|Can only|Unsupported class|(TorchScript)")


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a network with their path, for messages.

    The tensors have the release's names and PyTorch's layout. The description has the known fields of the network:
    those of `models.architecture`, and the names of its ``joints``.
    """

    source: str
    tensors: dict[str, np.ndarray]
    description: dict[str, Any]


class _Ignored:
    """Placeholder for an unneeded object in a file. It takes any arguments and does nothing."""

    def __init__(self, *_: Any) -> None: ...
    def __setstate__(self, _: Any) -> None: ...


def is_torch_file(path: str | os.PathLike) -> bool:
    """Whether a path is a file or has a suffix of PyTorch's files. Our own checkpoints are directories."""
    path = pathlib.Path(path)
    return path.is_file() or (path.suffix in SUFFIXES and not path.is_dir())


def read(path: str | os.PathLike) -> Weights:
    """Reads a PyTorch or ``.safetensors`` file without running code in it.

    The file is a bare state dict, or a training checkpoint with one under ``state_dict``. Floats of at most 16
    bits become float32 without rounding.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: torch is not installed, or the file is damaged or has other content.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    found, metadata = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not found:
        raise ValueError(f"{os.fspath(path)!r} holds no state dict: it must be one or contain one as `state_dict`")
    if any(_MMPOSE.match(_WRAPPERS.sub("", name)) for name in found):
        metadata = {"colors": "RGB"} | metadata  # mmpose converts every photo to RGB
    tensors = {release_name(name): value for name, value in found.items()}
    if len(tensors) < len(found):
        raise ValueError(
            f"{os.fspath(path)!r} holds several networks ({len(found)} tensors of {len(tensors)} names): save the"
            " state dict of a single one with PyTorch, and give that file"
        )
    return Weights(os.fspath(path), tensors, metadata)


def release_name(name: str) -> str:
    """Returns the name of a tensor in the authors' release."""
    return _MMPOSE.sub("", _WRAPPERS.sub("", name))


def _torch(path: pathlib.Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"{os.fspath(path)!r} needs PyTorch: pip install torch (.safetensors and our own checkpoints do not)"
        ) from error
    return torch


def _read_pickle(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the tensors of a PyTorch file and our description of the network, if there is one."""
    torch = _torch(path)
    try:
        harmless = [(_Ignored, name) for name in _HARMLESS]
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(harmless):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds, pickle's among them
        raise ValueError(_refusal(path, str(error))) from error
    content = content if isinstance(content, dict) else {}
    wrapped = content.get("state_dict")
    state_dict = wrapped if isinstance(wrapped, dict) else content
    named = {name: value for name, value in state_dict.items() if isinstance(name, str)}
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    total, size = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values()), path.stat().st_size
    if total > size:
        raise ValueError(
            f"{os.fspath(path)!r} has {size:,} bytes, but its tensors take {total:,}: some share memory; save a"
            " copy of each with PyTorch (`tensor.clone()`)"
        )
    return {name: _array(path, name, tensor) for name, tensor in tensors.items()}, _metadata(state_dict)


def _refusal(path: pathlib.Path, reason: str) -> str:
    """Returns the message for a file that torch cannot read."""
    if found := _CODE.search(reason):
        content = found.group(1) or found.group(2) or "objects"
        return (
            f"{os.fspath(path)!r} holds more than tensors ({content}), which could run code: nothing was run. If"
            " you trust its source, save only its state dict with PyTorch, and give that file"
        )
    return (
        f"{os.fspath(path)!r} ({path.stat().st_size:,} bytes) is not a PyTorch checkpoint, or not a whole one:"
        " download or write it again"
    )


def _array(path: pathlib.Path, name: str, tensor: Any) -> np.ndarray:
    """Copies a tensor to a numpy array, which cannot be bfloat16."""
    tensor = tensor.detach()
    try:
        return (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy().copy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{os.fspath(path)!r}: {name!r} is not an array of plain numbers ({tensor.dtype}, {tensor.layout}):"
            " save it as one with PyTorch"
        ) from error


def _metadata(state_dict: Any) -> dict[str, Any]:
    """Returns the description saved by `write`; empty for files of other programs."""
    try:
        return dict(json.loads(state_dict._metadata[""][_METADATA]))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def _read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads Hugging Face's format: length of the header, header in JSON, bytes of the arrays."""
    content = memoryview(path.read_bytes())
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        if not 8 < start <= len(content):
            raise ValueError(f"the header should end at byte {start:,} of {len(content):,}")
        header = json.loads(bytes(content[8:start]))
        header.pop("__metadata__", None)
        arrays = {name: _safe_array(name, entry, content[start:]) for name, entry in header.items()}
        if (total := sum(array.nbytes for array in arrays.values())) > len(content) - start:
            raise ValueError(f"its arrays take {total:,} bytes of {len(content) - start:,}: some overlap")
        return {name: _copy(array) for name, array in arrays.items()}, {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a whole safetensors file ({error}): download or write it again"
        ) from error


def _safe_array(name: str, entry: Mapping[str, Any], content: memoryview) -> np.ndarray:
    """Returns a view of the bytes after the header. Raises ValueError if the array's place there is impossible."""
    (first, last), shape, kind = entry["data_offsets"], entry["shape"], entry["dtype"]
    if kind not in _SAFE_TYPES:
        raise ValueError(f"{name!r} is of type {kind!r}, not one of {', '.join(_SAFE_TYPES)}")
    size = math.prod(shape) * np.dtype(_SAFE_TYPES[kind]).itemsize
    if min(shape, default=0) < 0 or not 0 <= first <= last <= len(content) or last - first != size:
        raise ValueError(f"{name!r} of {shape} {kind} cannot lie at bytes {first} to {last} of {len(content)}")
    return np.frombuffer(content[first:last], _SAFE_TYPES[kind]).reshape(shape)


def _copy(array: np.ndarray) -> np.ndarray:
    """Copies an array; bfloat16, the upper half of a float32, becomes one."""
    is_bfloat16 = array.dtype == _SAFE_TYPES["BF16"]
    return (array.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else array.copy()


def check_target(path: str | os.PathLike) -> None:
    """Raises ValueError if a path exists, its directory is not writable, or its format cannot be written here."""
    path = pathlib.Path(path)
    if os.path.lexists(path):
        raise ValueError(f"{os.fspath(path)!r} exists: delete it, or give another name")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"{os.fspath(path)!r}: {above} is not a writable directory, give another name")
    if path.suffix == ".safetensors":
        raise ValueError(f"{os.fspath(path)!r}: safetensors files can only be read; give a name ending in .pth")
    if is_torch_file(path):
        _torch(path)


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path and renames it at the end, or deletes it after an error."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as scratch:
        yield (partial := pathlib.Path(scratch, path.name))
        partial.rename(path)


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes a bare state dict for PyTorch's ``load_state_dict`` to a new file, which is complete or absent.

    The tensors and the description are those of `Weights`. The description goes into the state dict's metadata,
    which PyTorch ignores. Raises ValueError, see `check_target`.
    """
    check_target(path)
    torch = _torch(pathlib.Path(path))
    arrays = {name: torch.from_numpy(np.array(value, order="C")) for name, value in tensors.items()}
    content = collections.OrderedDict(arrays)
    content._metadata = {"": {"version": 1, _METADATA: json.dumps(dict(description))}}  # type: ignore
    with write_atomically(path) as partial:
        torch.save(content, partial)
