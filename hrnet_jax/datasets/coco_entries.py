"""Entries of COCO annotation files: photos and people, completed where other programs leave something out.

A person without `area` or `bbox` is given one (`complete`), as CrowdPose, AIC, PoseTrack and many annotation tools
need. Everything assumed is listed by a kind, see `ASSUMED`.
"""

import collections
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import plain_values
from hrnet_jax.datasets.identifiers import Numbering
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton

AREA_OF_BOX = 0.53  # of people's areas in COCO to those of their boxes: mean .528, median .537 over 154 people
MARGIN = 0.1  # of COCO's boxes around the joints, relative to their longer side: mean .094 over 100 people
MIN_BOXES = 10  # people with a box and half of the joints, from whom a data set's own margin is measured

CROWD_INDEX = "crowdIndex"  # CrowdPose's field of photos
POSETRACK = "posetrack"  # field that `posetrack_coco` gives photos and people
UNUSED = "unused"  # field of people: why they are neither trained on nor predicted, from readers of other forms

SizeOf = Callable[[str], tuple[int, int]]
"""Returns width and height of a photo by its file name, (0, 0) if they are unknown."""

ASSUMED = {
    "category_assumed": "no category is named 'person': the only one with as many joints as the skeleton is taken",
    "ids_numbered": "{count} ids are text or missing: inside, they are numbered in the file's order",
    "sizes_assumed": "{count} photos have no `width` and `height`: those of their files are taken",
    "areas_assumed": f"{{count}} people have no `area`: {AREA_OF_BOX} of the box's is taken, COCO's mean",
    "boxes_assumed": "{count} people have no `bbox`: that of their joints is taken, with a margin as of others",
    "boxes_reordered": "{count} boxes have a negative width or height: their corners are put in order",
    "categories_assumed": "{count} annotations have no `category_id`: the file's only category is taken",
    "names_shortened": "{count} names of photos lead to other folders: what these names share is taken off",
    "detections_boxes_reordered": "{count} detected boxes have a negative width or height, and are put in order",
}
"""What is assumed about entries, by kind. ``{count}`` is their number."""


def photo(entry: Any, where: str, ids: Numbering, size_of: SizeOf) -> tuple[Photo, bool]:
    """Reads an entry of `images`. Returns it, and whether its size is that of its file.

    Raises ValueError that begins with `where`.
    """
    photo_id = ids.number(entry, "id", where)
    name = validation.require(entry, "file_name", str, where).replace("\\", "/")  # as Windows writes paths
    file_name = validation.inner_path({"file_name": name}, "file_name", where)
    crowd_index = plain_values.real(entry, CROWD_INDEX, where) if CROWD_INDEX in entry else None
    more = ids.text(entry), crowd_index, entry.get(POSETRACK)
    sides = [entry.get(name) for name in ("width", "height")]
    if None in sides or not any(sides):
        return Photo(photo_id, file_name, *size_of(file_name), *more), True
    width, height = (plain_values.whole(entry, name, where) for name in ("width", "height"))
    limit = photo_records.MAX_SIDE
    if not 0 < width <= limit or not 0 < height <= limit:
        raise ValueError(f"{where}: `width` and `height` (={width}, {height}) must be positive, up to {limit}")
    return Photo(photo_id, file_name, width, height, *more), False


def person(entry: dict, skeleton: Skeleton, where: str) -> dict[str, Any]:
    """Returns the fields of a person that prepared splits keep; None for `bbox` and `area` to be completed."""
    joints = plain_values.keypoints(entry.get("keypoints"), skeleton.num_joints, f"{where}: `keypoints`")
    fields: dict[str, Any] = {"keypoints": joints, "bbox": None, "area": None}
    if entry.get("bbox") not in (None, []):
        fields["bbox"] = plain_values.numbers(entry["bbox"], 4, f"{where}: `bbox`")
    if entry.get("area") is not None:
        (fields["area"],) = plain_values.numbers([entry["area"]], 1, f"{where}: `area`")
    if "iscrowd" in entry:
        fields["iscrowd"] = plain_values.flag(entry, "iscrowd", where)
    if "num_keypoints" in entry:
        is_counted = entry["num_keypoints"] is not None and entry.get("keypoints")
        labelled = sum(mark > 0 for mark in joints[2::3])
        fields["num_keypoints"] = plain_values.whole(entry, "num_keypoints", where) if is_counted else labelled
    return fields


