"""COCO's evaluation as the original computes it: loops over people in Python, then pycocotools.

Operations, their order and their precision are those of the published code (``lib/dataset/coco.py``,
``lib/nms/nms.py``). The result file that it writes and reads back is left out. This is a reference for timing and
serves no other purpose.
"""

import contextlib
import io
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

JOINT_SCORE_THRESHOLD = 0.2  # joints with lower scores do not count in a person's score
OKS_THRESHOLD = 0.9  # of two people with a higher OKS, the one with the lower score is removed


def decode(heatmaps: np.ndarray, heatmap_to_photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decodes each joint at its heatmap's maximum, shifted by a quarter of a pixel towards the higher neighbour.

    Args:
      heatmaps: [N, K, h, w].
      heatmap_to_photo: [N, 2, 3] maps from heatmap pixels to photo pixels.

    Returns:
      [N, K, 2] joints in photo pixels and [N, K] maxima.
    """
    people, joints, height, width = heatmaps.shape
    peaks, found = heatmaps.reshape(people, joints, -1).argmax(2), np.zeros((people, joints, 2))
    scores = np.amax(heatmaps, (2, 3))
    for person in range(people):
        for joint in range(joints):
            heatmap, (y, x) = heatmaps[person, joint], divmod(int(peaks[person, joint]), width)
            point = np.array([x, y], float) * (scores[person, joint] > 0)
            if 1 < x < width - 1 and 1 < y < height - 1:
                slopes = [heatmap[y, x + 1] - heatmap[y, x - 1], heatmap[y + 1, x] - heatmap[y - 1, x]]
                point += 0.25 * np.sign(slopes)
            found[person, joint] = heatmap_to_photo[person] @ np.append(point, 1.0)
    return found, scores


def rescore(joints: np.ndarray, joint_scores: np.ndarray, photo_ids, scores, areas) -> dict[int, list[dict]]:
    """Multiplies the score of each box by the mean score of its reliable joints.

    Args:
      joints: [N, K, 2] in photo pixels.
      joint_scores: [N, K].
      photo_ids: [N].
      scores: [N] scores of the boxes.
      areas: [N] areas of the crops in square pixels.

    Returns:
      The people of each photo by its ID.
    """
    keypoints = np.dstack([joints, joint_scores])
    photos: dict[int, list[dict]] = {}
    for row, photo_id in enumerate(photo_ids.tolist()):
        person = {"keypoints": keypoints[row], "area": areas[row], "score": scores[row], "image": photo_id}
        photos.setdefault(photo_id, []).append(person)
    for people in photos.values():
        for person in people:
            total, count = 0.0, 0
            for score in person["keypoints"][:, 2]:
                if score > JOINT_SCORE_THRESHOLD:
                    total, count = total + float(score), count + 1
            person["score"] = (total / count if count else 0.0) * person["score"]
    return photos


def oks(
    one: np.ndarray, others: np.ndarray, area: np.ndarray | float, areas: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Returns [N]: the OKS of one person, [3 K] of x, y and score, with each of N others, [N, 3 K]."""
    variances = (sigmas * 2) ** 2
    values = np.zeros(len(others))
    for number, other in enumerate(others):
        dx, dy = other[0::3] - one[0::3], other[1::3] - one[1::3]
        distance = (dx**2 + dy**2) / variances / ((area + areas[number]) / 2 + np.spacing(1)) / 2
        values[number] = np.sum(np.exp(-distance)) / len(distance)
    return values


def suppress(people: list[dict], sigmas: np.ndarray) -> list[dict]:
    """Applies OKS-NMS to the people of a photo. Returns the remaining ones, highest score first."""
    scores = np.array([person["score"] for person in people])
    keypoints = np.array([person["keypoints"].flatten() for person in people])
    areas = np.array([person["area"] for person in people])
    order, kept = scores.argsort()[::-1], []
    while order.size > 0:
        best, rest = order[0], order[1:]
        kept.append(people[best])
        overlap = oks(keypoints[best], keypoints[rest], areas[best], areas[rest], sigmas)
        order = rest[np.where(overlap <= OKS_THRESHOLD)[0]]
    return kept


def to_results(people: list[dict]) -> list[dict]:
    """Converts people to the entries of a COCO result file."""
    return [
        {
            "image_id": person["image"],
            "category_id": 1,
            "keypoints": list(person["keypoints"].astype(np.float64).flatten()),
            "score": person["score"],
        }
        for person in people
    ]


def average_precision(results: list[dict], annotations: pathlib.Path, sigmas: np.ndarray) -> list[float]:
    """Returns the ten COCO keypoint metrics of results against an annotation file."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")  # pyright: ignore[reportArgumentType]
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(map(float, evaluation.stats))
