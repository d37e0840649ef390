"""What is said of a made-up photo: annotators' joints, boxes and areas, and the boxes of a detector."""

from typing import Any

import cv2
import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.datasets.made_up import bodies, scenes

SKELETON = skeletons.COCO
ABSENT, HIDDEN, VISIBLE = 0, 1, 2  # COCO's labels of a joint
SMALLEST_AREA = 200  # pixels; of whom less is to be seen, nobody is annotated
# How often an annotator guesses a joint that another person or thing hides, the person's own body, or, of the
# face, the own head.
GUESSED = {"other": 0.6, "own": 0.3, "face": 0.1}
FACE = ("nose", "eye", "ear")


def label(scene: scenes.Scene, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns the joints [K, 2] of person `number` in photo pixels and how annotators label them [K].

    A joint is visible when the person's own pixels are there and no flesh but the joint's own lies before it.
    Hidden ones are labelled as often as `GUESSED` says, those outside the photo never.
    """
    person = scene.people[number]
    height, width = scene.owner.shape
    joints = np.zeros((SKELETON.num_joints, 2))
    marks = np.full(SKELETON.num_joints, ABSENT)
    for index, name in enumerate(SKELETON.joints):
        x, y, z = person.joint(name)
        column, row = round(x), round(y)
        if not (0 <= column < width and 0 <= row < height):
            continue
        kind = name.split("_")[-1]
        near = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        guessed = GUESSED["other"]
        if (scene.owner[near] == number + 1).any():
            surface = person.surface(column, row)
            if surface - z <= bodies.DEPTHS[kind] * person.height:
                guessed = None
            else:
                guessed = GUESSED["face" if kind in FACE else "own"]
        marks[index] = VISIBLE if guessed is None else HIDDEN if rng.random() < guessed else ABSENT
        if marks[index] != ABSENT:
            joints[index] = np.clip(np.round([x, y], 1), 0, [width - 1, height - 1])
    return joints, marks


def annotate(scene: scenes.Scene, photo_id: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Returns COCO's annotations of everyone of whom enough is to be seen."""
    annotations = []
    for number in range(len(scene.people)):
        joints, marks = label(scene, number, rng)
        seen = scene.owner == number + 1
        area = int(seen.sum())
        if area < SMALLEST_AREA:
            continue
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        box = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
        annotations.append(
            {
                "id": photo_id * 10 + number,
                "image_id": photo_id,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": _outlines(seen),
                "area": float(area),
                "bbox": [float(side) for side in box],
                "num_keypoints": int((marks > 0).sum()),
                "keypoints": [
                    float(v) if i < 2 else int(v) for row in np.c_[joints, marks] for i, v in enumerate(row)
                ],
            }
        )
    return annotations


def _outlines(seen: np.ndarray) -> list[list[float]]:
    """The outlines of a mask as COCO's polygons [x0, y0, x1, y1, ...], holes filled."""
    contours, _ = cv2.findContours(seen.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.ravel().astype(float).tolist() for contour in contours if len(contour) >= 3]


def detect(
    annotations: list[dict[str, Any]], photo: dict[str, Any], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Returns the boxes that an imperfect detector would give, in the layout of COCO's results.

    Good boxes get high scores; one person in 25 is missed, one in 15 found twice; besides, there are false alarms.
    """
    boxes: list[tuple[np.ndarray, float]] = []
    for annotation in annotations:
        times = 0 if rng.random() < 0.04 else 2 if rng.random() < 0.07 else 1
        for again in range(times):
            quality = rng.beta(6, 1.5) * (0.6 if again else 1.0)
            x, y, width, height = annotation["bbox"]
            slip = rng.normal(0, 0.02 + 0.12 * (1 - quality), 4) * [width, height, width, height]
            box = np.array([x, y, x + width, y + height]) + slip
            boxes.append((box, float(np.clip(quality + rng.normal(0, 0.06), 0.02, 0.999))))
    for _ in range(rng.poisson(0.8)):
        middle = rng.uniform(0, 1, 2) * [photo["width"], photo["height"]]
        half = np.exp(rng.uniform(np.log(15), np.log(90))) * np.array([rng.uniform(0.3, 0.7), 1.0])
        boxes.append((np.r_[middle - half, middle + half], float(rng.beta(1.2, 6))))
    found = []
    for box, score in boxes:
        x0, x1 = np.clip(box[[0, 2]], 0, photo["width"] - 1)
        y0, y1 = np.clip(box[[1, 3]], 0, photo["height"] - 1)
        if x1 - x0 > 2 and y1 - y0 > 2:
            bbox = [round(float(side), 2) for side in (x0, y0, x1 - x0, y1 - y0)]
            found.append({"image_id": photo["id"], "category_id": 1, "bbox": bbox, "score": round(score, 4)})
    return found
