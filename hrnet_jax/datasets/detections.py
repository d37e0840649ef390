"""Detected boxes in COCO's result format.

A file is a JSON list of ``{"image_id", "category_id", "bbox" [x, y, width, height], "score"}``.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import coco, coco_entries, plain_values, records
from hrnet_jax.datasets.identifiers import Numbering
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.validation import OnError


@dataclasses.dataclass(frozen=True)
class Detections:
    """The N valid entries of a detector's file, in its order."""

    people: records.People  # their boxes, corners in order, without `photo_index` (-1)
    category_id: np.ndarray  # [N] int64
    row: np.ndarray  # [N] int64, counted from 0
    reordered: np.ndarray  # [N] bool, width or height is negative in the file

    def on_unknown_photos(self, photo_ids: Collection[int]) -> np.ndarray:
        """[N] bool: the photo is not among these."""
        return np.array([number not in photo_ids for number in self.people.photo_id.tolist()], bool)


def load(
    path: pathlib.Path, annotations: coco.Annotations, skeleton: Skeleton
) -> tuple[records.People, dict[str, int], list[int]]:
    """Reads and validates a detector's file.

    Boxes keep their order and are not clipped, as in the original. Boxes of other categories, and boxes without a
    size, are dropped. Returns the boxes as people with the skeleton's joints, without `photo_index` (-1), the
    number of dropped boxes by reason, and the rows of the file whose corners were put in order.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a JSON list, an entry is invalid, a photo is unknown, or no box is of a person.
    """
    content, not_finite = validation.read_json_leniently(path)
    errors = validation.ErrorCollector()
    for place in not_finite:
        errors("numbers_not_finite", place, f"{place}, not a finite number: correct it, or leave the entry out")
    found = read(path, content, skeleton, errors, annotations.photos.values(), annotations.category_ids)
    errors.raise_any(path)
    unknown = found.people.photo_id[found.on_unknown_photos(annotations.photos)]
    if len(unknown):
        ids = np.unique(unknown).tolist()
        raise ValueError(
            f"{path}: `image_id` of {len(unknown)} of {len(found.row)} boxes is not in {annotations.path}"
            f" ({len(ids)} photos: {', '.join(map(str, ids[:5]))}{', ...' * (len(ids) > 5)}):"
            " is it the detector file of another split?"
        )
    size = found.people.box[:, 2:]
    is_other = found.category_id != annotations.category["id"]
    is_empty = ~is_other & (size.max(axis=1) == 0)
    counts = {"other category": int(is_other.sum()), "without size": int(is_empty.sum())}
    dropped = {reason: count for reason, count in counts.items() if count}
    people = found.people.select(~is_other & ~is_empty)
    if not len(people):
        person = f"a person (`category_id` {annotations.category['id']}) with a size"
        others = ", ".join(map(str, np.unique(found.category_id[is_other])[:5]))
        advice = f"if category {others} is of people, write that id" if others else "write x, y, width, height"
        raise ValueError(f"{path}: none of its {len(is_other)} boxes is {person}; dropped: {dropped}; {advice}")
    return people, dropped, found.row[found.reordered].tolist()


def read(
    path: pathlib.Path,
    content: Any,
    skeleton: Skeleton,
    on_error: OnError,
    photos: Iterable[Photo] = (),
    categories: Numbering = Numbering(),  # noqa: B008  (immutable)
) -> Detections:
    """Validates the content of a detector's file. Skips invalid entries if `on_error` returns.

    The list may be the `annotations` of an object. An `image_id` may be the name of one of the `photos`, with or
    without its suffix, as Ultralytics writes it. The corners of boxes are put in order.

    The only kind of errors is detections_malformed. Raises ValueError if the content is not a list, or empty.
    """
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        content = content["annotations"]
    known = _Known(
        _by_name(photos), {photo.source_id: photo.id for photo in photos if photo.source_id}, categories
    )
    if not isinstance(content, list) or not content:
        kind, value = type(content).__name__, validation.short_repr(content)
        found = "an empty list: did the detector find nobody?" if content == [] else f"{kind} {value}"
        raise ValueError(f"{path} must hold a list of boxes, but holds {found}")
    valid = []
    for row, entry in enumerate(content):
        try:
            valid.append((row, *_box(entry, known, f"entry {row}")))
        except ValueError as error:
            on_error("detections_malformed", row, str(error))
    rows, photo_ids, numbers, boxes, scores = zip(*valid, strict=True) if valid else ((),) * 5
    count, joints = len(valid), skeleton.num_joints
    people = records.People(
        photo_index=np.full(count, -1, np.int64),
        photo_id=np.array(photo_ids, np.int64),
        annotation_id=np.zeros(count, np.int64),
        box=np.array([*map(coco_entries.in_order, boxes)], np.float64).reshape(count, 4),
        joints=np.zeros((count, joints, 2)),
        visible=np.ones((count, joints)),
        score=np.array(scores, np.float64),
    )
    reordered = np.array([min(box[2:]) < 0 for box in boxes], bool)
    return Detections(people, np.array(numbers, np.int64), np.array(rows, np.int64), reordered)


class _Known(NamedTuple):
    named: Mapping[str, set[int]]  # ids of photos by their names
    texts: Mapping[str, int]  # ids of photos by their own ids, if these are text
    categories: Numbering


def _by_name(photos: Iterable[Photo]) -> dict[str, set[int]]:
    """Returns the ids of photos by path, name, both without suffix, and id."""
    named: dict[str, set[int]] = collections.defaultdict(set)
    for photo in photos:
        path = pathlib.PurePosixPath(photo.file_name)
        for name in (str(path), path.name, str(path.with_suffix("")), path.stem, photo.source_id or str(photo.id)):
            named[name].add(photo.id)
    return named


def _photo_id(entry: Any, known: _Known, where: str) -> int:
    """Returns the id of the photo that `image_id` means: its id, or the name of one photo."""
    value = validation.require(entry, "image_id", (int, float, str), where)
    if str(value) in known.texts:
        return known.texts[str(value)]
    ids = known.named.get(value, set()) if isinstance(value, str) else set()
    if len(ids) > 1:
        raise ValueError(f"{where}: `image_id` (={value!r:.100}) may mean several photos: write the photo's `id`")
    if known.texts and not ids:
        raise ValueError(f"{where}: `image_id` (={value!r:.100}) is neither the `id` nor the name of a photo")
    return next(iter(ids)) if ids else plain_values.whole(entry, "image_id", where)


def _box(entry: Any, known: _Known, where: str) -> tuple[int, int, list[float], float]:
    """Returns photo id, category id, box and score."""
    photo_id = _photo_id(entry, known, where)
    category_id = known.categories.number(entry, "category_id", where)
    box = plain_values.numbers(validation.require(entry, "bbox", list, where), 4, f"{where}: `bbox`")
    return photo_id, category_id, box, plain_values.real(entry, "score", where)
