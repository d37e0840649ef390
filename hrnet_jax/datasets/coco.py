"""COCO annotation files: reading, validation, and the original's choice of people.

People are kept if they are not crowds, have a positive area, a box on the photo and a labelled joint. Boxes are
clipped to the photo (`geometry.clip_box`). People are in the order of the file's photos, then of its annotations.
`Annotations.outcomes` says for each annotation whether it is kept, or why not; everything else that is told of it
comes from there.
"""

import collections
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hrnet_jax import geometry, validation
from hrnet_jax.datasets import coco_categories, coco_entries, coco_shared, records
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.coco_entries import SizeOf
from hrnet_jax.datasets.identifiers import Numbering
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.validation import OnError

KEPT = (
    *("num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id", "source_id"),
    "species",
    coco_entries.POSETRACK,
)
CATEGORY_KEPT = ("id", "name", "keypoints")
"""Fields of annotations and categories that are validated and kept in the ground truth of a prepared split."""

MAY_BE_NAN = "keypoints"  # as pandas and FiftyOne write joints that are not labelled


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What becomes of an annotation of a person.

    Attributes:
      person: the annotation.
      reason: why it is neither trained on nor predicted, or "" if it is.
      box: [4] clipped to the photo, None if outside.
      is_expected: evaluation expects it to be found, and counts it as missed otherwise. It ignores crowds and
        people without labelled joints.
    """

    person: dict
    reason: str
    box: np.ndarray | None
    is_expected: bool


@dataclasses.dataclass(frozen=True)
class Annotations:
    """A validated COCO annotation file. Photos and annotations are in the file's order."""

    path: pathlib.Path
    category: dict  # the entry of the people's category; empty if `read` found none
    photos: dict[int, Photo]  # by photo id
    people: dict[int, list[dict]]  # the category's annotations by photo id, completed
    others: list[dict]  # annotations of other categories
    category_ids: Numbering = dataclasses.field(default_factory=Numbering)
    empty: int = 0  # number of annotations that are null
    assumed: dict[str, list[Any]] = dataclasses.field(default_factory=dict)  # by kind: `coco_entries.ASSUMED`

    @functools.cached_property
    def outcomes(self) -> list[Outcome]:
        """What becomes of each annotation of a person, by photo, as the original chooses people."""
        return [*_outcomes(self)]


def _outcomes(annotations: Annotations) -> Iterator[Outcome]:
    for photo in annotations.photos.values():
        for person in annotations.people.get(photo.id, []):
            width, height = (side or photo_records.MAX_SIDE for side in (photo.width, photo.height))
            box = geometry.clip_box(np.array(person["bbox"], np.float64), width, height)
            tests = {
                "crowd": bool(person.get("iscrowd", 0)),
                "without joints": max(person["keypoints"]) <= 0,
                "without area": person["area"] <= 0,
                "box outside the photo": box is None,
            }
            reason = person.get(coco_entries.UNUSED) or next((name for name, holds in tests.items() if holds), "")
            labelled = sum(mark > 0 for mark in person["keypoints"][2::3])
            expected = not tests["crowd"] and person.get("num_keypoints", labelled) != 0
            yield Outcome(person, reason, box, expected)


def no_size(file_name: str) -> tuple[int, int]:
    """Returns that the size of a photo is unknown."""
    del file_name
    return 0, 0


def load(
    path: pathlib.Path, skeleton: Skeleton, to_coco: Callable[[pathlib.Path], Any] | None = None, **options: Any
) -> Annotations:
    """Reads and validates a COCO annotation file such as ``person_keypoints_val2017.json``.

    `to_coco` reads a file of another form. The options are those of `read`. Raises FileNotFoundError if there is
    no such file, and ValueError that lists everything wrong with it.
    """
    content, not_finite = (to_coco(path), ()) if to_coco else validation.read_json_leniently(path, MAY_BE_NAN)
    errors = validation.ErrorCollector()
    for place in not_finite:
        errors("numbers_not_finite", place, f"{place}, not a finite number: correct it, or leave the entry out")
    annotations = read(path, content, skeleton, errors, **options)
    errors.raise_any(path)
    return annotations


