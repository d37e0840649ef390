"""What is wrong with a table of people: boxes, areas, flags, joints, people who stand there twice."""

import itertools
from collections.abc import Mapping

import numpy as np

from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import tables
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.doctor.tables import HIDDEN, SEEN, People
from hrnet_jax.skeletons import Skeleton

SLACK = 2.0  # pixels by which a box or joint may lie outside: annotators round, and count from 1 or from 0
AROUND = 0.25  # of a box's sides: joints are within this far around the box (measured: .7 of anyone's at least)
FEW_JOINTS = 3  # with fewer labelled, that they are outside the box says little
ROUNDING = 1.01  # an area is at most the box's; measured up to .95 of it
# Real and made-up neighbours overlap up to .91 or agree in joints up to .89, but never have both above .65.
SAME_BOX, SAME_JOINTS, SAME_BOX_ALONE = 0.7, 0.75, 0.95
CORNERS = 0.98  # of boxes read as two corners that fit the photo; of sound boxes .3 at most happen to
MOST = 0.5  # of boxes leave the photo if they are corners: close-ups fit as corners, too, but do not leave it
LEAST_BOXES = 5
MOSTLY_HIDDEN = 0.75  # of labelled joints; measured .13 and .05
LEAST_JOINTS = 50


def sizes(photo_id: np.ndarray, photos: Mapping[int, Photo]) -> np.ndarray:
    """Returns [N, 2] width and height of each one's photo; infinite where it is not known."""
    known = {number: (photo.width or np.inf, photo.height or np.inf) for number, photo in photos.items()}
    unknown = (np.inf, np.inf)
    return np.array([known.get(number, unknown) for number in photo_id.tolist()], float).reshape(-1, 2)


def boxes(ids: np.ndarray, box: np.ndarray, size: np.ndarray, prefix: str = "") -> list[Finding]:
    """Looks at boxes [N, 4] on photos of a size [N, 2]; `prefix` is that of the findings' kinds."""
    empty = (box[:, 2:] <= 0).any(axis=1)
    far = np.maximum(-box[:, :2], box[:, :2] + box[:, 2:] - size).max(axis=1, initial=-np.inf)
    outside = (far > SLACK) & ~empty
    fits = ((box[:, 2:] > box[:, :2]) & (box[:, 2:] <= size + SLACK) & (box[:, :2] >= -SLACK)).all(axis=1)
    if len(box) >= LEAST_BOXES and outside.mean() > MOST and fits.mean() >= CORNERS:
        what = "the boxes are two corners, not corner and size: read so, {count} leave the photo, else none"
        remedy = "write x, y, width, height: [x0, y0, x1 - x0, y1 - y0]"
        return found(f"{prefix}boxes_as_corners", "error", ids[outside], what, remedy)
    if len(box) >= LEAST_BOXES and (box[:, 2:] <= 1).all():
        what = "the boxes are no more than a pixel wide and high: they are shares of the photo, not pixels"
        remedy = "multiply them by the photo's width and height"
        return found(f"{prefix}boxes_as_shares", "error", ids, what, remedy)
    of, cut = len(box), "mend the boxes; `prepare` cuts them off at the border, and drops those wholly outside"
    what = f"{{count}} of {{of}} boxes leave the photo by more than {SLACK:.0f} pixels"
    findings = found(f"{prefix}boxes_outside", "warning", ids[outside], what, cut, of=of)
    what, remedy = "{count} of {of} boxes have no size, so that they are not used", "mend or remove them"
    return findings + found(f"{prefix}boxes_without_size", "warning", ids[empty], what, remedy, of=of)


def areas(people: People) -> list[Finding]:
    """Looks at areas, by which people are chosen and OKS is measured."""
    none = people.area <= 0
    too_large = people.area > ROUNDING * np.prod(np.maximum(people.box[:, 2:], 0) + SLACK, axis=1)
    too_large &= (people.box[:, 2:] > 0).all(axis=1) & ~none
    what = "{count} of {of} people have no area, so that they are not used"
    remedy = "write the area of the person's outline in square pixels; without outlines, .53 of the box's is usual"
    findings = found("areas_missing", "warning", people.id[none], what, remedy, of=len(people))
    what = "{count} of {of} people have an area larger than their box"
    return findings + found("areas_too_large", "warning", people.id[too_large], what, remedy, of=len(people))


