"""Findings in a table of people: boxes, flags, joints and duplicates."""

import itertools
from collections.abc import Mapping

import numpy as np

from hrnet_jax.datasets.odd_photos import UPRIGHT
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import HIDDEN, SEEN, AnnotatedPeople
from hrnet_jax.doctor import binomial_test
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.evaluation import oks
from hrnet_jax.skeletons import Skeleton

SLACK = 2.0  # pixels by which a box or joint may be outside: annotators round, and count from 1 or from 0
MARGIN = 0.25  # of a box's sides: joints are at most this far outside (true of at least .7 of anyone's, measured)
FEW_JOINTS = 3  # with fewer labelled joints, their being outside the box says little
SAME_PLACE, SAME_PLACE_SHARE = 3, 0.1  # of the joints outside their boxes, at exactly one place
# Real and made-up neighbours have boxes of IoU up to .91, or joints of OKS up to .89, but never both above .65.
SAME_BOX, SAME_JOINTS, SAME_BOX_ALONE = 0.7, 0.75, 0.95
CLIPPED = "correct the boxes; `prepare` clips them to the photo, and drops those wholly outside"
MOSTLY_HIDDEN = 0.75  # of labelled joints (measured: .13 and .05)
MIN_JOINTS = 50
FAR = 0.35  # of a box's sides
BESIDE_FLOOR = 0.95  # of people have no joint so far outside (measured: .97 or more)


def sizes(photo_id: np.ndarray, photos: Mapping[int, Photo]) -> np.ndarray:
    """Returns [N, 2] width and height of the photos, infinite where unknown."""
    known = {number: (photo.width or np.inf, photo.height or np.inf) for number, photo in photos.items()}
    unknown = (np.inf, np.inf)
    return np.array([known.get(number, unknown) for number in photo_id.tolist()], float).reshape(-1, 2)


def marks(photo_id: np.ndarray, photos: Mapping[int, Photo]) -> np.ndarray:
    """Returns [N] orientation marks of the photos whose coordinates are of the photo as stored, else 1."""
    stored = {number: photo.mark for number, photo in photos.items() if not photo.is_as_shown}
    return np.array([stored.get(number, UPRIGHT) for number in photo_id.tolist()], int)


def boxes(
    ids: np.ndarray, box: np.ndarray, size: np.ndarray, prefix: str = "", leaving: str = CLIPPED
) -> list[Finding]:
    """Examines boxes [N, 4] on photos of the given sizes [N, 2].

    `prefix` is of the findings' kinds, `leaving` the remedy for boxes that leave the photo.
    """
    of, empty = len(box), (box[:, 2:] <= 0).any(axis=1)
    excess = np.maximum(-box[:, :2], box[:, :2] + box[:, 2:] - size).max(axis=1, initial=-np.inf)
    outside = (excess > SLACK) & ~empty
    what = f"{{count}} of {{of}} boxes leave the photo by more than {SLACK:.0f} pixels"
    findings = found(f"{prefix}boxes_outside", "warning", ids[outside], what, leaving, of=of)
    what = "{count} of {of} boxes have no size: crops of them show a single pixel"
    remedy = "draw or compute the boxes, or remove them"
    return findings + found(f"{prefix}boxes_without_size", "warning", ids[empty], what, remedy, of=of)


def flags(people: AnnotatedPeople) -> list[Finding]:
    """Examines the visibility flags of joints."""
    marks, located, ids = people.flags, (people.joints != 0).any(axis=2), people.annotation_id
    odd = ~np.isin(marks, (0, HIDDEN, SEEN))
    values = ", ".join(f"{value:g}" for value in np.unique(marks[odd])[:5])
    what = f"joints of {{count}} of {{of}} people have flags other than 0, 1 and 2: {values}"
    remedy = "write 0 for joints that are not labelled, 1 for hidden, 2 for visible ones"
    if odd.any() and np.all((marks[odd] > 0) & (marks[odd] < SEEN)):
        what += ", as if they were probabilities; all joints above 0 are labelled, however improbable"
        remedy = "write 2 where the probability is high enough, for example above .5, and 0 elsewhere"
    findings = found("flags", "error", ids[odd.any(axis=1)], what, remedy, of=len(ids))
    lost = (marks == 0) & located & (people.joints >= 0).all(axis=2)
    what = "joints of {count} of {of} people have a location, but the flag 0, so they are not used in training"
    remedy = "if they are labelled, write 1 (hidden) or 2 (visible); else write the location 0, 0"
    findings += found("flags_lost", "warning", ids[lost.any(axis=1)], what, remedy, of=len(ids))
    hidden, seen = int((marks == HIDDEN).sum()), int((marks == SEEN).sum())
    mostly = hidden > MOSTLY_HIDDEN * (hidden + seen) and hidden >= MIN_JOINTS
    what = f"{hidden:,} joints are hidden (1) and {seen:,} visible (2): are the two exchanged?"
    remedy = "1 is hidden, 2 visible; training treats them alike, evaluation by visibility does not"
    examples = ids[(marks == HIDDEN).any(axis=1)] if mostly else ()
    return findings + found("flags_hidden", "warning" if seen else "note", examples, what, remedy)


