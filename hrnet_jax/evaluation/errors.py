"""Errors of predictions on ground-truth boxes, by joint and by person."""

from collections.abc import Callable

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton


def per_joint(
    joints: np.ndarray, people: records.People, sizes: np.ndarray, skeleton: Skeleton
) -> dict[str, dict[str, float | None]]:
    """Returns the errors of each joint's predictions [N, K, 2], over labelled joints, by joint name.

    These are `count` of labelled ones; `mean_error` and `median_error`, the distance from the ground truth in the
    person's size [N]; `swapped`, the share that is nearer to the labelled mirror joint than to its own, as a left
    wrist on the right one. None without anything to average. Joints and sizes are in photo pixels.
    """
    labelled = people.visible > 0
    distance = np.linalg.norm(joints - people.joints, axis=-1)
    to_mirror = np.linalg.norm(joints - people.joints[:, skeleton.flip_order], axis=-1)
    paired = labelled & labelled[:, skeleton.flip_order] & (skeleton.flip_order != np.arange(joints.shape[1]))
    error = distance / sizes[:, None]
    return {
        name: {
            "count": int(labelled[:, k].sum()),
            "mean_error": mean(error[labelled[:, k], k]),
            "median_error": mean(error[labelled[:, k], k], np.median),
            "swapped": mean((to_mirror < distance)[paired[:, k], k]),
        }
        for k, name in enumerate(skeleton.joints)
    }


def per_person(joints: np.ndarray, people: records.People, sizes: np.ndarray) -> np.ndarray:
    """Returns [N]: the mean error of each person's labelled joints, in units of its size; NaN without any.

    See `per_joint` for the arguments.
    """
    labelled = people.visible > 0
    distance = np.linalg.norm(joints - people.joints, axis=-1) * labelled
    counts = np.where(labelled.any(axis=1), labelled.sum(axis=1), np.nan)
    return distance.sum(axis=1) / counts / sizes


def mean(values: np.ndarray, average: Callable = np.mean) -> float | None:
    """Averages values; returns None if there are none."""
    return float(average(values)) if values.size else None