def flags(people: People) -> list[Finding]:
    """Looks at what is said of each joint's visibility."""
    marks, placed = people.flags, (people.joints != 0).any(axis=2)
    odd = ~np.isin(marks, (0, HIDDEN, SEEN))
    values = ", ".join(f"{value:g}" for value in np.unique(marks[odd])[:5])
    what = f"joints of {{count}} of {{of}} people have flags other than 0, 1 and 2: {values}"
    remedy = "write 0 for joints that are not labelled, 1 for hidden, 2 for visible ones"
    findings = found("flags", "error", people.id[odd.any(axis=1)], what, remedy, of=len(people))
    lost = (marks == 0) & placed & (people.joints >= 0).all(axis=2)
    what = "joints of {count} of {of} people have a place, but the flag 0, so that nothing is learned from them"
    remedy = "if they are labelled, write 1 (hidden) or 2 (visible); else 0, 0 for their place"
    findings += found("flags_lost", "warning", people.id[lost.any(axis=1)], what, remedy, of=len(people))
    hidden, seen = int((marks == HIDDEN).sum()), int((marks == SEEN).sum())
    mostly = hidden > MOSTLY_HIDDEN * (hidden + seen) and hidden >= LEAST_JOINTS
    what = f"{hidden:,} joints are hidden (1) and {seen:,} visible (2): are the two exchanged?"
    remedy = "1 is hidden, 2 visible; training uses both alike, evaluation by visibility does not"
    examples = people.id[(marks == HIDDEN).any(axis=1)] if mostly else ()
    return findings + found("flags_hidden", "warning" if seen else "note", examples, what, remedy)


def nowhere(people: People) -> np.ndarray:
    """[N, K] bool: labelled, but at 0, 0, far from the box or several at once: where unlabelled joints are."""
    corner = people.labelled & ~people.crowd[:, None] & (people.joints == 0).all(axis=2)
    return corner & (~_within(people.joints, people.box, AROUND) | (corner.sum(axis=1, keepdims=True) > 1))


def joints(people: People, size: np.ndarray, box: np.ndarray | None = None) -> list[Finding]:
    """Looks at where labelled joints are: `size` [N, 2] is that of the photos, `box` [N, 4] None to leave out."""
    labelled, lost, of = people.labelled & ~people.crowd[:, None], nowhere(people), len(people)
    what = "{count} of {of} people have joints that are labelled, but lie nowhere (at 0, 0)"
    remedy = "give joints that are not labelled the flag 0: these would be learned as they are"
    findings = found("joints_nowhere", "error", people.id[lost.any(axis=1)], what, remedy, of=of)
    out = labelled & ~lost & ((people.joints < -SLACK) | (people.joints > size[:, None] + SLACK)).any(axis=2)
    what = "{count} of {of} people have labelled joints outside the photo"
    remedy = "mend their places, or give them the flag 0"
    findings += found("joints_outside_photo", "warning", people.id[out.any(axis=1)], what, remedy, of=of)
    if box is None:
        return findings
    counted = (labelled & ~lost).sum(axis=1)
    inside = (labelled & ~lost & _within(people.joints, box, AROUND)).sum(axis=1)
    away = (counted >= FEW_JOINTS) & (inside < counted / 2) & (box[:, 2:] > 0).all(axis=1)
    what = "{count} of {of} people have most of their joints outside their own box"
    remedy = "joints and box are of different people, or not both (x, y) in photo pixels: mend whichever is wrong"
    return findings + found("joints_outside_box", "warning", people.id[away], what, remedy, of=of)


def _within(points: np.ndarray, box: np.ndarray, around: float) -> np.ndarray:
    """[N, K] bool: points [N, K, 2] are in the boxes [N, 4], or around them by a share of their sides."""
    low = box[:, None, :2] - around * box[:, None, 2:] - SLACK
    high = box[:, None, :2] + (1 + around) * box[:, None, 2:] + SLACK
    return np.all((points >= low) & (points <= high), axis=2)


def twice(people: People, skeleton: Skeleton) -> list[Finding]:
    """Looks for people who are annotated twice: boxes and joints that agree more than neighbours' do."""
    same: list[int] = []
    order = np.argsort(people.photo_id, kind="stable")
    starts = np.flatnonzero(np.diff(people.photo_id[order], prepend=-1, append=-1)) if len(order) else order
    for first, last in itertools.pairwise(starts.tolist()):
        rows = order[first:last]
        rows = rows[~people.crowd[rows]]
        if len(rows) > 1:
            same += _same(tables.select(people, rows), np.array(skeleton.sigmas))
    what = "{count} of {of} people are annotated twice: on the same photo, with the same box and joints"
    remedy = "remove one of each: the other would be counted as missed in evaluation"
    return found("people_twice", "warning", sorted(same), what, remedy, of=len(people))


def _same(people: People, sigmas: np.ndarray) -> list[int]:
    """Returns the ids of those on one photo whom an earlier row has already, row by row: crowds are large."""
    labelled, size = people.labelled, np.prod(people.box[:, 2:], axis=1)
    ids = []
    for one in range(1, len(people)):
        overlap = tables.overlaps(people.box[[one]], people.box[:one])[0]
        others = np.flatnonzero(overlap >= SAME_BOX)
        both = labelled[one] & labelled[others]
        apart = ((people.joints[one] - people.joints[others]) ** 2).sum(axis=-1)
        area = np.maximum((size[one] + size[others]) / 4, 1.0)[:, None]
        alike = np.exp(-apart / (2 * (2 * sigmas) ** 2 * area))
        mean = (alike * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        unlabelled = ~labelled[one].any() & ~labelled[others].any(axis=1)
        if np.any((mean >= SAME_JOINTS) | (unlabelled & (overlap[others] >= SAME_BOX_ALONE))):
            ids.append(int(people.id[one]))
    return ids
