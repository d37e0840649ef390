"""Reading and writing of PyTorch's weight files.

Names become those of the authors' release; see `selection`. The prefixes ``module.`` (parallel training),
``_orig_mod.`` (compiler), mmpose's ``backbone.``, ``keypoint_head.`` (0.x) and ``head.`` (1.x), and others that
the whole network has are removed. Arrays stay in PyTorch's layout ``[out, in, height, width]``.

A ``.pth`` file is a pickle and could run code when it is read. Only tensors and plain values are accepted.
"""

import collections
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hrnet_jax import file_kinds, validation
from hrnet_jax.torch_interop import selection
from hrnet_jax.torch_interop.selection import Selected

SAFETENSORS = ".safetensors"
SUFFIXES = (".pth", ".pt", ".bin", ".tar", SAFETENSORS)  # ``.pth.tar`` is not an archive either

_PROGRAMS = (".onnx", ".stablehlo")

COUNTER = "num_batches_tracked"
"""Last part of the names of PyTorch's step counters, one for each batch normalisation."""

_METADATA = "hrnet_jax"  # key of our description of the network
_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}

_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
_HARMLESS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype", "mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr"),
    *(f"pathlib{local}.{kind}" for local in ("", "._local") for kind in _PATHS),
    *(f"omegaconf.{name}" for name in ("listconfig.ListConfig", "dictconfig.DictConfig", "nodes.AnyNode")),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "typing.Any", "argparse.Namespace"),
)
"""Objects in training checkpoints besides tensors: the best score in the authors' files, logs in mmpose's,
settings in Lightning's. An `_Ignored` replaces them, so they are never called."""

# Messages of torch about objects that it refuses to create.
_CODE = re.compile(r"GLOBAL ([\w.]+)|Trying to call|Can only|Unsupported class|(TorchScript)")


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a network with their path, for messages.

    The tensors have the release's names and PyTorch's layout. The description has the known fields of the network:
    those of `models.architecture`, and the names of its ``joints``. The metadata are all that a file says
    besides the tensors, if this package wrote it; they are not validated. The notes say what was left out of a
    file, and `trained_on` names the data set if the file does.
    """

    source: str
    tensors: dict[str, np.ndarray]
    description: dict[str, Any]
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trained_on: str = ""


class _Ignored:
    """Placeholder for an unneeded object in a file. It takes any arguments and does nothing."""

    def __init__(self, *_: Any) -> None: ...
    def __setstate__(self, _: Any) -> None: ...


def is_torch_file(path: str | os.PathLike) -> bool:
    """Whether a path is a file or has a suffix of PyTorch's files. Our own checkpoints are directories."""
    path = pathlib.Path(path)
    return path.is_file() or (path.suffix in SUFFIXES and not path.is_dir())


def read(path: str | os.PathLike, averaged: bool = False) -> Weights:
    """Reads a PyTorch or ``.safetensors`` file without running code in it.

    The file is a bare state dict, or a training checkpoint with one under any key. Floats of at most 16 bits
    become float32 without rounding. `averaged` reads the moving average that some training programs keep as well.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: torch is not installed, or the file is a program, is damaged, has other content or no average.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    if path.suffix in _PROGRAMS:
        raise ValueError(
            f"{os.fspath(path)!r} is a program for `hrnet predict`, not weights: give the checkpoint it is from"
        )
    return _read_safetensors(path, averaged) if path.suffix == SAFETENSORS else _read_pickle(path, averaged)


def _select(path: pathlib.Path, content: Any, is_tensor: Callable[[Any], bool], averaged: bool) -> Selected:
    """Returns the tensors of the network in a file's content. Raises ValueError unless there is exactly one."""
    try:
        found = selection.select(content, is_tensor, averaged)
    except ValueError as error:
        raise ValueError(
            f"{os.fspath(path)!r}: {error}; or save the state dict of a single network with PyTorch, and give that"
        ) from error
    if not found.tensors:
        raise ValueError(f"{os.fspath(path)!r} holds no state dict: it must be one or contain one under a key")
    return found


def _weights(
    path: pathlib.Path,
    found: Selected,
    arrays: dict[str, np.ndarray],
    metadata: dict[str, Any],
    trained_on: str = "",
) -> Weights:
    colors = {"colors": "RGB"} if found.is_mmpose else {}  # mmpose converts every photo to RGB
    return Weights(os.fspath(path), arrays, colors | metadata, notes=found.notes, trained_on=trained_on)


def _torch(path: pathlib.Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            f"{os.fspath(path)!r} needs PyTorch: pip install torch (.safetensors and our own checkpoints do not)"
        ) from error
    return torch


def _read_pickle(path: pathlib.Path, averaged: bool) -> Weights:
    torch = _torch(path)
    try:
        harmless = [(_Ignored, name) for name in _HARMLESS]
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(harmless):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds, pickle's among them
        raise ValueError(_refusal(path, str(error))) from error
    found = _select(path, content, lambda value: isinstance(value, torch.Tensor), averaged)
    size = path.stat().st_size
    total = sum(tensor.numel() * tensor.itemsize for tensor in found.tensors.values())
    if total > size:
        raise ValueError(
            f"{os.fspath(path)!r} has {size:,} bytes, but its tensors take {total:,}: some share memory; save a"
            " copy of each with PyTorch (`tensor.clone()`)"
        )
    arrays = {name: _array(path, name, tensor) for name, tensor in found.tensors.items()}
    metadata = _metadata(content) or _metadata(content.get("state_dict"))
    trained_on, joints = _dataset(content)
    metadata = ({"joints": joints} if joints else {}) | metadata
    return _weights(path, found, arrays, metadata, trained_on)


