"""Checkpoints both ways: ``python -m hrnet_jax.convert SRC DST``.

    python -m hrnet_jax.convert pose_hrnet_w32_256x192.pth checkpoints/w32       PyTorch -> ours
    python -m hrnet_jax.convert runs/w32 w32.pth                                 ours -> PyTorch
    python -m hrnet_jax.convert mmpose_hrnet_w32.pth w32.pth                     others' names -> the release's

Names are the same on both sides (see ``models/layers.py``) and layouts differ by one transposition, so that every
tensor arrives as it was, bit by bit. What the network is, its size, joints and order of colours, travels with the
weights and is checked where they are used.
"""

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from hrnet_jax import checkpoint, console, models, skeletons, state_dict, training
from hrnet_jax.models import layers, simple_baseline
from hrnet_jax.state_dict import COUNTER, Weights

HEADS = ("final_layer.", "deconv_layers.")
"""What a network trained for something else does not have to bring along: beginnings of names."""

EVERYTHING = ("",)

KNOWN_EXTRAS = {
    "of the image classifier": re.compile(r"(incre_modules|downsamp_modules|classifier|fc|final_layer\.\d)\b"),
    "of coarser outputs, which the pose network does not have": re.compile(r"stage4\.2\.fuse_layers\.[123]\."),
    "mmpose's record of its normalisation": re.compile(r"data_preprocessor\."),
}
"""Tensors that other networks have besides, and why they are of no use here."""

_SKELETONS = {skeleton.num_joints: name for name, skeleton in skeletons.SKELETONS.items()}


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the weights.

    Attributes:
      loaded: names of the tensors loaded.
      initialised: reasons why others were left as they are, newly initialised, by name.
      extra: reasons why tensors of the source were of no use, by name.
    """

    loaded: list[str]
    initialised: dict[str, str]
    extra: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} of {len(self.loaded) + len(self.initialised)} tensors loaded"]
        for title, reasons in (("newly initialised", self.initialised), ("not used", self.extra)):
            for reason, names in _by_reason(reasons).items():
                lines.append(f"  {title:<18} {len(names):>4}  {reason}: {_shown(names)}")
        return "\n".join(lines)


def _by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return grouped


def _shown(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def read(path: str | os.PathLike) -> Weights:
    """Reads weights: a PyTorch file, a run directory of ours, or one of its checkpoints.

    Raises:
      FileNotFoundError, ValueError: see `state_dict.read` and `checkpoint.find`.
    """
    if state_dict.is_file_of_pytorch(path):
        weights = state_dict.read(path)
        return dataclasses.replace(weights, description=infer(weights.tensors) | weights.description)
    variables, description, counters = checkpoint.read_weights(path)
    tensors = to_pytorch(variables) | {name: np.array(count) for name, count in counters.items()}
    return Weights(os.fspath(path), tensors, description)


def infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns what the names and shapes of weights tell of their network; nothing if it is none of ours."""

    def count(pattern: str) -> int:
        return len({found.group(1) for name in tensors if (found := re.match(pattern, name))})

    if "stage2.0.branches.0.0.conv1.weight" in tensors and "conv1.weight" in tensors:
        return {
            "name": "hrnet",
            "width": len(tensors["stage2.0.branches.0.0.conv1.weight"]),
            "stem": len(tensors["conv1.weight"]),
            "units": [count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)],
            "blocks": count(r"stage2\.0\.branches\.0\.(\d+)\."),
        }
    blocks = tuple(count(rf"layer{stage}\.(\d+)\.conv3\.") for stage in (1, 2, 3, 4))
    depths = [depth for depth, expected in simple_baseline.BLOCKS.items() if blocks == expected]
    return {"name": "simple_baseline", "depth": depths[0]} if depths else {}


