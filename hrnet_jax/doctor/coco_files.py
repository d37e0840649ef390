"""What is wrong with the entries of a COCO annotation file; those that are sound go on to be examined as a table.

`datasets.coco` refuses a file at its first mistake; here every mistake is counted. At the end the reader itself
is asked, so that nothing it refuses passes for sound.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from hrnet_jax import validation
from hrnet_jax.datasets import coco
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import tables
from hrnet_jax.doctor.findings import Finding, document, found
from hrnet_jax.doctor.tables import People
from hrnet_jax.skeletons import Skeleton

AGAIN = "write or download the file again"
REFUSED = "mend what the message says; `python -m hrnet_jax.prepare` refuses the file until then"


@dataclasses.dataclass(frozen=True)
class Content:
    """What could be read: photos by id, people, the number of their category (None if there is none)."""

    photos: dict[int, Photo]
    people: People
    category: int | None


def read(path: pathlib.Path, skeleton: Skeleton, with_people: bool) -> tuple[Content | None, list[Finding]]:
    """Reads an annotation file as far as it can be read.

    Returns:
      Its content, None if it is no annotation file at all; what is wrong.
    """
    try:
        content, odd = document(path, REFUSED)
        for name in ["images"] + ["annotations"] * with_people:
            validation.require(content, name, list, str(path))
    except (ValueError, OSError) as error:
        return None, found("annotations_unreadable", "error", [path.name], str(error), AGAIN)
    photos, findings = _photos(content["images"])
    categories = content.get("categories")
    categories = [entry for entry in categories if isinstance(entry, dict)] if isinstance(categories, list) else []
    category, about_category = _category(categories, skeleton)
    annotations = content["annotations"] if with_people else []
    people, about_people = _people(annotations, photos, category, categories, skeleton)
    findings = [*odd, *findings, *about_category, *about_people]
    if not any(finding.severity == "error" for finding in findings):
        findings += _refused(path, skeleton, with_people)
    return Content(photos, people, category), findings


def _refused(path: pathlib.Path, skeleton: Skeleton, with_people: bool) -> list[Finding]:
    """Asks the reader that `prepare` uses."""
    try:
        annotations = coco.load(path, skeleton, with_people=with_people)
        chosen, dropped = coco.select_people(annotations, skeleton)
    except ValueError as error:
        return found("annotations_refused", "error", [path.name], str(error), REFUSED)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "there are none"
    empty = [path.name] if with_people and not len(chosen) else []
    what = f"no annotation is of a person that could be used ({reasons})"
    return found("people_none", "error", empty, what, "give the file with the keypoints of people")


def _sieve(entries: Iterable[Any], read_one: Callable[[Any], Any], of: str) -> tuple[list[Any], list[Finding]]:
    """Reads entries one by one; those refused become a finding."""
    good, wrong, first = [], [], ""
    for number, entry in enumerate(entries):
        try:
            good.append(read_one(entry))
        except ValueError as error:
            wrong.append(number)
            first = first or str(error)
    what = f"{{count}} of {{of}} entries of `{of}` are malformed; the first: {first}"
    kind = "photos_malformed" if of == "images" else "people_malformed"
    return good, found(kind, "error", wrong, what, "mend or remove these entries", of=len(good) + len(wrong))


def _photos(entries: list[Any]) -> tuple[dict[int, Photo], list[Finding]]:
    def read_one(entry: Any) -> Photo:
        number, width, height = (
            validation.require(entry, name, int, "image") for name in ("id", "width", "height")
        )
        name = validation.inner_path(entry, "file_name", "image")
        if width <= 0 or height <= 0:
            raise ValueError(f"image {number}: `width` and `height` (={width}, {height}) must be positive")
        return Photo(number, name, width, height)

    good, findings = _sieve(entries, read_one, "images")
    counts = collections.Counter(photo.id for photo in good)
    again = [number for number, count in counts.items() if count > 1]
    what, remedy = "{count} of {of} ids of photos stand twice", "give each photo an id of its own"
    findings += found("photo_ids_twice", "error", again, what, remedy, of=len(counts))
    findings += found("photos_none", "error", ["images"] * (not good), "the file has no photos", AGAIN)
    return {photo.id: photo for photo in reversed(good)}, findings


def _category(categories: list[dict], skeleton: Skeleton) -> tuple[int | None, list[Finding]]:
    """Returns the number of the category of people, and what is wrong with it."""
    named = {entry["name"]: entry for entry in categories if isinstance(entry.get("name"), str)}
    category = named.get(coco.PERSON, {})
    number = category.get("id")
    number = number if type(number) is int else None
    listed = ", ".join(named) or "none"
    what = f"there is no category named {coco.PERSON!r} with a number (there are: {listed})"
    remedy = "call the category of people so, and give its `id` and `keypoints`"
    findings = found("categories", "error", ["categories"] * (number is None), what, remedy)
    names = category.get("keypoints")
    if number is None or not isinstance(names, list) or tuple(names) == skeleton.joints:
        return number, findings
    if not all(isinstance(name, str) for name in names):
        return number, findings  # the reader refuses it
    as_many = len(names) == skeleton.num_joints
    other = [f"{a}, not {b}" for a, b in zip(names, skeleton.joints, strict=False) if a != b]
    other = other if as_many else [f"{len(names)} keypoints"]
    severity = "warning" if as_many and set(names) != set(skeleton.joints) else "error"
    what = f"the file's keypoints are not the {skeleton.num_joints} joints of the skeleton {skeleton.name!r}"
    remedy = "give the skeleton of this data set with --skeleton FILE (README.md, `Your own data`)"
    return number, findings + found("keypoint_names", severity, other, what, remedy)


def _people(
    entries: list[Any], photos: dict[int, Photo], category: int | None, categories: list[dict], skeleton: Skeleton
) -> tuple[People, list[Finding]]:
    """Returns the people on known photos, each id once, and what is wrong with the entries."""

    def read_ids(entry: Any) -> tuple[dict, int, int, int]:
        ids = [validation.require(entry, name, int, "annotation") for name in ("id", "image_id", "category_id")]
        return entry, ids[0], ids[1], ids[2]

    good, findings = _sieve(entries, read_ids, "annotations")
    findings += _references(good, photos, categories)
    ours = [row for row in good if category in (None, row[3])]
    rows, malformed = _sieve(ours, lambda row: _person(row[0], skeleton), "annotations")
    counted = [
        row[0]
        for (entry, *_), row in zip(ours, rows, strict=False)
        if not malformed and entry.get("num_keypoints") not in (None, sum(mark[2] > 0 for mark in row[5]))
    ]
    what = "`num_keypoints` of {count} of {of} people is not the number of their labelled joints"
    remedy = "count flags above 0: evaluation leaves out people whose number is 0"
    findings += malformed + found("num_keypoints", "warning", counted, what, remedy, of=len(rows))
    kept = {row[0]: row for row in reversed(rows) if row[1] in photos}
    return tables.people(list(reversed(kept.values())), skeleton.num_joints), findings


def _references(
    good: list[tuple[dict, int, int, int]], photos: dict[int, Photo], categories: list[dict]
) -> list[Finding]:
    """Looks at ids of annotations, and those of photos and categories that they name."""
    of, counts = len(good), collections.Counter(row[1] for row in good)
    again = [number for number, count in counts.items() if count > 1]
    what, remedy = "{count} of {of} ids of annotations stand twice", "give each annotation an id of its own"
    findings = found("ids_twice", "error", again, what, remedy, of=len(counts))
    what = "{count} of {of} annotations are on photos that `images` does not have"
    remedy = "add the photos to `images`, or remove these annotations"
    lost = [row[1] for row in good if row[2] not in photos]
    findings += found("photos_unknown", "error", lost, what, remedy, of=of)
    known = {entry["id"] for entry in categories if type(entry.get("id")) is int}
    unknown = [row for row in good if row[3] not in known] if known else []
    numbers = dict(collections.Counter(row[3] for row in unknown).most_common(5))
    what = f"{{count}} of {{of}} annotations are of categories that `categories` does not have: {numbers}"
    remedy = "write the number of the right category: these people are left out silently otherwise"
    return findings + found("categories_unknown", "error", [row[1] for row in unknown], what, remedy, of=of)


def _person(entry: dict, skeleton: Skeleton) -> tuple[int, int, list[float], float, bool, list[list[float]]]:
    """Returns a row for `tables.people`."""
    what = f"annotation {entry['id']}"
    box = validation.numbers(entry.get("bbox"), 4, f"{what}: `bbox`")
    (area,) = validation.numbers([entry.get("area")], 1, f"{what}: `area`")
    marks = validation.numbers(entry.get("keypoints"), 3 * skeleton.num_joints, f"{what}: `keypoints`")
    triples = [marks[start : start + 3] for start in range(0, len(marks), 3)]
    return entry["id"], entry["image_id"], box, area, bool(entry.get("iscrowd", 0)), triples