def _dataset(content: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Returns the name of the data set and the names of joints in mmpose's metadata, empty where it lacks them."""
    try:
        meta = content["meta"]["dataset_meta"]
        name, joints = meta["dataset_name"], meta.get("keypoint_id2name", {})
        return validation.short_repr(name), [str(joints[number]) for number in range(len(joints))]
    except (AttributeError, KeyError, TypeError):
        return "", []


def _refusal(path: pathlib.Path, reason: str) -> str:
    """Returns the message for a file that torch cannot read."""
    if found := _CODE.search(reason):
        content = found.group(1) or found.group(2) or "objects"
        return (
            f"{os.fspath(path)!r} holds more than tensors ({content}), which could run code: nothing was run. If"
            " you trust its source, save only its state dict with PyTorch, and give that file"
        )
    with path.open("rb") as file:
        found = file_kinds.instead(file.read(file_kinds.HEAD), "give the PyTorch file it was made from")
    otherwise = f"but {found}" if found else "or not a whole one: download or write it again"
    return f"{os.fspath(path)!r} ({path.stat().st_size:,} bytes) is not a PyTorch checkpoint, {otherwise}"


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


def _metadata(content: Any) -> dict[str, Any]:
    """Returns the description saved by `write`; empty for files of other programs."""
    try:
        return _parse(content._metadata[""][_METADATA])
    except (AttributeError, KeyError, TypeError):
        return {}


def _parse(description: Any) -> dict[str, Any]:
    """Parses a description of a network in a file's metadata. Damaged ones are ignored."""
    try:
        return dict(json.loads(description))
    except (TypeError, ValueError, RecursionError):
        return {}


def _read_safetensors(path: pathlib.Path, averaged: bool) -> Weights:
    try:
        entries = dict(safetensors.deserialize(path.read_bytes()))
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing: ")
        raise ValueError(
            f"{os.fspath(path)!r} is not a whole safetensors file ({reason:.200}): download or write it again"
        ) from error
    unknown = {name: entry["dtype"] for name, entry in entries.items() if entry["dtype"] not in _SAFE_TYPES}
    if unknown:
        name, kind = next(iter(unknown.items()))
        raise ValueError(f"{os.fspath(path)!r}: {name!r} is of type {kind!r}, not one of {', '.join(_SAFE_TYPES)}")
    arrays = {
        name: np.frombuffer(entry["data"], _SAFE_TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in entries.items()
    }
    found = _select(path, arrays, lambda _: True, averaged)
    widened = {name: _widen(array) for name, array in found.tensors.items()}
    return _weights(path, found, widened, _parse(metadata.get(_METADATA)))


def _widen(array: np.ndarray) -> np.ndarray:
    """Returns an array of a file; bfloat16, the upper half of a float32, becomes one."""
    is_bfloat16 = array.dtype == _SAFE_TYPES["BF16"]
    return (array.astype(np.uint32) << 16).view(np.float32) if is_bfloat16 else array


def check_target(path: str | os.PathLike) -> None:
    """Raises ValueError if a path exists, its directory is not writable, or its format cannot be written here."""
    path = pathlib.Path(path)
    if os.path.lexists(path):
        raise ValueError(f"{os.fspath(path)!r} exists: delete it, or give another name")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"{os.fspath(path)!r}: {above} is not a writable directory, give another name")
    if is_torch_file(path) and path.suffix != SAFETENSORS:
        _torch(path)


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path and renames it at the end, or deletes it after an error.

    Raises OSError that names the path if it cannot be written, as on a full disk.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as scratch:
            yield (partial := pathlib.Path(scratch, path.name))
            partial.rename(path)
    except OSError as error:
        reason = error.strerror or validation.one_line(error)
        raise OSError(
            f"{os.fspath(path)!r} cannot be written ({reason}): nothing was kept; make room, or give another place"
        ) from error


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes a state dict to a new file, which is complete or absent; see `save`.

    Raises ValueError, see `check_target`, and OSError, see `write_atomically`.
    """
    check_target(path)
    with write_atomically(path) as partial:
        save(partial, tensors, description)


def save(path: pathlib.Path, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Saves a state dict.

    A file named ``.safetensors`` is in Hugging Face's format, any other is a bare state dict for PyTorch's
    ``load_state_dict``. The tensors and the description are those of `Weights`. The description goes into the
    metadata, which other programs ignore.
    """
    arrays = {name: np.array(value, order="C") for name, value in tensors.items()}
    metadata = {_METADATA: json.dumps(dict(description))}
    if path.suffix == SAFETENSORS:
        path.write_bytes(safetensors.numpy.save(arrays, {"format": "pt", **metadata}))
    else:
        _write_pickle(path, arrays, metadata)


def _write_pickle(path: pathlib.Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, Any]) -> None:
    torch = _torch(path)
    content = collections.OrderedDict((name, torch.from_numpy(array)) for name, array in arrays.items())
    content._metadata = {"": {"version": 1, **metadata}}  # type: ignore
    buffer = io.BytesIO()  # torch reports a full disk as an error of its own
    torch.save(content, buffer)
    path.write_bytes(buffer.getbuffer())
