"""COCO's annotation format: reading and checking a file, and choosing the people as the original does.

A person is used if it is no crowd, has an area and a box on the photo, and has a joint labelled; its box is cut
off at the photo's border (`geometry.clip_box`). People come in the order of the file's photos and, on a photo,
of the file's annotations.
"""

import collections
import dataclasses
import pathlib

import numpy as np

from hrnet_jax import geometry, validation
from hrnet_jax.datasets import image_headers, records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton

PERSON = "person"  # the category's name
NO_JOINTS = "without joints"

KEPT = ("num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id")
CATEGORY = ("id", "name", "keypoints")
"""Fields of annotations and categories that are checked, and stand in the ground truth of a prepared split."""


@dataclasses.dataclass(frozen=True)
class Annotations:
    """A COCO annotation file, checked.

    Attributes:
      path: the file.
      category: the entry of the category ``person``.
      photos: by photo id, in the file's order.
      people: the category's annotations by photo id, in the file's order.
      others: how many annotations are of other categories.
    """

    path: pathlib.Path
    category: dict
    photos: dict[int, Photo]
    people: dict[int, list[dict]]
    others: int


def load(path: pathlib.Path, skeleton: Skeleton, *, with_people: bool = True) -> Annotations:
    """Reads and checks a COCO annotation file.

    Args:
      path: such as ``person_keypoints_val2017.json``.
      skeleton: what the people must be made of.
      with_people: False for the files of a test server, which hold photos and categories only.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not JSON, or what is wrong in which entry.
    """
    content = validation.read_json(path)
    for name in ["images", "categories"] + ["annotations"] * with_people:
        validation.require(content, name, list, str(path))
    category = _person_category(content["categories"], skeleton, path, with_people)
    photos = _photos(content["images"], path)
    annotations = content["annotations"] if with_people else []
    people = _people(annotations, category["id"], photos, skeleton, path)
    return Annotations(path, category, photos, people, len(annotations) - sum(map(len, people.values())))


def _person_category(categories: list, skeleton: Skeleton, path: pathlib.Path, with_people: bool) -> dict:
    """Returns the category of people, with its keypoints those of the skeleton."""
    names = [
        validation.require(entry, "name", str, f"{path}: categories[{i}]") for i, entry in enumerate(categories)
    ]
    if names.count(PERSON) != 1:
        listed = ", ".join(names)[:200] or "none"
        raise ValueError(f"{path}: `categories` ({listed}) must have one named {PERSON!r}")
    category = categories[names.index(PERSON)]
    what = f"{path}: category {PERSON!r}"
    validation.require(category, "id", int, what)
    if not with_people:
        return category
    found = validation.require(category, "keypoints", list, f"{what} (is it the file with the keypoints?)")
    names = validation.names(found, f"{what}: `keypoints`")
    if len(names) != skeleton.num_joints:
        raise ValueError(
            f"{what} has {len(names)} keypoints ({', '.join(names)[:200]}), but the skeleton"
            f" {skeleton.name!r} has {skeleton.num_joints} joints: give its own with --skeleton FILE"
        )
    if set(names) == set(skeleton.joints) and tuple(names) != skeleton.joints:
        raise ValueError(
            f"{what} has the keypoints {', '.join(names)}, and the skeleton {skeleton.name!r} has them in another"
            f" order ({', '.join(skeleton.joints)}): give its own with --skeleton FILE"
        )
    return category


def _photos(images: list, path: pathlib.Path) -> dict[int, Photo]:
    """Returns the photos by id."""
    photos: dict[int, Photo] = {}
    for number, entry in enumerate(images):
        what = f"{path}: images[{number}]"
        photo_id, width, height = (
            validation.require(entry, name, int, what) for name in ("id", "width", "height")
        )
        name = validation.inner_path(entry, "file_name", what)
        if not 0 < width <= image_headers.MAX_SIDE or not 0 < height <= image_headers.MAX_SIDE:
            raise ValueError(
                f"{what}: `width` and `height` (={width}, {height}) must be positive,"
                f" up to {image_headers.MAX_SIDE}"
            )
        if photo_id in photos:
            raise ValueError(
                f"{what}: `id` (={photo_id}) stands twice, for {photos[photo_id].file_name} and {name}"
            )
        photos[photo_id] = Photo(photo_id, name, width, height)
    if not photos:
        raise ValueError(f"{path}: `images` is empty")
    return photos


