"""PoseTrack's average precision: of single joints, after poses are assigned to people frame by frame.

The definition is that of the official evaluation (https://github.com/leonid-pishchulin/poseval), which evaluates
MPII's multi-person benchmark, too. Shapes as in `joint_pairs`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hrnet_jax.evaluation.joint_pairs import Pairs


class Predictions(NamedTuple):
    """The predicted joints of a video, in order of frames and people: P of them."""

    joint: np.ndarray  # [P] number of the joint
    score: np.ndarray  # [P]
    correct: np.ndarray  # [P] bool
    positives: np.ndarray  # [K] labelled joints


def joint_results(pairs: Pairs) -> Predictions:
    """Tells which predicted joints of a video are correct, given its frames with people.

    A predicted pose belongs to the person of whom it has the largest share of joints, and each person keeps the
    best of its poses, in both cases the first of equals. Scores have no part in this. A joint is correct where it
    is near that of the pose's person, and wrong where that is not labelled.
    """
    within = pairs.within
    labelled = pairs.truth.exists.sum(axis=-1)
    share = within.sum(axis=-1) / np.maximum(labelled, 1)[:, None]
    favourite = share.argmax(axis=2)
    share = np.where(np.arange(share.shape[2]) == favourite[..., None], share, 0.0)
    chosen = share.argmax(axis=1)
    frame, person = np.nonzero(share.max(axis=1) > 0)
    pose = chosen[frame, person]
    correct = np.zeros_like(pairs.results.exists)
    correct[frame, pose] = within[frame, pose, person]
    at = np.nonzero(pairs.results.exists)
    return Predictions(at[-1], pairs.results.scores[at], correct[at], pairs.truth.exists.sum(axis=(0, 1)))


def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> tuple[float, float, float]:
    """Returns average precision, precision and recall of all predictions [M] of a joint, in percent.

    The average is the area under the precision made monotone, at every recall (PASCAL VOC). Of equal scores, later
    predictions rank first. Without predictions all three are 0. With some, but without labelled joints
    (`positives`), average precision and recall are NaN.
    """
    if not scores.size:
        return 0.0, 0.0, 0.0
    order = np.argsort(scores, kind="stable")[::-1]
    true = np.cumsum(correct[order])
    precision = true / np.arange(1, len(true) + 1)
    if not positives:
        return np.nan, 100.0 * float(precision[-1]), np.nan
    recall = true / positives
    steps = np.diff(recall, prepend=0.0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return 100.0 * float(np.sum(steps * envelope)), 100.0 * float(precision[-1]), 100.0 * float(recall[-1])


def pooled(videos: Sequence[Predictions]) -> np.ndarray:
    """Returns [3, K]: average precision, precision and recall of each joint over all videos."""
    joint, score, correct = (np.concatenate([video[field] for video in videos]) for field in range(3))
    positives = np.sum([video.positives for video in videos], axis=0)
    of_joint = [joint == number for number in range(len(positives))]
    rows = [average_precision(score[own], correct[own], n) for own, n in zip(of_joint, positives, strict=True)]
    return np.array(rows).T