def complete(people: Collection[dict], photos: Mapping[int, Photo]) -> dict[str, list[int]]:
    """Fills in boxes and areas in place. Returns the ids of people for whom something is assumed, by kind."""
    assumed: dict[str, list[int]] = collections.defaultdict(list)
    incomplete = [entry for entry in people if entry["bbox"] is None or _is_blank(entry)]
    margin = _margin(people) if incomplete else MARGIN
    for entry in incomplete:
        box = _around_joints(entry["keypoints"], entry["area"] or 0, margin, photos[entry["image_id"]])
        if box is not None:
            entry.update(bbox=box, area=entry["area"] or None)
            assumed["boxes_assumed"].append(entry["id"])
        entry["bbox"] = entry["bbox"] or [0, 0, 0, 0]
    for entry in people:
        _, _, width, height = entry["bbox"]
        if min(width, height) < 0:
            entry["bbox"] = in_order(entry["bbox"])
            assumed["boxes_reordered"].append(entry["id"])
        if entry["area"] is None:
            entry["area"] = AREA_OF_BOX * abs(width * height)
            assumed["areas_assumed"] += [entry["id"]] * (entry["area"] > 0)
        elif entry["area"] < 0:  # as without area; OKS would be infinite
            entry["area"] = 0.0
    return dict(assumed)


def in_order(box: list[float]) -> list[float]:
    """Returns a box (x, y, width, height) with the upper left corner first."""
    x, y, width, height = box
    return [min(x, x + width), min(y, y + height), abs(width), abs(height)]


def _is_blank(entry: dict) -> bool:
    """Whether box and area are zero, as COCO Annotator and CVAT write them for joints alone."""
    return not all(entry["bbox"][2:]) and not entry["area"]


def _extent(keypoints: list[float]) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Returns the corners of the labelled joints and their longer side, or None without a joint."""
    joints = np.array(keypoints, np.float64).reshape(-1, 3)
    points = joints[joints[:, 2] > 0, :2]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    return low, high, float((high - low).max())


def _margin(people: Collection[dict]) -> float:
    """Returns the mean margin of the data set's boxes around most joints, relative to the joints' longer side."""
    margins = []
    for entry in people:
        labelled = sum(mark > 0 for mark in entry["keypoints"][2::3])
        if entry["bbox"] is None or min(entry["bbox"][2:]) <= 0 or 6 * labelled < len(entry["keypoints"]):
            continue
        low, high, side = _extent(entry["keypoints"]) or (0, 0, 0)
        if side:
            corner, size = np.split(np.array(entry["bbox"], np.float64), 2)
            margins.append(np.concatenate([low - corner, corner + size - high]).mean() / side)
    return max(0.0, float(np.median(margins))) if len(margins) >= MIN_BOXES else MARGIN


def _around_joints(keypoints: list[float], area: float, margin: float, photo: Photo) -> list[float] | None:
    """Returns the box of a person's joints within the photo, or None if neither joints nor area show a size."""
    if (extent := _extent(keypoints)) is None:
        return None
    low, high, side = extent
    if not side and area <= 0:
        return None
    low, high = low - margin * side, high + margin * side
    if area > np.prod(high - low):  # few joints: the person is larger
        low, high = _of_area(area / AREA_OF_BOX, low, high)
    low, high = np.maximum(low, 0), np.minimum(high, [photo.width or np.inf, photo.height or np.inf])
    return None if (high <= low).any() else [*low.tolist(), *(high - low).tolist()]


def _of_area(area: float, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of a box of this area, with the same centre and at most twice as long as wide."""
    centre, size = (low + high) / 2, high - low
    size = np.maximum(size, max(size.max() / 2, 1e-3))
    half = size * np.sqrt(area / size.prod()) / 2
    return centre - half, centre + half