def nowhere(people: AnnotatedPeople) -> np.ndarray:
    """[N, K] bool: joints labelled, but where files have joints without a location: for example at -1, -1.

    Such a location is the corner of the photo or one beyond it, or is that of many joints outside the boxes. It is
    far from the person's box, or of several joints of the person.
    """
    labelled = people.labelled & ~people.crowd[:, None]
    away = labelled & ~_within(people.joints, people.box, MARGIN)
    x, y = people.joints[..., 0], people.joints[..., 1]
    written = labelled & (x == y) & (x <= 0)
    places, counts = np.unique(people.joints[away & ~written], axis=0, return_counts=True)
    for place in places[counts >= max(SAME_PLACE, SAME_PLACE_SHARE * counts.sum())]:
        written |= labelled & (people.joints == place).all(axis=2)
    return written & (away | (written.sum(axis=1, keepdims=True) > 1))


def lost(people: AnnotatedPeople) -> list[Finding]:
    """Finds labelled joints that are nowhere."""
    rows = nowhere(people)
    places = np.unique(people.joints[rows], axis=0)[:3]
    listed = " or ".join(f"{x:g}, {y:g}" for x, y in places)
    what = f"{{count}} of {{of}} people have labelled joints at the location {listed}"
    remedy = "give joints that are not labelled the flag 0: these would be trained on as they are"
    return found("joints_nowhere", "error", people.annotation_id[rows.any(axis=1)], what, remedy, of=len(people))


def joints(people: AnnotatedPeople, size: np.ndarray, box: np.ndarray | None = None) -> list[Finding]:
    """Examines the locations of labelled joints in photos of sizes [N, 2], and in their boxes [N, 4] if given."""
    labelled, ids = people.labelled & ~people.crowd[:, None], people.annotation_id
    out = labelled & ((people.joints < -SLACK) | (people.joints > size[:, None] + SLACK)).any(axis=2)
    what = "{count} of {of} people have labelled joints outside the photo"
    remedy = "correct their locations, or give them the flag 0"
    findings = found("joints_outside_photo", "warning", ids[out.any(axis=1)], what, remedy, of=len(ids))
    if box is None:
        return findings
    counted = labelled.sum(axis=1)
    inside = (labelled & _within(people.joints, box, MARGIN)).sum(axis=1)
    several = (counted >= FEW_JOINTS) & (box[:, 2:] > 0).all(axis=1)
    away = several & (inside < counted / 2)
    what = "{count} of {of} people have most of their joints outside their box"
    beside = several & (labelled & ~_within(people.joints, box, FAR)).any(axis=1)
    if binomial_test.verdict(Checks(~beside[several], ids[several], BESIDE_FLOOR)) not in ("unknown", "passed"):
        away, what = away | beside, "{count} of {of} people have joints far outside their box, more than is usual"
    remedy = "joints and box are of different people, or not both (x, y) in photo pixels: correct the wrong one"
    return findings + found("joints_outside_box", "warning", ids[away], what, remedy, of=len(ids))


def _within(points: np.ndarray, box: np.ndarray, margin: float) -> np.ndarray:
    """[N, K] bool: points [N, K, 2] are in the boxes [N, 4], extended by a fraction of their sides."""
    low = box[:, None, :2] - margin * box[:, None, 2:] - SLACK
    high = box[:, None, :2] + (1 + margin) * box[:, None, 2:] + SLACK
    return np.all((points >= low) & (points <= high), axis=2)


def twice(people: AnnotatedPeople, skeleton: Skeleton) -> list[Finding]:
    """Finds people annotated twice: their boxes and joints are more similar than neighbours' are."""
    duplicates: list[int] = []
    order = np.argsort(people.photo_id, kind="stable")
    starts = np.flatnonzero(np.diff(people.photo_id[order], prepend=-1, append=-1)) if len(order) else order
    for first, last in itertools.pairwise(starts.tolist()):
        rows = order[first:last]
        rows = rows[~people.crowd[rows]]
        if len(rows) > 1:
            duplicates += _duplicates(people.select(rows), np.array(skeleton.sigmas))
    what = "{count} of {of} people are annotated twice: on the same photo, with the same box and joints"
    remedy = "remove one of each: the other would count as missed in evaluation"
    return found("people_twice", "warning", sorted(duplicates), what, remedy, of=len(people))


def _duplicates(people: AnnotatedPeople, sigmas: np.ndarray) -> list[int]:
    """Returns the ids on one photo that repeat an earlier row. Row by row, since pairs of a crowd need memory."""
    labelled, size = people.labelled, np.prod(people.box[:, 2:], axis=1)
    ids = []
    for row in range(1, len(people)):
        overlap = overlaps(people.box[[row]], people.box[:row])[0]
        others = np.flatnonzero(overlap >= SAME_BOX)
        both = labelled[row] & labelled[others]
        area = np.maximum((size[row] + size[others]) / 4, 1.0)
        similarity = oks.joint_similarity(people.joints[row], people.joints[others], area, sigmas)
        mean = (similarity * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        unlabelled = ~labelled[row].any() & ~labelled[others].any(axis=1)
        if np.any((mean >= SAME_JOINTS) | (unlabelled & (overlap[others] >= SAME_BOX_ALONE))):
            ids.append(int(people.annotation_id[row]))
    return ids


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns [N, M] the IoU of boxes [N, 4] and [M, 4] (x, y, width, height)."""
    a, b = first[:, None], second[None, :]
    corner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = np.prod(np.maximum(corner - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - both
    return both / np.maximum(union, 1e-9)