def read(
    path: pathlib.Path,
    content: Any,
    skeleton: Skeleton,
    on_error: OnError,
    *,
    with_people: bool = True,
    is_guess: bool = False,
    size_of: SizeOf = no_size,
) -> Annotations:
    """Validates the content of an annotation file. Skips invalid entries if `on_error` returns.

    The files of a test server hold photos and categories only: `with_people` is False. If the skeleton `is_guess`,
    chosen by nobody, joints of other names are an error. `size_of` is for photos without width and height.

    The kinds of errors are photos_malformed, photo_ids_twice, photos_none, categories, category_malformed,
    keypoint_names, people_malformed, ids_twice and photos_unknown. Raises ValueError if a list is missing.
    """
    content, shared = coco_shared.resolve(content)
    for name in ["images"] + ["annotations"] * with_people:
        validation.require(content, name, list, str(path))
    listed = content.get("categories")
    category_ids = Numbering(listed if isinstance(listed, list) else ())
    category = coco_categories.find(content, skeleton, category_ids, on_error)
    readable = with_people and bool(category)
    if readable:  # people of unknown joints cannot be read; thousands of messages would say no more than one
        readable = coco_categories.check_joints(category, skeleton, is_guess, on_error)
    assumed: dict[str, list[Any]] = collections.defaultdict(list)
    ids = _Ids(Numbering(content["images"]), category_ids, Numbering(content["annotations"] if readable else ()))
    photos = _photos(content["images"], ids, size_of, assumed, on_error)
    entries = content["annotations"] if readable else []
    people, others = _people(entries, category.get("id"), photos, ids, skeleton, assumed, on_error)
    assumed.update(coco_entries.complete([*itertools.chain.from_iterable(people.values())], photos))
    assumed.update(shared)
    if category and category["name"] != coco_categories.PERSON:
        assumed["category_assumed"] = [category["name"]]
    return Annotations(
        path,
        category,
        photos,
        people,
        others,
        category_ids,
        entries.count(None),
        {kind: of for kind, of in assumed.items() if of},
    )


class _Ids(NamedTuple):
    photos: Numbering
    categories: Numbering
    annotations: Numbering


def _photos(
    entries: list, ids: _Ids, size_of: SizeOf, assumed: dict[str, list[Any]], on_error: OnError
) -> dict[int, Photo]:
    """Returns the photos by id. Adds to what is assumed."""
    photos: dict[int, Photo] = {}
    for row, entry in enumerate(entries):
        where = f"images[{row}]"
        try:
            photo, is_sized = coco_entries.photo(entry, where, ids.photos, size_of)
        except ValueError as error:
            on_error("photos_malformed", row, str(error))
            continue
        if photo.id in photos:
            both = f"{photos[photo.id].file_name} and {photo.file_name}"
            on_error("photo_ids_twice", photo.id, f"{where}: `id` (={photo.id}) is used twice, for {both}")
        else:
            photos[photo.id] = photo
            assumed["sizes_assumed"] += [photo.file_name] * is_sized
            assumed["ids_numbered"] += [photo.source_id] if photo.source_id else []
    if not entries:
        on_error("photos_none", "images", "`images` is empty")
    return photos


