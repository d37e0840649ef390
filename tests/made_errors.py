"""Photos of people whose predictions are perfect, to plant errors in."""

import dataclasses

import numpy as np

from hrnet_jax.evaluation import error_analysis, ground_truth, matching
from hrnet_jax.skeletons import COCO

SIZE = 100.0  # square root of the area
PHOTOS, PER_PHOTO = 4, 2


def people() -> ground_truth.People:
    """Two people on each photo, their joints far from each other."""
    count, joints = PHOTOS * PER_PHOTO, COCO.num_joints
    grid = 200.0 * np.stack([np.arange(joints) % 5, np.arange(joints) // 5], axis=-1)
    corner = np.array([[2000.0 * (i % PER_PHOTO), 0] for i in range(count)])
    return ground_truth.People(
        photo_id=np.repeat(np.arange(PHOTOS) + 1, PER_PHOTO),
        annotation_id=np.arange(count) + 1,
        joints=grid + corner[:, None],
        visible=np.ones((count, joints), bool),
        box=np.column_stack([corner, np.full((count, 2), 800.0)]),
        area=np.full(count, SIZE**2),
        crowd=np.zeros(count, bool),
        ignored=np.zeros(count, bool),
    )


def perfect(truth: ground_truth.People) -> matching.Detections:
    """Returns a detection at each person, with scores that descend by row."""
    scores = np.linspace(0.9, 0.6, len(truth))
    return matching.Detections(truth.photo_id, truth.joints.copy(), scores, np.full(truth.visible.shape, 0.8))


def distance(similarity: float, joint: int) -> float:
    """Returns how far from its place a joint has a similarity, in pixels."""
    return 2 * COCO.sigmas[joint] * SIZE * np.sqrt(-2 * np.log(similarity))


def moved(detections: matching.Detections, row: int, joint: int, place) -> matching.Detections:
    """Returns detections with a joint at another place."""
    joints = detections.joints.copy()
    joints[row, joint] = place
    return dataclasses.replace(detections, joints=joints)


def added(detections: matching.Detections, photo_id: int, joints, score: float) -> matching.Detections:
    """Returns detections with another one."""
    new = np.array([photo_id]), joints[None], np.array([score]), np.full((1, len(joints)), 0.5)
    old = (detections.photo_id, detections.joints, detections.score, detections.joint_score)
    return matching.Detections(*map(np.concatenate, zip(old, new, strict=True)))


def find(detections: matching.Detections, truth: ground_truth.People | None = None) -> error_analysis.Errors:
    return error_analysis.find(people() if truth is None else truth, detections, COCO)
