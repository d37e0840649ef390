"""Checkpoints both ways: ``python -m hrnet_jax.convert SRC DST``.

    python -m hrnet_jax.convert pose_hrnet_w32_256x192.pth checkpoints/w32       PyTorch -> ours
    python -m hrnet_jax.convert runs/w32 w32.pth                                 ours -> PyTorch
    python -m hrnet_jax.convert mmpose_hrnet_w32.pth w32.pth                     others' names -> the release's

Names are the same on both sides (see ``models/layers.py``) and layouts differ by one transposition, so that every
float32 tensor arrives as it was, bit by bit; so do PyTorch's counters of steps. Where there are none, in files of
PyTorch before 0.4.1 and in what was trained here, a ``.pth`` gets zeros, which is what PyTorch itself takes then.
What the network is, its size, joints and order of colours, travels with the weights and is checked where they are
used.
"""

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from hrnet_jax import checkpoint, console, models, skeletons, state_dict, training
from hrnet_jax.models import hrnet, layers, simple_baseline
from hrnet_jax.state_dict import COUNTER, Weights

HEADS = ("final_layer.", "deconv_layers.")
"""What a network trained for something else does not have to bring along: beginnings of names."""

EVERYTHING = ("",)

# A reason is its kind, and after a colon what is special to one tensor.
_MISSING = "not in the checkpoint"
_UNKNOWN = "unknown to this network"
_CLASSIFIER = "of the image classifier"

KNOWN_EXTRAS = {
    _CLASSIFIER: re.compile(r"(incre_modules|downsamp_modules|classifier|fc|final_layer\.\d)\b"),
    "of coarser outputs, which the pose network does not have": re.compile(r"stage4\.2\.fuse_layers\.[123]\."),
    "mmpose's record of its normalisation": re.compile(r"data_preprocessor\."),
}
"""Tensors that other networks have besides, and why they are of no use here."""

PUBLISHED_WIDTHS = (32, 48)
"""Of the pose HRNets in the paper; a file of such a width with other stages is likely not whole."""

_MEAN = "running_mean"

_SKELETONS = {skeleton.num_joints: name for name, skeleton in skeletons.SKELETONS.items()}

