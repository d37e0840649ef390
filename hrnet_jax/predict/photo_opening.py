"""Makes predictors of whole photos from trained bottom-up networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from hrnet_jax import models, sharding
from hrnet_jax.export.description import OF_PHOTOS
from hrnet_jax.export.trained import Trained
from hrnet_jax.predict import photo_network
from hrnet_jax.predict.boxes import WHOLE
from hrnet_jax.predict.photo_predictor import PhotoPredictor

PHOTOS_PER_DEVICE = {"cpu": 1}
"""Photos of a batch on each device by platform. Larger batches are not faster on CPUs, only later."""

OTHERWISE_PER_DEVICE = 8

_OF_BOXES = {
    "boxes": (WHOLE,),
    "detector_kind": (None,),
    "nms_threshold": (None, 1),
    "rotations": ((0,),),
    "decoder": (None, ""),
    "codec": (None, ""),
}
"""Options that a bottom-up network does not take, and their values that ask for nothing."""


def is_bottom_up(members: Sequence[Trained]) -> bool:
    """Whether a network finds all people of a photo. Raises ValueError if it is one of several."""
    found = [member.source for member in members if models.find(member.network["name"]).bottom_up]
    if found and len(members) > 1:
        raise ValueError(
            f"{found[0]!r} is one of {len(members)} checkpoints, but it finds everyone in a photo by tags, and"
            " those of different networks do not agree: give one"
        )
    return bool(found)


def check_boxes(member: Trained, options: Mapping[str, Any]) -> None:
    """Raises ValueError if an option of bottom-up networks is given for a network that needs boxes."""
    for name in OF_PHOTOS:
        if options.get(name) is not None:
            raise ValueError(
                f"--{name} (={options[name]}) is for networks that find everyone in a photo, and"
                f" {member.source!r} is for one person in a crop: leave out --{name}"
            )


def make(
    member: Trained,
    mesh: Mesh,
    options: Mapping[str, Any],
    *,
    batch_size: int,
    dtype: str,
    scales: Sequence[float],
    **reading: Any,
) -> PhotoPredictor:
    """Makes the predictor of a bottom-up network.

    Args:
      member: the network.
      mesh: of devices.
      options: of `opening.load`, also those that are not for bottom-up networks.
      batch_size: photos at a time, 0 to choose by the kind of device.
      dtype: of the activations.
      scales: of the images.
      **reading: `person_score`, `threads` and `max_pixels` of the predictor.

    Raises:
      ValueError: an option is wrong, or not for bottom-up networks.
    """
    _check_options(member, options)
    platform = mesh.devices.flat[0].platform
    size = batch_size or mesh.size * PHOTOS_PER_DEVICE.get(platform, OTHERWISE_PER_DEVICE)
    sharding.check_batch_size("batch_size", size, 1, mesh)
    chosen = {name: options[name] for name in OF_PHOTOS if options.get(name) is not None}
    network = photo_network.compile_photo_network(member, mesh, size, dtype=dtype, scales=scales, options=chosen)
    notes = (_describe(member, network), *member.report.notes, "boxes: not needed, the network finds everyone")
    return PhotoPredictor(network, notes=notes, **reading)


def _check_options(member: Trained, options: Mapping[str, Any]) -> None:
    """Raises ValueError for an option that means nothing to a bottom-up network."""
    for name, nothing in _OF_BOXES.items():
        value = options.get(name, nothing[0])
        value = tuple(value) if isinstance(value, list) else value
        if value not in nothing:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            raise ValueError(
                f"--{name} (={shown}) is for people in boxes, and {member.source!r} finds everyone in a photo"
                f" without boxes: leave out --{name}, or give a network for one person in a crop"
            )


def _describe(member: Trained, network: photo_network.PhotoNetwork) -> str:
    """Returns a line about a network."""
    settings, joints = network.settings, network.settings.skeleton
    scales = f", scales {', '.join(map(str, settings.scales))}" * (len(settings.scales) > 1)
    filled = "filled" if settings.refine else "left out"
    how = f"short side {settings.input_size}{scales}, {'' if settings.flip_test else 'no '}flip test"
    return (
        f"{models.title(member.network)}, {joints.num_joints} joints ({joints.name}), whole photos, {how}, missing"
        f" joints {filled}, from {member.source}"
    )
