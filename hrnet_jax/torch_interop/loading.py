"""Loading of weights into a network, with a report of every tensor.

Weights have PyTorch's names and layout regardless of their source. Our names are the same (see
``models/layers.py``) and the layouts differ by a transposition, so float32 tensors are copied bit for bit.
Missing, unused and unsuitable tensors are reported or refused.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from hrnet_jax import checkpoint_files, codecs, models, skeletons
from hrnet_jax.models import layers
from hrnet_jax.models.network import CLASSIFIER
from hrnet_jax.torch_interop import state_dict
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

ALL = ("",)  # a prefix of every name

# A reason is a kind, optionally followed by a colon and details of the tensor.
_MISSING, _UNKNOWN = "not in the checkpoint", "unknown to this network"
_NOT_FINITE, _NOT_INTEGER = "not finite", "not an integer"
_BY_NAME = (_MISSING, _UNKNOWN, _NOT_FINITE, _NOT_INTEGER)  # reasons for single tensors rather than parts
_MMPOSE = "mmpose's record of its normalisation"

_MEAN = "running_mean"


@dataclasses.dataclass(frozen=True)
class Report:
    """Result of loading weights into a network.

    Attributes:
      loaded: names of the loaded tensors, including PyTorch's step counters.
      initialised: reasons why tensors were not loaded and keep their initial values, by name. Counters are
        included if the source has any.
      extra: reasons why tensors of the source were not used, by name.
      heads: prefixes of the names of tensors that weights of another task lack.
    """

    network: str
    loaded: list[str]
    initialised: dict[str, str]
    extra: dict[str, str]
    heads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.initialised)
        lines = [f"{len(self.loaded):,} of {total:,} tensors loaded into {self.network}"]
        for title, reasons in (("newly initialised", self.initialised), ("not used", self.extra)):
            lines += [f"  {title:<17} {count:>5,}  {text}" for count, text in _grouped(reasons, self.heads)]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _grouped(reasons: Mapping[str, str], heads: tuple[str, ...]) -> list[tuple[int, str]]:
    """Groups tensors by reason: the number of tensors, and a line with their names and the reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, reason in reasons.items():
        kind, _, detail = reason.partition(": ")
        by_part = not detail and (name.startswith(heads) or kind not in _BY_NAME)
        part = re.match(r"stage4\.2\.fuse_layers|[^.]*", name) if by_part else None
        names = groups.setdefault((kind, part.group() if part else ""), [])
        names.append(f"{name} ({detail})" if detail else name)
    return [(len(names), f"{part or listed(names)}: {kind}") for (kind, part), names in groups.items()]


def listed(names: Sequence[str], most: int = 3) -> str:
    """Returns the first names and the number of the others."""
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Iterable[str], prefix="") -> list[str]:
    """Describes the fields of different value, such as ``"`width` is 4 there and 8 here"``."""
    different = sorted(name for name in names if there.get(name) != here.get(name))
    return [f"`{prefix}{name}` is {there.get(name)!r} there and {here.get(name)!r} here" for name in different]


def read(path: str | os.PathLike, averaged: bool = False) -> Weights:
    """Reads the weights of a PyTorch file, a run directory or one of our checkpoints.

    `averaged` reads the moving average of the weights of a run, or that a file holds, instead.

    Raises FileNotFoundError or ValueError, see `state_dict.read` and `checkpoint_files.read_weights`.
    """
    if state_dict.is_torch_file(path):
        weights = state_dict.read(path, averaged)
        tensors = functools.reduce(lambda x, network: network.rename(x), models.NETWORKS.values(), weights.tensors)
        known = _valid(weights.description) | _unrevealed(weights.description, tensors)
        return dataclasses.replace(weights, tensors=dict(tensors), description=known, metadata=weights.description)
    variables, description, counters = checkpoint_files.read_weights(path, averaged)
    tensors = to_pytorch(variables) | {name: np.array(count) for name, count in counters.items()}
    return Weights(os.fspath(path), tensors, description, checkpoint_files.read_settings(path))


