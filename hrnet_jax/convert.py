"""PyTorch's weights in our layout.

Names are the same on both sides (see ``models/layers.py``); only convolutions are laid out differently:
``[out, in, height, width]`` there, ``[height, width, in, out]`` here. Reading a ``.pth`` file needs torch.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

HEAD = "final_layer."
"""What a network trained for something else does not have to bring along."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of a checkpoint: the names loaded, kept as they were, and found in the file only."""

    loaded: list[str]
    kept: list[str]
    extra: list[str]

    def __str__(self) -> str:
        kept = f"; newly initialised: {', '.join(self.kept)}" if self.kept else ""
        extra = f"; {len(self.extra)} more in the file are of no use here" if self.extra else ""
        return f"{len(self.loaded)} of {len(self.loaded) + len(self.kept)} tensors loaded{kept}{extra}"


def read_pytorch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a ``.pth`` file by name; no code in the file is run.

    Takes a bare state dict, one inside a training checkpoint (``state_dict``), and names that begin with
    ``module.``, as the original's training script writes them.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: torch is not installed, or the file is no such checkpoint.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"reading {os.fspath(path)!r} needs PyTorch: pip install torch") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds, pickle's among them
        raise ValueError(f"{os.fspath(path)!r} is not a PyTorch checkpoint of plain tensors: {error}") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {
        name.removeprefix("module."): tensor.detach().numpy().copy()
        for name, tensor in content.items()
        if isinstance(tensor, torch.Tensor)
    }
    if not tensors:
        raise ValueError(f"{os.fspath(path)!r} holds no state dict")
    return tensors


def initialize(
    variables: dict[str, Any], tensors: Mapping[str, np.ndarray], source: str, need_head: bool = False
) -> tuple[dict[str, Any], Report]:
    """Puts PyTorch's weights in place of a network's own.

    Args:
      variables: ``params`` and ``batch_stats`` of the network, as initialised.
      tensors: by name, in PyTorch's layout.
      source: what to call them in errors.
      need_head: whether the head must be among them, too, and of the right shape.

    Returns:
      The variables, and what was loaded.

    Raises:
      ValueError: something is missing or has another shape, other than the head.
    """
    flat: dict[Any, Any] = traverse_util.flatten_dict(variables)
    names = {path: ".".join(path[1:]) for path in flat}
    theirs = {
        name: tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }
    fitting = {
        path for path, own in flat.items() if names[path] in theirs and theirs[names[path]].shape == own.shape
    }
    needed = {path for path, name in names.items() if need_head or not name.startswith(HEAD)}
    unfit = sorted(names[path] for path in needed - fitting)
    if unfit:
        shown = [
            f"{name} ({'missing' if name not in theirs else 'shape ' + str(tensors[name].shape)})"
            for name in unfit[:5]
        ]
        raise ValueError(
            f"{source!r} does not fit this network: {len(unfit)} of {len(flat)} tensors differ, first"
            f" {', '.join(shown)}; choose the config of the same network"
        )
    merged = {
        path: theirs[names[path]].astype(np.float32) if path in fitting else own for path, own in flat.items()
    }
    report = Report(
        loaded=sorted(names[path] for path in fitting),
        kept=sorted(names[path] for path in flat.keys() - fitting),
        extra=sorted(theirs.keys() - {names[path] for path in fitting}),
    )
    return traverse_util.unflatten_dict(merged), report
