"""The JSON of PoseTrack 2018 and 2021: COCO's ``images``, ``annotations`` and ``categories``, with track ids."""

import collections
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import plain_values, posetrack
from hrnet_jax.datasets.posetrack import JOINTS, NO_SCORE, Frame, Person
from hrnet_jax.skeletons import COCO

FILE_JOINTS = tuple({"left_eye": "head_bottom", "right_eye": "head_top"}.get(name, name) for name in COCO.joints)
"""The joints in files: COCO's, with the ends of the head in place of the eyes. Ears are never labelled."""


def frames(content: dict[str, Any], path: str) -> Iterator[Frame]:
    """Yields the frames of a file, in the order of `images`. Raises ValueError that begins with `path`."""
    names = _joint_names(content, path)
    rows: dict[int, int] = {}
    for row, entry in enumerate(validation.require(content, "images", list, path)):
        image_id = plain_values.whole(entry, "id", f"{path}: images[{row}]")
        if image_id in rows:
            raise ValueError(f"{path}: images[{row}] has the `id` {image_id} of images[{rows[image_id]}] again")
        rows[image_id] = row
    people = collections.defaultdict(list)
    for row, entry in enumerate(validation.require(content, "annotations", list, path)):
        where = f"{path}: annotations[{row}]"
        image_id = plain_values.whole(entry, "image_id", where)
        if image_id not in rows:
            raise ValueError(
                f"{where}: `image_id` (={image_id}) is none of the {len(rows)} `images` of this file, such as"
                f" {next(iter(rows), None)}: list all frames of the sequence, with the ids of the ground truth"
            )
        people[image_id].append(_person(entry, names, where))
    for image_id, row in rows.items():
        yield _frame(content["images"][row], image_id, people[image_id], f"{path}: images[{row}]")


def _joint_names(content: dict[str, Any], path: str) -> list[str]:
    """Returns the names of the file's joints. Raises ValueError unless they include `JOINTS`."""
    categories = validation.require(content, "categories", list, path)
    if len(categories) != 1:
        raise ValueError(f"{path}: `categories` must have one entry, for people, but has {len(categories)}")
    where = f"{path}: categories[0]"
    names = validation.names(validation.require(categories[0], "keypoints", list, where), f"{where}: `keypoints`")
    if missing := [name for name in JOINTS if name not in names]:
        found = validation.short_repr(names)
        raise ValueError(f"{where}: `keypoints` (={found}) lack {', '.join(missing)}: use PoseTrack's names")
    return names


def _person(entry: dict[str, Any], names: list[str], where: str) -> Person:
    track_id = posetrack.check_track_id(plain_values.whole(entry, "track_id", where), where)
    values = plain_values.keypoints(entry.get("keypoints"), len(names), f"{where}: `keypoints`")
    order = [names.index(name) for name in JOINTS]
    table = np.array(values, np.float64).reshape(-1, 3)[order]
    scores = np.full(len(JOINTS), NO_SCORE)
    if entry.get("scores"):
        scores = np.array(plain_values.numbers(entry["scores"], len(names), f"{where}: `scores`"))[order]
    size = np.nan
    if entry.get("bbox_head"):
        x, y, width, height = plain_values.numbers(entry["bbox_head"], 4, f"{where}: `bbox_head`")
        size = posetrack.head_size(x, y, x + width, y + height)
    return Person(track_id, table[:, :2], (table != 0).any(axis=-1), scores, size)


def _frame(entry: dict[str, Any], image_id: int, people: Sequence[Person], where: str) -> Frame:
    name = validation.require(entry, "file_name", str, where)
    labelled = bool(plain_values.flag(entry, "is_labeled", where)) if "is_labeled" in entry else None
    if labelled is False and not people:  # not evaluated
        return Frame(name, image_id, False, False, (), ())
    columns = [entry.get(f"ignore_regions_{axis}") or [] for axis in "xy"]
    sizes = [[len(column) for column in axis] for axis in columns]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{where}: `ignore_regions_x` and `ignore_regions_y` have polygons of {sizes} corners")
    regions = []
    for number, axes in enumerate(zip(*columns, strict=True)):
        spot = f"{where}: ignore region {number}"
        x, y = (plain_values.numbers(values, len(values), spot) for values in axes)
        regions.append(posetrack.polygon(list(zip(x, y, strict=True)), where))
    return Frame(name, image_id, labelled, bool(people), tuple(regions), people)


def to_json(
    images: Sequence[dict[str, Any]],
    joints: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    track_ids: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Returns a results file in the benchmark's form.

    Args:
      images: the entries of the ground truth's `images`: all frames of the sequence, in its order.
      joints: for each frame, [N, K, 2] in photo pixels, in the order of `FILE_JOINTS`.
      scores: for each frame, [N, K] of joints. A joint of score 0 is left out.
      track_ids: for each frame, N integers below 10000, one for each person of the sequence.
    """
    annotations = []
    for image, *people in zip(images, joints, scores, track_ids, strict=True):
        for points, confidences, track_id in zip(*people, strict=True):
            shown = confidences > 0
            table = np.concatenate([points, np.ones_like(confidences)[:, None]], axis=1) * shown[:, None]
            annotations.append({
                "image_id": image["id"], "category_id": 1, "track_id": int(track_id),
                "keypoints": table.ravel().tolist(), "scores": confidences.tolist(),
            })  # fmt: skip
    kept = [{name: image[name] for name in ("id", "frame_id", "file_name") if name in image} for image in images]
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(FILE_JOINTS)}
    return {"images": kept, "annotations": annotations, "categories": [category]}
