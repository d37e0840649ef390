"""Matches detected people to annotated people by COCO's rules.

A photo's 20 best detections are matched in descending order of score. Each takes the unmatched annotation with
the highest OKS if that reaches the threshold. Ignored annotations are taken last: crowds, people without labelled
joints and people of another size. A detection is ignored if it takes one of these. It is also ignored if it takes
none and the box around its joints is of another size.

The results equal those of pycocotools (https://cocodataset.org/#keypoints-eval), which loops over photos, sizes
and thresholds. Here one step handles one rank of detections and one annotation in a block of photos. ``A`` is the
number of sizes and ``T`` that of thresholds.
"""

import dataclasses
from collections.abc import Iterator
from typing import Self

import numpy as np

from hrnet_jax.evaluation import ground_truth, oks

MAX_DETECTIONS = 20  # in a photo
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of OKS
SIZES = {"all": (0, 1e5**2), "medium": (32**2, 96**2), "large": (96**2, 1e5**2)}  # square pixels
BLOCK_PAIRS = 100_000  # of detection and annotation, in memory at once


@dataclasses.dataclass(frozen=True)
class Detections:
    """N detected people of one category."""

    photo_id: np.ndarray  # [N] int64
    joints: np.ndarray  # [N, K, 2] float64 in photo pixels
    score: np.ndarray  # [N] float64
    joint_score: np.ndarray  # [N, K] float64

    def select(self, rows: np.ndarray) -> Self:
        """Returns some rows, by a mask or by their numbers."""
        return dataclasses.replace(self, **{name: column[rows] for name, column in vars(self).items()})


@dataclasses.dataclass(frozen=True)
class Matches:
    """N detections as true and false positives. A detection that is neither is ignored."""

    score: np.ndarray  # [N] float64
    true_positive: np.ndarray  # [N, A, T] bool
    false_positive: np.ndarray  # [N, A, T] bool
    positives: np.ndarray  # [A] number of annotated people that are not ignored
    person: np.ndarray  # [N, A, T] row of the annotation that each detection takes, ignored or not; -1 for none


def match_detections(people: ground_truth.People, detections: Detections, sigmas: oks.Sigmas) -> Matches:
    """Matches each photo's best detections to the annotated people of one category."""
    detections = best(detections)
    extent = np.ptp(detections.joints, axis=1).prod(axis=-1)  # area of the box around each person's joints
    return match_groups(people, detections, sigmas, _outside(people.area), _outside(extent))


def match_groups(
    people: ground_truth.People,
    detections: Detections,
    sigmas: oks.Sigmas,
    other_people: np.ndarray,
    other_detections: np.ndarray,
    thresholds: np.ndarray = THRESHOLDS,
) -> Matches:
    """Matches detections from `best` for any A groups of people instead of sizes, at any T thresholds of OKS.

    `other_people` [G, A] bool are ignored in a group, and `other_detections` [N, A] bool are unless they match.
    """
    shape = len(detections.score), other_people.shape[1], len(thresholds)
    person = np.full(shape, -1, np.int32)
    matched, ignored = np.zeros((2, *shape), bool)
    ignored_people = people.ignored[:, None] | other_people
    for rows, columns in blocks(detections.photo_id, people.photo_id):
        similarity = similarities(detections.joints, rows, people, columns, np.asarray(sigmas))
        match_of = match(similarity, ignored_people[columns], people.crowd[columns], thresholds)
        exists, has_match = rows >= 0, match_of >= 0
        chosen = columns[np.arange(len(columns))[:, None, None, None], match_of]
        is_ignored = ignored_people[chosen, np.arange(shape[1])[:, None]]
        matched[rows[exists]] = has_match[exists]
        ignored[rows[exists]] = (has_match & is_ignored)[exists]
        person[rows[exists]] = np.where(has_match, chosen, -1)[exists]
    ignored |= ~matched & other_detections[..., None]
    return Matches(
        detections.score, matched & ~ignored, ~matched & ~ignored, np.sum(~ignored_people, axis=0), person
    )


def best(detections: Detections) -> Detections:
    """Keeps each photo's best. Sorts by photo, then by descending score; ties keep their order."""
    order = np.lexsort((-detections.score, detections.photo_id))
    _, starts, counts = np.unique(detections.photo_id[order], return_index=True, return_counts=True)
    order = order[np.arange(len(order)) - np.repeat(starts, counts) < MAX_DETECTIONS]
    return detections.select(order)


def _outside(areas: np.ndarray) -> np.ndarray:
    """Returns [N, A] bool: the area is outside the range of a size."""
    low, high = np.transpose([*SIZES.values()])
    return (areas[:, None] < low) | (areas[:, None] > high)


