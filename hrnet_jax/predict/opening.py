"""Makes predictors from trained networks."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from hrnet_jax import augment, console, sharding, views
from hrnet_jax.export import runtimes
from hrnet_jax.export.description import JOINTS, Settings, from_json
from hrnet_jax.predict import photos
from hrnet_jax.predict.boxes import WHOLE, Detector, open_finder
from hrnet_jax.predict.network import Network, make_network
from hrnet_jax.predict.predictor import NMS_THRESHOLD, Predictor

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
    nms_threshold: float = NMS_THRESHOLD,
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
        ``photo -> (boxes [N, 4] x, y, width, height, scores [N])``; see `boxes.open_finder`.
      images: a COCO annotation file that names the photos of `boxes`.
      detector_kind: of an ``.onnx`` file, if its outputs do not tell it.
      box_score: boxes of lower score are left out. Default: 0.3 for an ``.onnx`` file, otherwise 0.
      batch_size: people that the network gets at a time, over all devices. 0 chooses by the kind of device.
      threads: that read photos while the network runs.
      max_pixels: larger photos are refused.
      nms_threshold: OKS above which the lower-scored of two people in a photo is left out; 1 keeps all.
      dtype: of the activations, ``"float32"`` or ``"bfloat16"``.
      scales: sizes of the person in crops whose heatmaps are averaged, 1 among them; see `views.make`.
      rotations: likewise, degrees, 0 among them.
      devices: to run on; all of this process by default.
      **options: what the source does not tell, or to predict in another way: `image_size` (height, width),
        `skeleton`, `colors`, `codec`, `network`, `flip_test`, `decoder`, `averaged`; see `export.trained.load`.

    Raises:
      FileNotFoundError: there is no such source, or no file of boxes.
      ValueError: it cannot be read, or does not tell enough; the message names the option to give.
    """
    for name, value in {"batch_size": batch_size, "threads": threads}.items():
        if value < 0:
            raise ValueError(f"`{name}` (={value}) must be at least 0")
    console.enable_compilation_cache()
    mesh = sharding.make_mesh(devices or jax.local_devices())
    size = batch_size or default_batch_size(mesh)
    sharding.check_batch_size("batch_size", size, 1, mesh)
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    network, notes = _open(sources, options, mesh, dtype, views.make(scales, rotations))
    joints = network.skeleton
    find_boxes, about = open_finder(boxes, joints, images=images, kind=detector_kind, box_score=box_score)
    return Predictor(
        network=network,
        find_boxes=find_boxes,
        batch_size=size,
        threads=threads,
        max_pixels=max_pixels,
        nms_threshold=nms_threshold,
        notes=(*notes, about),
    )


def _open(
    sources: Sequence[Source], options: dict[str, Any], mesh: Mesh, dtype: str, chosen: Sequence[augment.Draw]
) -> tuple[Network, list[str]]:
    """Opens a network or an ensemble. Returns it and lines about it and what was assumed."""
    programs = [s for s in sources if pathlib.PurePath(s).suffix in (runtimes.ONNX, runtimes.STABLEHLO)]
    if programs and (chosen or len(sources) > 1):
        raise ValueError(
            f"{os.fspath(programs[0])} is an exported program, which predicts alone and one crop of a person: give"
            " checkpoints for ensembles, scales and rotations"
        )
    if programs:
        return _open_program(sources[0], options, dtype)
    from hrnet_jax import models  # Flax is not needed for programs
    from hrnet_jax.export import trained
    from hrnet_jax.predict import compiled

    members = [trained.load(source, **options) for source in sources]
    notes = []
    for source, opened in zip(sources, members, strict=True):
        notes += [_describe(models.title(opened.network), opened.settings, source), *opened.report.notes]
    return compiled.compile_network(members, mesh, dtype, chosen), notes


def _open_program(source: str | os.PathLike, options: dict[str, Any], dtype: str) -> tuple[Network, list[str]]:
    """Opens an exported program, which has its settings inside. What follows its heatmaps may be chosen anew.

    Raises ValueError if other settings are given.
    """
    program = runtimes.open_program(source)
    given = {name: value for name, value in options.items() if value or (name, value) == ("flip_test", False)}
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
