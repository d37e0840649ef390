"""People on photos as COCO has them, and what a detector and a network find there: made up, all of it."""

import dataclasses

import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.datasets import records

SKELETON = skeletons.COCO
PHOTO_SIZE = (640, 480)  # width, height
# What val2017 has by photo: photos with people, people, those with labelled joints, and crowds.
OCCUPIED, PEOPLE, LABELLED, CROWDS = 2693 / 5000, 10_777 / 5000, 6352 / 5000, 227 / 5000


@dataclasses.dataclass(frozen=True)
class Problem:
    """Predictions to be judged.

    Attributes:
      annotations: a COCO annotation file's content.
      people: N detected boxes.
      joints: [N, K, 2] float32, the network's prediction for each, in photo pixels.
      joint_scores: [N, K] float32.
    """

    annotations: dict
    people: records.People
    joints: np.ndarray
    joint_scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Figures:
    """M people, or what a detector takes for some; `size` in pixels is the square root of the area."""

    photo: np.ndarray
    joints: np.ndarray
    box: np.ndarray
    size: np.ndarray


def make(seed: int, photos: int, detections: int) -> Problem:
    """Makes up photos with people and without, and what is found there.

    People are of all sizes; the small ones mostly are without labelled joints, and some stand for crowds. The
    detector sees each of them, many more than once, and at low scores much that is not there, that too more than
    once.

    Args:
      seed: another one, other people.
      photos: how many; 5,000 in val2017.
      detections: how many; 104,125 in the file of boxes that the published figures are computed from.
    """
    rng = np.random.default_rng(seed)
    homes = rng.permutation(photos)[: round(photos * OCCUPIED) or 1]
    weight = rng.gamma(2, size=len(homes))
    more = rng.choice(homes, round(photos * PEOPLE) - len(homes), p=weight / weight.sum())
    people = _figures(rng, np.concatenate([homes, more]))
    phantoms = _figures(rng, rng.integers(0, photos, detections // 4))
    annotations = {
        "images": [{"id": photo + 1} for photo in range(photos)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": _annotations(rng, people, round(photos * LABELLED), round(photos * CROWDS)),
    }
    return Problem(annotations, *_found(rng, people, phantoms, detections))


def _figures(rng: np.random.Generator, photo: np.ndarray) -> _Figures:
    size = np.clip(np.exp(rng.normal(np.log(70), 0.9, len(photo))), 10, 400)
    extent = size[:, None] * [0.9, 2.2]
    corner = rng.uniform(0, 1, (len(photo), 2)) * PHOTO_SIZE - extent / 4
    joints = corner[:, None] + extent[:, None] * rng.uniform(0, 1, (len(photo), SKELETON.num_joints, 2))
    return _Figures(photo, joints, np.concatenate([corner, extent], axis=1), size)


def _annotations(rng: np.random.Generator, people: _Figures, labelled: int, crowds: int) -> list[dict]:
    """Annotates people, the larger ones with joints, and some of the places once more as crowds."""
    count = len(people.photo)
    obvious = np.argsort(rng.normal(0, 0.7, count) - np.log(people.size))
    labels = rng.choice(3, (count, SKELETON.num_joints), p=[0.3, 0.1, 0.6])
    labels[:, 0] = 2
    labels[obvious[labelled:]] = 0
    keypoints = np.dstack([np.round(people.joints), labels]) * (labels > 0)[..., None]
    columns = {
        "image_id": people.photo + 1,
        "bbox": np.round(people.box, 2),
        "area": np.round(people.size**2, 4),
        "keypoints": keypoints.reshape(count, -1).astype(int),
        "num_keypoints": np.sum(labels > 0, axis=1),
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    entries = [dict(zip(columns, row, strict=True), category_id=1, iscrowd=0) for row in rows]
    nobody = {"iscrowd": 1, "keypoints": [0] * (3 * SKELETON.num_joints), "num_keypoints": 0}
    entries += [entry | nobody for entry in entries[:crowds]]
    return [entry | {"id": number} for number, entry in enumerate(entries, 1)]


def _found(
    rng: np.random.Generator, people: _Figures, phantoms: _Figures, count: int
) -> tuple[records.People, np.ndarray, np.ndarray]:
    """Returns boxes, joints and scores of joints, photo by photo: everyone once, then anyone and anything."""
    there = _Figures(*map(np.concatenate, zip(vars(people).values(), vars(phantoms).values(), strict=True)))
    row = np.append(np.arange(len(people.photo)), rng.integers(0, len(there.photo), count))[:count]
    row = row[np.argsort(there.photo[row], kind="stable")]
    real = row < len(people.photo)
    off = there.size[row, None] * rng.exponential(np.where(real, 0.05, 0.2))[:, None]  # pixels
    box = there.box[row] + off * rng.normal(size=(count, 4))
    joints = there.joints[row] + off[..., None] * rng.normal(size=(count, SKELETON.num_joints, 2))
    sure, unsure = (rng.beta(a, b, (count, SKELETON.num_joints)) for a, b in ((8, 2.5), (2, 5)))
    boxes = records.People(
        photo_index=there.photo[row],
        photo_id=there.photo[row] + 1,
        annotation_id=np.zeros(count, np.int64),
        box=np.maximum(box, [-np.inf, -np.inf, 1, 1]),
        joints=np.zeros(joints.shape),
        visible=np.ones(joints.shape[:2]),
        score=rng.beta(np.where(real, 3, 0.6), np.where(real, 1.5, 8)),
    )
    return boxes, joints.astype(np.float32), np.where(real[:, None], sure, unsure).astype(np.float32)
