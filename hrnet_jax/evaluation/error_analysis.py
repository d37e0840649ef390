"""What is wrong with detected people, and the average precision that each kind of error costs.

The kinds are those of Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation"
(ICCV 2017, arXiv:1707.05388), with the thresholds of their program (https://github.com/matteorr/coco-analyze).
Detections are matched to annotated people by COCO's rules, from an OKS of `MATCH`. What decides is the similarity
of a joint to the nearest joint of anybody on that person's scale, its own first, see `oks.joint_similarity`:

- good: from `GOOD`, at its own joint: as near as another annotator would be.
- jitter: from `NEAR` to `GOOD`, at its own joint.
- inversion: from `NEAR`, at the mirror joint of the same person, as a left wrist on the right one.
- swap: from `NEAR`, at the same joint or its mirror joint of another person.
- miss: below `NEAR` of all these.

Besides, a detection without a match is a false positive (background, or a person found twice), a person without
one is a false negative, and a score is wrong if a detection outranks a better one of the same person.

``N`` is the number of detections that COCO counts, ``G`` that of annotated people, and ``K`` that of joints.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.optimize

from hrnet_jax.evaluation import ground_truth, matching, oks
from hrnet_jax.skeletons import Skeleton

MATCH, NEAR, GOOD = 0.1, 0.5, 0.85
KINDS = ("good", "jitter", "inversion", "swap", "miss")  # of joints, by number


@dataclasses.dataclass(frozen=True)
class Errors:
    """Detections, the annotated people and what is wrong."""

    people: ground_truth.People
    detections: matching.Detections  # the N that count, by photo and descending score
    skeleton: Skeleton
    person: np.ndarray  # [N] row of the matched person, -1 for none
    similarity: np.ndarray  # [N, K] of each joint to its own annotation; -1 if that is not labelled, or no match
    nearest: np.ndarray  # [N, K] to the nearest joint of anybody; -1 likewise
    kind: np.ndarray  # [N, K] number in `KINDS`; -1 likewise
    false_positive: np.ndarray  # [N] bool
    false_negative: np.ndarray  # [G] bool
    optimal_score: np.ndarray  # [N] see `rescore`
    optimal_person: np.ndarray  # [N] row of the person in the best assignment, -1 for none

    def oks(self) -> np.ndarray:
        """Returns [N]: the OKS of each detection and its person, 0 without a match."""
        labelled = self.similarity >= 0
        return np.where(labelled, self.similarity, 0).sum(axis=1) / np.maximum(labelled.sum(axis=1), 1)

    def outranked(self) -> np.ndarray:
        """Returns [M, 2]: pairs of detections of a person, the matched one and a better one without match."""
        best, matched = (np.full(len(self.people), -1) for _ in range(2))
        for table, of in ((best, self.optimal_person), (matched, self.person)):
            table[of[of >= 0]] = np.flatnonzero(of >= 0)
        pairs = np.stack([matched, best], axis=1)[(matched >= 0) & (best >= 0) & (matched != best)]
        return pairs[self.optimal_score[pairs[:, 1]] > self.oks()[pairs[:, 0]]]


def find(people: ground_truth.People, detections: matching.Detections, skeleton: Skeleton) -> Errors:
    """Finds the errors of the detections of one category. Numbers that are not finite count as 0."""
    tables = {name: finite(column) for name, column in vars(detections).items()}
    detections, sigmas = matching.best(matching.Detections(**tables)), np.asarray(skeleton.sigmas)
    person, false_positive, false_negative = match(people, detections, sigmas)
    own, mirrored, others = _similarities(people, detections, person, skeleton)
    score, assigned = rescore(people, detections, sigmas)
    return Errors(
        **{"people": people, "detections": detections, "skeleton": skeleton, "person": person, "similarity": own},
        nearest=np.where(own >= 0, np.maximum(np.maximum(own, mirrored), others), -1),
        kind=_classify(own, mirrored, others),
        false_positive=false_positive,
        false_negative=false_negative,
        optimal_score=score,
        optimal_person=assigned,
    )


def finite(table: np.ndarray) -> np.ndarray:
    """Returns a table with 0 for NaN and infinity, which a diverged network predicts."""
    return np.where(np.isfinite(table), table, 0)


def match(
    people: ground_truth.People, detections: matching.Detections, sigmas: oks.Sigmas
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches detections from `matching.best` from an OKS of `MATCH`.

    Returns the row of each one's person [N], -1 for none, the false positives [N] and the false negatives [G].
    """
    nobody, nothing = np.zeros((len(people), 1), bool), np.zeros((len(detections.score), 1), bool)
    matches = matching.match_groups(people, detections, sigmas, nobody, nothing, np.array([MATCH]))
    person = np.where(matches.true_positive, matches.person, -1)[:, 0, 0]
    is_found = np.isin(np.arange(len(people)), person)
    return person, matches.false_positive[:, 0, 0], ~is_found & ~people.ignored


