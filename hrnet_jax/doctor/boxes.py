"""What is wrong with a detector's boxes: dummies, boxes of other photos, categories, scores, boxes met twice."""

import collections
import pathlib
from collections.abc import Mapping

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import people, tables
from hrnet_jax.doctor.findings import Finding, document, found, topic
from hrnet_jax.doctor.tables import Boxes, People

LEAST = 10  # boxes or people from which on their like is no accident
KNOWN_DUMMY = 1000  # boxes in the dummy that goes round
MET = 0.3  # overlap from which on a box is of a person
ANNOTATED = 0.9  # overlap with a person from which on a box is the annotated one
MOSTLY = 0.9  # of boxes are annotated ones, in a file of these
MOST_UNMET = 0.5  # of people: detectors find nearly all, among many false alarms (measured: none of 12 unmet, .05)
DUMMY = (
    "get the file that the papers' tables use (COCO_val2017_detections_AP_H_56_person.json is 16 MB of 104,125"
    " boxes), or your own detector's"
)
WHOLE = "write the file again: a list of {image_id, category_id, bbox [x, y, width, height], score}"


def read(
    path: pathlib.Path, photos: Mapping[int, Photo], category: int | None, truth: People | None
) -> tuple[Boxes | None, list[Finding]]:
    """Reads a detector's file as far as it can be read.

    Args:
      path: JSON, see `datasets.detections`.
      photos: those of the annotations, by id.
      category: that of people; None if it is not known.
      truth: the people on the photos; None if they are not known.

    Returns:
      The boxes of people on these photos, None without any and of a dummy; what is wrong.
    """
    try:
        entries, odd = document(path, WHOLE)
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{path} must hold a list of boxes, but holds {validation.short_repr(entries)}")
    except (ValueError, OSError) as error:
        return None, found("detections_unreadable", "error", [path.name], str(error), WHOLE)
    good, wrong = [], {}
    for row, entry in enumerate(entries):
        try:
            good.append((row, *_entry(entry)))
        except ValueError as error:
            wrong[row] = str(error)
    what = "{count} of {of} entries are no boxes; the first: " + next(iter(wrong.values()), "")
    findings = odd + found("detections_malformed", "error", wrong, what, WHOLE, of=len(entries))
    unknown = [entry for entry in good if entry[1] not in photos]
    ids = list(dict.fromkeys(entry[1] for entry in unknown))
    what = f"{len(unknown):,} of {len(entries):,} boxes are on {{count}} photos that the annotations do not have"
    remedy = "give the detector's file of this split; `prepare` refuses it"
    findings += found("detections_unknown_photos", "error", ids, what, remedy)
    others = [entry for entry in good if category is not None and entry[2] != category]
    numbers = collections.Counter(entry[2] for entry in others)
    what = f"{{count}} of {{of}} boxes have not the category of people ({category}), but {dict(numbers)}"
    remedy = "they are dropped; if they are of people, write the category's number"
    rows = [entry[0] for entry in others]
    findings += found("detections_categories", "warning", rows, what, remedy, of=len(good))
    dummy = _dummy(_table(good), truth)  # on whichever photos its boxes are
    kept = [entry for entry in good if entry[1] in photos and category in (None, entry[2])]
    return _table(kept) if kept and not dummy else None, findings + dummy


def _table(entries: list[tuple]) -> Boxes:
    return tables.boxes(*([entry[k] for entry in entries] for k in (1, 3, 4)))


def _entry(entry: object) -> tuple[int, int, list[float], float]:
    photo_id, category = (validation.require(entry, name, int, "entry") for name in ("image_id", "category_id"))
    box = validation.numbers(validation.require(entry, "bbox", list, "entry"), 4, "`bbox`")
    (score,) = validation.numbers([validation.require(entry, "score", (int, float), "entry")], 1, "`score`")
    return photo_id, category, box, score


def _have_one_score(boxes: Boxes) -> bool:
    return len(boxes) >= LEAST and len(np.unique(boxes.score)) == 1


def _dummy(boxes: Boxes, truth: People | None) -> list[Finding]:
    """Tells boxes at one score, which no detector gives, unless they are the annotated ones."""
    if not _have_one_score(boxes):
        return []
    annotated = truth is not None and np.mean(_best_overlaps(boxes, truth) >= ANNOTATED) >= MOSTLY
    rows = () if annotated and len(boxes) != KNOWN_DUMMY else range(len(boxes))
    what = f"all {{count}} boxes have the score {boxes.score[0]:g}: the file is a dummy, no detector's"
    return found("detections_dummy", "error", rows, what, DUMMY)


@topic("detections", {})
def examine(
    found_boxes: Boxes, photos: Mapping[int, Photo], truth: People | None
) -> tuple[dict[str, str], list[Finding]]:
    """Looks at a detector's boxes on known photos, and whether they meet the people there."""
    count, scores = len(found_boxes), found_boxes.score
    rows, facts = np.arange(count), {"detections": f"{count:,} boxes"}
    if dummy := _dummy(found_boxes, truth):
        return facts, dummy
    what = "all {count} boxes have the same score, and are the annotated ones"
    remedy = "they are as good as `gt_boxes`; use a detector's to compare with papers"
    findings = found("detections_annotated", "note", rows if _have_one_score(found_boxes) else (), what, remedy)
    odd = (scores < 0) | (scores > 1)
    remedy = "write probabilities: a person's score is the box's times the joints'"
    findings += found(
        "detections_scores", "warning", rows[odd], "{count} of {of} scores are not in 0 to 1", remedy, of=count
    )
    whole = np.column_stack([found_boxes.photo_id, found_boxes.box, scores])
    _, first = np.unique(whole, axis=0, return_index=True)
    again = np.setdiff1d(rows, first)
    what, remedy = "{count} of {of} boxes stand there twice", "write each once: people would be found twice"
    findings += found("detections_twice", "warning", again, what, remedy, of=count)
    size = people.sizes(found_boxes.photo_id, photos)
    wrong = people.boxes(rows, found_boxes.box, size, "detections_")
    return facts, findings + wrong + (_unmet(found_boxes, truth) if truth is not None and not wrong else [])


def _best_overlaps(of: Boxes | People, there: Boxes | People) -> np.ndarray:
    """Returns [N] how much each box overlaps with the one of `there` on its photo that it overlaps with most."""
    by_photo: dict[int, list[int]] = collections.defaultdict(list)
    for row, photo_id in enumerate(there.photo_id.tolist()):
        by_photo[photo_id].append(row)
    others = (there.box[by_photo.get(photo_id, [])] for photo_id in of.photo_id.tolist())
    best = [tables.overlaps(box[None], other).max(initial=0) for box, other in zip(of.box, others, strict=True)]
    return np.array(best, float)


def _unmet(found_boxes: Boxes, truth: People) -> list[Finding]:
    """Looks whether the boxes meet those who should be found: they do not if they are of other photos or sizes."""
    wanted = tables.select(truth, truth.labelled.any(axis=1) & ~truth.crowd)
    unmet = wanted.id[_best_overlaps(wanted, found_boxes) < MET]
    few = len(wanted) < LEAST or len(unmet) <= MOST_UNMET * len(wanted)
    what = "no box is where {count} of {of} people are: is the file whole, and of these photos at this size?"
    remedy = "run the detector on these photos, or give the file of this split"
    return found("detections_miss", "warning", () if few else unmet, what, remedy, of=len(wanted))
