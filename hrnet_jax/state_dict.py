"""PyTorch's files of weights: reading and writing them, under the names of the authors' release.

Others' names are brought to the release's: ``module.`` of parallel training goes, and so do mmpose's
``backbone.``, ``keypoint_head.`` (0.x) and ``head.`` (1.x). Arrays stay in PyTorch's layout,
``[out, in, height, width]``.

A ``.pth`` file is a pickle, which can run code when it is read. Only tensors and plain values are accepted.
"""

import collections
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")

COUNTER = "num_batches_tracked"
"""Last part of the name of PyTorch's counters of training steps, one for each batch normalisation."""

_MMPOSE = re.compile(r"^(backbone|keypoint_head|head)\.")
_NOTE = "hrnet_jax"  # under which a file written here says what the network is
_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


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


def is_file_of_pytorch(path: str | os.PathLike) -> bool:
    """Whether a path is named as PyTorch's files are; our own checkpoints are folders."""
    return pathlib.Path(path).suffix in SUFFIXES


def read(path: str | os.PathLike) -> Weights:
    """Reads a ``.pth`` (or ``.pt``, ``.bin``) or ``.safetensors`` file; no code in it is run.

    Takes a bare state dict or a training checkpoint that holds one under ``state_dict``.

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
    if any(_MMPOSE.match(name) for name in found):
        note = {"colors": "RGB"} | note  # mmpose turns every photo to RGB
    tensors = {release_name(name): value for name, value in found.items()}
    return Weights(os.fspath(path), tensors, note)


def release_name(name: str) -> str:
    """Returns what the authors' release calls a tensor."""
    return _MMPOSE.sub("", name.removeprefix("module."))


def _torch(path: pathlib.Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"{os.fspath(path)!r} needs PyTorch: pip install torch") from error
    return torch


def _read_pickle(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the tensors of a file that torch wrote, and what it says of the network."""
    torch = _torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds, pickle's among them
        raise ValueError(_refusal(path, str(error))) from error
    content = content if isinstance(content, dict) else {}
    wrapped = content.get("state_dict")
    tensors = wrapped if isinstance(wrapped, dict) else content
    note = getattr(tensors, "_metadata", {}).get("", {}).get(_NOTE, "{}")
    return {
        name: _array(tensor) for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)
    }, json.loads(note)


def _refusal(path: pathlib.Path, reason: str) -> str:
    """Says why a file cannot be read."""
    if found := re.search(r"GLOBAL ([\w.]+)|Unsupported operand|Unsupported class ([\w.]+)", reason):
        what = found.group(1) or found.group(2) or "objects"
        return (
            f"{os.fspath(path)!r} holds more than tensors ({what}), which could run code when it is read: refused."
            " If you trust where it comes from, save its state dict alone with PyTorch, and give that file"
        )
    first = reason.strip().splitlines()[0] if reason.strip() else "empty"
    return f"{os.fspath(path)!r} is not a whole PyTorch checkpoint ({first:.200}): download or write it again"


def _array(tensor: Any) -> np.ndarray:
    """Copies a tensor; numpy has no 16-bit brain floats."""
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype.itemsize < 4 and tensor.is_floating_point() else tensor).numpy().copy()


def _read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads Hugging Face's format: the header's length, a header in JSON, the arrays' bytes."""
    content = path.read_bytes()
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:start])
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            flat = np.frombuffer(content[start + first : start + last], _SAFE_TYPES[entry["dtype"]])
            arrays[name] = flat.reshape(entry["shape"]).copy()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a whole safetensors file ({error!r:.200})") from error
    return arrays, {}


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Writes a bare state dict that PyTorch's ``load_state_dict`` takes; the file appears when it is whole.

    What the network is stands in the state dict's metadata, which PyTorch carries along and ignores.

    Args:
      path: ending in ``.pth``; must not exist.
      tensors: by the release's names, in PyTorch's layout.
      description: see `Weights`.

    Raises:
      ValueError: torch is not installed, or the file exists.
    """
    path = pathlib.Path(path)
    if path.suffix == ".safetensors":
        raise ValueError(f"{os.fspath(path)!r}: safetensors files are only read; give a name ending in .pth")
    torch = _torch(path)
    if path.exists():
        raise ValueError(f"{os.fspath(path)!r} exists: delete it, or give another name")
    content = collections.OrderedDict(
        (name, torch.from_numpy(np.array(value, order="C"))) for name, value in tensors.items()
    )
    content._metadata = {"": {"version": 1, _NOTE: json.dumps(dict(description))}}  # type: ignore
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
