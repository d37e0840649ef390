"""COCO annotation files: reading, validation, and the original's choice of people.

People are kept if they are not crowds, have a positive area, a box on the photo and a labelled joint. Boxes are
clipped to the photo (`geometry.clip_box`). People are in the order of the file's photos, then of its annotations.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from hrnet_jax import geometry, validation
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.validation import OnError

PERSON = "person"  # the category's name
_CATEGORY = f"category {PERSON!r}"  # in messages

KEPT = ("num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id")
CATEGORY_KEPT = ("id", "name", "keypoints")
"""Fields of annotations and categories that are validated and kept in the ground truth of a prepared split."""


@dataclasses.dataclass(frozen=True)
class Annotations:
    """A validated COCO annotation file. Photos and annotations are in the file's order."""

    path: pathlib.Path
    category: dict  # the entry of the category ``person``; empty if `read` found none
    photos: dict[int, Photo]  # by photo id
    people: dict[int, list[dict]]  # the category's annotations by photo id
    others: list[dict]  # annotations of other categories


def load(path: pathlib.Path, skeleton: Skeleton, *, with_people: bool = True) -> Annotations:
    """Reads and validates a COCO annotation file such as ``person_keypoints_val2017.json``.

    The files of a test server hold photos and categories only: `with_people` is False. Raises FileNotFoundError if
    there is no such file, and ValueError if it is not JSON, or an entry is invalid.
    """
    content = validation.read_json(path)
    return read(path, content, skeleton, validation.raise_error(path), with_people=with_people)


def read(
    path: pathlib.Path, content: Any, skeleton: Skeleton, on_error: OnError, *, with_people: bool = True
) -> Annotations:
    """Validates the content of an annotation file. Skips invalid entries if `on_error` returns.

    The kinds of errors are photos_malformed, photo_ids_twice, photos_none, categories, category_malformed,
    keypoint_names, people_malformed, ids_twice and photos_unknown. Raises ValueError if a list is missing.
    """
    for name in ["images"] + ["annotations"] * with_people:
        validation.require(content, name, list, str(path))
    category = _person_category(content, on_error)
    if category and with_people:
        _check_keypoint_names(category, skeleton, on_error)
    photos = _photos(content["images"], on_error)
    entries = content["annotations"] if with_people else []
    return Annotations(path, category, photos, *_people(entries, category.get("id"), photos, skeleton, on_error))


def _person_category(content: dict, on_error: OnError) -> dict:
    try:
        categories = validation.require(content, "categories", list, "the file")
        rows = enumerate(categories)
        names = [validation.require(entry, "name", str, f"categories[{row}]") for row, entry in rows]
        if names.count(PERSON) != 1:
            listed = ", ".join(names)[:200] or "none"
            raise ValueError(f"`categories` ({listed}) must have one named {PERSON!r}")
        category = categories[names.index(PERSON)]
        validation.require(category, "id", int, _CATEGORY)
    except ValueError as error:
        on_error("categories", "categories", str(error))
        return {}
    return category


def _check_keypoint_names(category: dict, skeleton: Skeleton, on_error: OnError) -> None:
    """Compares the keypoints with the skeleton's joints. Their names may differ, their order may not."""
    try:
        where = f"{_CATEGORY} (is it the file with the keypoints?)"
        names = validation.require(category, "keypoints", list, where)
        validation.names(names, f"{_CATEGORY}: `keypoints`")
    except ValueError as error:
        on_error("category_malformed", PERSON, str(error))
        return
    is_reordered = set(names) == set(skeleton.joints) and tuple(names) != skeleton.joints
    if is_reordered or len(names) != skeleton.num_joints:
        found = f"{_CATEGORY} has {len(names)} keypoints ({', '.join(names):.500})"
        joints = f"joints{' in another order' * is_reordered} ({', '.join(skeleton.joints):.500})"
        wanted = f"the skeleton {skeleton.name!r} has {skeleton.num_joints} {joints}"
        advice = "give the skeleton of this data set with --skeleton FILE"
        on_error("keypoint_names", PERSON, f"{found}, but {wanted}: {advice}")


def _photos(entries: list, on_error: OnError) -> dict[int, Photo]:
    """Returns the photos by id."""
    photos: dict[int, Photo] = {}
    for row, entry in enumerate(entries):
        where = f"images[{row}]"
        try:
            photo = _photo(entry, where)
        except ValueError as error:
            on_error("photos_malformed", row, str(error))
            continue
        if photo.id in photos:
            both = f"{photos[photo.id].file_name} and {photo.file_name}"
            on_error("photo_ids_twice", photo.id, f"{where}: `id` (={photo.id}) is used twice, for {both}")
        else:
            photos[photo.id] = photo
    if not photos:
        on_error("photos_none", "images", "`images` is empty")
    return photos