def _classify(own: np.ndarray, mirrored: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns [N, K]: the number in `KINDS` of each joint from its similarities, -1 if it is not labelled."""
    nearest = np.maximum(np.maximum(own, mirrored), others)
    conditions = (own < 0, nearest < NEAR, (own == nearest) & (own >= GOOD), own == nearest, mirrored >= others)
    return np.select(
        conditions, (-1, *map(KINDS.index, ("miss", "good", "jitter", "inversion"))), KINDS.index("swap")
    )


def _similarities(people, detections, person, skeleton) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns three [N, K]: each joint's similarity to its own, the mirror joint, and the nearest of others."""
    mirror = skeleton.flip_order
    own, mirrored, others = (np.full(detections.joints.shape[:2], -1.0) for _ in range(3))
    rows = np.flatnonzero(person >= 0)
    own[rows] = _labelled_similarity(people, person[rows], detections, rows, skeleton)
    mirrored[rows] = _labelled_similarity(people, person[rows], detections, rows, skeleton, mirror)
    for row, column in pairs(people, detections.photo_id, rows):
        # The same pair in an array of another length may differ in the last bit, and then be nearer to itself.
        row, column = (table[column != person[row]] for table in (row, column))
        pair = np.maximum(
            _labelled_similarity(people, column, detections, row, skeleton),
            _labelled_similarity(people, column, detections, row, skeleton, mirror),
        )
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        if starts.size:
            others[row[starts]] = np.maximum.reduceat(pair, starts, axis=0)
    return own, mirrored, others


def _labelled_similarity(people, column, detections, row, skeleton, order=slice(None)) -> np.ndarray:
    """Returns [M, K]: the similarity of M pairs, annotated joints taken in an order; -1 if not labelled."""
    joints, visible = people.joints[column][:, order], people.visible[column][:, order]
    similarity = oks.joint_similarity(joints, detections.joints[row], people.area[column], skeleton.sigmas)
    return np.where(visible, similarity, -1)


def pairs(
    people: ground_truth.People, photo_id: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pairs of rows of a table with a column `photo_id` and of the people in the same photo, in parts."""
    start, stop = (np.searchsorted(people.photo_id, photo_id[rows], side) for side in ("left", "right"))
    part = np.cumsum(stop - start) // matching.BLOCK_PAIRS
    for number in np.unique(part):
        at = part == number
        count = (stop - start)[at]
        steps = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(rows[at], count), np.repeat(start[at], count) + steps


def rescore(
    people: ground_truth.People, detections: matching.Detections, sigmas: oks.Sigmas
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the scores that rank detections best: the OKS in the assignment with the highest sum in each photo.

    Returns the scores [N], 0 for detections that get no person, and the rows [N] of the people, -1 for none. Takes
    detections from `matching.best`. This is the optimal scoring of the paper.
    """
    score, person = np.zeros(len(detections.score)), np.full(len(detections.score), -1)
    for rows, columns in matching.blocks(detections.photo_id, people.photo_id):
        similarity = matching.similarities(detections.joints, rows, people, columns, np.asarray(sigmas))
        similarity[np.broadcast_to(people.ignored[columns][:, None], similarity.shape)] = 0
        for of_photo, row, column in zip(np.nan_to_num(np.maximum(similarity, 0)), rows, columns, strict=True):
            i, j = scipy.optimize.linear_sum_assignment(of_photo, maximize=True)
            i, j = (index[of_photo[i, j] > 0] for index in (i, j))
            score[row[i]], person[row[i]] = of_photo[i, j], column[j]
    return score, person
