"""MPII's metrics: the percentage of joints within half a head of the ground truth (PCKh), and ``pred.mat``.

A head's size is 0.6 of the diagonal of its box (Andriluka et al., CVPR 2014). The mean is over joints and not over
groups. As in the authors' evaluation, it excludes pelvis and thorax.
"""

import pathlib
from typing import Any

import numpy as np
import scipy.io

from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation.breakdown import QUANTILES, reliability
from hrnet_jax.skeletons import Skeleton

HEAD_PART = 0.6  # head size / diagonal of the head's box
THRESHOLD = 0.5  # heads
UNCOUNTED = ("pelvis", "thorax")
SIDED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
GROUPS = {"Head": ("head_top",)} | {part.title(): (f"left_{part}", f"right_{part}") for part in SIDED}
# Stricter means by name. The papers' "Mean@0.1" is the one at 0.11: the original reads one table row too far.
STRICT = {"PCKh@0.1/Mean": 0.1, "PCKh@0.11/Mean": 0.11}
CURVE = np.linspace(0, 0.5, 26)  # thresholds of the curves, in heads
UNDEFINED = -1.0  # the value of a metric without joints, as in COCO's evaluation


def errors_in_heads(joints: np.ndarray, truth: mpii.Truth) -> np.ndarray:
    """Returns [N, K]: the distance of predictions [N, K, 2] from the truth, in sizes of the person's head."""
    distance = np.linalg.norm(joints + mpii.FIRST_PIXEL - truth.joints, axis=-1)
    diagonal = np.linalg.norm(truth.head_boxes[:, 1] - truth.head_boxes[:, 0], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # no joint is within half of an empty head
        return distance / (HEAD_PART * diagonal)[:, None]


def metrics(joints: np.ndarray, truth: mpii.Truth, skeleton: Skeleton) -> dict[str, float]:
    """Returns the authors' table of percentages for predictions [N, K, 2] in photo pixels.

    It has ``PCKh@0.5/Head`` to ``PCKh@0.5/Ankle``, ``PCKh@0.5/Mean`` and those of `STRICT`. Left and right have
    equal weight in a group, and so have all joints in a mean. `UNDEFINED` without joints to count.
    """
    errors, visible = errors_in_heads(joints, truth), truth.missing == 0
    counts = visible.sum(axis=0)
    hits = ((errors <= THRESHOLD) & visible).sum(axis=0)
    table = {}
    for group, names in GROUPS.items():
        columns = [skeleton.joints.index(name) for name in names]
        sides = [_percent(hits[k], counts[k]) for k in columns if counts[k]]
        table[f"PCKh@{THRESHOLD}/{group}"] = float(np.mean(sides)) if sides else UNDEFINED
    counted = ~np.isin(skeleton.joints, UNCOUNTED)
    for name, threshold in {f"PCKh@{THRESHOLD}/Mean": THRESHOLD, **STRICT}.items():
        hits = (errors <= threshold) & visible
        table[name] = _percent(hits[:, counted].sum(), counts[counted].sum())
    return table


def _percent(hits: int, count: int) -> float:
    return 100.0 * float(hits) / float(count) if count else UNDEFINED


def breakdown(joints: np.ndarray, scores: np.ndarray, truth: mpii.Truth, skeleton: Skeleton) -> dict[str, Any]:
    """Returns curves of PCKh by threshold, the errors of each joint, and the calibration of the joints' scores.

    These are ``curves/GROUP``: percentages at `CURVE`, with ``Mean`` as in `metrics`; ``joints/JOINT`` with
    ``count``, ``PCKh`` at `THRESHOLD` and ``heads``, quantiles of the error; ``calibration/joints``, see
    `breakdown.reliability`. Takes predictions [N, K, 2] in photo pixels and their scores [N, K].
    """
    errors, visible = errors_in_heads(joints, truth), truth.missing == 0
    of_joints = [errors[visible[:, k], k] for k in range(skeleton.num_joints)]
    groups = {group: [of_joints[skeleton.joints.index(name)] for name in names] for group, names in GROUPS.items()}
    counted = np.concatenate([of_joints[k] for k, name in enumerate(skeleton.joints) if name not in UNCOUNTED])
    curves = {name: _curve(sides) for name, sides in {**groups, "Mean": [counted]}.items()}
    table = {}
    for name, of_joint in zip(skeleton.joints, of_joints, strict=True):
        quantiles = np.quantile(of_joint, QUANTILES).tolist() if of_joint.size else None
        table[name] = {
            "count": of_joint.size,
            "PCKh": _percent(int((of_joint <= THRESHOLD).sum()), of_joint.size),
            "heads": quantiles,
        }
    calibration = reliability(scores[visible], errors[visible] <= THRESHOLD)
    return {
        "curves": {name: curve for name, curve in curves.items() if curve},
        "joints": table,
        "calibration": {"joints": calibration},
    }


def _curve(sides: list[np.ndarray]) -> list[float]:
    """Returns the percentage of errors within each of `CURVE`, averaged over sides; [] without joints."""
    shares = [np.mean(side[:, None] <= CURVE, axis=0) for side in sides if side.size]
    return (100 * np.mean(shares, axis=0)).tolist() if shares else []


def predictions(joints: np.ndarray, people: records.People, rows: int) -> np.ndarray:
    """Returns [rows, K, 2]: predictions [N, K, 2] in the rows of the annotation file, in pixels counted from 1.

    Rows of people dropped by `prepare` are NaN.
    """
    table = np.full((rows, *joints.shape[1:]), np.nan, joints.dtype)
    table[people.annotation_id - 1] = joints + mpii.FIRST_PIXEL
    return table


def write(preds: np.ndarray, path: pathlib.Path) -> None:
    """Writes `predictions` as a MATLAB file like the original's, with ``preds`` [rows, K, 2]."""
    scipy.io.savemat(path, {"preds": preds})