def _people(
    entries: list,
    category_id: int | None,
    photos: Container[int],
    ids: _Ids,
    skeleton: Skeleton,
    assumed: dict[str, list[Any]],
    on_error: OnError,
) -> tuple[dict[int, list[dict]], list[dict]]:
    """Returns annotations of the category by photo id, and those of other categories. Adds to what is assumed.

    `photos` are the valid ids: people on invalid photos are left out without an error.
    """
    people: dict[int, list[dict]] = collections.defaultdict(list)
    others: list[dict] = []
    used: set[int] = set()
    for row, entry in enumerate(entries):
        if entry is None:
            continue
        where = f"annotations[{row}]"
        try:
            numbers = _numbers(entry, ids, where)
            where += f" (id {numbers.get('source_id', numbers['id'])})"
            is_person = numbers["category_id"] == category_id
            entry = entry | numbers | (coco_entries.person(entry, skeleton, where) if is_person else {})
        except ValueError as error:
            on_error("people_malformed", row, str(error))
            continue
        if entry["id"] in used:
            on_error("ids_twice", entry["id"], f"{where}: `id` (={entry['id']}) is used twice")
        elif entry["image_id"] not in ids.photos.known:
            message = f"{where}: `image_id` (={entry['image_id']}) is not the id of any of `images`"
            on_error("photos_unknown", entry["id"], message)
        elif entry["image_id"] in photos:
            (people[entry["image_id"]] if is_person else others).append(entry)
            assumed["ids_numbered"] += [numbers["source_id"]] if "source_id" in numbers else []
        used.add(entry["id"])
    return people, others


def _numbers(entry: Any, ids: _Ids, where: str) -> dict[str, Any]:
    """Returns the ids of an annotation as integers, and its own as `source_id` if that is text or missing."""
    numbers = {
        "image_id": ids.photos.number(entry, "image_id", where),
        "category_id": ids.categories.number(entry, "category_id", where),
    }
    if entry.get("id") is None:
        return numbers | {"id": ids.annotations.next(), "source_id": where}
    text = ids.annotations.text(entry)
    return numbers | {"id": ids.annotations.number(entry, "id", where)} | ({"source_id": text} if text else {})


def select_people(annotations: Annotations, skeleton: Skeleton) -> tuple[records.People, dict[str, int]]:
    """Chooses the people for training and evaluation, and clips their boxes, as the original does.

    Returns the people, without `photo_index` (-1), and the number of dropped annotations by reason.
    """
    kept = [outcome for outcome in annotations.outcomes if not outcome.reason]
    dropped = collections.Counter(outcome.reason for outcome in annotations.outcomes if outcome.reason)
    for reason, count in (("other category", len(annotations.others)), ("null", annotations.empty)):
        dropped.update({reason: count} if count else {})
    people = table([outcome.person for outcome in kept], skeleton).to_people()
    boxes = np.array([outcome.box for outcome in kept], np.float64).reshape(-1, 4)
    return dataclasses.replace(people, box=boxes), dict(dropped)


def missed(annotations: Annotations, photo_ids: Container[int]) -> dict[str, int]:
    """Returns the number of people on some photos whom evaluation expects but nobody predicts, by reason."""
    lost = (each for each in annotations.outcomes if each.reason and each.is_expected)
    return dict(collections.Counter(each.reason for each in lost if each.person["image_id"] in photo_ids))


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


def _image(photo: Photo) -> dict[str, Any]:
    """Returns the entry of a photo, with `source_id`, `crowdIndex` and `posetrack` if it has them."""
    fields = "id", "file_name", "width", "height", *["source_id"] * bool(photo.source_id)
    index = {} if photo.crowd_index is None else {"crowdIndex": photo.crowd_index}
    of_video = {} if photo.frame is None else {coco_entries.POSETRACK: photo.frame}
    return {name: getattr(photo, name) for name in fields} | index | of_video


def ground_truth(annotations: Annotations, photo_ids: Sequence[int]) -> dict:
    """Returns the ground truth of some photos in COCO's format for pycocotools, without segmentations.

    Crowds and people without labelled joints are included, since COCO ignores the detections matched to them.
    """
    people = [person for photo_id in photo_ids for person in annotations.people.get(photo_id, [])]
    category = annotations.category
    return {
        "info": {},
        "images": [_image(annotations.photos[photo_id]) for photo_id in photo_ids],
        "categories": [{name: category[name] for name in CATEGORY_KEPT if name in category}],
        "annotations": [
            {"iscrowd": 0, "num_keypoints": sum(visible > 0 for visible in person["keypoints"][2::3])}
            | {name: value for name, value in person.items() if name in KEPT}
            for person in people
        ],
    }
