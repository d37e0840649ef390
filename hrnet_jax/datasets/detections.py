"""A detector's boxes, in COCO's result format: a list of ``{"image_id", "category_id", "bbox", "score"}``."""

import collections
import pathlib

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import coco, records
from hrnet_jax.skeletons import Skeleton


def load(
    path: pathlib.Path, annotations: coco.Annotations, skeleton: Skeleton
) -> tuple[records.People, dict[str, int]]:
    """Reads and checks a detector file.

    Boxes stay as they are and in their order, as in the original. Boxes of other categories, and boxes without a
    size, are dropped.

    Args:
      path: JSON list of ``{"image_id", "category_id", "bbox" [x, y, width, height], "score"}``.
      annotations: of the photos that the detector saw.
      skeleton: says how many joints to leave room for.

    Returns:
      The boxes as people, their photos not yet numbered (`photo_index` is -1), and how many were dropped by
      reason.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not JSON, not a list, an entry is wrong, a photo is unknown, or no box is of a person.
    """
    entries = validation.read_json(path)
    if not isinstance(entries, list):
        raise ValueError(
            f"{path} must hold a list of boxes, but holds {type(entries).__name__}"
            f" {validation.short_repr(entries)}"
        )
    boxes = [_box(entry, f"{path}: entry {number}") for number, entry in enumerate(entries)]
    _check_photos([photo_id for photo_id, *_ in boxes], annotations, path)
    dropped: collections.Counter[str] = collections.Counter()
    kept = []
    for photo_id, category, box, score in boxes:
        if category != annotations.category["id"]:
            dropped["other category"] += 1
        elif min(box[2:]) < 0 or max(box[2:]) == 0:
            dropped["without size"] += 1
        else:
            kept.append((photo_id, box, score))
    if not kept:
        raise ValueError(
            f"{path}: none of its {len(boxes)} boxes is a person (`category_id` {annotations.category['id']})"
            f" with a size; dropped: {dict(dropped) or 'none'}"
        )
    return _table(kept, skeleton), dict(dropped)


def _box(entry: object, what: str) -> tuple[int, int, list[float], float]:
    """Returns photo id, category id, box and score of an entry."""
    photo_id, category = (validation.require(entry, name, int, what) for name in ("image_id", "category_id"))
    box = validation.numbers(validation.require(entry, "bbox", list, what), 4, f"{what}: `bbox`")
    score = validation.require(entry, "score", (int, float), what)
    return photo_id, category, box, score


def _check_photos(photo_ids: list[int], annotations: coco.Annotations, path: pathlib.Path) -> None:
    unknown = [photo_id for photo_id in photo_ids if photo_id not in annotations.photos]
    if unknown:
        ids = sorted(set(unknown))
        raise ValueError(
            f"{path}: `image_id` of {len(unknown)} of {len(photo_ids)} boxes is not in {annotations.path}"
            f" ({len(ids)} photos: {', '.join(map(str, ids[:5]))}{', ...' * (len(ids) > 5)}):"
            " is it the detector file of another split?"
        )


def _table(boxes: list[tuple[int, list[float], float]], skeleton: Skeleton) -> records.People:
    count = len(boxes)
    return records.People(
        photo_index=np.full(count, -1, np.int64),
        photo_id=np.array([photo_id for photo_id, _, _ in boxes], np.int64),
        annotation_id=np.zeros(count, np.int64),
        box=np.array([box for _, box, _ in boxes], np.float64),
        joints=np.zeros((count, skeleton.num_joints, 2)),
        visible=np.ones((count, skeleton.num_joints)),
        score=np.array([score for _, _, score in boxes], np.float64),
    )
