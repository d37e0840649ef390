"""Annotations of a made-up photo, and the boxes of an imperfect detector."""

from typing import Any

import cv2
import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.datasets.made_up import bodies, scenes

SKELETON = skeletons.COCO
UNLABELLED, HIDDEN, VISIBLE = 0, 1, 2  # COCO's visibility flags
MIN_AREA = 200  # people with fewer visible pixels are not annotated
# Probability that a joint is labelled if another person or object, the own body or the own head hides it.
LABELLED_IF_HIDDEN = {"other": 0.6, "own": 0.3, "face": 0.1}


def label(scene: scenes.Scene, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the joints [K, 2] of person `number` and their visibility flags [K], as an annotator would set them.

    A joint is visible if the pixels around it show the person at a depth within `bodies.DEPTHS` of the joint.
    Hidden joints are labelled with the probabilities in `LABELLED_IF_HIDDEN`. Joints outside the photo never are.
    """
    height, width = scene.owner.shape
    joints = np.zeros((SKELETON.num_joints, 2))
    flags = np.full(SKELETON.num_joints, UNLABELLED)
    for index, name in enumerate(SKELETON.joints):
        x, y, z = scene.people[number].joint(name)
        column, row = round(x), round(y)
        if not (0 <= column < width and 0 <= row < height):
            continue
        occluder = _occluder(scene, number, name.split("_")[-1], column, row, z)
        if occluder is None:
            flags[index] = VISIBLE
        elif rng.random() < LABELLED_IF_HIDDEN[occluder]:
            flags[index] = HIDDEN
        if flags[index] != UNLABELLED:
            joints[index] = np.clip(np.round([x, y], 1), 0, [width - 1, height - 1])
    return joints, flags


def _occluder(scene: scenes.Scene, number: int, kind: str, column: int, row: int, z: float) -> str | None:
    """Returns a key of `LABELLED_IF_HIDDEN` for a hidden joint, or None for a visible one."""
    person = scene.people[number]
    if not is_uncovered(scene, number, column, row):
        return "other"
    if person.surface(column, row) - z <= bodies.DEPTHS[kind] * person.height:
        return None
    return "face" if kind in ("nose", "eye", "ear") else "own"


def is_uncovered(scene: scenes.Scene, number: int, column: int, row: int) -> bool:
    """Whether one of the pixels around a place in the photo shows person `number`, not another or an object."""
    near = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return bool((scene.owner[near] == number + 1).any())


def annotate(scene: scenes.Scene, photo_id: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Returns COCO annotations of the people with a visible area of at least `MIN_AREA`."""
    annotations = []
    for number in range(len(scene.people)):
        joints, flags = label(scene, number, rng)
        mask = (scene.owner == number + 1).astype(np.uint8)
        area = int(mask.sum())
        if area < MIN_AREA:
            continue
        annotations.append(
            {
                "id": photo_id * 10 + number,
                "image_id": photo_id,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": _outlines(mask),
                "area": float(area),
                "bbox": [float(side) for side in cv2.boundingRect(mask)],
                "num_keypoints": int((flags > 0).sum()),
                "keypoints": np.column_stack([joints.astype(object), flags]).ravel().tolist(),
            }
        )
    return annotations


def _outlines(mask: np.ndarray) -> list[list[float]]:
    """Returns the outlines of a mask as COCO's polygons [x0, y0, x1, y1, ...], without holes."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.ravel().astype(float).tolist() for contour in contours if len(contour) >= 3]


def detect(annotations: list[dict[str, Any]], photo: dict[str, Any], rng: np.random.Generator) -> list[dict]:
    """Returns the boxes of an imperfect detector, in the format of COCO results.

    Scores correlate with the accuracy of the boxes. One person in 25 is missed and one in 15 detected twice. There
    are false alarms.
    """
    boxes = [found for entry in annotations for found in _detect_person(np.array(entry["bbox"]), rng)]
    for _ in range(rng.poisson(0.8)):
        middle = rng.uniform(0, 1, 2) * [photo["width"], photo["height"]]
        half = np.exp(rng.uniform(np.log(15), np.log(90))) * np.array([rng.uniform(0.3, 0.7), 1.0])
        boxes.append((np.r_[middle - half, middle + half], float(rng.beta(1.2, 6))))
    detections = []
    last = np.array([photo["width"], photo["height"]] * 2) - 1
    for box, score in boxes:
        x0, y0, x1, y1 = np.clip(box, 0, last)
        if x1 - x0 > 2 and y1 - y0 > 2:
            bbox = [round(float(side), 2) for side in (x0, y0, x1 - x0, y1 - y0)]
            detections.append({"image_id": photo["id"], "category_id": 1, "bbox": bbox, "score": round(score, 4)})
    return detections


def _detect_person(box: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Returns the corners [4] and scores of no, one or two detections of a person."""
    detections = []
    corner, size = box[:2], box[2:]
    for again in range(0 if rng.random() < 0.04 else 2 if rng.random() < 0.07 else 1):
        quality = rng.beta(6, 1.5) * (0.6 if again else 1.0)
        shift = rng.normal(0, 0.02 + 0.12 * (1 - quality), 4) * np.tile(size, 2)
        score = float(np.clip(quality + rng.normal(0, 0.06), 0.02, 0.999))
        detections.append((np.r_[corner, corner + size] + shift, score))
    return detections