def _valid(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the valid fields among joints, colours and codec, which the tensors do not reveal."""
    colors, joints, codec = (metadata.get(name) for name in ("colors", "joints", "codec"))
    named = isinstance(joints, list) and all(isinstance(joint, str) for joint in joints)
    found = {"colors": colors} if colors in layers.COLORS else {}
    lies_otherwise = isinstance(codec, str) and codec in codecs.CODECS and codecs.CODECS[codec].by_corners
    found |= {"codec": codec} if lies_otherwise else {}
    return found | ({"joints": joints} if named else {})


def _unrevealed(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns name and fields of a network that metadata have and tensors do not reveal, if they fit it otherwise.

    HRNet that multiplies its branches, for example, has the tensors of HRNet.
    """
    name = metadata.get("name")
    if not isinstance(name, str) or name not in models.NETWORKS:
        return {}
    network = models.NETWORKS[name]
    sizes = network.infer(tensors)
    hidden = {
        leaf: metadata[leaf]
        for leaf, field in network.fields.items()
        if field.network and leaf not in {"colors", *sizes} and isinstance(metadata.get(leaf), type(field.default))
    }
    return {"name": name, **hidden} if sizes and hidden else {}


def infer(tensors: Mapping[str, np.ndarray], names: Iterable[str] = models.NETWORKS) -> dict[str, Any]:
    """Infers name and sizes of a network from its tensors, as in `models.describe`; empty if it is unknown.

    `names` are the networks to consider, the likeliest first. If several fit, the tensors are of the one of which
    they reveal most fields: HRNet's variants have its fields and one more.
    """
    found = [{"name": name, **sizes} for name in names if (sizes := models.find(name).infer(tensors))]
    return max(found, key=len, default={})


def build(description: Mapping[str, Any], **options: Any) -> nn.Module:
    """Builds the network of a description (see `models.describe`); `options` as in `models.create`."""
    sizes = dict(description)
    if (codec := sizes.pop("codec", codecs.ORIGINAL)) not in codecs.CODECS:  # a file must not name code to import
        known = ", ".join(codecs.CODECS)
        raise ValueError(f"the network has codec {codec!r:.100}, which is none of {known}: use eval.py for it")
    return models.create(sizes, len(sizes.pop("joints")) * codecs.CODECS[codec].maps, **options)


def to_pytorch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of ``params`` and ``batch_stats`` with PyTorch's names and layout.

    Kernels ``[height, width, in, out]`` become ``[out, in, height, width]``.
    """
    flat = traverse_util.flatten_dict(jax.device_get(variables))
    return {".".join(path[1:]): _transpose_kernel(np.asarray(leaf), 3, 2, 0, 1) for path, leaf in flat.items()}


def _transpose_kernel(array: np.ndarray, *axes: int) -> np.ndarray:
    """Transposes a kernel; returns other arrays unchanged."""
    return array.transpose(axes) if array.ndim == 4 else array


def counter_names(names: Iterable[str]) -> list[str]:
    """Returns the names of PyTorch's step counters, one for each running mean among `names`."""
    return [name.removesuffix(_MEAN) + COUNTER for name in names if name.endswith(_MEAN)]


def initialize(
    variables: dict[str, Any], weights: Weights, description: Mapping, *, allow_missing: tuple[str, ...] = ()
) -> tuple[dict[str, Any], Report]:
    """Replaces the initial ``params`` and ``batch_stats`` of a network by weights, and returns them and a report.

    For the description see `models.describe`. `allow_missing` are name prefixes of tensors that may be missing or
    have another shape, such as the network's `heads` for weights of another task. With `ALL` no check is made and
    every suitable tensor is loaded.

    Raises:
      ValueError: the weights are of another network or order of colours; or a tensor is missing, has another
        shape, is not finite, or is unknown.
    """
    tensors = models.find(description["name"]).from_classifier(weights.tensors)
    weights = dataclasses.replace(weights, tensors=dict(tensors))
    report = _compare(to_pytorch(variables), weights, description)
    if not allow_missing:
        _check_codec(weights, description)
    if allow_missing != ALL:
        _check_network(weights, description)
        _check_report(weights.source, report, allow_missing)
    flat: dict[Any, Any] = traverse_util.flatten_dict(variables)
    loaded = set(report.loaded)
    for path, leaf in flat.items():
        if (name := ".".join(path[1:])) in loaded:
            flat[path] = _transpose_kernel(weights.tensors[name], 2, 3, 1, 0).astype(leaf.dtype)
    return traverse_util.unflatten_dict(flat), report


def _compare(own: Mapping[str, np.ndarray], weights: Weights, description: Mapping[str, Any]) -> Report:
    """Compares the tensors of a network with weights."""
    tensors, counters = weights.tensors, counter_names(own)
    if tensors.keys().isdisjoint(counters):
        counters = []
    unusable = _unusable(own, weights, description)
    unusable |= _unusable_counters(counters, tensors, unusable)
    wanted = {*own, *counters}
    loaded = sorted(wanted - unusable.keys())
    network = models.find(description["name"])
    extra = {name: _reason_of_extra(name, network) for name in tensors if name not in wanted}
    notes, title = [*weights.notes, *_assumed_joints(weights, description, unusable)], models.title(description)
    if "joints" in description:
        title += f" ({len(description['joints'])} joints, reads {description['colors']})"
    if rounded := sum(tensors[name].dtype.itemsize > own[name].dtype.itemsize for name in own.keys() & loaded):
        notes.append(f"{rounded:,} of them are rounded to {next(iter(own.values())).dtype}")
    notes += [network.caveat] * bool(network.caveat and "colors" not in weights.description)
    if CLASSIFIER in extra.values():
        notes.append("the trunk of an image classifier under a new head: as the papers start training")
    return Report(title, loaded, unusable, extra, network.heads, tuple(notes))


def _reason_of_extra(name: str, network: models.Network) -> str:
    if name.startswith("data_preprocessor."):
        return _MMPOSE
    return next((reason for reason, pattern in network.unused.items() if pattern.match(name)), _UNKNOWN)


@np.errstate(over="ignore")  # numbers too large for the network's precision are reported as not finite
def _unusable(own: Mapping[str, np.ndarray], weights: Weights, description: Mapping[str, Any]) -> dict[str, str]:
    """Returns the reasons why tensors cannot be loaded, by name."""
    reasons, other_joints = {}, _other_joints(own, weights, description)
    joint_layers = models.find(description["name"]).joint_layers
    for name, array in own.items():
        tensor = weights.tensors.get(name)
        if tensor is None:
            reasons[name] = _MISSING
        elif name.startswith(joint_layers) and other_joints:
            reasons[name] = other_joints
        elif tensor.shape != array.shape:
            reasons[name] = f"of another shape: {tensor.shape} there, {array.shape} here"
        elif tensor.dtype.kind != "f":
            reasons[name] = f"not floating-point: {tensor.dtype}"
        elif not np.isfinite(tensor.astype(array.dtype)).all():
            reasons[name] = _NOT_FINITE
    return reasons


def _other_joints(own: Mapping[str, np.ndarray], weights: Weights, description: Mapping[str, Any]) -> str:
    """Returns a reason if weights are for other joints; only their number may be known."""
    here, there = list(description.get("joints", ())), list(weights.description.get("joints", ()))
    own_head, head = map(models.find(description["name"]).head, (own, weights.tensors))
    if there and there != here:
        return f"made for {len(there)} other joints ({listed(there)})"
    if head is None or own_head is None or len(head) == len(own_head):
        return ""
    if len(own_head) != len(here) or head.shape[0] in (codec.maps * len(here) for codec in codecs.CODECS.values()):
        return f"made for {len(head)} heatmaps, not {len(own_head)}: another codec"
    return f"made for {len(head)} joints, not {len(here)}"


def _assumed_joints(weights: Weights, description: Mapping[str, Any], unusable: Mapping[str, str]) -> list[str]:
    """Returns a note if the heads are loaded and the weights do not name their joints."""
    joints = list(description.get("joints", ()))
    joint_layers = models.find(description["name"]).joint_layers
    if not joints or "joints" in weights.description or any(n.startswith(joint_layers) for n in unusable):
        return []
    named = next((name for name, known in skeletons.SKELETONS.items() if list(known.joints) == joints), "")
    text = (
        f"assuming the {len(joints)} joints of {named!r}" if named else f"assuming its joints are {listed(joints)}"
    )
    trained_on = weights.trained_on and f"; the file says that it was trained on {weights.trained_on}"
    return [f"{text}, which the weights do not name{trained_on}"]


def _unusable_counters(counters: list[str], tensors: Mapping, unusable: Mapping[str, str]) -> dict[str, str]:
    """Returns the reasons why step counters start from zero, by name. In half-precision files they are floats."""
    reasons = {}
    for name in counters:
        mean, count = name.removesuffix(COUNTER) + _MEAN, tensors.get(name)
        if mean in unusable:
            reasons[name] = unusable[mean].partition(": ")[0]
        elif count is None:
            reasons[name] = _MISSING
        elif count.size != 1 or count.dtype.kind not in "iu":
            reasons[name] = _NOT_INTEGER
    return reasons


def codec_of(weights: Weights) -> str | None:
    """Returns the codec of weights, `codecs.ORIGINAL` for all not by corners. None if weights do not tell."""
    ours = "name" in {**weights.metadata, **weights.description}  # ours name every codec but the usual ones
    return weights.description.get("codec", codecs.ORIGINAL if ours else None)


def _check_codec(weights: Weights, description: Mapping[str, Any]) -> None:
    """Raises ValueError if the weights are known to be trained with another codec."""
    there, here = codec_of(weights), description.get("codec", codecs.ORIGINAL)
    if there not in (None, here):
        raise ValueError(
            f"{weights.source!r} was trained with codec {there!r}, and {here!r} would misread it: give"
            f" --config.codec={there}"
        )


def _check_network(weights: Weights, description: Mapping[str, Any]) -> None:
    """Raises ValueError if the weights are known to be of another network or order of colours."""
    candidates = dict.fromkeys([description["name"], *models.NETWORKS])
    there = infer(weights.tensors, candidates) | weights.description
    same_kind = there.get("name", description["name"]) == description["name"]
    names = there.keys() - {"joints", "codec"} if same_kind else {"name"}
    if different := differences(there, description, names, prefix="model."):
        raise ValueError(
            f"{weights.source!r} is of another network: {'; '.join(different)}; choose the config it was trained"
            " with, or set these fields"
        )


def _check_report(source: str, report: Report, allow_missing: tuple[str, ...]) -> None:
    """Raises ValueError if tensors are unknown, or missing or unsuitable without permission. Counters may be."""
    required = [n for n in report.initialised if not n.startswith(allow_missing) and not n.endswith(COUNTER)]
    problems = {name: report.initialised[name] for name in required}
    problems |= {name: reason for name, reason in report.extra.items() if reason == _UNKNOWN}
    if not problems:
        return
    grouped = _grouped(problems, report.heads)
    groups = [f"{text} ({count:,} tensor{'s' * (count > 1)})" for count, text in grouped]
    way_out = (
        "choose the config of their skeleton, or start training a new head from them with --config.init_from"
        if all(name.startswith(report.heads) for name in problems)
        else "choose the config of their network, or load the tensors that fit with"
        " python -m hrnet_jax.convert --partial"
    )
    raise ValueError(f"{source!r} does not fit {report.network}: {listed(groups, most=5)}; {way_out}")
