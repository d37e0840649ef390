"""HOTA (Luiten et al., IJCV 2021) and IDF1 (Ristani et al., 2016) of single joints, beside PoseTrack's MOTA.

HOTA is that of PoseTrack21 (Döring et al., CVPR 2022): the similarity of two joints falls from 1 at the same place
to 0 at half a head. Both are over all labelled frames of a video, the last included.

Shapes: A thresholds, K joints.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize

from hrnet_jax.evaluation import assignment
from hrnet_jax.evaluation.joint_pairs import Pairs

THRESHOLDS = np.arange(0.05, 0.99, 0.05)  # of similarity
ZERO = 0.5001  # heads: the distance of similarity 0, a little above that of correct joints


class Counts(NamedTuple):
    """Numbers [A, K] of a video."""

    matches: np.ndarray
    misses: np.ndarray
    false_positives: np.ndarray
    association: np.ndarray  # sum of the association accuracy over matches
    similarity: np.ndarray  # sum over matches


def count(pairs: Pairs, *, as_posetrack21: bool = False) -> Counts:
    """Counts the matches of a video, given its labelled frames.

    At each frame without people, PoseTrack21's program counts all predictions of the video as false positives, and
    at each without predictions all its joints as misses. `as_posetrack21` does so, too. By the definition of HOTA,
    those of the frame count.
    """
    truth, results = _in_photo(pairs.truth), _in_photo(pairs.results)
    people, tracks = _ranks(pairs.truth.track_ids), _ranks(pairs.results.track_ids)
    lengths = _lengths(people, truth), _lengths(tracks, results)
    both = results[:, :, None] & truth[:, None]
    similarity = np.where(both, np.maximum(1 - pairs.distance / ZERO, 0), 0.0)
    matches = [assignment.assign(frame) for frame in similarity.transpose(0, 3, 2, 1)]
    frame, joint, person, track = np.nonzero(
        np.reshape(matches, (-1, *similarity.transpose(0, 3, 2, 1).shape[1:]))
    )
    values = similarity[frame, track, person, joint]
    labels = joint, people[frame, person], tracks[frame, track]
    rows = [_at(threshold, values, labels, lengths) for threshold in THRESHOLDS]
    matched, association, located = (np.array(column) for column in zip(*rows, strict=True))
    if as_posetrack21:
        objects, predicted = _as_posetrack21(truth, results, pairs)
    else:
        objects, predicted = truth.sum(axis=(0, 1)), results.sum(axis=(0, 1))
    return Counts(matched, objects - matched, predicted - matched, association, located)


def _in_photo(video) -> np.ndarray:
    """Returns [F, N, K] bool: joints at positive coordinates. PoseTrack21 has no others."""
    return video.exists & (video.joints > 0).all(axis=-1)


def _ranks(ids: np.ndarray) -> np.ndarray:
    return np.unique(ids, return_inverse=True)[1].reshape(ids.shape)


def _lengths(ids: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """Returns [I, K]: the number of joints of each id."""
    lengths = np.zeros((ids.max(initial=0) + 1, exists.shape[-1]))
    np.add.at(lengths, ids, exists)
    return lengths


def _at(threshold: float, values: np.ndarray, labels: tuple, lengths: tuple) -> tuple:
    """Returns matches, sum of association accuracy, and sum of similarity at a threshold, [K] each."""
    joint, person, track = (label[values >= threshold - np.finfo(float).eps] for label in labels)
    people, tracks = lengths
    together = np.zeros((people.shape[1], len(people), len(tracks)))
    np.add.at(together, (joint, person, track), 1)
    either = np.maximum(1, people.T[:, :, None] + tracks.T[:, None] - together)
    located = np.bincount(
        labels[0], np.where(values >= threshold - np.finfo(float).eps, values, 0), people.shape[1]
    )
    return together.sum(axis=(1, 2)), (together**2 / either).sum(axis=(1, 2)), located


def _as_posetrack21(truth: np.ndarray, results: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of joints and of predictions [K] that PoseTrack21's program arrives at."""
    no_people, no_poses = (~video.present.any(axis=-1) for video in (pairs.truth, pairs.results))
    objects, predicted = truth.sum(axis=(0, 1)), results.sum(axis=(0, 1))
    if not objects.any() or not predicted.any():
        return objects, predicted
    regular = ~no_people & ~no_poses
    all_objects = truth[regular].sum(axis=(0, 1)) + np.sum(no_poses & ~no_people) * objects
    return all_objects, results[regular].sum(axis=(0, 1)) + np.sum(no_people) * predicted


def metrics(counts: Sequence[Counts]) -> dict[str, np.ndarray]:
    """Returns percentages [K + 1] over videos, averaged over thresholds: HOTA, DetA, AssA and LocA.

    The last is the total, as PoseTrack21's program takes it: DetA of the sums over joints; of AssA and LocA the
    mean over joints for each video, and then over videos by their matches.
    """
    matches, misses, false_positives, _, _ = map(_with_sum, np.sum(counts, axis=0))
    detection = matches / np.maximum(1, matches + misses + false_positives)
    association = _pooled(counts, [part.association / np.maximum(1, part.matches) for part in counts])
    similar = [np.where(part.matches > 0, part.similarity / np.maximum(1, part.matches), 1.0) for part in counts]
    location = np.where(matches > 0, _pooled(counts, similar), 1.0)
    table = {"HOTA": np.sqrt(detection * association), "DetA": detection, "AssA": association, "LocA": location}
    return {name: 100 * values.mean(axis=0) for name, values in table.items()}


def _pooled(counts: Sequence[Counts], values: Sequence[np.ndarray]) -> np.ndarray:
    """Returns [A, K + 1]: the mean of values [A, K] of videos by their matches, for each joint and for all."""
    weights = np.array([_with_sum(part.matches) for part in counts])
    averages = np.array([np.concatenate([value, value.mean(axis=1, keepdims=True)], axis=1) for value in values])
    return (averages * weights).sum(axis=0) / np.maximum(1, weights.sum(axis=0))


def _with_sum(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values.sum(axis=1, keepdims=True)], axis=1)


def identity_counts(pairs: Pairs) -> np.ndarray:
    """Counts what IDF1 needs of a video, given its labelled frames.

    Returns [3, K]: correct joints with the best assignment of whole tracks, labelled joints, predicted joints.
    """
    people, tracks = _ranks(pairs.truth.track_ids), _ranks(pairs.results.track_ids)
    frame, track, person, joint = np.nonzero(pairs.within)
    joints = pairs.distance.shape[-1]
    together = np.zeros((joints, people.max(initial=0) + 1, tracks.max(initial=0) + 1))
    np.add.at(together, (joint, people[frame, person], tracks[frame, track]), 1)
    correct = [table[scipy.optimize.linear_sum_assignment(table, maximize=True)].sum() for table in together]
    return np.array([correct, pairs.truth.exists.sum(axis=(0, 1)), pairs.results.exists.sum(axis=(0, 1))])


def identity_f1(counts: np.ndarray) -> np.ndarray:
    """Returns IDF1 [K] in percent of `identity_counts` [3, K], which add up over videos; NaN without joints."""
    correct, objects, predicted = counts
    whole = objects + predicted
    return 100 * np.divide(2 * correct, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
