"""Made-up ground truth and predictions on the scale of COCO val2017, for benchmarks of the evaluation."""

import dataclasses
from typing import NamedTuple

import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.datasets import records

SKELETON = skeletons.COCO
PHOTO_SIZE = (640, 480)  # width, height
# Per photo of val2017: photos with people, people, people with labelled joints, crowds.
OCCUPIED, PEOPLE, LABELLED, CROWDS = 2693 / 5000, 10_777 / 5000, 6352 / 5000, 227 / 5000


@dataclasses.dataclass(frozen=True)
class Problem:
    """Ground truth, and predictions to evaluate on it."""

    annotations: dict  # content of a COCO annotation file
    people: records.People  # N detected boxes
    joints: np.ndarray  # [N, K, 2] float32 predicted joints of each box, in photo pixels
    joint_scores: np.ndarray  # [N, K] float32


class _Poses(NamedTuple):
    """M people or false alarms; `size` is the square root of the area in pixels."""

    photo: np.ndarray
    joints: np.ndarray
    box: np.ndarray
    size: np.ndarray


def make(seed: int, photos: int, detections: int) -> Problem:
    """Draws photos with and without people, and the predictions there.

    Most small people have no labelled joints. Some people are annotated a second time as crowds. Every person is
    detected at least once and many are detected more often. There are also false alarms with low scores. val2017
    has 5,000 photos. The file of detections that the published results use has 104,125 boxes.
    """
    rng = np.random.default_rng(seed)
    occupied = rng.permutation(photos)[: round(photos * OCCUPIED) or 1]
    weight = rng.gamma(2, size=len(occupied))
    more = rng.choice(occupied, round(photos * PEOPLE) - len(occupied), p=weight / weight.sum())
    people = _sample_poses(rng, np.concatenate([occupied, more]))
    false_alarms = _sample_poses(rng, rng.integers(0, photos, detections // 4))
    annotations = {
        "images": [{"id": photo + 1} for photo in range(photos)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": _annotations(rng, people, round(photos * LABELLED), round(photos * CROWDS)),
    }
    return Problem(annotations, *_predict(rng, people, false_alarms, detections))


def _sample_poses(rng: np.random.Generator, photo: np.ndarray) -> _Poses:
    size = np.clip(np.exp(rng.normal(np.log(70), 0.9, len(photo))), 10, 400)
    extent = size[:, None] * [0.9, 2.2]
    corner = rng.uniform(0, 1, (len(photo), 2)) * PHOTO_SIZE - extent / 4
    joints = corner[:, None] + extent[:, None] * rng.uniform(0, 1, (len(photo), SKELETON.num_joints, 2))
    return _Poses(photo, joints, np.concatenate([corner, extent], axis=1), size)


def _annotations(rng: np.random.Generator, people: _Poses, labelled: int, crowds: int) -> list[dict]:
    """Returns annotations of people and of some crowds at the same places. Large people are labelled first."""
    count = len(people.photo)
    order = np.argsort(rng.normal(0, 0.7, count) - np.log(people.size))
    flags = rng.choice(3, (count, SKELETON.num_joints), p=[0.3, 0.1, 0.6])
    flags[:, 0] = 2
    flags[order[labelled:]] = 0
    keypoints = np.dstack([np.round(people.joints), flags]) * (flags > 0)[..., None]
    columns = {
        "image_id": people.photo + 1,
        "bbox": np.round(people.box, 2),
        "area": np.round(people.size**2, 4),
        "keypoints": keypoints.reshape(count, -1).astype(int),
        "num_keypoints": np.sum(flags > 0, axis=1),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    entries = [dict(zip(columns, row, strict=True), category_id=1, iscrowd=0) for row in rows]
    crowd = {"iscrowd": 1, "keypoints": [0] * (3 * SKELETON.num_joints), "num_keypoints": 0}
    entries += [entry | crowd for entry in entries[:crowds]]
    return [entry | {"id": number} for number, entry in enumerate(entries, 1)]


def _predict(
    rng: np.random.Generator, people: _Poses, false_alarms: _Poses, count: int
) -> tuple[records.People, np.ndarray, np.ndarray]:
    """Returns boxes, joints and joint scores, sorted by photo: each person once, the rest drawn at random."""
    candidates = _Poses(*map(np.concatenate, zip(people, false_alarms, strict=True)))
    row = np.append(np.arange(len(people.photo)), rng.integers(0, len(candidates.photo), count))[:count]
    row = row[np.argsort(candidates.photo[row], kind="stable")]
    real = row < len(people.photo)
    error = candidates.size[row, None] * rng.exponential(np.where(real, 0.05, 0.2))[:, None]  # pixels
    box = candidates.box[row] + error * rng.normal(size=(count, 4))
    joints = candidates.joints[row] + error[..., None] * rng.normal(size=(count, SKELETON.num_joints, 2))
    high, low = (rng.beta(a, b, (count, SKELETON.num_joints)) for a, b in ((8, 2.5), (2, 5)))
    boxes = records.People(
        photo_index=candidates.photo[row],
        photo_id=candidates.photo[row] + 1,
        annotation_id=np.zeros(count, np.int64),
        box=np.maximum(box, [-np.inf, -np.inf, 1, 1]),
        joints=np.zeros(joints.shape),
        visible=np.ones(joints.shape[:2]),
        score=rng.beta(np.where(real, 3, 0.6), np.where(real, 1.5, 8)),
    )
    return boxes, joints.astype(np.float32), np.where(real[:, None], high, low).astype(np.float32)
