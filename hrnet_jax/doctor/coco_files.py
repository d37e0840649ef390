"""Findings in a COCO annotation file: invalid entries, and valid ones that are likely to be mistakes."""

import collections
import itertools
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from hrnet_jax import validation
from hrnet_jax.datasets import coco, coco_categories, coco_entries
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import unpaired
from hrnet_jax.doctor.findings import Finding, document, found
from hrnet_jax.evaluation import caveats, ground_truth
from hrnet_jax.skeletons import Skeleton

AGAIN = "write or download the file again"
SKELETON = "give the skeleton of this data set with --skeleton FILE (README.md, `Your own data`)"
REFUSED = "correct the entry that the message names; `python -m hrnet_jax.prepare` refuses the file until then"


def read(
    path: pathlib.Path, skeleton: Skeleton, *, with_people: bool, **options: Any
) -> tuple[coco.Annotations | None, AnnotatedPeople, list[Finding]]:
    """Returns the annotations, or None if the file has none, its people, and the findings in all its entries.

    The options are those of `datasets.coco.read`.
    """
    errors = validation.ErrorCollector()
    try:
        content, findings = document(path, REFUSED, coco.MAY_BE_NAN)
        annotations = coco.read(path, content, skeleton, errors, with_people=with_people, **options)
    except (ValueError, OSError) as error:
        unreadable = found("annotations_unreadable", "error", [path.name], str(error), AGAIN)
        return None, coco.table([], skeleton), unreadable
    findings += _photos(errors, content, annotations) + _category(errors)
    findings += _people(errors, content)
    table, others = about(annotations, skeleton)
    refused = errors.entries["keypoint_names"] or errors.entries["category_malformed"]
    findings += [each for each in others if each.kind != "keypoint_names" or not refused]
    if with_people and not any(finding.severity == "error" for finding in findings):
        findings += _nobody(path, annotations, skeleton, content["annotations"])
    return annotations, table, findings


def about(annotations: coco.Annotations, skeleton: Skeleton) -> tuple[AnnotatedPeople, list[Finding]]:
    """Returns the people of valid entries, and the findings in these."""
    entries = [entry for on_photo in annotations.people.values() for entry in on_photo]
    findings = _joint_names(annotations.category, skeleton) + _counts(entries)
    findings += _unknown_categories(annotations.category_ids.known, [*entries, *annotations.others])
    remedy = "nothing if that is right; else write what is missing into the file"
    for kind, what in coco_entries.ASSUMED.items():
        findings += found(kind, "note", annotations.assumed.get(kind, ()), what, remedy)
    table = coco.table(entries, skeleton)
    return table, findings + unpaired.examine(table, skeleton)


def limit(
    annotations: coco.Annotations, skeleton: Skeleton, meant: AnnotatedPeople, photos: Mapping[int, Photo]
) -> list[Finding]:
    """Says why the truth itself would not have AP 1, unless mending what other findings say changes that.

    These are in boxes that are `meant` otherwise, and in photos whose size is not as annotated.
    """
    if not annotations.category:
        return []
    boxes = dict(zip(meant.annotation_id.tolist(), meant.box.tolist(), strict=True))
    entries = itertools.chain.from_iterable(annotations.people.values())
    explained = {
        entry["id"]
        for entry in entries
        if boxes.get(entry["id"]) != entry["bbox"] or not photos[entry["image_id"]].width
    }
    truth = ground_truth.parse(coco.ground_truth(annotations, [*annotations.photos]))
    people, missed = coco.select_people(annotations, skeleton)[0], coco.missed(annotations, annotations.photos)
    best = caveats.truth_as_predictions(truth, annotations.category["id"], people, skeleton, missed)
    ids = best.annotation_id.tolist() if best and best.causes else []
    what = f"in evaluation, the truth itself would have {best}"
    remedy = "compare figures with this one; people without area or box can be given one"
    return found("ap_limited", "note", ids if explained.isdisjoint(ids) else (), what, remedy)


