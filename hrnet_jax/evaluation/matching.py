"""Which detections of people are right and which are wrong, by COCO's rules.

On each photo the detections, best first and at most 20, take the annotation that they are most alike (OKS), if
they are alike enough and it is still free. Annotations that are passed over (crowds, people without labelled
joints or of another size) are taken last; whoever takes one of these, or takes nobody and is of another size,
counts neither as right nor as wrong. A detection's size is the area of the box around its joints.

The verdicts are pycocotools' (https://cocodataset.org/#keypoints-eval). It walks photo by photo, size by size and
threshold by threshold; here a step is one detection's and one annotation's rank in a block of photos. ``A`` is the
number of sizes, ``T`` of thresholds.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from hrnet_jax.evaluation import ground_truth, oks

MOST_PEOPLE = 20  # a photo's best detections that COCO counts
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of OKS
SIZES = {"all": (0, 1e5**2), "medium": (32**2, 96**2), "large": (96**2, 1e5**2)}  # square pixels
BLOCK = 100_000  # pairs of detection and annotation that are in memory at once


@dataclasses.dataclass(frozen=True)
class Detections:
    """N people that were found, of one category.

    Attributes:
      photo_id: [N] int64.
      joints: [N, K, 2] float64 in photo pixels.
      score: [N] float64.
    """

    photo_id: np.ndarray
    joints: np.ndarray
    score: np.ndarray


@dataclasses.dataclass(frozen=True)
class Verdicts:
    """What became of N detections.

    Attributes:
      score: [N] float64.
      right: [N, A, T] bool, who found someone.
      wrong: [N, A, T] bool, who found nobody; a detection that is neither is ignored.
      people: [A] how many there are to find.
    """

    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    people: np.ndarray


def judge(people: ground_truth.People, found: Detections, sigmas: Sequence[float] | np.ndarray) -> Verdicts:
    """Says which detections of a category are right and which wrong, each photo's best ones only."""
    found = _best(found)
    right = np.zeros((len(found.score), len(SIZES), len(THRESHOLDS)), bool)
    ignored = np.zeros_like(right)
    passed_over = people.ignored[:, None] | _outside(people.area)
    for rows, columns in _blocks(found.photo_id, people.photo_id):
        similarity = similarities(found.joints, rows, people, columns, np.asarray(sigmas))
        taken = match(similarity, passed_over[columns], people.crowd[columns])
        there, taker = rows >= 0, taken >= 0
        chosen = columns[np.arange(len(columns))[:, None, None, None], taken]
        right[rows[there]] = (taker & (people.annotation_id[chosen] != 0))[there]  # pycocotools: 0 is nobody
        ignored[rows[there]] = (taker & passed_over[chosen, np.arange(len(SIZES))[:, None]])[there]
    ignored |= ~right & _outside(_extent(found.joints))[..., None]
    return Verdicts(found.score, right & ~ignored, ~right & ~ignored, np.sum(~passed_over, axis=0))


def _best(found: Detections) -> Detections:
    """Keeps each photo's best, photos ascending, a photo's best first, equals in the order they come in."""
    order = np.lexsort((-found.score, found.photo_id))
    _, starts, counts = np.unique(found.photo_id[order], return_index=True, return_counts=True)
    order = order[np.arange(len(order)) - np.repeat(starts, counts) < MOST_PEOPLE]
    return Detections(found.photo_id[order], found.joints[order], found.score[order])


def _outside(areas: np.ndarray) -> np.ndarray:
    """Returns [N, A] bool: which areas are not of a size."""
    low, high = np.array(list(SIZES.values())).T
    return (areas[:, None] < low) | (areas[:, None] > high)


def _extent(joints: np.ndarray) -> np.ndarray:
    """Returns [N]: the area in square pixels of the box around each one's joints."""
    return np.prod(joints.max(axis=1) - joints.min(axis=1), axis=-1)