def blocks(detected: np.ndarray, annotated: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups photos with detections and annotations into blocks with similar numbers of annotations.

    Takes the photo of each detection [N] and of each annotation [G], ascending. Yields for B photos [B, D] rows of
    detections and [B, G] rows of annotations, padded with -1.
    """
    photos, *rows = np.unique(detected, return_index=True, return_counts=True)
    others, *columns = np.unique(annotated, return_index=True, return_counts=True)
    _, here, there = np.intersect1d(photos, others, assume_unique=True, return_indices=True)
    rows, columns = np.stack(rows)[:, here], np.stack(columns)[:, there]
    order = np.argsort(-columns[1], kind="stable")
    while order.size:
        block, order = np.split(order, [max(1, BLOCK_PAIRS // (MAX_DETECTIONS * columns[1, order[0]]))])
        yield _ranges(*rows[:, block]), _ranges(*columns[:, block])


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns [B, max(counts)]: ``start, ..., start + count - 1`` in each row, padded with -1."""
    steps = np.arange(counts.max())
    return np.where(steps < counts[:, None], starts[:, None] + steps, -1)


def similarities(
    joints: np.ndarray, rows: np.ndarray, people: ground_truth.People, columns: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Returns [B, D, G]: the OKS of each photo's detections and annotations, -1 for padding.

    `rows` [B, D] are of the detections' `joints` [N, K, 2], and `columns` [B, G] of `people`, see `blocks`.
    """
    similarity = np.full((*rows.shape, columns.shape[1]), -1.0)
    photo, detection, annotation = np.nonzero((rows[:, :, None] >= 0) & (columns[:, None] >= 0))
    row, column = rows[photo, detection], columns[photo, annotation]
    labelled = people.visible.sum(axis=1)[column]
    for count in np.unique(labelled):
        at = labelled == count
        compute = _labelled_oks if count else _unlabelled_oks
        similarity[photo[at], detection[at], annotation[at]] = compute(joints, row[at], people, column[at], sigmas)
    return similarity


def _labelled_oks(joints, row, people, column, sigmas) -> np.ndarray:
    """Returns [M]: the OKS of M pairs with equal numbers of labelled joints.

    The sum runs over the labelled joints alone, as in pycocotools: zeros in between would change the last bits.
    """
    joint = np.nonzero(people.visible[column])[1].reshape(len(column), -1)
    similarity = oks.joint_similarity(
        people.joints[column[:, None], joint], joints[row[:, None], joint], people.area[column], sigmas[joint]
    )
    return similarity.sum(axis=-1) / joint.shape[1]


def _unlabelled_oks(joints, row, people, column, sigmas) -> np.ndarray:
    """Returns [M]: the OKS of M pairs without labelled joints, from the distances to the box at twice its size."""
    corner, size = people.box[column, None, :2], people.box[column, None, 2:]
    points = joints[row]
    outside = np.maximum(0, corner - size - points) + np.maximum(0, points - (corner + size * 2))
    return oks.joint_similarity(np.zeros(2), outside, people.area[column], sigmas).sum(axis=-1) / len(sigmas)


def match(similarity: np.ndarray, ignored: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Matches each photo's detections in order to the unmatched annotation with the highest OKS.

    Args:
      similarity: [B, D, G] OKS, detections in order, -1 for padding.
      ignored: [B, G, A] bool, annotations that are matched only to detections without another match.
      crowd: [B, G] bool, annotations that can be matched repeatedly.
      thresholds: [T] least OKS of a match.

    Returns:
      [B, D, A, T] number of the annotation matched to each detection, -1 for none.
    """
    order = np.argsort(ignored, axis=1, kind="stable")
    similarity = np.take_along_axis(similarity[..., None], order[:, None], axis=2)
    ignored = np.take_along_axis(ignored, order, axis=1)
    crowd = np.take_along_axis(crowd[..., None], order, axis=1)
    exists = (similarity != -1).any(axis=1)[..., None]  # else a NaN similarity would match padding
    free = np.repeat(exists, len(thresholds), axis=-1)
    matches = np.full((*similarity.shape[:2], *free.shape[2:]), -1)
    for rank in range(similarity.shape[1]):
        choice = _choose(similarity[:, rank], ignored, free, thresholds)
        photo, size, threshold = at = np.nonzero(choice >= 0)
        free[photo, choice[at], size, threshold] = crowd[photo, choice[at], size]
        matches[photo, rank, size, threshold] = order[photo, choice[at], size]
    return matches


def _choose(similarity: np.ndarray, ignored: np.ndarray, free: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns [B, A, T]: the annotation for one detection of each photo, the last of equals; -1 for none.

    `similarity` and `ignored` are [B, G, A], with ignored annotations last. `free` is [B, G, A, T].
    """
    choice = np.full((len(free), *free.shape[2:]), -1, np.int32)
    best = np.broadcast_to(thresholds, choice.shape)
    has_counted = np.zeros(choice.shape, bool)  # the choice is an annotation that is not ignored
    for number in range(free.shape[1]):
        value, is_ignored = similarity[:, number, :, None], ignored[:, number, :, None]
        better = free[:, number] & ~(value < best) & ~(has_counted & is_ignored)
        best, choice = np.where(better, value, best), np.where(better, np.int32(number), choice)
        has_counted |= better & ~is_ignored
    return choice
