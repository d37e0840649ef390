"""Boxes of people: the whole photo, a file of boxes, a detector, or a function of the user.

A detector is any callable ``photo [H, W, 3] uint8 RGB -> (boxes [N, 4] x, y, width, height in photo pixels,
scores [N])``. Inside the package, boxes are found by the photo's path, too; see `Finder`.
"""

import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from hrnet_jax.predict.box_files import FileBoxes, Found
from hrnet_jax.skeletons import Skeleton

Detector = Callable[[np.ndarray], Found]

Finder = Callable[[str, np.ndarray], Found]
"""(path, photo) -> boxes and scores."""

WHOLE = "whole"


def open_finder(
    boxes: str | os.PathLike | Detector,
    skeleton: Skeleton,
    *,
    images: str | os.PathLike | None = None,
    kind: str | None = None,
    box_score: float | None = None,
) -> tuple[Finder, str]:
    """Opens a source of boxes.

    Args:
      boxes: ``"whole"``, a file of boxes named ``.json`` (see `FileBoxes`), a detector's network named ``.onnx``,
        or a detector.
      skeleton: of the network, for COCO's annotation files.
      images: a COCO annotation file whose ``images`` name the photos of a file of boxes.
      kind: of the network of a detector, if its outputs do not tell it.
      box_score: boxes of lower score are left out. The default is 0.3 for a detector's network, otherwise 0.

    Returns:
      The finder, and one line about it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is none of these, or the file is unreadable.
    """
    if callable(boxes):
        return _at_least(_of_detector(boxes), box_score), "boxes: from a function"
    name = os.fspath(boxes)
    if name == WHOLE:
        return whole, (
            "boxes: each photo is taken as one person; for several people give --boxes DETECTOR.onnx or BOXES.json"
        )
    suffix = pathlib.PurePath(name).suffix.lower()
    if suffix == ".json":
        found = FileBoxes(name, skeleton, images, -np.inf if box_score is None else box_score)
        return found, f"boxes: {found}"
    if suffix == ".onnx":
        from hrnet_jax.predict import detector  # needs OpenCV's dnn or onnxruntime

        threshold = {} if box_score is None else {"threshold": box_score}
        opened = detector.open_detector(name, kind, **threshold)
        return _of_detector(opened), f"boxes: {opened}"
    raise ValueError(f"--boxes (={name}) must be {WHOLE!r}, a file named .json or .onnx, or in Python a function")


def whole(path: str, photo: np.ndarray) -> Found:
    """Takes the photo as one person."""
    height, width = photo.shape[:2]
    return np.array([[0, 0, width, height]], np.float64), np.ones(1)


def check(found: Any) -> Found:
    """Returns boxes as float64, of which those without a size are left out. Raises ValueError for other arrays."""
    boxes, scores = (np.asarray(array, np.float64) for array in found)
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.shape != (len(scores), 4) or scores.ndim != 1 or not np.isfinite(boxes).all():
        shapes = f"{list(boxes.shape)} and {list(scores.shape)}"
        raise ValueError(f"a detector must return finite boxes [N, 4] and scores [N], but returned {shapes}")
    has_size = (boxes[:, 2:].min(axis=1, initial=np.inf) >= 0) & (boxes[:, 2:].max(axis=1, initial=0) > 0)
    return boxes[has_size], scores[has_size]


def _of_detector(detector: Detector) -> Finder:
    """Returns the finder of a detector. It is called by one thread at a time: it may not be made for several."""
    lock = threading.Lock()

    def find(path: str, photo: np.ndarray) -> Found:
        with lock:
            return detector(photo)

    return find


def _at_least(find: Finder, box_score: float | None) -> Finder:
    if box_score is None:
        return find

    def find_confident(path: str, photo: np.ndarray) -> Found:
        boxes, scores = check(find(path, photo))
        return boxes[scores >= box_score], scores[scores >= box_score]

    return find_confident
