"""Makes predictors from trained networks."""

import os
from collections.abc import Sequence
from typing import Any

import jax

from hrnet_jax import console, models, sharding
from hrnet_jax.export import trained
from hrnet_jax.predict import network, photos
from hrnet_jax.predict.boxes import WHOLE, Detector, open_finder
from hrnet_jax.predict.predictor import NMS_THRESHOLD, Predictor

PEOPLE_PER_DEVICE = {"cpu": 4}
"""People of a batch on each device by platform. Larger batches are not faster on CPUs, only later."""

OTHERWISE_PER_DEVICE = 32


def load(
    source: str | os.PathLike,
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
    devices: Sequence[Any] | None = None,
    **options: Any,
) -> Predictor:
    """Makes a predictor from a trained network.

    Compiled programs are kept between starts, in the user's cache unless JAX's cache is configured.

    Args:
      source: a run directory, one of its checkpoints, or a PyTorch or ``.safetensors`` file of this project, the
        authors or mmpose.
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
      devices: to run on; all of this process by default.
      **options: what the source does not tell, or to predict in another way: `image_size` (height, width),
        `skeleton`, `colors`, `network`, `flip_test`, `decoder`, `averaged`; see `export.trained.load`.

    Raises:
      FileNotFoundError: there is no such source, or no file of boxes.
      ValueError: it cannot be read, or does not tell enough; the message names the option to give.
    """
    console.enable_compilation_cache()
    mesh = sharding.make_mesh(devices or jax.local_devices())
    per_device = PEOPLE_PER_DEVICE.get(mesh.devices.flat[0].platform, OTHERWISE_PER_DEVICE)
    size = batch_size or per_device * mesh.size
    sharding.check_batch_size("batch_size", size, 1, mesh)
    opened = trained.load(source, **options)
    skeleton = opened.settings.skeleton
    find_boxes, about = open_finder(boxes, skeleton, images=images, kind=detector_kind, box_score=box_score)
    return Predictor(
        network=network.compile_network(opened, mesh, dtype),
        find_boxes=find_boxes,
        batch_size=size,
        threads=threads,
        max_pixels=max_pixels,
        nms_threshold=nms_threshold,
        notes=(_describe(opened), *opened.report.notes, about),
    )


def _describe(opened: trained.Trained) -> str:
    """Returns a line about a network."""
    settings, joints = opened.settings, opened.settings.skeleton
    height, width = settings.image_size
    how = f"{height}x{width}, {settings.decoder} decoder, {'' if settings.flip_test else 'no '}flip test"
    return (
        f"{models.title(opened.network)}, {joints.num_joints} joints ({joints.name}), {how}, from {opened.source}"
    )
