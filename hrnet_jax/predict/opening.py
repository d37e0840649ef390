"""Makes predictors from trained networks."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax.sharding import Mesh

from hrnet_jax import augment, console, sharding, views
from hrnet_jax.export import runtimes
from hrnet_jax.export.description import HEADS, JOINTS, OF_PHOTOS, Settings, from_json
from hrnet_jax.predict import photos
from hrnet_jax.predict.box_predictor import NMS_THRESHOLD, BoxPredictor
from hrnet_jax.predict.boxes import WHOLE, Detector, open_finder
from hrnet_jax.predict.network import Network, make_network
from hrnet_jax.predict.predictor import Predictor

if TYPE_CHECKING:
    from hrnet_jax.export.trained import Trained  # Flax is not needed for programs

PEOPLE_PER_DEVICE = {"cpu": 4}
"""People of a batch on each device by platform. Larger batches are not faster on CPUs, only later."""

OTHERWISE_PER_DEVICE = 32

_AFTER_HEATMAPS = ("flip_test", "decoder")  # options that a program of heatmaps leaves open


def default_batch_size(mesh: Mesh) -> int:
    """Returns the people of a batch for the devices of a mesh."""
    return mesh.size * PEOPLE_PER_DEVICE.get(mesh.devices.flat[0].platform, OTHERWISE_PER_DEVICE)


Source = str | os.PathLike
"""Path of a trained network or exported program."""


def load(
    source: Source | Sequence[Source],
    boxes: str | os.PathLike | Detector = WHOLE,
    *,
    images: str | os.PathLike | None = None,
    detector_kind: str | None = None,
    box_score: float | None = None,
    batch_size: int = 0,
    threads: int = 4,
    max_pixels: int = photos.MAX_PIXELS,
    nms_threshold: float | None = None,
    dtype: str = "float32",
    scales: Sequence[float] = (1.0,),
    rotations: Sequence[float] = (0.0,),
    devices: Sequence[Any] | None = None,
    **options: Any,
) -> Predictor:
    """Makes a predictor from a trained network.

    Compiled programs are kept between starts, in the user's cache unless JAX's cache is configured.

    Args:
      source: a run directory, one of its checkpoints, a PyTorch or ``.safetensors`` file of this project, the
        authors or mmpose, or an exported program, ``.onnx`` or ``.stablehlo``. Several are an ensemble: their
        heatmaps are averaged.
      boxes: the people: ``"whole"`` (each photo is one person), a file named ``.json`` or ``.onnx``, or a function
        ``photo -> (boxes [N, 4] x, y, width, height, scores [N])``; see `boxes.open_finder`. Bottom-up networks
        find everyone in a photo by themselves. They take no boxes and none of `detector_kind`, `nms_threshold` and
        `rotations`.
      images: a COCO annotation file that names the photos of `boxes`.
      detector_kind: of an ``.onnx`` file, if its outputs do not tell it.
      box_score: boxes, or people found without, of lower score are left out. Default: 0.3 for an ``.onnx`` file,
        otherwise 0.
      batch_size: people that the network gets at a time, or photos if it is bottom-up, over all devices. 0 chooses
        by the kind of device.
      threads: that read photos while the network runs.
      max_pixels: larger photos are refused.
      nms_threshold: OKS above which the lower-scored of two people in a photo is left out; 1 keeps all. The
        default is 0.9.
      dtype: of the activations, ``"float32"`` or ``"bfloat16"``.
      scales: sizes of the person in crops whose heatmaps are averaged, 1 among them; see `views.make`. For
        bottom-up networks, sizes of the photo.
      rotations: likewise, degrees, 0 among them.
      devices: to run on; all of this process by default.
      **options: what the source does not tell, or to predict in another way: `image_size` (height, width),
        `skeleton`, `colors`, `codec`, `network`, `flip_test`, `decoder`, `averaged`; see `export.trained.load`.
        For bottom-up networks also `full_size`, `adjust`, `refine`, `joint_threshold`, `tag_threshold`,
        `most_people`; see `hrnet_jax.configuration`.

    Raises:
      FileNotFoundError: there is no such source, or no file of boxes.
      ValueError: it cannot be read, or does not tell enough; the message names the option to give.
    """
    for name, value in {"batch_size": batch_size, "threads": threads}.items():
        if value < 0:
            raise ValueError(f"`{name}` (={value}) must be at least 0")
    console.enable_compilation_cache()
    mesh = sharding.make_mesh(devices or jax.local_devices())
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    reading = {"threads": threads, "max_pixels": max_pixels}
    members = _read(sources, options)
    if members and _is_bottom_up(members):
        from hrnet_jax.predict import photo_opening

        given = {"boxes": boxes, "detector_kind": detector_kind, "nms_threshold": nms_threshold}
        given |= {"rotations": tuple(rotations), **options}
        return photo_opening.make(
            members[0],
            mesh,
            given,
            batch_size=batch_size,
            dtype=dtype,
            scales=tuple(scales),
            person_score=box_score or 0.0,
            **reading,
        )
    size = batch_size or default_batch_size(mesh)
    sharding.check_batch_size("batch_size", size, 1, mesh)
    network, notes = _open(sources, members, options, mesh, dtype, views.make(scales, rotations))
    joints = network.skeleton
    find_boxes, about = open_finder(boxes, joints, images=images, kind=detector_kind, box_score=box_score)
    return BoxPredictor(
        network=network,
        find_boxes=find_boxes,
        batch_size=size,
        nms_threshold=NMS_THRESHOLD if nms_threshold is None else nms_threshold,
        notes=(*notes, about),
        **reading,
    )


def _programs(sources: Sequence[Source]) -> list[Source]:
    """Returns those that are exported programs."""
    return [s for s in sources if pathlib.PurePath(s).suffix in (runtimes.ONNX, runtimes.STABLEHLO)]


def _read(sources: Sequence[Source], options: Mapping[str, Any]) -> "list[Trained]":
    """Reads checkpoints; none if there is a program."""
    if _programs(sources):
        return []
    from hrnet_jax.export import trained

    general = {name: value for name, value in options.items() if name not in OF_PHOTOS}
    return [trained.load(source, **general) for source in sources]


def _is_bottom_up(members: "Sequence[Trained]") -> bool:
    from hrnet_jax.predict import photo_opening

    return photo_opening.is_bottom_up(members)


def _open(
    sources: Sequence[Source],
    members: "Sequence[Trained]",
    options: Mapping[str, Any],
    mesh: Mesh,
    dtype: str,
    chosen: Sequence[augment.Draw],
) -> tuple[Network, list[str]]:
    """Opens a network or an ensemble. Returns it and lines about it and what was assumed."""
    if (programs := _programs(sources)) and (chosen or len(sources) > 1):
        raise ValueError(
            f"{os.fspath(programs[0])} is an exported program, which predicts alone and one crop of a person: give"
            " checkpoints for ensembles, scales and rotations"
        )
    if programs:
        return _open_program(sources[0], options, dtype)
    from hrnet_jax import models
    from hrnet_jax.predict import compiled, photo_opening

    photo_opening.check_boxes(members[0], options)
    notes = []
    for member in members:
        notes += [_describe(models.title(member.network), member.settings, member.source), *member.report.notes]
    return compiled.compile_network(members, mesh, dtype, chosen), notes


def _open_program(source: str | os.PathLike, options: Mapping[str, Any], dtype: str) -> tuple[Network, list[str]]:
    """Opens an exported program, which has its settings inside. What follows its heatmaps may be chosen anew.

    Raises ValueError if other settings are given, or the program is of a bottom-up network.
    """
    program = runtimes.open_program(source)
    if program.output == HEADS:
        raise ValueError(
            f"{os.fspath(source)} is the program of a network that finds everyone in a photo, for images of one"
            " size: give its checkpoint"
        )
    given = {name: value for name, value in options.items() if value or (value is False and name != "averaged")}
    given |= {name: value for name, value in options.items() if name in OF_PHOTOS and value is not None}
    given |= {"dtype": dtype} if dtype != "float32" else {}
    if fixed := [name for name in given if program.output == JOINTS or name not in _AFTER_HEATMAPS]:
        raise ValueError(
            f"{os.fspath(source)} has its own `{fixed[0]}`: leave out --{fixed[0]}, or export it again"
        )
    settings = from_json(program.settings.to_json() | given, os.fspath(source))
    run = dataclasses.replace(program, settings=settings).step()
    network = make_network(lambda *batch: run(None, *batch), settings, has_heatmaps=False)
    return network, [_describe("exported program", settings, source)]


def _describe(title: str, settings: Settings, source: str | os.PathLike) -> str:
    """Returns a line about a network."""
    joints, (height, width) = settings.skeleton, settings.image_size
    flip_test = f"{'' if settings.flip_test else 'no '}flip test"
    how = f"{height}x{width}, {settings.reading}, {flip_test}"
    return f"{title}, {joints.num_joints} joints ({joints.name}), {how}, from {os.fspath(source)}"