def _photos(errors: validation.ErrorCollector, content: dict, annotations: coco.Annotations) -> list[Finding]:
    what = "{count} of {of} entries of `images` are malformed; the first: " + errors.first["photos_malformed"]
    wrong, remedy = errors.entries["photos_malformed"], "correct or remove these entries"
    findings = found("photos_malformed", "error", wrong, what, remedy, of=len(content["images"]))
    twice, what = dict.fromkeys(errors.entries["photo_ids_twice"]), "{count} of {of} photo ids are used twice"
    remedy = "give each photo an id of its own"
    findings += found("photo_ids_twice", "error", twice, what, remedy, of=len(annotations.photos))
    return findings + found("photos_none", "error", errors.entries["photos_none"], "the file has no photos", AGAIN)


def _category(errors: validation.ErrorCollector) -> list[Finding]:
    remedy = f"name the category of people {coco_categories.PERSON!r}, and give its `id` and `keypoints`"
    findings = found("categories", "error", errors.entries["categories"], errors.first["categories"], remedy)
    malformed = errors.entries["category_malformed"]
    findings += found("annotations_refused", "error", malformed, errors.first["category_malformed"], REFUSED)
    refused = errors.entries["keypoint_names"]
    return findings + found("keypoint_names", "error", refused, errors.first["keypoint_names"], SKELETON)


def _joint_names(category: dict, skeleton: Skeleton) -> list[Finding]:
    """Finds joints with other names than the chosen skeleton's."""
    names = category.get("keypoints")
    if not isinstance(names, list) or len(names) != skeleton.num_joints:  # refused, or a file without people
        return []
    words = coco_categories.words
    pairs = zip(names, skeleton.joints, strict=True)
    other = [f"{a}, not {b}" for a, b in pairs if not isinstance(a, str) or words(a) != words(b)]
    what = f"the file's keypoints are not the {skeleton.num_joints} joints of the skeleton {skeleton.name!r}"
    return found("keypoint_names", "warning", other, what, SKELETON)


def _people(errors: validation.ErrorCollector, content: dict) -> list[Finding]:
    of = len(content.get("annotations", ()))
    what = "{count} of {of} entries of `annotations` are malformed; the first: " + errors.first["people_malformed"]
    wrong, remedy = errors.entries["people_malformed"], "correct or remove these entries"
    findings = found("people_malformed", "error", wrong, what, remedy, of=of)
    twice, what = dict.fromkeys(errors.entries["ids_twice"]), "{count} of {of} annotation ids are used twice"
    findings += found("ids_twice", "error", twice, what, "give each annotation an id of its own", of=of)
    what = "{count} of {of} annotations are on photos that are not in `images`"
    remedy = "add the photos to `images`, or remove these annotations"
    return findings + found("photos_unknown", "error", errors.entries["photos_unknown"], what, remedy, of=of)


def _counts(entries: list[dict]) -> list[Finding]:
    wrong = [
        entry["id"]
        for entry in entries
        if entry.get("num_keypoints") not in (None, sum(flag > 0 for flag in entry["keypoints"][2::3]))
    ]
    what = "`num_keypoints` of {count} of {of} people is not the number of their labelled joints"
    remedy = "count flags above 0: evaluation ignores people with `num_keypoints` 0"
    return found("num_keypoints", "warning", wrong, what, remedy, of=len(entries))


def _unknown_categories(known: Collection[int], entries: list[dict]) -> list[Finding]:
    unknown = [entry for entry in entries if entry["category_id"] not in known] if known else []
    numbers = dict(collections.Counter(entry["category_id"] for entry in unknown).most_common(5))
    what = f"{{count}} of {{of}} annotations are of categories that are not in `categories`: {numbers}"
    remedy = "write the right category's id: people of other categories are left out without a message"
    ids = [entry["id"] for entry in unknown]
    return found("categories_unknown", "error", ids, what, remedy, of=len(entries))


def _nobody(path: pathlib.Path, annotations: coco.Annotations, skeleton: Skeleton, entries: list) -> list[Finding]:
    """Returns a finding if `prepare` would select nobody."""
    people, dropped = coco.select_people(annotations, skeleton)
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "there are none"
    fields = list(dict.fromkeys(field for entry in entries if isinstance(entry, dict) for field in entry))
    if fields and "keypoints" not in fields:
        reasons += f"; none has the field `keypoints`, but {', '.join(fields):.200}"
    what = f"no annotation is of a person that could be used ({reasons})"
    empty = [] if len(people) else [path.name]
    return found("people_none", "error", empty, what, "give the file with the keypoints of people")
