"""Putting weights into a network, and the report of what became of them.

Weights carry PyTorch's names and layout, wherever they come from; names are the same here (see
``models/layers.py``) and layouts differ by one transposition, so that every float32 tensor arrives as it was, bit
by bit. What is missing, left over or does not fit is refused or told, never passed over.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from hrnet_jax import checkpoint_files, models
from hrnet_jax.models import layers, simple_baseline
from hrnet_jax.torch_interop import state_dict
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

HEADS = ("final_layer.", "deconv_layers.")
"""What a network trained for something else does not have to bring along: beginnings of names."""

ALL = ("",)
"""Every name begins so."""

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

_MEAN = "running_mean"


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
    return [(len(names), f"{where or listed(names)}: {kind}") for (kind, where), names in groups.items()]


def listed(names: Sequence[str], most: int = 3) -> str:
    """Returns the first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def read(path: str | os.PathLike) -> Weights:
    """Reads weights: a PyTorch file, a run directory of ours, or one of its checkpoints.

    Raises:
      FileNotFoundError, ValueError: see `state_dict.read` and `checkpoint_files.find`.
    """
    if state_dict.is_file_of_pytorch(path):
        weights = state_dict.read(path)
        return dataclasses.replace(weights, description=infer(weights.tensors) | _told(weights.description))
    variables, description, counters = checkpoint_files.read_weights(path)
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


def to_pytorch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of ``params`` and ``batch_stats`` by the release's names, in PyTorch's layout.

    Kernels ``[height, width, in, out]`` become ``[out, in, height, width]``.
    """
    flat = traverse_util.flatten_dict(jax.device_get(variables))
    return {_name(path): _turned(np.asarray(leaf), 3, 2, 0, 1) for path, leaf in flat.items()}


def _name(path: tuple[str, ...]) -> str:
    """The release's name of what stands at a path in ``params`` or ``batch_stats``."""
    return ".".join(path[1:])


def _turned(array: np.ndarray, *axes: int) -> np.ndarray:
    """Brings a kernel's axes in another order; there is but one for biases and statistics."""
    return array.transpose(axes) if array.ndim == 4 else array


def counter_names(names: Iterable[str]) -> list[str]:
    """Returns the names of the counters of steps that PyTorch has beside the running means among `names`."""
    return [name.removesuffix(_MEAN) + COUNTER for name in names if name.endswith(_MEAN)]


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
      description: of the network, see `models.describe`.
      spare: beginnings of the names that the weights need not have, or may have in another shape: `HEADS` to
        start from a network trained for something else. With `EVERYTHING`, whatever fits is taken.

    Returns:
      The variables, and what was loaded.

    Raises:
      ValueError: the weights are of another network, or of one that reads colours in another order; something is
        missing, has another shape, is not finite, or is of no known use.
    """
    report = _compare(to_pytorch(variables), weights, description)
    if spare != ALL:
        _check_network(weights, description)
        _check_fit(weights.source, report, spare)
    flat: dict[Any, Any] = traverse_util.flatten_dict(variables)
    loaded = set(report.loaded)
    for path, leaf in flat.items():
        if (name := _name(path)) in loaded:
            flat[path] = _turned(weights.tensors[name], 2, 3, 1, 0).astype(leaf.dtype)
    return traverse_util.unflatten_dict(flat), report


def _compare(own: Mapping[str, np.ndarray], weights: Weights, description: Mapping[str, Any]) -> Report:
    """Says what of a network's tensors, given by name, can be had from weights."""
    there, counters = weights.tensors, counter_names(own)
    if there.keys().isdisjoint(counters):
        counters = []
    unfit = _unfit(own, weights, description)
    unfit |= _uncounted(counters, there, unfit)
    wanted = {*own, *counters}
    loaded = sorted(wanted - unfit.keys())
    extra = {name: _why_extra(name) for name in there if name not in wanted}
    network, notes = models.title(description), []
    if "joints" in description:
        network += f" ({len(description['joints'])} joints, reads {description['colors']})"
    if rounded := sum(there[name].dtype.itemsize > own[name].dtype.itemsize for name in own.keys() & loaded):
        notes.append(f"{rounded:,} of them are rounded to {next(iter(own.values())).dtype}")
    if _CLASSIFIER in extra.values():
        notes.append("the trunk of an image classifier under a new head: as the papers start training")
    return Report(network, loaded, unfit, extra, tuple(notes))


@np.errstate(over="ignore")  # what is too large for the network's precision is told as not finite
def _unfit(own: Mapping[str, np.ndarray], weights: Weights, description: Mapping[str, Any]) -> dict[str, str]:
    """Says why tensors of the network cannot be had from the weights, by name."""
    reasons, other_joints = {}, _other_joints(weights, description)
    for name, array in own.items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            reasons[name] = _MISSING
        elif name.startswith("final_layer.") and other_joints:
            reasons[name] = other_joints
        elif tensor.shape != array.shape:
            reasons[name] = f"of another shape: {tensor.shape} there, {array.shape} here"
        elif tensor.dtype.kind != "f":
            reasons[name] = f"not of floating-point numbers: {tensor.dtype}"
        elif not np.isfinite(tensor.astype(array.dtype)).all():
            reasons[name] = "not finite"
    return reasons


def _other_joints(weights: Weights, description: Mapping[str, Any]) -> str:
    """Says what joints weights are for if these are not the network's; all that may be known is their number."""
    here, head = list(description.get("joints", ())), weights.tensors.get("final_layer.weight")
    if there := list(weights.description.get("joints", ())):
        return "" if there == here else f"made for {len(there)} other joints ({listed(there)})"
    if head is None or head.ndim != 4 or len(head) == len(here):
        return ""
    return f"made for {len(head)} joints, not {len(here)}"


def _uncounted(
    counters: Iterable[str], there: Mapping[str, np.ndarray], unfit: Mapping[str, str]
) -> dict[str, str]:
    """Says why counters of steps start from zero, by name; in halved files they are no whole numbers."""
    reasons = {}
    for name in counters:
        mean, count = name.removesuffix(COUNTER) + _MEAN, there.get(name)
        if mean in unfit:
            reasons[name] = unfit[mean].partition(": ")[0]
        elif count is None:
            reasons[name] = _MISSING
        elif count.size != 1 or count.dtype.kind not in "iu":
            reasons[name] = "not a whole number"
    return reasons


def _why_extra(name: str) -> str:
    return next((reason for reason, pattern in KNOWN_EXTRAS.items() if pattern.match(name)), _UNKNOWN)


def _check_network(weights: Weights, description: Mapping[str, Any]) -> None:
    """Raises ValueError if the weights are known to be of another network or order of colours."""
    there, here = weights.description, description
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


def _check_fit(source: str, report: Report, spare: tuple[str, ...]) -> None:
    """Raises ValueError if anything but counters and what is spared is missing or unfit, or of no known use."""
    problems = {name: why for name, why in report.initialised.items() if not name.startswith(spare)}
    problems = {name: why for name, why in problems.items() if not name.endswith(COUNTER)}
    problems |= {name: why for name, why in report.extra.items() if why == _UNKNOWN}
    if not problems:
        return
    groups = [f"{text} ({count:,} tensor{'s' * (count > 1)})" for count, text in _grouped(problems)]
    way_out = (
        "choose the config of their skeleton, or start training a head for these joints from them with"
        " --config.init_from"
        if all(name.startswith(HEADS) for name in problems)
        else "choose the config of their network, or take what fits of them with"
        " python -m hrnet_jax.convert --partial"
    )
    raise ValueError(f"{source!r} does not fit {report.network}: {listed(groups, most=5)}; {way_out}")
