"""PoseTrack's MOTA and MOTP: the CLEAR MOT metrics (Bernardin and Stiefelhagen, 2008) of each joint on its own.

As in the official evaluation (https://github.com/leonid-pishchulin/poseval), the last frame of a video is left
out, and a frame without people, or without predictions, counts as one object, one miss and one false positive.
Shapes as in `joint_pairs`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hrnet_jax.evaluation import assignment
from hrnet_jax.evaluation.joint_pairs import THRESHOLD, Pairs

MIN_FRAMES = 2  # the last is not counted


class Counts(NamedTuple):
    """Numbers [K] for each joint. They add up over videos."""

    objects: np.ndarray  # labelled joints
    matches: np.ndarray
    misses: np.ndarray
    switches: np.ndarray  # matches with another track id than the person's last
    false_positives: np.ndarray
    distance: np.ndarray  # sum over matches, in heads
    logged_distance: np.ndarray  # the sum over all lines in the log of motmetrics 1.2 and later, see `metrics`


def total(counts: Sequence[Counts]) -> Counts:
    """Adds up the counts of videos."""
    return Counts(*np.sum(counts, axis=0))


def metrics(counts: Counts) -> dict[str, np.ndarray]:
    """Returns percentages [K]: MOTA, MOTP, precision and recall; NaN where undefined, but MOTP is 0.

    ``MOTP`` is one minus the mean distance of matches in heads, as in published tables. ``MOTP_motmetrics`` is
    what the official evaluation prints with motmetrics 1.2 or later: it adds up a log that repeats distances.
    """
    errors = counts.misses + counts.switches + counts.false_positives
    some = counts.matches > 0
    return {
        "MOTA": 100 * (1 - _ratio(errors, counts.objects)),
        "MOTP": np.where(some, 100 * (1 - _ratio(counts.distance, counts.matches)), 0.0),
        "MOTP_motmetrics": np.where(some, 100 * (1 - _ratio(counts.logged_distance, counts.matches)), 0.0),
        "precision": 100 * _ratio(counts.matches, counts.matches + counts.false_positives),
        "recall": 100 * _ratio(counts.matches, counts.objects),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def count(pairs: Pairs) -> Counts:
    """Counts the events of a video, given its frames with people.

    A person keeps the track id of the last match where that is near enough. The remaining joints are assigned, as
    many as possible with the least sum of distances.

    Raises ValueError for fewer than `MIN_FRAMES` frames.
    """
    if len(pairs.distance) < MIN_FRAMES:
        raise ValueError(
            f"{pairs.truth.name} has {len(pairs.distance)} frames with people, of which the last is left out"
        )
    frames = np.arange(len(pairs.distance)) < len(pairs.distance) - 1
    truth, results, distance = pairs.truth.select(frames), pairs.results.select(frames), pairs.distance[:-1]
    is_empty = ~truth.present.any(axis=-1) | ~results.present.any(axis=-1)
    empty = np.sum(is_empty)
    objects = truth.exists[~is_empty].sum(axis=(0, 1))
    predicted = results.exists[~is_empty].sum(axis=(0, 1))
    matches, switches, matched, logged = _follow(truth.track_ids, results.track_ids, distance)
    candidates = np.where(distance <= THRESHOLD, distance, 0.0).sum(axis=(0, 1, 2))
    return Counts(
        objects=objects + empty,
        matches=matches,
        misses=objects - matches + empty,
        switches=switches,
        false_positives=predicted - matches + empty,
        distance=matched,
        logged_distance=candidates + matched + logged,
    )


def _follow(truth_ids: np.ndarray, track_ids: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Returns [4, K]: matches, switches, the distance of matches, and that of further lines in motmetrics' log."""
    people, tracks = (np.unique(ids, return_inverse=True)[1].reshape(ids.shape) for ids in (truth_ids, track_ids))
    joints = distance.shape[-1]
    last_track = np.full((joints, people.max(initial=0) + 1), -1)  # of each person
    last_person = np.full((joints, tracks.max(initial=0) + 1), -1)  # of each track, when it was assigned
    was_matched = np.zeros(last_person.shape, bool)
    sums = np.zeros((4, joints))
    for person, track, apart in zip(people, tracks, distance.transpose(0, 3, 2, 1), strict=True):
        near = apart <= THRESHOLD
        kept = _kept(last_track[:, person], track, near)
        rest = near & ~kept.any(axis=2, keepdims=True) & ~kept.any(axis=1, keepdims=True)
        new = assignment.assign(np.where(rest, 1 + min(apart.shape[1:]) - apart, 0.0))
        k, g, d = np.nonzero(new)
        before, owner = last_track[k, person[g]], last_person[k, track[d]]
        is_switch, is_transfer = before >= 0, (owner >= 0) & (owner != person[g])
        lines = np.sum([is_switch & ~was_matched[k, track[d]], is_transfer, is_transfer & ~is_switch], axis=0)
        sums[0] += (kept | new).sum(axis=(1, 2))
        sums[1] += np.bincount(k[is_switch], minlength=joints)
        sums[2] += np.where(kept | new, apart, 0.0).sum(axis=(1, 2))
        sums[3] += np.bincount(k, lines * apart[k, g, d], minlength=joints)
        last_track[k, person[g]], last_person[k, track[d]], was_matched[k, track[d]] = track[d], person[g], True
    return sums


def _kept(last_track: np.ndarray, track: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Returns [K, G, D] bool: pairs of people and their last tracks; of people with the same, the first."""
    same = near & (last_track[..., None] == track)
    return same & (np.cumsum(same, axis=1) == 1)