def initialize(
    variables: dict[str, Any],
    weights: Weights,
    description: Mapping[str, Any],
    *,
    spare: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Report]:
    """Puts weights in place of a network's own.

    Args:
      variables: ``params`` and ``batch_stats`` of the network, as initialised.
      weights: from `read`.
      description: of the network, see `checkpoint.describe`.
      spare: beginnings of the names that the weights need not have, or may have in another shape: `HEADS` to
        start from a network trained for something else. With `EVERYTHING`, whatever fits is taken.

    Returns:
      The variables, and what was loaded.

    Raises:
      ValueError: the weights are of another network, or of one that reads colours in another order; something is
        missing, has another shape, or is of no known use.
    """
    if spare != EVERYTHING:
        _check_network(weights, description)
    flat: dict[Any, Any] = traverse_util.flatten_dict(variables)
    own = {".".join(path[1:]): (path, leaf) for path, leaf in flat.items()}
    unfit = _unfit({name: leaf for name, (_, leaf) in own.items()}, weights, description)
    extra = {name: _why_extra(name) for name in weights.tensors if name not in own and not name.endswith(COUNTER)}
    problems = {name: reason for name, reason in unfit.items() if not name.startswith(spare or ("\0",))}
    if spare != EVERYTHING:
        problems |= {name: reason for name, reason in extra.items() if reason == _UNKNOWN}
    if problems:
        listed = [f"{len(n)} {reason}: {_shown(n)}" for reason, n in _by_reason(problems).items()]
        raise ValueError(
            f"{weights.source!r} does not fit {models.title(description)} of {len(description['joints'])} joints,"
            f" {'; '.join(listed[:6])}. Choose the config of the same network, or convert it with --partial"
        )
    merged = {
        path: leaf if name in unfit else _turned_in(weights.tensors[name]).astype(leaf.dtype)
        for name, (path, leaf) in own.items()
    }
    report = Report(sorted(own.keys() - unfit.keys()), unfit, extra)
    return traverse_util.unflatten_dict(merged), report


_UNKNOWN = "unknown to this network"


def _why_extra(name: str) -> str:
    reasons = [reason for reason, pattern in KNOWN_EXTRAS.items() if pattern.match(name)]
    return reasons[0] if reasons else _UNKNOWN


def _unfit(own: Mapping[str, Any], weights: Weights, description: Mapping[str, Any]) -> dict[str, str]:
    """Says why tensors of the network cannot be had from the weights, by name."""
    theirs = list(weights.description.get("joints", description["joints"]))
    other_joints = theirs != list(description["joints"])
    reasons = {}
    for name, leaf in own.items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            reasons[name] = "missing"
        elif _turned_in(tensor).shape != leaf.shape:
            reasons[name] = f"shape {tensor.shape} there, {_turned_out(leaf).shape} here"
        elif name.startswith("final_layer.") and other_joints:
            reasons[name] = f"made for other joints ({_shown(theirs)})"
    return reasons


def _check_network(weights: Weights, description: Mapping[str, Any]) -> None:
    """Raises ValueError if the weights are known to be of another network or order of colours."""
    ours = json.loads(json.dumps(dict(description)))
    different = [
        f"`model.{name}` is {value!r} there and {ours.get(name)!r} here"
        for name, value in weights.description.items()
        if name != "joints" and ours.get(name) != value
    ]
    if different:
        raise ValueError(
            f"{weights.source!r} is of another network: {'; '.join(different)}; choose the config it was trained"
            " with, or set these fields"
        )


def _turned_in(tensor: np.ndarray) -> np.ndarray:
    """PyTorch's layout -> ours: ``[out, in, height, width]`` -> ``[height, width, in, out]``."""
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor


def _turned_out(tensor: np.ndarray) -> np.ndarray:
    """Ours -> PyTorch's layout."""
    return tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor


