"""Annotations of made-up videos as PoseTrack18 has them.

Joints that another person hides and joints outside the photo are not labelled. The far arm of a walker is.
"""

import pathlib
from typing import Any

import cv2
import numpy as np

from hrnet_jax.datasets import posetrack18
from hrnet_jax.datasets.made_up import labels, scenes, streets

MIDDLE, STRIDE = 30, 4  # frames that PoseTrack's annotators labelled: 30 in the middle, every fourth elsewhere
GROWN = 1.3  # annotated box / tight box of the joints, as published
HEAD_WIDTH = 0.8  # relative to its height
LABELLED = [name for name in posetrack18.FILE_JOINTS if not name.endswith("ear")]
IDS_OF_PHOTO = 100  # numbers of annotations in a frame


def labelled_frames(frames: int, sparse: bool) -> np.ndarray:
    """Returns which frames are labelled, [F] bool: all, or those that PoseTrack's annotators chose for val."""
    rows, start = np.arange(frames), (frames - MIDDLE) // 2
    return (rows % STRIDE == 0) | ((rows >= start) & (rows < start + MIDDLE)) | (not sparse)


def image(
    name: pathlib.PurePath, image_id: int, frames: int, is_labelled: bool, regions: list[np.ndarray]
) -> dict[str, Any]:
    """Returns the entry of a frame, with polygons [P, 2] of its ignore regions if there are some."""
    entry = {
        "file_name": name.as_posix(),
        "id": image_id,
        "frame_id": image_id,
        "vid_id": name.parent.name.partition("_")[0],
        "nframes": frames,
        "is_labeled": is_labelled,
        "has_no_densepose": True,
    }
    if is_labelled and regions:
        corners = [np.round(region).astype(int).T.tolist() for region in regions]
        entry |= {f"ignore_regions_{axis}": [polygon[row] for polygon in corners] for row, axis in enumerate("xy")}
    return entry


def annotate(frame: streets.Frame, image_id: int) -> list[dict[str, Any]]:
    """Returns the annotations of the people with a labelled joint."""
    found = []
    for row, number in enumerate(frame.numbers):
        keypoints = _keypoints(frame.scene, row)
        tight = keypoints[keypoints[:, 2] > 0, :2]
        if len(tight):
            low, high = tight.min(axis=0), tight.max(axis=0)
            corner, sides = (low + high) / 2 - GROWN * (high - low) / 2, GROWN * (high - low)
            found.append(
                {
                    "id": image_id * IDS_OF_PHOTO + len(found),
                    "image_id": image_id,
                    "category_id": 1,
                    "track_id": number,
                    "keypoints": keypoints.ravel().tolist(),
                    "scores": [],
                    "bbox": np.round([*corner, *sides], 2).tolist(),
                    "bbox_head": _head(frame.scene.people[row]),
                }
            )
    return found


def _keypoints(scene: scenes.Scene, row: int) -> np.ndarray:
    """Returns the joints [17, 3] of a person, zero where they are not labelled."""
    height, width = scene.owner.shape
    keypoints = np.zeros((len(posetrack18.FILE_JOINTS), 3))
    for name in LABELLED:
        x, y, _ = scene.people[row].joint(name)
        column, line = round(x), round(y)
        is_inside = 0 <= column < width and 0 <= line < height
        if is_inside and labels.is_uncovered(scene, row, column, line):
            keypoints[posetrack18.FILE_JOINTS.index(name)] = round(x, 2), round(y, 2), 1
    return keypoints


def _head(person: scenes.Person) -> list[float]:
    """Returns the box of a head, from its bottom to its top."""
    bottom, top = (person.joint(f"head_{end}")[:2] for end in ("bottom", "top"))
    tall = float(np.linalg.norm(bottom - top))
    x, y = (bottom + top) / 2 - [HEAD_WIDTH * tall / 2, tall / 2]
    return np.round([x, y, HEAD_WIDTH * tall, tall], 2).tolist()


def boxes(scene: scenes.Scene) -> np.ndarray:
    """Returns boxes [N, 4] (x, y, width, height) of the visible parts of people, except very small ones."""
    masks = [(scene.owner == number).astype(np.uint8) for number in range(1, len(scene.people) + 1)]
    found = [cv2.boundingRect(mask) for mask in masks if cv2.countNonZero(mask) >= labels.MIN_AREA]
    return np.array(found, np.float64).reshape(-1, 4)


def content(images: list[dict], annotations: list[dict], description: str) -> dict[str, Any]:
    """Returns the content of a sequence's file."""
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": posetrack18.FILE_JOINTS}
    return {
        "info": {"description": description},
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }
