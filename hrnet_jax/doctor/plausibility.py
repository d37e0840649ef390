"""How plausible boxes and joints are as those of people: log-likelihoods that allow for mistakes.

Each side of a box is near the outermost joint there, the box is on the photo and of a person's size. Heads are
above hips, and a face seen from the front has its sides as `side_cues` says. The shares below were measured on 154
real and 559 made-up people, and leave more to the tails.
"""

import dataclasses

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import joint_names, readings, side_cues
from hrnet_jax.skeletons import Skeleton

FEW_JOINTS = 3  # with fewer labelled joints, these say little about the sides of the box
# Gap between each side of the box and the outermost joint, as a share of the box: edges, and the shares between.
GAPS, GAP_SHARES = [-0.3, -0.1, 0.27, 0.5, 0.85], [0.003, 0.03, 0.8, 0.12, 0.045, 0.002]
# Part of the box's width or height that is off the photo. Boxes may be of what would be seen.
OUTSIDE, OUTSIDE_SHARES = [0.02, 0.15, 0.4], [0.9, 0.07, 0.025, 0.005]
# IoU of a person and the best of the detected boxes.
OVERLAPS, OVERLAP_SHARES = [0.1, 0.3, 0.5], [0.06, 0.03, 0.11, 0.8]
SMALL, SMALL_SHARE = 4.0, 0.003  # pixels of a side of a box
JOINTS_OUTSIDE_SHARE = 0.01  # of people, whose joints are mostly off the photo
# Of the direction from head to hips in the photo: down, to the sides, up.
DOWN, SIDEWAYS, UP = 0.9, 0.04, 0.02
MIRRORED_EYES, MIRRORED_SHOULDERS = 1 - side_cues.EYES_FLOOR, 1 - side_cues.FLOOR
HEAD = {"nose", "eye", "ear", "head", "neck", "shoulder", "thorax"}
HIPS = {"hip", "pelvis", "knee", "ankle"}
ANIMAL = {"paw", "tail", "hoof", "withers"}


def _log_share(values: np.ndarray, edges: list[float], shares: list[float]) -> np.ndarray:
    """Returns the logarithms of the values' shares, relative to the largest."""
    return np.log(np.array(shares) / max(shares))[np.searchsorted(edges, values)]


def boxes(box: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns [N] log-likelihoods of boxes [N, 4] on photos of sizes [N, 2], at most 0."""
    extent = np.maximum(box[:, 2:], 1e-9)
    outside = np.maximum(-box[:, :2], 0) + np.maximum(box[:, :2] + box[:, 2:] - size, 0)
    score = _log_share((outside / extent).max(axis=1), OUTSIDE, OUTSIDE_SHARES)
    return np.where((box[:, 2:] < SMALL).any(axis=1), np.log(SMALL_SHARE), score)


def matches(overlaps: np.ndarray) -> np.ndarray:
    """Returns [N] log-likelihoods of people whose best of the detected boxes has these IoUs [N]."""
    return _log_share(overlaps, OVERLAPS, OVERLAP_SHARES)


def outermost(joints: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Returns [N, 2, 2] the upper left and lower right corner of the labelled joints, of few joints infinite."""
    low = np.where(labelled[..., None], joints, np.inf).min(axis=1)
    high = np.where(labelled[..., None], joints, -np.inf).max(axis=1)
    return np.stack([low, high], axis=1)


def joints_in_boxes(corners: np.ndarray, box: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns [N] log-likelihoods of boxes [N, 4] around joints with the given corners [N, 2, 2] and count [N]."""
    extent = np.maximum(box[:, 2:], 1e-9)
    gaps = np.stack([corners[:, 0] - box[:, :2], box[:, :2] + box[:, 2:] - corners[:, 1]], axis=1)
    gaps /= extent[:, None]
    score = _log_share(gaps, GAPS, GAP_SHARES).sum(axis=(1, 2))
    beside = (gaps < GAPS[0]).any(axis=(1, 2)) * np.log(GAP_SHARES[0])
    return np.where(count >= FEW_JOINTS, score, np.where(count > 0, beside, 0.0))


def joints_on_photos(joints: np.ndarray, labelled: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns [N] log-likelihoods of labelled joints [N, K, 2] on photos of sizes [N, 2]."""
    off = ((joints < -0.1 * size[:, None]) | (joints > 1.1 * size[:, None])).any(axis=2) & labelled
    return np.where(off.sum(axis=1) * 2 > labelled.sum(axis=1), np.log(JOINTS_OUTSIDE_SHARE), 0.0)


class Bodies:
    """The log-likelihoods of poses of the same people in different readings of their joints.

    `marks` [N] are the cameras' orientation marks of photos whose coordinates are of the photo as stored, else 1.
    """

    def __init__(self, people: AnnotatedPeople, skeleton: Skeleton, marks: np.ndarray):
        words = [set(name.split("_")) for name in joint_names.coco_style(skeleton)]
        human = not any(ANIMAL & name for name in words)
        self._head, self._hips = (
            np.array([human and bool(part & name) for name in words]) & people.labelled for part in (HEAD, HIPS)
        )
        self._people = dataclasses.replace(people, annotation_id=np.arange(len(people)))
        self._skeleton = skeleton
        self._frames = [(marks == mark, readings.MARKS[mark]) for mark in np.unique(marks).tolist()]

    def __call__(self, joints: np.ndarray) -> np.ndarray:
        """Returns [N] log-likelihoods of joints [N, K, 2]."""
        people = dataclasses.replace(self._people, joints=joints)
        return self._directions(joints) + self._sides(people)

    def _directions(self, joints: np.ndarray) -> np.ndarray:
        down = _mean(joints, self._hips) - _mean(joints, self._head)
        for rows, frame in self._frames:
            down[rows] = frame.map(down[rows], np.zeros(2))
        x, y = down.T
        share = np.where(y > np.abs(x), DOWN, np.where(-y > np.abs(x), UP, SIDEWAYS)) / DOWN
        return np.where(self._head.any(axis=1) & self._hips.any(axis=1), np.log(share), 0.0)

    def _sides(self, people: AnnotatedPeople) -> np.ndarray:
        score = np.zeros(len(people))
        for cue in side_cues.faces(people, self._skeleton):
            wrong = MIRRORED_EYES if cue.pair == "eye" else MIRRORED_SHOULDERS
            score[cue.checks.failures] += np.log(wrong / (1 - wrong))
        return score


def _mean(joints: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return (joints * chosen[..., None]).sum(axis=1) / np.maximum(chosen.sum(axis=1), 1)[:, None]