def _blocks(found: np.ndarray, annotated: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Walks through the photos that have detections and annotations, alike many annotations together.

    Args:
      found: [N] the photo of each detection, ascending.
      annotated: [G] the photo of each annotation, ascending.

    Yields:
      [B, D] rows of detections and [B, G] rows of annotations for B photos, -1 where a photo has no more.
    """
    photos, *rows = np.unique(found, return_index=True, return_counts=True)
    others, *columns = np.unique(annotated, return_index=True, return_counts=True)
    _, here, there = np.intersect1d(photos, others, assume_unique=True, return_indices=True)
    rows, columns = np.stack(rows)[:, here], np.stack(columns)[:, there]
    order = np.argsort(-columns[1], kind="stable")
    while order.size:
        block, order = np.split(order, [max(1, BLOCK // (MOST_PEOPLE * columns[1, order[0]]))])
        yield _ranges(*rows[:, block]), _ranges(*columns[:, block])


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns [B, max(counts)]: ``start, start + 1, ...`` as many as there are, then -1."""
    steps = np.arange(counts.max())
    return np.where(steps < counts[:, None], starts[:, None] + steps, -1)


def similarities(
    found: np.ndarray, rows: np.ndarray, people: ground_truth.People, columns: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Returns [B, D, G]: the OKS of each photo's detections with its annotations, -1 where there is no pair.

    Args:
      found: [N, K, 2] detected joints.
      rows: [B, D] into `found`, see `_blocks`.
      people: the annotations.
      columns: [B, G] into `people`.
      sigmas: K.
    """
    similarity = np.full((*rows.shape, columns.shape[1]), -1.0)
    photo, detection, annotation = np.nonzero((rows[:, :, None] >= 0) & (columns[:, None] >= 0))
    row, column = rows[photo, detection], columns[photo, annotation]
    labelled = people.visible.sum(axis=1)[column]
    for count in np.unique(labelled):
        at = labelled == count
        alike = _over_labelled if count else _around_box
        similarity[photo[at], detection[at], annotation[at]] = alike(found, row[at], people, column[at], sigmas)
    return similarity


def _over_labelled(found, row, people, column, sigmas) -> np.ndarray:
    """Returns [M]: the OKS of M pairs over the labelled joints, of which everyone here has as many.

    Summed over those joints alone, as pycocotools does: zeros in between would change the last bits.
    """
    joint = np.nonzero(people.visible[column])[1].reshape(len(column), -1)
    similarity = oks.joint_similarity(
        people.joints[column[:, None], joint], found[row[:, None], joint], people.area[column], sigmas[joint]
    )
    return similarity.sum(axis=-1) / joint.shape[1]


def _around_box(found, row, people, column, sigmas) -> np.ndarray:
    """Returns [M]: the OKS of M pairs where no joint is labelled, so that any in twice the box is right."""
    corner, size = people.box[column, None, :2], people.box[column, None, 2:]
    joints = found[row]
    off = np.maximum(0, corner - size - joints) + np.maximum(0, joints - (corner + size * 2))
    return oks.joint_similarity(np.zeros(2), off, people.area[column], sigmas).sum(axis=-1) / len(sigmas)


def match(similarity: np.ndarray, passed_over: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Lets each photo's detections, best first, take the annotation that they are most alike.

    Args:
      similarity: [B, D, G] OKS, detections in order; -1 where there is no such detection or annotation.
      passed_over: [B, G, A] bool, annotations that are taken only by those who find no other.
      crowd: [B, G] bool, annotations that can be taken again and again.

    Returns:
      [B, D, A, T] the number of the annotation that each detection takes, -1 if none.
    """
    order = np.argsort(passed_over, axis=1, kind="stable")
    similarity = np.take_along_axis(similarity[..., None], order[:, None], axis=2)
    passed_over = np.take_along_axis(passed_over, order, axis=1)
    crowd = np.take_along_axis(crowd[..., None], order, axis=1)
    there = (similarity != -1).any(axis=1)[..., None]  # or those without similarity (NaN) would take padding
    free = np.repeat(there, len(THRESHOLDS), axis=-1)
    taken = np.full((*similarity.shape[:2], *free.shape[2:]), -1)
    for rank in range(similarity.shape[1]):
        choice = _choose(similarity[:, rank], passed_over, free)
        photo, size, threshold = at = np.nonzero(choice >= 0)
        free[photo, choice[at], size, threshold] = crowd[photo, choice[at], size]
        taken[photo, rank, size, threshold] = order[photo, choice[at], size]
    return taken


def _choose(similarity: np.ndarray, passed_over: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Returns [B, A, T]: which annotation one detection of each photo takes, of equals the last; -1 if none.

    Args:
      similarity: [B, G, A] to the annotations, those passed over last.
      passed_over: [B, G, A] bool.
      free: [B, G, A, T] bool.
    """
    choice = np.full((len(free), *free.shape[2:]), -1, np.int32)
    best = np.broadcast_to(THRESHOLDS, choice.shape)
    settled = np.zeros(choice.shape, bool)  # with one that is not passed over
    for number in range(free.shape[1]):
        value, last = similarity[:, number, :, None], passed_over[:, number, :, None]
        better = free[:, number] & ~(value < best) & ~(settled & last)
        best, choice = np.where(better, value, best), np.where(better, np.int32(number), choice)
        settled |= better & ~last
    return choice
