"""The original's input pipeline and evaluation, in loops over people and joints: a reference for timing only.

The loader reads and decodes a photo's file per person and draws heatmaps joint by joint. The evaluation ends in
pycocotools. Its operations, their order and their precision are those of the published code
(``lib/dataset/coco.py``, ``lib/nms/nms.py``). The result file that it writes and reads back is left out.
"""

import contextlib
import io
import itertools
import pathlib

import cv2
import numpy as np
from ml_collections import ConfigDict
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_jax import augment, geometry
from hrnet_jax.datasets import records
from hrnet_jax.models import layers

JOINT_SCORE_THRESHOLD = 0.2  # joints with lower scores do not count in a person's score
OKS_THRESHOLD = 0.9  # of two people with a higher OKS, the one with the lower score is removed


class OriginalLoader:
    """Loads batches like the original, from photos in files."""

    def __init__(self, config: ConfigDict, split: records.Split, directory: pathlib.Path):
        """Writes the photos of a split to a directory, named by their rows."""
        self.config, self.split, self.directory = config, split, directory
        self.policy, self.rng = augment.Policy(**config.augment), np.random.default_rng(0)
        epochs = (self.rng.permutation(len(split.people)).tolist() for _ in itertools.count())
        self.order = itertools.chain.from_iterable(epochs)
        for row in np.unique(split.people.photo_index).tolist():
            (directory / str(row)).write_bytes(split.photos[row]["image"])

    def batch(self) -> dict[str, np.ndarray]:
        """Returns the next batch: images, targets and their weights, channels first."""
        rows = [self.person(next(self.order)) for _ in range(self.config.batch_size)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def person(self, index: int) -> dict[str, np.ndarray]:
        """Returns the row of a batch for one person, randomly augmented."""
        people, skeleton = self.split.people, self.split.skeleton
        draw = augment.sample(self.rng, people.visible[index], self.policy, skeleton)
        crop, joints, visible = self.crop(index, draw)
        pixels = crop.transpose(2, 0, 1).astype(np.float32) / 255
        mean, deviation = (np.reshape(x, (3, 1, 1)) for x in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
        targets, weights = self.targets(joints, visible)
        return {"image": (pixels - mean) / deviation, "targets": targets, "weights": weights}

    def crop(self, index: int, draw: augment.Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the crop of one person, its joints and their visibility."""
        split, (height, width) = self.split, self.config.image_size
        path = self.directory / str(split.people.photo_index[index])
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.cvtColor(np.asarray(cv2.imread(str(path), flags)), cv2.COLOR_BGR2RGB)
        person = {name: getattr(split.people, name)[index] for name in ("joints", "visible", "box")}
        size = {"photo_width": photo.shape[1], "aspect_ratio": width / height}
        precision = records.PRECISION[records.dataset(split.summary)]
        view = augment.apply(draw, **person, **size, skeleton=split.skeleton, precision=precision)
        matrix = geometry.photo_to_crop(view.center, view.scale, view.rotation, (height, width))
        photo = photo[:, ::-1, :] if view.flip else photo
        crop = cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR)
        joints = view.joints.copy()
        for number, visible in enumerate(view.visible):
            if visible > 0:
                joints[number] = (matrix @ np.append(joints[number], 1.0))[:2]
        return crop, joints, view.visible

    def targets(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draws [K, h, w] heatmaps with a truncated Gaussian per joint. Returns them and [K] weights."""
        height, width = (side // layers.STRIDE for side in self.config.image_size)
        radius = int(3 * (sigma := self.config.heatmap.sigma))
        offset = np.arange(2 * radius + 1, dtype=np.float32) - radius
        targets = np.zeros((len(joints), height, width), np.float32)
        weights = visible.astype(np.float32)
        for number, joint in enumerate(joints):
            x, y = (int(value / layers.STRIDE + 0.5) for value in joint)
            left, top, right, bottom = x - radius, y - radius, x + radius + 1, y + radius + 1
            if left >= width or top >= height or right < 0 or bottom < 0:
                weights[number] = 0
            if weights[number] <= 0.5:
                continue
            gaussian = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * sigma**2))
            rows, columns = slice(max(0, top), min(bottom, height)), slice(max(0, left), min(right, width))
            targets[number][rows, columns] = gaussian[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        return targets, weights


def decode(heatmaps: np.ndarray, heatmap_to_photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decodes each joint at its heatmap's maximum, shifted by a quarter of a pixel towards the higher neighbour.

    From [N, K, h, w] and [N, 2, 3] maps, returns [N, K, 2] joints in photo pixels and [N, K] maxima.
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
    """Multiplies the score of each box by the mean score of its reliable joints. Returns people by photo ID.

    Takes [N, K, 2] joints in photo pixels and [N, K] scores. The `areas` are the crops' in square pixels.
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
