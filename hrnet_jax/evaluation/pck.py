"""The percentage of correct keypoints (PCK) of JHMDB and LSP: joints within a fifth of a person's size.

The size is the longer side of the annotated box (``PCK``), or the distance from the left shoulder to the right hip
(``tPCK``, of the torso). People whose size is 0 do not count. As in mmpose's evaluation, a joint at the threshold
is wrong, and the mean is over joints, each with the same weight.
"""

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton

THRESHOLD = 0.2  # of the size
TORSO = ("left_shoulder", "right_hip")
GROUPS = {
    "Head": ("head", "head_top"),
    **{part.title(): (f"left_{part}", f"right_{part}") for part in ("shoulder", "elbow", "wrist", "hip", "knee")},
    "Ankle": ("left_ankle", "right_ankle"),
}
UNDEFINED = -1.0  # the value of a metric without joints, as in COCO's evaluation


def metrics(joints: np.ndarray, people: records.People, boxes: np.ndarray, skeleton: Skeleton) -> dict[str, float]:
    """Returns percentages for predictions [N, K, 2] of people in annotated `boxes` [N, 4], all in photo pixels.

    They are ``PCK@0.2/Head`` to ``PCK@0.2/Ankle`` and ``PCK@0.2/Mean``, and the same of ``tPCK``; `UNDEFINED`
    without joints to count.
    """
    ends = [skeleton.joints.index(name) for name in TORSO]
    labelled = people.visible > 0
    has_torso = labelled[:, ends].all(axis=1)
    torso = np.linalg.norm(people.joints[:, ends[0]] - people.joints[:, ends[1]], axis=-1) * has_torso
    sizes = {"PCK": boxes[:, 2:].max(axis=1, initial=0), "tPCK": torso}
    distance = np.linalg.norm(joints - people.joints, axis=-1)
    return {
        name: value
        for kind, size in sizes.items()
        for name, value in _table(kind, distance, labelled, size, skeleton)
    }


def _table(kind: str, distance: np.ndarray, labelled: np.ndarray, size: np.ndarray, skeleton: Skeleton):
    """Yields names and percentages, given distances [N, K] in pixels and sizes [N]."""
    counted = labelled & (size > 0)[:, None]
    hits, counts = (counted & (distance < THRESHOLD * size[:, None])).sum(axis=0), counted.sum(axis=0)
    percent = np.where(counts > 0, 100.0 * hits / np.maximum(counts, 1), np.nan)
    of_joint = dict(zip(skeleton.joints, percent.tolist(), strict=True))
    for group, joints in GROUPS.items():
        yield f"{kind}@{THRESHOLD}/{group}", _mean([of_joint[name] for name in joints if name in of_joint])
    yield f"{kind}@{THRESHOLD}/Mean", _mean([*of_joint.values()])


def _mean(percentages: list[float]) -> float:
    known = [value for value in percentages if not np.isnan(value)]
    return float(np.mean(known)) if known else UNDEFINED
