"""PyTorch's files of weights: reading and writing them, under the names of the authors' release.

Others' names are brought to the release's: ``module.`` of parallel training and ``_orig_mod.`` of the compiler go,
and so do mmpose's ``backbone.``, ``keypoint_head.`` (0.x) and ``head.`` (1.x). Arrays stay in PyTorch's layout,
``[out, in, height, width]``.

A ``.pth`` file is a pickle, which can run code when it is read. Only tensors and plain values are accepted.
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

SUFFIXES = (".pth", ".pt", ".bin", ".tar", ".safetensors")
"""What names of PyTorch's files end in; ``.pth.tar`` is no archive either."""

COUNTER = "num_batches_tracked"
"""Last part of the name of PyTorch's counters of training steps, one for each batch normalisation."""

_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)*")
_MMPOSE = re.compile(r"^(backbone|keypoint_head|head)\.")
_NOTE = "hrnet_jax"  # under which a file written here says what the network is
_BRAIN_FLOAT = "BF16"
_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", _BRAIN_FLOAT: "<u2", "I64": "<i8", "I32": "<i4"}

_HARMLESS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr"),
)
"""What training checkpoints hold besides tensors: the authors' their score so far, mmpose's its logs. It is not
called, an `_Ignored` is put in its place."""

_CODE = re.compile(r"GLOBAL ([\w.]+)|Trying to call|Can only|Unsupported class|(TorchScript)")
"""How torch says that it will not make some object."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of some network.

    Attributes:
      source: where they come from, for messages.
      tensors: arrays by the release's names, in PyTorch's layout.
      description: what is known of the network: fields of `models.architecture`, and ``joints``, their names.
    """

    source: str
    tensors: dict[str, np.ndarray]
    description: dict[str, Any]


class _Ignored:
    """Stands for an object in a file that is not needed; made with anything, it does nothing."""

    def __new__(cls, *_: Any) -> "_Ignored":
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def is_file_of_pytorch(path: str | os.PathLike) -> bool:
    """Whether a path is a file, or named as PyTorch's files are; our own checkpoints are folders."""
    path = pathlib.Path(path)
    return path.is_file() or (path.suffix in SUFFIXES and not path.is_dir())


def read(path: str | os.PathLike) -> Weights:
    """Reads a file that PyTorch wrote, or a ``.safetensors`` file; no code in it is run.

    Takes a bare state dict or a training checkpoint that holds one under ``state_dict``. Floats of 16 bits and
    fewer become float32, as which they are the same numbers.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: torch is not installed, or the file is damaged, or holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    found, note = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not found:
        raise ValueError(f"{os.fspath(path)!r} holds no state dict: it must be one, or have one as `state_dict`")
    if any(_MMPOSE.match(_WRAPPERS.sub("", name)) for name in found):
        note = {"colors": "RGB"} | note  # mmpose turns every photo to RGB
    tensors = {release_name(name): value for name, value in found.items()}
    if len(tensors) < len(found):
        raise ValueError(
            f"{os.fspath(path)!r} holds several networks ({len(found)} tensors of {len(tensors)} names): save the"
            " state dict of one alone with PyTorch, and give that file"
        )
    return Weights(os.fspath(path), tensors, note)


def release_name(name: str) -> str:
    """Returns what the authors' release calls a tensor."""
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
    """Returns the tensors of a file that torch wrote, and what it says of the network."""
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
    tensors = {
        name: tensor
        for name, tensor in state_dict.items()
        if isinstance(name, str) and isinstance(tensor, torch.Tensor)
    }
    total, size = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values()), path.stat().st_size
    if total > size:
        raise ValueError(
            f"{os.fspath(path)!r} has {size:,} bytes, but its tensors take {total:,}: some are the same numbers"
            " several times; save a copy of each with PyTorch (`tensor.clone()`)"
        )
    return {name: _array(path, name, tensor) for name, tensor in tensors.items()}, _note(state_dict)


def _refusal(path: pathlib.Path, reason: str) -> str:
    """Says why a file cannot be read."""
    if found := _CODE.search(reason):
        what = found.group(1) or found.group(2) or "objects"
        return (
            f"{os.fspath(path)!r} holds more than tensors ({what}), which could run code when it is read: refused,"
            " nothing was run. If you trust where it comes from, save its state dict alone with PyTorch, and give"
            " that file"
        )
    return (
        f"{os.fspath(path)!r} ({path.stat().st_size:,} bytes) is not a PyTorch checkpoint, or not a whole one:"
        " download or write it again"
    )