_ORDER = (
    *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"),
    *("layer1", "transition1", "stage2", "transition2", "stage3", "transition3", "stage4"),
    *("layer2", "layer3", "layer4", "branches", "fuse_layers", "deconv_layers", "final_layer"),
    *("weight", "bias", "running_mean", "running_var", COUNTER),
)
"""The parts of names in the order in which the release's state dicts have them."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the weights.

    Attributes:
      network: what they were put into, in words.
      loaded: names of the tensors taken, PyTorch's counters of steps among them.
      initialised: reasons why others were left as they are, newly initialised, by name; counters are among them
        if the source has any.
      extra: reasons why tensors of the source were of no use, by name.
      notes: what else there is to know.
    """

    network: str
    loaded: list[str]
    initialised: dict[str, str]
    extra: dict[str, str]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        wanted = len(self.loaded) + len(self.initialised)
        lines = [f"{len(self.loaded):,} of {wanted:,} tensors loaded into {self.network}"]
        for title, reasons in (("newly initialised", self.initialised), ("not used", self.extra)):
            lines += [f"  {title:<17} {count:>5,}  {text}" for count, text in _grouped(reasons)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _grouped(reasons: Mapping[str, str]) -> list[tuple[int, str]]:
    """Sums up reasons by name: of how many tensors, which they are, and why."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, reason in reasons.items():
        kind, _, detail = reason.partition(": ")
        summed = name.startswith(HEADS) or kind in KNOWN_EXTRAS
        part = re.match(r"stage4\.2\.fuse_layers|[^.]*", name) if summed and not detail else None
        where = part.group() if part else ""
        groups.setdefault((kind, where), []).append(f"{name} ({detail})" if detail else name)
    return [(len(names), f"{where or _shown(names)}: {kind}") for (kind, where), names in groups.items()]


def _shown(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def read(path: str | os.PathLike) -> Weights:
    """Reads weights: a PyTorch file, a run directory of ours, or one of its checkpoints.

    Raises:
      FileNotFoundError, ValueError: see `state_dict.read` and `checkpoint.find`.
    """
    if state_dict.is_file_of_pytorch(path):
        weights = state_dict.read(path)
        return dataclasses.replace(weights, description=infer(weights.tensors) | _told(weights.description))
    variables, description, counters = checkpoint.read_weights(path)
    tensors = to_pytorch(variables) | {name: np.array(count) for name, count in counters.items()}
    return Weights(os.fspath(path), tensors, infer(tensors) | description)


def _told(note: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a file tells of its network that its arrays do not: joints and colours, as they should be."""
    colors, joints = note.get("colors"), note.get("joints")
    told = {"colors": colors} if colors in layers.COLORS else {}
    named = isinstance(joints, list) and all(isinstance(joint, str) for joint in joints)
    return told | ({"joints": joints} if named else {})


def infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns what the names and shapes of weights tell of their network; nothing if it is none of ours."""

    def count(pattern: str) -> int:
        return len({found.group(1) for name in tensors if (found := re.match(pattern, name))})

    stem, branch = (tensors.get(name) for name in ("conv1.weight", "stage2.0.branches.0.0.conv1.weight"))
    if stem is not None and branch is not None and stem.ndim == branch.ndim == 4:
        return {
            "name": "hrnet",
            "width": len(branch),
            "stem": len(stem),
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
        missing, has another shape, is not finite, or is of no known use.
    """
    if spare != EVERYTHING:
        _check_network(weights, description)
    flat: dict[Any, Any] = traverse_util.flatten_dict(variables)
    own = {".".join(path[1:]): leaf for path, leaf in flat.items()}
    report = _compare(own, weights, description)
    problems = {name: reason for name, reason in report.initialised.items() if not name.startswith(spare)}
    problems = {name: reason for name, reason in problems.items() if not name.endswith(COUNTER)}
    if spare != EVERYTHING:
        problems |= {name: reason for name, reason in report.extra.items() if reason == _UNKNOWN}
    if problems:
        raise ValueError(_complaint(weights, description, problems))
    loaded = set(report.loaded)
    merged = {
        path: _turned_in(weights.tensors[name]).astype(leaf.dtype) if name in loaded else leaf
        for path, (name, leaf) in zip(flat, own.items(), strict=True)
    }
    return traverse_util.unflatten_dict(merged), report


def _compare(own: Mapping[str, Any], weights: Weights, description: Mapping[str, Any]) -> Report:
    """Says what of a network's tensors, given by name, can be had from weights."""
    unfit = _unfit(own, weights, description)
    taken = {name: weights.tensors[name] for name in own if name not in unfit}
    counters = _counters(weights, taken)
    unfit |= _uncounted(weights, own, counters, unfit)
    accounted = {*taken, *counters, *unfit}
    extra = {name: _why_extra(name) for name in weights.tensors if name not in accounted}
    notes = []
    if rounded := sum(tensor.dtype.itemsize > own[name].dtype.itemsize for name, tensor in taken.items()):
        notes.append(f"{rounded:,} of them are rounded to {next(iter(own.values())).dtype}")
    if _CLASSIFIER in extra.values():
        notes.append("the trunk of an image classifier under a new head: as the papers start training")
    return Report(_in_words(description), sorted({*taken, *counters}), unfit, extra, tuple(notes))


def _in_words(description: Mapping[str, Any]) -> str:
    joints, colors = len(description["joints"]), description["colors"]
    return f"{models.title(description)} ({joints} joints, reads {colors})"


def _why_extra(name: str) -> str:
    reasons = (reason for reason, pattern in KNOWN_EXTRAS.items() if pattern.match(name))
    return next(reasons, _UNKNOWN)


def _counters(weights: Weights, loaded: Collection[str]) -> dict[str, int]:
    """Returns PyTorch's counters of steps, of what was loaded; in halved files they are no numbers."""
    found = {name: weights.tensors.get(name) for name in _counter_names(loaded)}
    return {
        name: int(count.item())
        for name, count in found.items()
        if count is not None and count.size == 1 and count.dtype.kind in "iu"
    }


def _uncounted(
    weights: Weights, own: Collection[str], counters: Collection[str], unfit: Mapping[str, str]
) -> dict[str, str]:
    """Says why counters of the network start from zero, by name; nothing of weights that have none at all."""
    names = _counter_names(own)
    if not any(name in weights.tensors for name in names):
        return {}
    usual = {name: "not a whole number" if name in weights.tensors else _MISSING for name in names}
    why = {name: unfit.get(name.removesuffix(COUNTER) + _MEAN, usual[name]) for name in names}
    return {name: reason.partition(": ")[0] for name, reason in why.items() if name not in counters}


def _counter_names(names: Collection[str]) -> list[str]:
    """The counters that PyTorch has beside running statistics."""
    return [name.removesuffix(_MEAN) + COUNTER for name in names if name.endswith(_MEAN)]


def _unfit(own: Mapping[str, Any], weights: Weights, description: Mapping[str, Any]) -> dict[str, str]:
    """Says why tensors of the network cannot be had from the weights, by name."""
    reasons, other_joints = {}, _other_joints(weights, description)
    for name, leaf in own.items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            reasons[name] = _MISSING
        elif name.startswith("final_layer.") and other_joints:
            reasons[name] = other_joints
        elif _turned_in(tensor).shape != leaf.shape:
            reasons[name] = f"of another shape: {tensor.shape} there, {_turned_out(leaf).shape} here"
        elif tensor.dtype.kind != "f":
            reasons[name] = f"not of floating-point numbers: {tensor.dtype}"
        elif not _is_finite(tensor, leaf.dtype):
            reasons[name] = "not finite"
    return reasons


def _other_joints(weights: Weights, description: Mapping[str, Any]) -> str:
    """Says what joints weights are for if these are not the network's; all that may be known is their number."""
    here, head = list(description["joints"]), weights.tensors.get("final_layer.weight")
    if there := list(weights.description.get("joints", ())):
        return "" if there == here else f"made for {len(there)} other joints ({_shown(there)})"
    if head is None or head.ndim != 4 or len(head) == len(here):
        return ""
    return f"made for {len(head)} joints, not {len(here)}"


def _is_finite(tensor: np.ndarray, dtype: np.dtype) -> bool:
    """Whether all numbers are finite, and stay so in the precision of the network."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(tensor.astype(dtype)).all())


def _complaint(weights: Weights, description: Mapping[str, Any], problems: Mapping[str, str]) -> str:
    """Says why weights cannot be used, and what to do."""
    groups = [f"{text} ({count:,} tensor{'s' * (count > 1)})" for count, text in _grouped(problems)]
    way_out = (
        "choose the config of their skeleton, or start training a head for these joints from them with"
        " --config.init_from"
        if all(name.startswith(HEADS) for name in problems)
        else "choose the config of their network, or take what fits of them with"
        " python -m hrnet_jax.convert --partial"
    )
    return f"{weights.source!r} does not fit {_in_words(description)}: {_shown(groups, most=5)}; {way_out}"


def _check_network(weights: Weights, description: Mapping[str, Any]) -> None:
    """Raises ValueError if the weights are known to be of another network or order of colours."""
    there, here = weights.description, json.loads(json.dumps(dict(description)))
    compared = ["name"] if there.get("name", here["name"]) != here["name"] else there.keys() - {"joints"}
    different = [
        f"`model.{name}` is {there[name]!r} there and {here.get(name)!r} here"
        for name in sorted(compared)
        if there[name] != here.get(name)
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


def _in_order(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sorts tensors as a state dict of the release has them."""
    places = {part: place for place, part in enumerate(_ORDER)}
    return dict(
        sorted(
            tensors.items(),
            key=lambda item: [int(part) if part.isdigit() else places[part] for part in item[0].split(".")],
        )
    )


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    skeleton: str | None = None,
    colors: str | None = None,
    partial: bool = False,
) -> Report:
    """Reads weights, makes sure that they are all of a network, and writes them in the other form.

    The target appears when it is whole; if anything fails there is none.

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
    state_dict.check_target(target)
    weights = read(source)
    description = _described(weights, skeleton, colors)
    if not partial:
        _check_whole(weights)
    variables = _newly_initialised(description)
    variables, report = initialize(variables, weights, description, spare=EVERYTHING if partial else ())
    counters = _counters(weights, report.loaded)
    if state_dict.is_file_of_pytorch(target):
        tensors = to_pytorch(variables)
        counts = {name: np.array(counters.get(name, 0), np.int64) for name in _counter_names(tensors)}
        state_dict.write(target, _in_order(tensors | counts), description)
    else:
        with state_dict.whole(target) as directory:
            checkpoint.write_weights(directory, variables, description, counters)
    return dataclasses.replace(
        report, notes=(*report.notes, *_assumptions(weights, description, skeleton, colors))
    )


def _described(weights: Weights, skeleton: str | None, colors: str | None) -> dict[str, Any]:
    """Returns what `checkpoint.describe` would say of the network that weights are of."""
    known = weights.description
    if "name" not in known:
        raise ValueError(
            f"{weights.source!r} is neither an HRNet nor a SimpleBaseline of ResNet-50, 101 or 152, or not a whole"
            f" one; it begins with {_shown(list(weights.tensors))}: give a checkpoint of one of these"
        )
    if colors and known.get("colors", colors) != colors:
        raise ValueError(
            f"--colors (={colors}): the network in {weights.source!r} reads {known['colors']}; leave --colors away"
        )
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
    if head is None or head.ndim != 4:
        raise ValueError(
            f"{weights.source!r} has no head for joints: to start training from it, give it to train.py as"
            " --config.init_from; to convert it all the same, say --partial and --skeleton"
        )
    if len(head) not in _SKELETONS:
        counts = " or ".join(f"{count} ({name})" for count, name in _SKELETONS.items())
        raise ValueError(
            f"{weights.source!r} finds {len(head)} joints, not {counts}: name them with --skeleton FILE"
        )
    return list(skeletons.load(_SKELETONS[len(head)]).joints)


def _check_whole(weights: Weights) -> None:
    """Raises ValueError if a file as wide as a published HRNet, and not ours, has fewer stages or more."""
    known = weights.description
    if known["name"] != "hrnet" or known["width"] not in PUBLISHED_WIDTHS or "joints" in known:
        return
    published = {"stem": hrnet.HRNet.stem, "units": list(hrnet.HRNet.units), "blocks": hrnet.HRNet.blocks}
    different = [
        f"`{name}` is {known[name]}, not {value}" for name, value in published.items() if known[name] != value
    ]
    if different:
        raise ValueError(
            f"{weights.source!r} is not a whole {models.title(known)}: {'; '.join(different)}; download or"
            " write it again, or if it should be so, take it as it is with --partial"
        )


def _assumptions(
    weights: Weights, description: Mapping[str, Any], skeleton: str | None, colors: str | None
) -> list[str]:
    """Says what the weights do not tell and nobody said."""
    known, joints = weights.description, len(description["joints"])
    assumed = []
    if not skeleton and "joints" not in known:
        assumed.append(
            f"its {joints} joints are taken for those of {_SKELETONS[joints]!r}; for others give --skeleton"
        )
    if not colors and "colors" not in known:
        order = description["colors"]
        assumed.append(f"it is taken to read {order}, as in the authors' release; else give --colors")
    return assumed


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
    print(f"{args.source} -> {args.target}\n{report}")


if __name__ == "__main__":
    console.run(main)
