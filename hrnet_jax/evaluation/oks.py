"""Object keypoint similarity (OKS), and the rescoring and non-maximum suppression (NMS) based on it.

A joint at a distance of ``d`` pixels from its reference, on a person of area ``a``, scores
``exp(-d^2 / (2 (2 sigma)^2 a))``: 1 at the reference and 0.61 at two sigmas. A person's OKS is the mean over its
joints (https://cocodataset.org/#keypoints-eval). Rescoring and both kinds of NMS are those of the published HRNet
results, including the order of ties.
"""

from collections.abc import Sequence

import numpy as np

SOFT_NMS_MOST = 20  # people kept in a photo by soft NMS; COCO counts no more
Sigmas = Sequence[float] | np.ndarray


def joint_similarity(joints_a: np.ndarray, joints_b: np.ndarray, areas: np.ndarray, sigmas: Sigmas) -> np.ndarray:
    """Returns [..., K] in [0, 1]: the similarity of each joint of one person to the same joint of another.

    Joints [..., K, 2] are in photo pixels and broadcast, areas [...] in square pixels. The square root of the area
    is the unit of distances and of the K sigmas.
    """
    variances = (2 * np.asarray(sigmas)) ** 2
    squares = (np.asarray(joints_b) - np.asarray(joints_a)) ** 2
    squared = squares[..., 0] + squares[..., 1]  # `sum` over so short an axis is many times slower
    return np.exp(-squared / variances / (np.asarray(areas)[..., None] + np.spacing(1)) / 2)


def oks(
    joints_a: np.ndarray, joints_b: np.ndarray, area_a: float | np.ndarray, areas_b: np.ndarray, sigmas: Sigmas
) -> np.ndarray:
    """Returns [N]: the OKS of one person and each of N others over all joints, for the mean of both areas.

    Takes joints [K, 2] and [N, K, 2] in photo pixels, square pixels, and sigmas as `joint_similarity`.
    """
    return joint_similarity(joints_a, joints_b, (area_a + np.asarray(areas_b)) / 2, sigmas).mean(axis=-1)


def oks_of_predictions(
    predicted: np.ndarray, joints: np.ndarray, visible: np.ndarray, areas: np.ndarray, sigmas: Sigmas
) -> np.ndarray:
    """Returns [N]: COCO's OKS of each prediction and its ground truth, over labelled joints.

    `visible` [N, K] is above 0 for these. A person without any gets 0. See `joint_similarity` for the rest.
    """
    labelled = np.asarray(visible) > 0
    similarity = joint_similarity(predicted, joints, areas, sigmas) * labelled
    return similarity.sum(axis=-1) / np.maximum(labelled.sum(axis=-1), 1)


def suppress(
    photos: np.ndarray,
    joints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sigmas,
    threshold: float,
    *,
    soft: bool = False,
) -> np.ndarray:
    """Applies NMS to the people of each photo.

    Hard NMS drops everyone whose OKS with a kept person of higher score is above `threshold`. Soft NMS
    (arXiv:1704.04503) takes 20 people at most, the best first, and multiplies the scores of the rest by
    ``exp(-oks^2 / threshold)`` each time. Only the order depends on the lowered scores.

    Takes the photo of N people in any order, joints [N, K, 2] in photo pixels, scores [N], areas [N] in square
    pixels and sigmas, see `joint_similarity`. `threshold` is 0.9 in the published results.

    Returns the rows to keep. Photos stay in order of first appearance. Each photo's people are sorted, best first.
    """
    _, first, photo = np.unique(photos, return_index=True, return_inverse=True)
    rows = np.argsort(first[photo], kind="stable")  # grouped by photo
    starts, counts = np.unique(first[photo[rows]], return_index=True, return_counts=True)[1:]
    kept = np.zeros(len(rows), bool)
    for count in np.unique(counts):  # photos with equally many people are processed together
        places = starts[counts == count, None] + np.arange(count)
        group = rows[places]
        order, keep = (_soft if soft else _hard)(joints[group], scores[group], areas[group], sigmas, threshold)
        rows[places], kept[places] = np.take_along_axis(group, order, axis=1), keep
    return rows[kept]


def _reorder(order: np.ndarray, *tables: np.ndarray) -> list[np.ndarray]:
    """Returns tables [P, N, ...] in the order [P, N] of each photo."""
    order = np.ascontiguousarray(order)  # memory layout follows it, and the last bits of sums follow the layout
    photo = np.arange(len(order))[:, None]
    return [table[photo, order] for table in tables]


def _hard(joints, scores, areas, sigmas, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of N people in P photos and whether each is kept, both [P, N]."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    joints, areas = _reorder(order, joints, areas)
    kept = np.ones(order.shape, bool)
    for best in range(order.shape[1] - 1):
        rest = slice(best + 1, None)
        similarity = oks(joints[:, best, None], joints[:, rest], areas[:, best, None], areas[:, rest], sigmas)
        kept[:, rest] &= ~kept[:, best, None] | (similarity <= threshold)
    return order, kept


def _soft(joints, scores, areas, sigmas, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of N people in P photos and whether each is kept, both [P, N]."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    joints, areas, lowered = _reorder(order, joints, areas, scores)
    for best in range(min(order.shape[1], SOFT_NMS_MOST) - 1):
        rest = slice(best + 1, None)
        similarity = oks(joints[:, best, None], joints[:, rest], areas[:, best, None], areas[:, rest], sigmas)
        lowered = lowered[:, 1:] * np.exp(-(similarity**2) / threshold)
        again = np.argsort(lowered, axis=1)[:, ::-1]
        order[:, rest], joints[:, rest], areas[:, rest], lowered = _reorder(
            again, order[:, rest], joints[:, rest], areas[:, rest], lowered
        )
    return order, np.broadcast_to(np.arange(order.shape[1]) < SOFT_NMS_MOST, order.shape)


def rescore(box_scores: np.ndarray, joint_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """Returns [N]: the box score times the mean of the joint scores [N, K] above `threshold`, 0 without any.

    Box scores are the detector's, 1 for ground-truth boxes. Joint scores are heights of the heatmap peaks.
    """
    counted = joint_scores > threshold
    total = np.add.accumulate(joint_scores * counted, axis=-1, dtype=np.float64)[..., -1]  # sums in order
    return total / np.maximum(counted.sum(axis=-1), 1) * box_scores