def to_pytorch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of ``params`` and ``batch_stats`` by the release's names, in PyTorch's layout."""
    flat = traverse_util.flatten_dict(jax.device_get(variables))
    return {".".join(path[1:]): _turned_out(np.asarray(leaf)) for path, leaf in flat.items()}


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    skeleton: str | None = None,
    colors: str | None = None,
    partial: bool = False,
) -> Report:
    """Reads weights, makes sure that they are all of a network, and writes them in the other form.

    Args:
      source: anything that `read` takes.
      target: a file named ``.pth``, or else a directory for a checkpoint of ours; must not exist.
      skeleton: what the joints are, a name or a file; None for COCO's or MPII's by their number.
      colors: the order in which the network reads colours; None for what the weights say, or else as the
        authors' networks do: HRNet RGB, SimpleBaseline BGR.
      partial: take what fits, and start the rest as if to be trained.

    Raises:
      FileNotFoundError, ValueError: the source cannot be read, is of no known network, or the target exists.
    """
    if os.path.exists(target):
        raise ValueError(f"{os.fspath(target)!r} exists: delete it, or give another name")
    weights = read(source)
    description = _described(weights, skeleton, colors)
    variables = _newly_initialised(description)
    variables, report = initialize(variables, weights, description, spare=EVERYTHING if partial else ())
    counters = {name: int(count) for name, count in weights.tensors.items() if name.endswith(COUNTER)}
    if state_dict.is_file_of_pytorch(target):
        tensors = to_pytorch(variables)
        counters = counters or {name: 0 for name in _counter_names(tensors)}
        arrays = {name: np.array(count, np.int64) for name, count in counters.items()}
        state_dict.write(target, tensors | arrays, description)
    else:
        checkpoint.write_weights(target, variables, description, counters)
    return report


def _counter_names(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """The counters that PyTorch wants beside the running statistics."""
    ending = "running_mean"
    return [name.removesuffix(ending) + COUNTER for name in tensors if name.endswith(ending)]


def _described(weights: Weights, skeleton: str | None, colors: str | None) -> dict[str, Any]:
    """Returns what `checkpoint.describe` would say of the network that weights are of."""
    known = weights.description
    if "name" not in known:
        raise ValueError(
            f"{weights.source!r} is neither an HRNet nor a SimpleBaseline of ResNet-50, 101 or 152; it begins with"
            f" {_shown(list(weights.tensors))}"
        )
    if colors and known.get("colors", colors) != colors:
        raise ValueError(f"--colors (={colors}): {weights.source!r} says that its colours are {known['colors']}")
    usual = "RGB" if known["name"] == "hrnet" else "BGR"
    fields = {name: value for name, value in known.items() if name != "joints"}
    return fields | {"colors": known.get("colors", colors or usual), "joints": _joints(weights, skeleton)}


def _joints(weights: Weights, skeleton: str | None) -> list[str]:
    """Returns the names of the joints that the network finds."""
    known, head = weights.description.get("joints"), weights.tensors.get("final_layer.weight")
    if skeleton:
        return list(skeletons.load(skeleton).joints)
    if known:
        return list(known)
    if head is None:
        raise ValueError(
            f"{weights.source!r} has no head for joints: to start training from it, give it to train.py as"
            " --config.init_from; to convert it all the same, say --partial and --skeleton"
        )
    if len(head) not in _SKELETONS:
        counts = ", ".join(f"{count} ({name})" for count, name in _SKELETONS.items())
        raise ValueError(
            f"{weights.source!r} finds {len(head)} joints, not {counts}: name them with --skeleton FILE"
        )
    return list(skeletons.load(_SKELETONS[len(head)]).joints)


def _newly_initialised(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables of a network before training."""
    fields = {name: value for name, value in description.items() if name != "joints"}
    model = models.create(fields, len(description["joints"]))
    return training.init_variables(model, (layers.MULTIPLE, layers.MULTIPLE), seed=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and converts."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.convert", description="Checkpoints both ways.")
    parser.add_argument("source", metavar="SRC", help="a .pth or .safetensors file, a run directory or checkpoint")
    parser.add_argument("target", metavar="DST", help="a name ending in .pth, or a directory; must not exist")
    parser.add_argument("--skeleton", help="what the joints are: a name, or a JSON file of your own")
    parser.add_argument("--colors", choices=layers.COLORS, help="the order that the network reads colours in")
    parser.add_argument("--partial", action="store_true", help="take what fits, newly initialise the rest")
    args = parser.parse_args(arguments)
    report = convert(args.source, args.target, skeleton=args.skeleton, colors=args.colors, partial=args.partial)
    described = read(args.target).description
    network = f"{models.title(described)}, {len(described['joints'])} joints, reads {described['colors']}"
    print(f"{args.target}: {network}\n{report}")


if __name__ == "__main__":
    console.run(main)
