"""Boxes of people in frames between two detections, from their poses in the frame before."""

import numpy as np

GROWTH = 1.25  # of the box around the joints, as in rtmlib: it also contains the head and the movement of a frame
MIN_JOINTS = 2  # fewer span no box


def boxes_from_poses(
    joints: np.ndarray,
    joint_scores: np.ndarray,
    box_scores: np.ndarray,
    size: tuple[int, int],
    min_score: float = 0.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes around people's joints, grown around their centres, as a detector returns boxes.

    Args:
      joints: [N, K, 2] in photo pixels.
      joint_scores: [N, K].
      box_scores: [N], kept.
      size: Height and width of the photo.
      min_score: Joints of lower score do not count. People of fewer than two joints are lost.

    Returns:
      boxes: [M, 4] float32, (x, y, width, height) in photo pixels, within the photo.
      scores: [M] float32.
    """
    counted = (joint_scores >= min_score)[..., None]
    joints = np.asarray(joints, np.float32)
    low = np.min(joints, axis=1, where=counted, initial=np.inf)
    high = np.max(joints, axis=1, where=counted, initial=-np.inf)
    seen = counted.sum(axis=(1, 2)) >= MIN_JOINTS
    centre, half = (low[seen] + high[seen]) / 2, (high[seen] - low[seen]) / 2 * GROWTH
    low, high = (np.clip(corner, 0, size[::-1]) for corner in (centre - half, centre + half))
    filled = np.all(high > low, axis=1)
    boxes = np.concatenate([low, high - low], axis=1)[filled]
    return boxes.astype(np.float32), box_scores[seen][filled].astype(np.float32)
