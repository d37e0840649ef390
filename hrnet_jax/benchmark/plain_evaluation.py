"""COCO's evaluation the way the original goes: person by person in Python, by pycocotools.

What is done, in which order and in which precision is the original's (``lib/dataset/coco.py``, ``lib/nms/nms.py``
of the published code), but for the result file that it writes, and reads again; the words are ours. Here to be
measured against, not to be used.
"""

import contextlib
import io
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SURE = 0.2  # joints with lower scores do not enter a person's score
TOO_ALIKE = 0.9  # OKS above which the worse of two people goes


def decoded(heatmaps: np.ndarray, crop_to_photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds each joint at its heatmap's peak, a quarter of a pixel towards the higher neighbour, joint by joint.

    Args:
      heatmaps: [N, K, h, w].
      crop_to_photo: [N, 2, 3] from heatmap pixels.

    Returns:
      [N, K, 2] joints in photo pixels and [N, K] the heights of the peaks.
    """
    people, joints, height, width = heatmaps.shape
    peaks, found = heatmaps.reshape(people, joints, -1).argmax(2), np.zeros((people, joints, 2))
    scores = np.amax(heatmaps, (2, 3))
    for person in range(people):
        for joint in range(joints):
            heat, (y, x) = heatmaps[person, joint], divmod(int(peaks[person, joint]), width)
            place = np.array([x, y], float) * (scores[person, joint] > 0)
            if 1 < x < width - 1 and 1 < y < height - 1:
                place += 0.25 * np.sign([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
            found[person, joint] = crop_to_photo[person] @ np.append(place, 1.0)
    return found, scores


def rescored(joints: np.ndarray, joint_scores: np.ndarray, photo_ids, scores, areas) -> dict[int, list[dict]]:
    """Groups people by photo and multiplies their boxes' scores by the mean score of their sure joints.

    Args:
      joints: [N, K, 2] in photo pixels.
      joint_scores: [N, K].
      photo_ids: [N].
      scores: [N] of the boxes.
      areas: [N] of the crops, square pixels.
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
                if score > SURE:
                    total, count = total + float(score), count + 1
            person["score"] = (total / count if count else 0.0) * person["score"]
    return photos


def likeness(
    one: np.ndarray, others: np.ndarray, area: np.ndarray | float, areas: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """Returns [N]: the OKS of one person, [3 K] of x, y, score, with each of N others, [N, 3 K]."""
    spread = (sigmas * 2) ** 2
    alike = np.zeros(len(others))
    for number, other in enumerate(others):
        across, down = other[0::3] - one[0::3], other[1::3] - one[1::3]
        distance = (across**2 + down**2) / spread / ((area + areas[number]) / 2 + np.spacing(1)) / 2
        alike[number] = np.sum(np.exp(-distance)) / len(distance)
    return alike


def suppressed(people: list[dict], sigmas: np.ndarray) -> list[dict]:
    """Returns a photo's people, best first, without those who are too like a better one."""
    scores = np.array([person["score"] for person in people])
    keypoints = np.array([person["keypoints"].flatten() for person in people])
    areas = np.array([person["area"] for person in people])
    order, kept = scores.argsort()[::-1], []
    while order.size > 0:
        best, rest = order[0], order[1:]
        kept.append(people[best])
        alike = likeness(keypoints[best], keypoints[rest], areas[best], areas[rest], sigmas)
        order = rest[np.where(alike <= TOO_ALIKE)[0]]
    return kept


def listed(people: list[dict]) -> list[dict]:
    """Returns people as a COCO result file has them."""
    return [
        {
            "image_id": person["image"],
            "category_id": 1,
            "keypoints": list(person["keypoints"].astype(np.float64).flatten()),
            "score": person["score"],
        }
        for person in people
    ]


def judged(results: list[dict], annotations: pathlib.Path, sigmas: np.ndarray) -> list[float]:
    """Returns the ten figures of what `listed` returns."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")  # pyright: ignore[reportArgumentType]
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(map(float, evaluation.stats))
