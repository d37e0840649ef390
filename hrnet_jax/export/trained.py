"""Opens trained networks with everything that a prediction depends on."""

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flax import linen as nn

from hrnet_jax import buckets, checkpoint_files, codecs, configuration, convert, models, skeletons
from hrnet_jax.export.description import OF_PHOTOS, Settings, from_json
from hrnet_jax.models import layers
from hrnet_jax.run import directory
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.torch_interop import loading, state_dict

_FIELDS = {"image_size": "image_size", "flip_test": "eval.flip_test", "flip_shift": "eval.flip_shift",
           "decoder": "eval.decoder", "codec": "codec", "averaged": "eval.averaged",
           "scales": "eval.scales", "rotations": "eval.rotations"}  # fmt: skip
"""Name of a setting -> the field of a run's configuration that it is from."""

_SIZE = re.compile(r"(?<!\d)(\d{2,4})x(\d{2,4})(?!\d)")
_SIDE = re.compile(r"(?<=_)(\d{3,4})(?![\dA-Za-z])")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with its weights.

    Attributes:
      source: the path it was read from.
      network: its description, see `models.describe`.
      model: the network in float32.
      variables: its ``params`` and ``batch_stats``.
      settings: of predictions with it.
      tensors: its weights by PyTorch's names and in PyTorch's layout.
      run: the run directory that the weights come from, or None.
      as_evaluated: whether these are the weights of the run, and the settings, that `eval.py` evaluates.
      report: the report of loading.
      of_photos: how the run finds people in whole photos, by the names in `OF_PHOTOS`. Empty for other networks,
        and if there is no run.
    """

    source: str
    network: dict[str, Any]
    model: nn.Module
    variables: dict[str, Any]
    settings: Settings
    tensors: dict[str, Any]
    run: buckets.Path | None
    as_evaluated: bool
    report: loading.Report
    of_photos: dict[str, Any] = dataclasses.field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Returns the description for an exported file."""
        return self.network | self.settings.to_json()


def load(
    source: str | os.PathLike,
    *,
    image_size: tuple[int, int] | None = None,
    flip_test: bool | None = None,
    decoder: str = "",
    network: str = "",
    skeleton: str = "",
    colors: str = "",
    codec: str = "",
    averaged: bool = False,
) -> Trained:
    """Opens a run directory, a checkpoint, a PyTorch or a ``.safetensors`` file.

    Args:
      source: path for `loading.read`.
      image_size: (height, width) of the crops. The default is that of the run or of the file's description.
      flip_test: whether to average with the mirrored image. The default is likewise, or True.
      decoder: a key of `heatmap.DECODERS`. The default is likewise, or ``"quarter"``.
      network: name of a network outside this package.
      skeleton: name or file of the joints.
      colors: colour order of the network's input.
      codec: a key of `codecs.CODECS`. The default is that of the run or of the file's description.
      averaged: read the moving average of a run's weights.

    Raises:
      FileNotFoundError: there is no such source.
      ValueError: the source is unreadable or of an unknown network, or the image size is not known.
    """
    weights = loading.read(source, averaged)
    description, variables, report = convert.load(
        weights, network=network, skeleton=skeleton, colors=colors, codec=codec
    )
    run = None if state_dict.is_torch_file(source) else _run_of(buckets.path(source))
    known = _of_run(run) if run else weights.metadata
    given = {"image_size": image_size and list(image_size), "flip_test": flip_test}
    given |= {"decoder": decoder or None, "codec": codec or None}
    chosen = {name: value for name, value in given.items() if value is not None}
    usual = {"flip_test": True, "flip_shift": 1.0, "decoder": "quarter"}
    fields = usual | {"codec": description.get("codec", codecs.ORIGINAL), **known, **chosen}
    if "image_size" not in fields:
        fields["image_size"], note = _size_in_name(weights.source, models.find(description["name"]).bottom_up)
        report = dataclasses.replace(report, notes=(*report.notes, note))
    joints = _skeleton(skeleton, known.get("skeleton"), description["joints"], weights.source)
    settings = from_json(fields | {"skeleton": skeletons.to_json(joints)}, weights.source)
    layers.check_image_size(settings.image_size, models.multiple(description))
    tensors = convert.complete_state_dict(models.find(description["name"]), variables, weights, report)
    model = loading.build(description)
    as_evaluated = run is not None and checkpoint_files.find(source) == checkpoint_files.find(run)
    as_evaluated &= all(known.get(name) == value for name, value in (chosen | {"averaged": averaged}).items())
    as_evaluated &= len(known.get("scales", [1])) == len(known.get("rotations", [0])) == 1  # one view, as here
    of_photos = {name: known[name] for name in OF_PHOTOS if run and name in known}
    return Trained(
        weights.source, description, model, variables, settings, tensors, run, as_evaluated, report, of_photos
    )


def _size_in_name(source: str, bottom_up: bool) -> tuple[list[int], str]:
    """Returns the image size in a file name such as ``pose_hrnet_w32_256x192.pth``, and a note about it.

    Names of networks for whole photos have one number, ``pose_higher_hrnet_w32_512.pth``. The files of the authors
    and mmpose tell it nowhere else. Raises ValueError if the name does not.
    """
    name, usual = os.path.basename(source), "512" if bottom_up else "256x192"
    found = _SIZE.search(name) or (_SIDE.search(name) if bottom_up else None)
    if not found:
        raise ValueError(f"{source!r} does not tell the size of its images: give --image_size {usual}")
    note = f"assuming images of {found[0]}, from the name of the file; otherwise give --image_size"
    return [int(found[1]), int(found[found.lastindex or 1])], note


def _run_of(checkpoint: buckets.Path) -> buckets.Path | None:
    """Returns the run directory of a checkpoint ``RUN/checkpoints/best/1000``, or of a folder on the way to it."""
    absolute = buckets.absolute(checkpoint)
    above = [folder.parent for folder in (absolute, *absolute.parents) if folder.name == "checkpoints"]
    return next((folder for folder in (absolute, *above[:1]) if (folder / directory.CONFIG).is_file()), None)


def _of_run(run: buckets.Path) -> dict[str, Any]:
    """Returns the settings in a run's configuration. Raises ValueError if it is damaged."""
    path = run / directory.CONFIG
    try:
        config = configuration.flatten(json.loads(path.read_text()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error!s:.200}): restore it, or give one of its checkpoints"
        ) from error
    named = _FIELDS | {name: f"eval.{name}" for name in OF_PHOTOS}
    found = {"averaged": False} | {name: config[field] for name, field in named.items() if field in config}
    return found | {"skeleton": config.get("skeleton")}


def _skeleton(given: str, known: Any, joints: list[str], source: str) -> Skeleton:
    """Returns the skeleton with these joints: the given one, that of the run or description, or a built-in one."""
    candidates = [skeletons.load(given)] if given else [*_read(known, source), *skeletons.SKELETONS.values()]
    for skeleton in candidates:
        if list(skeleton.joints) == joints:
            return skeleton
    raise ValueError(
        f"{source!r} does not tell limbs and flip pairs of its {len(joints)} joints ({loading.listed(joints)}):"
        " give --skeleton FILE"
    )


def _read(known: Any, source: str) -> Iterator[Skeleton]:
    """Yields the skeleton of a description, or the one that a run's configuration names if it is still there."""
    if isinstance(known, Mapping):
        yield skeletons.from_json(known, f"{source}: `skeleton`")
    elif isinstance(known, str) and (known in skeletons.SKELETONS or os.path.isfile(known)):
        yield skeletons.load(known)
