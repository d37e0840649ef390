"""Propagation of poses along optical flow, and the similarity of poses of different frames.

Poses are [N, K, 3]: x and y in photo pixels, and the joint's score. A joint is valid if its score is at least the
`joint_threshold`. Boxes are [..., 4] corners, x1, y1, x2, y2. The algorithm is that of SimpleBaselines (Xiao et
al., ECCV 2018, section 3); where the paper is silent, the docstrings say what is chosen.
"""

import numpy as np

from hrnet_jax.evaluation import oks

GROWTH = 0.15  # of a box of propagated joints, in all (Xiao et al., section 3.1)
JOINT_THRESHOLD = 0.2  # least score of a valid joint; ours, the papers do not tell


def sample_flow(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns [..., 2]: the flow [H, W, 2] at points [..., 2], bilinear, clamped into the photo."""
    height, width = flow.shape[:2]
    x, y = np.clip(points[..., 0], 0, width - 1), np.clip(points[..., 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[..., None], (y - top)[..., None]
    above = flow[top, left] * (1 - across) + flow[top, right] * across
    below = flow[bottom, left] * (1 - across) + flow[bottom, right] * across
    return above * (1 - down) + below * down


def propagate(poses: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Moves the joints of poses [N, K, 3] along the flow [H, W, 2] to the next frame, in pixels (dx, dy)."""
    moved = poses.copy()
    moved[..., :2] += sample_flow(flow, poses[..., :2])
    return moved


def tight_boxes(poses: np.ndarray, joint_threshold: float = JOINT_THRESHOLD) -> np.ndarray:
    """Returns [N, 4]: the boxes of valid joints, zeros for a pose without any."""
    valid = (poses[..., 2] >= joint_threshold)[..., None]
    low = np.where(valid, poses[..., :2], np.inf).min(axis=1, initial=np.inf)
    high = np.where(valid, poses[..., :2], -np.inf).max(axis=1, initial=-np.inf)
    return np.where(valid.any(axis=1), np.concatenate([low, high], axis=1), 0.0)


def grow(boxes: np.ndarray, growth: float = GROWTH) -> np.ndarray:
    """Returns boxes [..., 4] of `1 + growth` times the width and height, about the same centres."""
    low, high = boxes[..., :2], boxes[..., 2:]
    margin = (high - low) * growth / 2
    return np.concatenate([low - margin, high + margin], axis=-1)


def iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Returns [A, B]: intersection over union of boxes [A, 4] and [B, 4], 0 where both are empty."""
    a, b = boxes_a[:, None], boxes_b[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    both = sides.prod(axis=-1)
    either = _areas(a) + _areas(b) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def suppress_boxes(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the indices of boxes [N, 4] that NMS keeps, best score first, the first of equals.

    A box is dropped if its IoU with a kept one is above the threshold.
    """
    order = np.argsort(-scores, kind="stable")
    overlap = iou(boxes, boxes) > threshold
    kept: list[int] = []
    for index in order:
        if not overlap[index, kept].any():
            kept.append(int(index))
    return np.array(kept, int)


def pose_similarity(
    earlier: np.ndarray, current: np.ndarray, sigmas: oks.Sigmas, joint_threshold: float = JOINT_THRESHOLD
) -> np.ndarray:
    """Returns [A, B]: the OKS of poses [A, K, 3] and [B, K, 3], over joints that are valid in both.

    The area is the mean of those of their tight boxes. The similarity is 0 without a common joint. The flow-based
    similarity of the paper is this one, of `propagate`d earlier poses.
    """
    valid = (earlier[:, None, :, 2] >= joint_threshold) & (current[None, :, :, 2] >= joint_threshold)
    areas = [_areas(tight_boxes(poses, joint_threshold)) for poses in (earlier, current)]
    mean_area = (areas[0][:, None] + areas[1]) / 2
    similar = oks.joint_similarity(earlier[:, None, :, :2], current[None, :, :, :2], mean_area, sigmas) * valid
    return similar.sum(axis=-1) / np.maximum(valid.sum(axis=-1), 1)


def box_similarity(
    earlier: np.ndarray, current: np.ndarray, joint_threshold: float = JOINT_THRESHOLD
) -> np.ndarray:
    """Returns [A, B]: the IoU of the tight boxes of poses [A, K, 3] and [B, K, 3]."""
    return iou(tight_boxes(earlier, joint_threshold), tight_boxes(current, joint_threshold))
