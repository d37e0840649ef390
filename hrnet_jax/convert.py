"""Checkpoints both ways: ``python -m hrnet_jax.convert SRC DST``.

    python -m hrnet_jax.convert pose_hrnet_w32_256x192.pth checkpoints/w32       PyTorch -> ours
    python -m hrnet_jax.convert runs/w32 w32.pth                                 ours -> PyTorch
    python -m hrnet_jax.convert mmpose_hrnet_w32.pth w32.pth                     others' names -> the release's

Every float32 tensor arrives as it was, bit by bit, and so do PyTorch's counters of steps. Where there are none,
in files of PyTorch before 0.4.1 and in what was trained here, a ``.pth`` gets zeros, which is what PyTorch itself
takes then. What the network is, its size, joints and order of colours, travels with the weights and is checked
where they are used.
"""

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import checkpoint_files, console, models, skeletons, training
from hrnet_jax.models import hrnet, layers
from hrnet_jax.torch_interop import loading, state_dict
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

PUBLISHED_WIDTHS = (32, 48)
"""Of the pose HRNets in the paper; a file of such a width with other stages is likely not whole."""

_SKELETONS = {skeleton.num_joints: name for name, skeleton in skeletons.SKELETONS.items()}

_ORDER = (
    *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"),
    *("layer1", "transition1", "stage2", "transition2", "stage3", "transition3", "stage4"),
    *("layer2", "layer3", "layer4", "branches", "fuse_layers", "deconv_layers", "final_layer"),
    *("weight", "bias", "running_mean", "running_var", COUNTER),
)
"""The parts of names in the order in which the release's state dicts have them."""


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    skeleton: str | None = None,
    colors: str | None = None,
    partial: bool = False,
) -> loading.Report:
    """Reads weights, makes sure that they are all of a network, and writes them in the other form.

    The target appears when it is whole; if anything fails there is none.

    Args:
      source: anything that `loading.read` takes.
      target: a file named ``.pth``, or else a directory for a checkpoint of ours; must not exist.
      skeleton: what the joints are, a name or a file; None for COCO's or MPII's by their number.
      colors: the order in which the network reads colours; None for what the weights say, or else as the
        authors' networks do: HRNet RGB, SimpleBaseline BGR.
      partial: take what fits, and start the rest as if to be trained.

    Raises:
      FileNotFoundError, ValueError: the source cannot be read, is of no known network, or the target exists.
    """
    state_dict.check_target(target)
    weights = loading.read(source)
    description = _described(weights, skeleton, colors)
    if not partial:
        _check_whole(weights)
    spare = loading.ALL if partial else ()
    variables, report = loading.initialize(_newly_initialised(description), weights, description, spare=spare)
    counters = {name: int(weights.tensors[name].item()) for name in report.loaded if name.endswith(COUNTER)}
    if state_dict.is_file_of_pytorch(target):
        tensors = loading.to_pytorch(variables)
        counts = {name: np.array(counters.get(name, 0), np.int64) for name in loading.counter_names(tensors)}
        state_dict.write(target, _in_order(tensors | counts), description)
    else:
        with state_dict.whole(target) as directory:
            checkpoint_files.write_weights(directory, variables, description, counters)
    return dataclasses.replace(
        report, notes=(*report.notes, *_assumptions(weights, description, skeleton, colors))
    )


def _described(weights: Weights, skeleton: str | None, colors: str | None) -> dict[str, Any]:
    """Returns what `models.describe` would say of the network that weights are of."""
    known = weights.description
    if "name" not in known:
        raise ValueError(
            f"{weights.source!r} is neither an HRNet nor a SimpleBaseline of ResNet-50, 101 or 152, or not a whole"
            f" one; it begins with {loading.listed(list(weights.tensors))}: give a checkpoint of one of these"
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


def _in_order(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sorts tensors as a state dict of the release has them."""

    def place(name: str) -> list[int]:
        return [int(part) if part.isdigit() else _ORDER.index(part) for part in name.split(".")]

    return {name: tensors[name] for name in sorted(tensors, key=place)}


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
