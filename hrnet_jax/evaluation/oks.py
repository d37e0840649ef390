"""Object keypoint similarity (OKS): how alike two people's joints are, and what it is good for.

A joint that lies ``d`` pixels from where it should be, on a person of area ``a``, scores
``exp(-d^2 / (2 (2 sigma)^2 a))``: 1 when it sits right, 0.61 at two sigmas. A person's OKS is the mean over
its joints (https://cocodataset.org/#keypoints-eval). Rescoring and the two suppressions are those that the
published HRNet results went through, ties and all.
"""

from collections.abc import Sequence

import numpy as np

SOFT_NMS_MOST = 20  # people that soft suppression keeps in a photo; COCO counts no more


def joint_similarity(
    joints_a: np.ndarray, joints_b: np.ndarray, areas: np.ndarray, sigmas: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Returns [..., K] in [0, 1]: how near each joint of one person is to the same joint of another.

    Args:
      joints_a: [..., K, 2] in photo pixels.
      joints_b: [..., K, 2], broadcast against `joints_a`.
      areas: [...] square pixels, the size that distances are measured by.
      sigmas: K, as a fraction of the square root of the area.
    """
    variances = (2 * np.asarray(sigmas)) ** 2
    squares = (np.asarray(joints_b) - np.asarray(joints_a)) ** 2
    squared = squares[..., 0] + squares[..., 1]  # a sum over so short an axis is many times slower
    return np.exp(-squared / variances / (np.asarray(areas)[..., None] + np.spacing(1)) / 2)


def oks(
    joints_a: np.ndarray,
    joints_b: np.ndarray,
    area_a: float | np.ndarray,
    areas_b: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Returns [N]: the OKS of one person with each of N others, over all joints, none left out.

    Args:
      joints_a: [K, 2] in photo pixels.
      joints_b: [N, K, 2] in photo pixels.
      area_a: square pixels; the mean of both people's areas is the size that counts.
      areas_b: [N] square pixels.
      sigmas: K, see `joint_similarity`.
    """
    return joint_similarity(joints_a, joints_b, (area_a + np.asarray(areas_b)) / 2, sigmas).mean(axis=-1)


def against_truth(
    predicted: np.ndarray,
    joints: np.ndarray,
    visible: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Returns [N]: each prediction's OKS with the truth over its labelled joints, as COCO counts it.

    Args:
      predicted: [N, K, 2] in photo pixels.
      joints: [N, K, 2] the truth.
      visible: [N, K] above 0 where a joint is labelled. A person without any gets 0.
      areas: [N] annotated areas in square pixels.
      sigmas: K, see `joint_similarity`.
    """
    labelled = np.asarray(visible) > 0
    similarity = joint_similarity(predicted, joints, areas, sigmas) * labelled
    return similarity.sum(axis=-1) / np.maximum(labelled.sum(axis=-1), 1)


def nms(
    joints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
    threshold: float,
) -> list[int]:
    """Returns the people to keep, best first: those too like a better one (OKS above `threshold`) go.

    Args:
      joints: [N, K, 2] people of one photo.
      scores: [N].
      areas: [N] square pixels.
      sigmas: K, see `joint_similarity`.
      threshold: 0.9 in the published results.
    """
    return suppress(np.zeros(len(scores)), joints, scores, areas, sigmas, threshold).tolist()


def soft_nms(
    joints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
    threshold: float,
) -> list[int]:
    """Returns at most 20 people, best first, each one's score sinking with its likeness to those taken.

    A remaining person's score is multiplied by ``exp(-oks^2 / threshold)`` (soft NMS, arXiv:1704.04503). Only
    the order follows from the lowered scores; the caller goes on with the scores it has. Arguments as `nms`.
    """
    return suppress(np.zeros(len(scores)), joints, scores, areas, sigmas, threshold, soft=True).tolist()


def suppress(
    photos: np.ndarray,
    joints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
    threshold: float,
    *,
    soft: bool = False,
) -> np.ndarray:
    """Does what `nms` or `soft_nms` does, to each of many photos; photos with as many people go together.

    Args:
      photos: [N] each person's photo, in any order.
      joints: [N, K, 2].
      scores: [N].
      areas: [N] square pixels.
      sigmas: K, see `joint_similarity`.
      threshold: see `nms` and `soft_nms`.
      soft: whether as `soft_nms` does.

    Returns:
      The rows to keep, photos in order of first appearance, best people first.
    """
    _, first, photo = np.unique(photos, return_index=True, return_inverse=True)
    rows = np.argsort(first[photo], kind="stable")  # photo by photo, as they come in
    starts, counts = np.unique(first[photo[rows]], return_index=True, return_counts=True)[1:]
    kept = np.zeros(len(rows), bool)
    for count in np.unique(counts):
        places = starts[counts == count, None] + np.arange(count)
        alike_many = rows[places]
        order, stays = (_soft if soft else _hard)(
            joints[alike_many], scores[alike_many], areas[alike_many], sigmas, threshold
        )
        rows[places], kept[places] = np.take_along_axis(alike_many, order, axis=1), stays
    return rows[kept]


def _ranked(order: np.ndarray, *tables: np.ndarray) -> list[np.ndarray]:
    """Returns tables [P, N, ...] in the order [P, N] of each photo."""
    order = np.ascontiguousarray(order)  # the tables' layout follows it, and the last bits of sums the layout
    photo = np.arange(len(order))[:, None]
    return [table[photo, order] for table in tables]


def _hard(joints, scores, areas, sigmas, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of P photos' N people and who is kept, [P, N] both; arguments as `nms`, photos first."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    joints, areas = _ranked(order, joints, areas)
    kept = np.ones(order.shape, bool)
    for best in range(order.shape[1] - 1):
        rest = slice(best + 1, None)
        alike = oks(joints[:, best, None], joints[:, rest], areas[:, best, None], areas[:, rest], sigmas)
        kept[:, rest] &= ~kept[:, best, None] | (alike <= threshold)
    return order, kept


def _soft(joints, scores, areas, sigmas, threshold) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of P photos' N people and who is kept, [P, N] both; arguments as `nms`, photos first."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    joints, areas, lowered = _ranked(order, joints, areas, scores)
    for best in range(min(order.shape[1], SOFT_NMS_MOST) - 1):
        rest = slice(best + 1, None)
        alike = oks(joints[:, best, None], joints[:, rest], areas[:, best, None], areas[:, rest], sigmas)
        lowered = lowered[:, 1:] * np.exp(-(alike**2) / threshold)
        again = np.argsort(lowered, axis=1)[:, ::-1]
        order[:, rest], joints[:, rest], areas[:, rest], lowered = _ranked(
            again, order[:, rest], joints[:, rest], areas[:, rest], lowered
        )
    return order, np.broadcast_to(np.arange(order.shape[1]) < SOFT_NMS_MOST, order.shape)


def rescore(box_scores: np.ndarray, joint_scores: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """Returns [N]: the box's score times the mean score of the joints that are above `threshold`.

    Args:
      box_scores: [N] of the detector, 1 for ground-truth boxes.
      joint_scores: [N, K] heights of the heatmap peaks. Without any above `threshold` the result is 0.
      threshold: 0.2 in the published results.
    """
    counted = joint_scores > threshold
    total = np.add.accumulate(joint_scores * counted, axis=-1, dtype=np.float64)[..., -1]  # one after the other
    return total / np.maximum(counted.sum(axis=-1), 1) * box_scores
