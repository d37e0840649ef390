"""Converts checkpoints between PyTorch and this project.

    python -m hrnet_jax.convert pose_hrnet_w32_256x192.pth checkpoints/w32       PyTorch -> ours
    python -m hrnet_jax.convert runs/w32 w32.pth                                 ours -> PyTorch
    python -m hrnet_jax.convert mmpose_hrnet_w32.pth w32.pth                     mmpose's names -> the release's

Float32 tensors and PyTorch's step counters are copied bit for bit. Checkpoints of PyTorch before 0.4.1 and of runs
here have no counters. A file then gets zeros, PyTorch's own default. Size, joints and colour order of the
network are saved with the weights and checked on loading.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import buckets, checkpoint_files, codecs, console, models, skeletons, training
from hrnet_jax.models import layers
from hrnet_jax.torch_interop import loading, state_dict
from hrnet_jax.torch_interop.state_dict import COUNTER, Weights

_SKELETONS = {skeletons.load(name).num_joints: name for name in ("coco", "mpii")}  # of the authors' checkpoints

_LEAVES = ("weight", "bias", "running_mean", "running_var", COUNTER)


def convert(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    network="",
    skeleton="",
    colors="",
    codec="",
    partial=False,
    averaged=False,
) -> loading.Report:
    """Reads the weights of a complete network and writes them in the other format.

    Args:
      source: path for `loading.read`.
      target: a file named ``.pth`` or ``.safetensors``, or a directory for one of our checkpoints; must not exist.
        It is complete or, after an error, absent.
      network: name of the network, needed for one outside this package; see `models.find`.
      skeleton: name or file of the joints; the default is COCO's or MPII's by their number.
      colors: colour order of the network's input. The default is that of the weights, or else the network's.
      codec: that the network was trained with, a key of `codecs.CODECS`; the default is that of the weights.
      partial: load the tensors that fit and initialise the others as for training.
      averaged: read the moving average of the weights, of a run or in a file.

    Raises:
      FileNotFoundError: there is no such source.
      ValueError: the source is unreadable or of an unknown network, or the target exists.
    """
    state_dict.check_target(target)
    if not state_dict.is_torch_file(target):
        buckets.absolute(target)  # refuses paths that cannot hold arrays
    weights = loading.read(source, averaged)
    description, variables, report = load(
        weights, network=network, skeleton=skeleton, colors=colors, codec=codec, partial=partial
    )
    if state_dict.is_torch_file(target):
        tensors = complete_state_dict(models.find(description["name"]), variables, weights, report)
        state_dict.write(target, tensors, weights.metadata | description)
    else:
        with state_dict.write_atomically(target) as directory:
            counters = _counters(weights, report)
            checkpoint_files.write_weights(directory, variables, description, counters, weights.metadata)
    return report


def load(
    weights: Weights, *, network="", skeleton="", colors="", codec="", partial=False
) -> tuple[dict[str, Any], dict[str, Any], loading.Report]:
    """Loads weights into the network that they are of, with the options of `convert`.

    Returns the description of the network as `models.describe`, its variables, and the report, with a note for
    each property that neither weights nor options tell. Raises ValueError, see `convert`.
    """
    weights = _with_codec(weights, codec)
    description, assumed = _describe(weights, network, skeleton, colors)
    if not partial and "joints" not in weights.description:
        _check_complete(weights.source, description)
    side = models.multiple(description)  # the smallest image will do
    variables = training.init_variables(loading.build(description), (side, side), seed=0)
    allow_missing = loading.ALL if partial else ()
    named = dataclasses.replace(weights, description={"joints": description["joints"]} | weights.description)
    variables, report = loading.initialize(variables, named, description, allow_missing=allow_missing)
    return description, variables, dataclasses.replace(report, notes=(*report.notes, *assumed))


def _with_codec(weights: Weights, codec: str) -> Weights:
    """Returns weights that name a codec. Raises ValueError if it is unknown, or weights name another one."""
    if not codec:
        return weights
    if codec not in codecs.CODECS:
        raise ValueError(f"--codec (={codec}) must be one of {', '.join(codecs.CODECS)}")
    named = {"codec": codec} if codecs.CODECS[codec].by_corners else {}
    if (known := loading.codec_of(weights)) not in (None, named.get("codec", codecs.ORIGINAL)):
        raise ValueError(f"--codec (={codec}) must be {known}, that of {weights.source!r}")
    return dataclasses.replace(weights, description=weights.description | named)


def complete_state_dict(
    network: models.Network, variables: Mapping[str, Any], weights: Weights, report: loading.Report
) -> dict[str, np.ndarray]:
    """Returns the tensors of a network as the authors' code saves them, in its order.

    Step counters, and tensors without effect that the code has in addition, are those of the weights or zeros.
    """
    tensors, counters = loading.to_pytorch(variables), _counters(weights, report)
    counts = {name: np.array(counters.get(name, 0), np.int64) for name in loading.counter_names(tensors)}
    dead = {name: _or_zeros(weights.tensors.get(name), zeros) for name, zeros in network.dead(tensors).items()}
    return _in_order(tensors | counts | dead, network.order)


def _or_zeros(tensor: np.ndarray | None, zeros: np.ndarray) -> np.ndarray:
    """Returns a tensor if it has the shape of zeros, else these."""
    return zeros if tensor is None or tensor.shape != zeros.shape else tensor


def _counters(weights: Weights, report: loading.Report) -> dict[str, int]:
    return {name: int(weights.tensors[name].item()) for name in report.loaded if name.endswith(COUNTER)}


def _describe(weights: Weights, network: str, skeleton: str, colors: str) -> tuple[dict[str, Any], list[str]]:
    """Returns the network as `models.describe`, and notes about what neither weights nor options tell."""
    names = [network] if network else list(models.NETWORKS)
    known = loading.infer(weights.tensors, names) | weights.description
    if known.get("name") not in names:  # a file must not name code to import
        found = repr(known["name"]) if "name" in known else f"one with {loading.listed(list(weights.tensors))}"
        raise ValueError(
            f"{weights.source!r} is not a complete network of {', '.join(names)}, but {found}: give a checkpoint"
            " of one of these, or name its network with --network"
        )
    if colors and known.get("colors", colors) != colors:
        raise ValueError(
            f"--colors (={colors}): the network in {weights.source!r} reads {known['colors']}; leave out --colors"
        )
    usual, assumed = models.find(known["name"]).fields["colors"].default, []
    count = len(joints := _joints(weights, models.find(known["name"]), skeleton))
    if not skeleton and "joints" not in known:
        trained_on = weights.trained_on and f" (the file says that it was trained on {weights.trained_on})"
        assumed.append(
            f"assuming the {count} joints of {_SKELETONS[count]!r}{trained_on}; otherwise give --skeleton"
        )
    if not colors and "colors" not in known:
        assumed.append(f"assuming {usual} input, as in the authors' release; otherwise give --colors")
    return known | {"colors": known.get("colors", colors or usual), "joints": joints}, assumed


def _joints(weights: Weights, network: models.Network, skeleton: str) -> list[str]:
    """Returns the names of the network's joints."""
    known, head = weights.description.get("joints"), network.head(weights.tensors)
    if skeleton:
        return list(skeletons.load(skeleton).joints)
    if known:
        return list(known)
    if head is None:
        raise ValueError(
            f"{weights.source!r} has no head for joints: to start training from it, give it to train.py as"
            " --config.init_from; to convert it anyway, give --partial and --skeleton"
        )
    maps = codecs.CODECS[weights.description.get("codec", codecs.ORIGINAL)].maps
    if len(head) % maps or len(head) // maps not in _SKELETONS:
        counts = " or ".join(f"{count} ({name})" for count, name in _SKELETONS.items())
        raise ValueError(
            f"{weights.source!r} finds {len(head)} joints, not {counts}: name them with --skeleton, a name such as"
            " crowdpose or a file, or give the --codec if joints have several heatmaps"
        )
    return list(skeletons.load(_SKELETONS[len(head) // maps]).joints)


def _check_complete(source: str, description: Mapping[str, Any]) -> None:
    """Raises ValueError for weights of a published network with other sizes. They are probably incomplete."""
    for published in models.find(description["name"]).published:
        identifying = next(iter(published))
        differ = [f"`{name}` is {description[name]}, not {size}" for name, size in published.items()
                  if description[name] != size]  # fmt: skip
        if differ and description[identifying] == published[identifying]:
            raise ValueError(
                f"{source!r} is not a complete {models.title(description)}: {'; '.join(differ)}; download or"
                " write it again, or if this is intended, load it as it is with --partial"
            )


def _in_order(tensors: Mapping[str, np.ndarray], order: Sequence[str]) -> dict[str, np.ndarray]:
    """Sorts tensors by the parts of their names. Unknown parts come last."""
    places = {part: (place, "") for place, part in enumerate((*order, *_LEAVES))}

    def place(name: str) -> list[tuple[int, str]]:
        parts = name.split(".")
        return [(int(part), "") if part.isdigit() else places.get(part, (len(places), part)) for part in parts]

    return {name: tensors[name] for name in sorted(tensors, key=place)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and converts."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.convert", description="Converts checkpoints.")
    parser.add_argument("source", metavar="SRC", help="a .pth or .safetensors file, a run directory or checkpoint")
    parser.add_argument(
        "target", metavar="DST", help="a name ending in .pth or .safetensors, or a directory; must not exist"
    )
    parser.add_argument(
        "--network",
        default="",
        help="`module:name` of a network outside this package; modules of the working directory are found",
    )
    parser.add_argument("--skeleton", default="", help="the joints: a name such as coco, or a JSON file")
    parser.add_argument("--colors", default="", choices=layers.COLORS, help="colour order of the network's input")
    parser.add_argument("--codec", default="", choices=codecs.CODECS, help="that the network was trained with")
    parser.add_argument("--partial", action="store_true", help="load the tensors that fit, initialise the others")
    parser.add_argument("--averaged", action="store_true", help="read the moving average of the weights")
    args = parser.parse_args(arguments)
    if args.network:
        sys.path.append(os.getcwd())
    options = {
        name: getattr(args, name) for name in ("network", "skeleton", "colors", "codec", "partial", "averaged")
    }
    print(f"{args.source} -> {args.target}\n{convert(args.source, args.target, **options)}")


if __name__ == "__main__":
    console.run(main)