def _photo(entry: Any, where: str) -> Photo:
    photo_id, width, height = (validation.require(entry, name, int, where) for name in ("id", "width", "height"))
    file_name = validation.inner_path(entry, "file_name", where)
    limit = photo_records.MAX_SIDE
    if not 0 < width <= limit or not 0 < height <= limit:
        raise ValueError(f"{where}: `width` and `height` (={width}, {height}) must be positive, up to {limit}")
    return Photo(photo_id, file_name, width, height)


def _people(
    entries: list, category_id: int | None, photos: dict[int, Photo], skeleton: Skeleton, on_error: OnError
) -> tuple[dict[int, list[dict]], list[dict]]:
    """Returns annotations of the category by photo id, and those of other categories. None is any category."""
    people: dict[int, list[dict]] = collections.defaultdict(list)
    others: list[dict] = []
    used: set[int] = set()
    for row, entry in enumerate(entries):
        where = f"annotations[{row}]"
        try:
            annotation_id, photo_id, category = (
                validation.require(entry, name, int, where) for name in ("id", "image_id", "category_id")
            )
            where += f" (id {annotation_id})"
            is_person = category_id in (None, category)
            if is_person:
                _check_person(entry, skeleton, where)
        except ValueError as error:
            on_error("people_malformed", row, str(error))
            continue
        if annotation_id in used:
            on_error("ids_twice", annotation_id, f"{where}: `id` (={annotation_id}) is used twice")
        elif photo_id not in photos:
            message = f"{where}: `image_id` (={photo_id}) is not the id of any of `images`"
            on_error("photos_unknown", annotation_id, message)
        else:
            (people[photo_id] if is_person else others).append(entry)
        used.add(annotation_id)
    return people, others


def _check_person(entry: dict, skeleton: Skeleton, where: str) -> None:
    validation.numbers(entry.get("bbox"), 4, f"{where}: `bbox`")
    validation.numbers([entry.get("area")], 1, f"{where}: `area`")
    for name in ("iscrowd", "num_keypoints"):
        if name in entry:
            validation.require(entry, name, int, where)
    validation.numbers(entry.get("keypoints"), 3 * skeleton.num_joints, f"{where}: `keypoints`")


def select_people(annotations: Annotations, skeleton: Skeleton) -> tuple[records.People, dict[str, int]]:
    """Chooses the people for training and evaluation, and clips their boxes, as the original does.

    Returns the people, without `photo_index` (-1), and the number of dropped annotations by reason.
    """
    dropped: collections.Counter[str] = collections.Counter()
    kept, boxes = [], []
    for photo in annotations.photos.values():
        for person in annotations.people.get(photo.id, []):
            box = geometry.clip_box(np.array(person["bbox"], np.float64), photo.width, photo.height)
            if person.get("iscrowd", 0):
                dropped["crowd"] += 1
            elif person["area"] <= 0:
                dropped["without area"] += 1
            elif box is None:
                dropped["box outside the photo"] += 1
            elif max(person["keypoints"]) <= 0:
                dropped["without joints"] += 1
            else:
                kept.append(person)
                boxes.append(box)
    if annotations.others:
        dropped["other category"] = len(annotations.others)
    people = table(kept, skeleton).to_people()
    return dataclasses.replace(people, box=np.array(boxes, np.float64).reshape(-1, 4)), dict(dropped)


def table(entries: Sequence[dict], skeleton: Skeleton) -> records.AnnotatedPeople:
    """Turns validated annotations into arrays, without `photo_index` (-1)."""
    count = len(entries)
    keypoints = np.array([entry["keypoints"] for entry in entries], np.float64)
    keypoints = keypoints.reshape(count, skeleton.num_joints, 3)
    return records.AnnotatedPeople(
        photo_index=np.full(count, -1, np.int64),
        photo_id=np.array([entry["image_id"] for entry in entries], np.int64),
        annotation_id=np.array([entry["id"] for entry in entries], np.int64),
        box=np.array([entry["bbox"] for entry in entries], np.float64).reshape(count, 4),
        joints=keypoints[..., :2],
        visible=(keypoints[..., 2] > 0).astype(np.float64),
        score=np.ones(count),
        area=np.array([entry["area"] for entry in entries], np.float64),
        crowd=np.array([entry.get("iscrowd", 0) for entry in entries], bool),
        flags=keypoints[..., 2],
    )


def ground_truth(annotations: Annotations, photo_ids: Sequence[int]) -> dict:
    """Returns the ground truth of some photos in COCO's format for pycocotools, without segmentations.

    Crowds and people without labelled joints are included, since COCO ignores the detections matched to them.
    """
    people = [person for photo_id in photo_ids for person in annotations.people.get(photo_id, [])]
    category = annotations.category
    return {
        "info": {},
        "images": [dataclasses.asdict(annotations.photos[photo_id]) for photo_id in photo_ids],
        "categories": [{name: category[name] for name in CATEGORY_KEPT if name in category}],
        "annotations": [
            {"iscrowd": 0, "num_keypoints": sum(visible > 0 for visible in person["keypoints"][2::3])}
            | {name: value for name, value in person.items() if name in KEPT}
            for person in people
        ],
    }
