"""Findings in detected boxes: placeholders, boxes of other photos or categories, scores, duplicates."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import coco, coco_entries, detections
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import AnnotatedPeople, People
from hrnet_jax.doctor import coordinates, people, plausibility, readings
from hrnet_jax.doctor.findings import Finding, document, found, topic
from hrnet_jax.doctor.readings import Reading
from hrnet_jax.skeletons import Skeleton

MIN_COUNT = 10  # boxes or people, fewer say nothing
KNOWN_DUMMY = 1000  # boxes in the placeholder file that is passed around
MATCHED = 0.3  # IoU from which on a box is of a person
ANNOTATED = 0.9  # IoU from which on a box is an annotated one
MOSTLY = 0.9  # fraction of annotated boxes in a file of these
BETTER = 0.1  # by this IoU is a box in another reading nearer to a person
MAX_PEOPLE = 150  # whose boxes decide in which reading all are
MAX_UNMATCHED = 0.5  # of the people, or of their photos: detectors find nearly all (measured: 0 of 12, .05)
DUMMY = (
    "get the file of the papers' tables (COCO_val2017_detections_AP_H_56_person.json is 16 MB of 104,125 boxes),"
    " or your own detector's"
)
LEAVING = "correct the boxes; `prepare` neither clips nor drops a detector's"
WHOLE = "write the file again: a list of {image_id, category_id, bbox [x, y, width, height], score}"


def read(
    path: pathlib.Path,
    annotations: coco.Annotations,
    truth: AnnotatedPeople | None,
    skeleton: Skeleton,
) -> tuple[People | None, list[Finding]]:
    """Reads the valid entries of a detector's file, see `datasets.detections`.

    Returns the boxes of people on these photos, None if there are none or the file is a placeholder, and findings.
    `truth`, the people on the photos, is None if unknown.
    """
    photos, category = annotations.photos, annotations.category.get("id")
    errors = validation.ErrorCollector()
    try:
        content, findings = document(path, WHOLE)
        valid = detections.read(path, content, skeleton, errors, photos.values(), annotations.category_ids)
    except (ValueError, OSError) as error:
        return None, found("detections_unreadable", "error", [path.name], str(error), WHOLE)
    wrong = errors.entries["detections_malformed"]
    what = "{count} of {of} entries are no boxes; the first: " + errors.first["detections_malformed"]
    findings += found("detections_malformed", "error", wrong, what, WHOLE, of=len(content))
    findings += reordered(valid.row[valid.reordered])
    unknown = valid.on_unknown_photos(photos)
    ids = dict.fromkeys(valid.people.photo_id[unknown].tolist())
    what = f"{unknown.sum():,} of {len(content):,} boxes are on {{count}} photos that are not in the annotations"
    remedy = "give the detector's file of this split; `prepare` refuses this one"
    findings += found("detections_unknown_photos", "error", ids, what, remedy)
    is_other = (category is not None) & (valid.category_id != category)
    numbers = dict(collections.Counter(valid.category_id[is_other].tolist()))
    what = f"{{count}} of {{of}} boxes are not of the people's category ({category}), but of {numbers}"
    remedy = "they are dropped; if they are of people, write the category's id"
    findings += found("detections_categories", "warning", valid.row[is_other], what, remedy, of=len(is_other))
    dummy = _dummy(valid.people, truth)  # of all boxes, on unknown photos too
    kept = valid.people.select(~unknown & ~is_other)
    return kept if len(kept) and not dummy else None, findings + dummy


def reordered(rows: Sequence[int] | np.ndarray) -> list[Finding]:
    """Returns the finding that the corners of boxes in these rows of a file were put in order."""
    kind = "detections_boxes_reordered"
    return found(
        kind, "note", rows, coco_entries.ASSUMED[kind], "nothing if that is right; else correct the boxes"
    )


def _have_one_score(boxes: People) -> bool:
    return len(boxes) >= MIN_COUNT and len(np.unique(boxes.score)) == 1


def _dummy(boxes: People, truth: AnnotatedPeople | None) -> list[Finding]:
    """Finds boxes with one score. No detector gives these, but annotated boxes have them too."""
    if not _have_one_score(boxes):
        return []
    annotated = truth is not None and np.mean(_best_overlaps(boxes, truth) >= ANNOTATED) >= MOSTLY
    rows = () if annotated and len(boxes) != KNOWN_DUMMY else range(len(boxes))
    what = f"all {{count}} boxes have the score {boxes.score[0]:g}: the file is a placeholder, not a detector's"
    return found("detections_dummy", "error", rows, what, DUMMY)


@topic("detections", {})
def examine(
    boxes: People, photos: Mapping[int, Photo], truth: AnnotatedPeople | None
) -> tuple[dict[str, str], list[Finding]]:
    """Examines detected boxes on known photos, and whether they match the people there."""
    count, scores = len(boxes), boxes.score
    rows, facts = np.arange(count), {"detections": f"{count:,} boxes"}
    if dummy := _dummy(boxes, truth):
        return facts, dummy
    what = "all {count} boxes have the same score, and are the annotated ones"
    remedy = "they are equivalent to `gt_boxes`; use a detector's to compare with papers"
    findings = found("detections_annotated", "note", rows if _have_one_score(boxes) else (), what, remedy)
    wrong, what = rows[(scores < 0) | (scores > 1)], "{count} of {of} scores are not in 0 to 1"
    remedy = "write probabilities: a person's score is the box's times the joints'"
    findings += found("detections_scores", "warning", wrong, what, remedy, of=count)
    _, first = np.unique(np.column_stack([boxes.photo_id, boxes.box, scores]), axis=0, return_index=True)
    what, remedy = "{count} of {of} boxes are duplicates", "write each once, or people are found twice"
    findings += found("detections_twice", "warning", np.setdiff1d(rows, first), what, remedy, of=count)
    size = people.sizes(boxes.photo_id, photos)
    boxes, about_boxes = _read_otherwise(boxes, size, truth)
    about_boxes += people.boxes(rows, boxes.box, size, "detections_", LEAVING)
    if truth is not None:  # wrong boxes match nobody, which needs no second finding
        findings += _bare(boxes, truth) if about_boxes else _unmatched(boxes, truth)
    return facts, findings + about_boxes


def _read_otherwise(
    boxes: People, size: np.ndarray, truth: AnnotatedPeople | None
) -> tuple[People, list[Finding]]:
    """Finds another reading of boxes on photos of sizes [N, 2] in which more people have a box.

    Without people, it is one in which boxes are on the photo. Returns the boxes in the package's reading.
    """
    if not np.isfinite(size).all():
        return boxes, []
    wanted = None if truth is None else _drawn(truth.select(truth.labelled.any(axis=1) & ~truth.crowd))
    if wanted is None or len(wanted) < coordinates.LEAST:
        candidates, shares = readings.BOX_ALONE, coordinates.SHARES[-1:]
        fits = functools.partial(_fits, boxes, size)
    else:
        candidates, shares = readings.readings(with_joints=False)[1:], coordinates.SHARES
        on_photos = np.isin(boxes.photo_id, wanted.photo_id)
        fits = functools.partial(_matches, boxes.select(on_photos), size[on_photos], wanted)
    reading, share = coordinates.choose(candidates, fits, shares)
    if reading == Reading():
        return boxes, []
    mended = dataclasses.replace(boxes, box=reading.boxes(boxes.box, size))
    rows = np.full(len(boxes), True)
    if share < MOSTLY and truth is not None:
        rows = _best_overlaps(mended, truth) > _best_overlaps(boxes, truth) + BETTER
        mended = dataclasses.replace(boxes, box=np.where(rows[:, None], mended.box, boxes.box))
    return mended, coordinates.describe(reading, np.flatnonzero(rows), len(rows), "detections", "detections_")


def _drawn(people: AnnotatedPeople) -> AnnotatedPeople:
    return people.select(np.random.default_rng(0).permutation(len(people))[:MAX_PEOPLE])


def _fits(boxes: People, size: np.ndarray, reading: Reading) -> np.ndarray:
    return plausibility.boxes(reading.boxes(boxes.box, size), size)


def _matches(boxes: People, size: np.ndarray, wanted: AnnotatedPeople, reading: Reading) -> np.ndarray:
    read = dataclasses.replace(boxes, box=reading.boxes(boxes.box, size))
    return plausibility.matches(_best_overlaps(wanted, read))


def _best_overlaps(boxes: People, others: People) -> np.ndarray:
    """Returns [N] the largest IoU of each box with the others on its photo."""
    by_photo: dict[int, list[int]] = collections.defaultdict(list)
    for row, photo_id in enumerate(others.photo_id.tolist()):
        by_photo[photo_id].append(row)
    on_photo = (others.box[by_photo.get(photo_id, [])] for photo_id in boxes.photo_id.tolist())
    overlaps = map(people.overlaps, boxes.box[:, None], on_photo)
    return np.array([overlap.max(initial=0) for overlap in overlaps], float)


def _bare(boxes: People, truth: AnnotatedPeople) -> list[Finding]:
    """Finds photos with people but without any box: the people there count as missed."""
    wanted = np.unique(truth.photo_id[truth.labelled.any(axis=1) & ~truth.crowd])
    bare = np.setdiff1d(wanted, boxes.photo_id)
    few = len(wanted) < MIN_COUNT or len(bare) <= MAX_UNMATCHED * len(wanted)
    what = "{count} of {of} photos with people have no box at all: these people count as missed"
    remedy = "run the detector on all photos, and write the `image_id` of each: darknet writes 1 for all"
    return found("detections_miss", "warning", () if few else bare, what, remedy, of=len(wanted))


def _unmatched(boxes: People, truth: AnnotatedPeople) -> list[Finding]:
    """Compares the boxes with the people. Boxes of other photos or sizes match few of them."""
    wanted = truth.select(truth.labelled.any(axis=1) & ~truth.crowd)
    unmatched = wanted.annotation_id[_best_overlaps(wanted, boxes) < MATCHED]
    few = len(wanted) < MIN_COUNT or len(unmatched) <= MAX_UNMATCHED * len(wanted)
    what = "no box is where {count} of {of} people are: is the file complete, and of these photos at this size?"
    remedy = "run the detector on these photos, or give the file of this split"
    return found("detections_miss", "warning", () if few else unmatched, what, remedy, of=len(wanted))