def _array(path: pathlib.Path, name: str, tensor: Any) -> np.ndarray:
    """Copies a tensor; numpy has no 16-bit brain floats."""
    tensor = tensor.detach()
    try:
        return (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy().copy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{os.fspath(path)!r}: {name!r} is not an array of plain numbers ({tensor.dtype}, {tensor.layout}):"
            " save it as one with PyTorch"
        ) from error


def _note(state_dict: Any) -> dict[str, Any]:
    """Returns what `write` noted of the network; nothing if another program wrote the file."""
    try:
        return dict(json.loads(state_dict._metadata[""][_NOTE]))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}


def _read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads Hugging Face's format: the header's length, a header in JSON, the arrays' bytes."""
    content = memoryview(path.read_bytes())
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        if not 8 < start <= len(content):
            raise ValueError(f"the header should end at byte {start:,} of {len(content):,}")
        header = json.loads(bytes(content[8:start]))
        header.pop("__metadata__", None)
        total = sum(_safe_size(name, entry, len(content) - start) for name, entry in header.items())
        if total > len(content) - start:
            raise ValueError(f"its arrays take {total:,} bytes of {len(content) - start:,}: some overlap")
        return {name: _safe_array(entry, content[start:]) for name, entry in header.items()}, {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a whole safetensors file ({error}): download or write it again"
        ) from error


def _safe_size(name: str, entry: Mapping[str, Any], available: int) -> int:
    """Returns how many bytes an array takes, if it lies within those after the header."""
    (first, last), shape, kind = entry["data_offsets"], entry["shape"], entry["dtype"]
    if kind not in _SAFE_TYPES:
        raise ValueError(f"{name!r} is of type {kind!r}, not one of {', '.join(_SAFE_TYPES)}")
    size = math.prod(shape) * np.dtype(_SAFE_TYPES[kind]).itemsize
    if min(shape, default=0) < 0 or not 0 <= first <= last <= available or last - first != size:
        raise ValueError(f"{name!r} cannot lie at bytes {first} to {last} of {available}, being {shape} {kind}")
    return size


def _safe_array(entry: Mapping[str, Any], content: memoryview) -> np.ndarray:
    """Copies one array out of the bytes after the header."""
    (first, last), shape, kind = entry["data_offsets"], entry["shape"], entry["dtype"]
    flat = np.frombuffer(content[first:last], _SAFE_TYPES[kind])
    if kind == _BRAIN_FLOAT:  # the upper half of a float32
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(shape).copy()


def check_target(path: str | os.PathLike) -> None:
    """Makes sure that a checkpoint can be written under a name.

    Raises:
      ValueError: the name is taken, or in no directory that can be written to, or that of a file which needs
        torch where there is none.
    """
    path = pathlib.Path(path)
    if os.path.lexists(path):
        raise ValueError(f"{os.fspath(path)!r} exists: delete it, or give another name")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"{os.fspath(path)!r}: {above} is not a directory to write to, give another name")
    if path.suffix == ".safetensors":
        raise ValueError(f"{os.fspath(path)!r}: safetensors files are only read; give a name ending in .pth")
    if is_file_of_pytorch(path):
        _torch(path)


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a name to write under; what is there gets its own name at the end, or goes if anything fails."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as scratch:
        yield pathlib.Path(scratch) / path.name
        os.rename(pathlib.Path(scratch) / path.name, path)


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes a bare state dict that PyTorch's ``load_state_dict`` takes; the file appears when it is whole.

    What the network is stands in the state dict's metadata, which PyTorch carries along and ignores.

    Args:
      path: ending in ``.pth``; must not exist.
      tensors: by the release's names, in PyTorch's layout.
      description: see `Weights`.

    Raises:
      ValueError: see `check_target`.
    """
    check_target(path)
    torch = _torch(pathlib.Path(path))
    content = collections.OrderedDict(
        (name, torch.from_numpy(np.array(value, order="C"))) for name, value in tensors.items()
    )
    content._metadata = {"": {"version": 1, _NOTE: json.dumps(dict(description))}}  # type: ignore
    with whole(path) as partial:
        torch.save(content, partial)