def _people(
    annotations: list, category_id: int, photos: dict[int, Photo], skeleton: Skeleton, path: pathlib.Path
) -> dict[int, list[dict]]:
    """Returns the category's annotations by photo id, each of them checked."""
    people: dict[int, list[dict]] = collections.defaultdict(list)
    seen: set[int] = set()
    for number, entry in enumerate(annotations):
        what = f"{path}: annotations[{number}]"
        annotation_id, photo_id, category = (
            validation.require(entry, name, int, what) for name in ("id", "image_id", "category_id")
        )
        what = f"{what} (id {annotation_id})"
        if annotation_id in seen:
            raise ValueError(f"{what}: `id` (={annotation_id}) stands twice")
        if photo_id not in photos:
            raise ValueError(f"{what}: `image_id` (={photo_id}) is not the id of any of `images`")
        seen.add(annotation_id)
        if category != category_id:
            continue
        validation.numbers(entry.get("bbox"), 4, f"{what}: `bbox`")
        validation.numbers([entry.get("area")], 1, f"{what}: `area`")
        for name in ("iscrowd", "num_keypoints"):
            if name in entry:
                validation.require(entry, name, int, what)
        validation.numbers(entry.get("keypoints"), 3 * skeleton.num_joints, f"{what}: `keypoints`")
        people[photo_id].append(entry)
    return people


def select_people(annotations: Annotations, skeleton: Skeleton) -> tuple[records.People, dict[str, int]]:
    """Chooses the people to train and test on, and cleans their boxes, as the original does.

    Returns:
      The people, their photos not yet numbered (`photo_index` is -1), and how many were dropped by reason.
    """
    dropped: collections.Counter[str] = collections.Counter()
    kept: list[tuple[dict, np.ndarray]] = []
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
                dropped[NO_JOINTS] += 1
            else:
                kept.append((person, box))
    if annotations.others:
        dropped["other category"] = annotations.others
    return _table(kept, skeleton), dict(dropped)


def _table(people: list[tuple[dict, np.ndarray]], skeleton: Skeleton) -> records.People:
    """Turns annotations and their boxes into arrays."""
    keypoints = np.array([person["keypoints"] for person, _ in people], np.float64)
    keypoints = keypoints.reshape(len(people), skeleton.num_joints, 3)
    return records.People(
        photo_index=np.full(len(people), -1, np.int64),
        photo_id=np.array([person["image_id"] for person, _ in people], np.int64),
        annotation_id=np.array([person["id"] for person, _ in people], np.int64),
        box=np.array([box for _, box in people], np.float64).reshape(len(people), 4),
        joints=keypoints[..., :2],
        visible=(keypoints[..., 2] > 0).astype(np.float64),
        score=np.ones(len(people)),
    )


def ground_truth(annotations: Annotations, photo_ids: list[int]) -> dict:
    """Returns the COCO ground truth of some of the photos, as pycocotools takes it, without outlines.

    Crowds and people without labelled joints are in it: they are not found wanting if a prediction meets them.
    """
    people = [person for photo_id in photo_ids for person in annotations.people.get(photo_id, [])]
    return {
        "info": {},
        "images": [dataclasses.asdict(annotations.photos[photo_id]) for photo_id in photo_ids],
        "categories": [{name: annotations.category[name] for name in CATEGORY if name in annotations.category}],
        "annotations": [
            {
                "iscrowd": 0,
                "num_keypoints": sum(visible > 0 for visible in person["keypoints"][2::3]),
                **{name: value for name, value in person.items() if name in KEPT},
            }
            for person in people
        ],
    }
