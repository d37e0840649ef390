"""COCO's evaluation: the result file of predictions, average precision and errors by joint."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from hrnet_jax import geometry
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import average_precision as ap
from hrnet_jax.evaluation import errors, ground_truth, matching, oks
from hrnet_jax.skeletons import Skeleton

METRICS = ap.METRICS


class Result(TypedDict):
    """One person in a COCO result file. `keypoints` holds K times x, y and score. AP-10K's have a species."""

    image_id: int | str  # a text if the annotation file has texts
    category_id: int
    keypoints: list[float]
    score: float
    species: NotRequired[str]


def padded_areas(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Returns [N]: the area of each box's crop in square pixels of the photo, for OKS-NMS.

    The boxes [N, 4] are x, y, width, height in photo pixels. They grow to the aspect ratio of `image_size`, the
    (height, width) of the network's input, then by a quarter.
    """
    width, height = boxes[:, 2], boxes[:, 3]
    point = np.where((width == 0) & (height == 0), 1.0, 0.0)  # vectorised `geometry.padded_scale`
    width, height, aspect_ratio = width + point, height + point, image_size[1] / image_size[0]
    wide = width > aspect_ratio * height
    grown = np.where(wide, width, height * aspect_ratio), np.where(wide, width / aspect_ratio, height)
    scales = (np.stack(grown, axis=1) / geometry.PIXELS_PER_SCALE).astype(np.float32)
    sides = scales * np.float32(geometry.BOX_PADDING) * np.float32(geometry.PIXELS_PER_SCALE)
    return np.prod(sides, axis=1).astype(np.float64)


def results(
    joints: np.ndarray,
    joint_scores: np.ndarray,
    people: records.People,
    image_size: tuple[int, int],
    skeleton: Skeleton,
    *,
    nms_threshold: float = 0.9,
    soft_nms: bool = False,
    joint_score_threshold: float = 0.2,
    category_id: int = 1,
) -> list[Result]:
    """Rescores predictions, suppresses duplicates in each photo and returns the content of a COCO result file.

    Takes joints [N, K, 2] in photo pixels, their scores [N, K], the people's boxes, and the (height, width) of the
    network's input. Photos keep their order. Each photo's people have descending scores.

    The lower-scored of two people with an OKS above `nms_threshold` is dropped. With `soft_nms`, the 20 best of a
    photo are kept instead, and duplicates rank lower. Joints scoring below `joint_score_threshold` do not count
    in a person's score. `category_id` is COCO's number for a person.
    """
    scores = oks.rescore(people.score, joint_scores, joint_score_threshold)
    areas = padded_areas(people.box, image_size)
    kept = oks.suppress(people.photo_id, joints, scores, areas, skeleton.sigmas, nms_threshold, soft=soft_nms)
    keypoints = np.concatenate([joints[kept], joint_scores[kept, :, None]], axis=-1, dtype=np.float64)
    return listed(people.photo_id[kept], keypoints, scores[kept], category_id)


def listed(photo_ids: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, category_id: int) -> list[Result]:
    """Lists N people as COCO results. `keypoints` [N, K, 3] holds x, y and score."""
    numbers = keypoints.reshape(len(keypoints), 3 * keypoints.shape[1]).tolist()
    return [
        {"image_id": photo_id, "category_id": category_id, "keypoints": of_person, "score": score}
        for photo_id, of_person, score in zip(photo_ids.tolist(), numbers, scores.tolist(), strict=True)
    ]


def average_precision(
    found: Sequence[Result], annotations: str | os.PathLike, skeleton: Skeleton
) -> dict[str, float]:
    """Returns COCO's ten keypoint metrics with the values of pycocotools. At most 20 people of a photo count.

    AP is the mean over OKS thresholds 0.50 to 0.95; AP50 and AP75 use one threshold. M stands for people of 32^2
    to 96^2 square pixels and L for larger ones. A metric is -1 without people. All are 0 if `found` is empty.

    `found` is from `results`, or the content of a COCO result file, in which boxes are not read. The skeleton
    provides the sigmas for any number of joints. Raises ValueError if a result is of a photo that `annotations`
    does not list, or of another skeleton.
    """
    if not found:
        return dict.fromkeys(METRICS, 0.0)
    return ap.metrics(ground_truth.load(annotations), detections(found, annotations, skeleton), skeleton.sigmas)


def detections(
    found: Sequence[Result], annotations: str | os.PathLike, skeleton: Skeleton
) -> dict[int, matching.Detections]:
    """Converts results on the photos of an annotation file to arrays by category number.

    Raises ValueError if a result is of another photo or skeleton.
    """
    truth = ground_truth.load(annotations)
    converted = by_category(found, skeleton, truth)
    _check_photos(converted, truth, annotations)
    return converted


def by_category(
    found: Sequence[Result], skeleton: Skeleton, truth: ground_truth.GroundTruth | None = None
) -> dict[int, matching.Detections]:
    """Converts results to arrays by category number. Raises ValueError if they are of another skeleton.

    Without `truth`, no id of a photo may be text.
    """
    lengths = {len(result["keypoints"]) for result in found}
    if lengths - {3 * skeleton.num_joints}:
        raise ValueError(
            f"`keypoints` of the results have {sorted(lengths)} numbers, but must be x, y and score of each of the"
            f" {skeleton.num_joints} joints of skeleton {skeleton.name!r}"
        )
    numbers = itertools.chain.from_iterable(result["keypoints"] for result in found)
    keypoints = np.fromiter(numbers, np.float64, len(found) * 3 * skeleton.num_joints)
    joints = keypoints.reshape(len(found), skeleton.num_joints, 3)
    ids: dict[int | str, int | str] = {text: number for number, text in truth.texts.items()} if truth else {}
    photo_ids = np.array([ids.get(result["image_id"], result["image_id"]) for result in found], np.int64)
    scores = np.array([result["score"] for result in found], np.float64)
    categories = np.array([result["category_id"] for result in found])
    return {
        int(number): matching.Detections(photo_ids[rows], joints[rows, :, :2], scores[rows], joints[rows, :, 2])
        for number in np.unique(categories)
        for rows in [categories == number]
    }


def _check_photos(
    detections: Mapping[int, matching.Detections], truth: ground_truth.GroundTruth, annotations: str | os.PathLike
) -> None:
    photo_ids = np.concatenate([of_category.photo_id for of_category in detections.values()])
    unknown = np.setdiff1d(photo_ids, truth.photo_ids)
    if unknown.size:
        raise ValueError(
            f"{len(unknown)} photos of the results (image_id={unknown[0]}, ...) are not in {annotations}:"
            " evaluate on the split of the results"
        )


def per_joint_errors(
    joints: np.ndarray, people: records.People, areas: np.ndarray, skeleton: Skeleton
) -> dict[str, dict[str, float | None]]:
    """Returns `errors.per_joint` with the square root of a person's area as its size, and another column `oks`.

    `oks` is the joint's mean contribution to OKS, None without labelled ones. `areas` [N] are those annotated, in
    square pixels, see `annotated_areas`.
    """
    labelled = people.visible > 0
    similarity = oks.joint_similarity(joints, people.joints, areas, skeleton.sigmas)
    table = errors.per_joint(joints, people, np.sqrt(areas), skeleton)
    return {
        name: row | {"oks": errors.mean(similarity[labelled[:, k], k])}
        for k, (name, row) in enumerate(table.items())
    }


def person_category(annotations: str | os.PathLike) -> int:
    """Returns the number of the category ``person`` in a COCO annotation file, or else of its first category."""
    categories = ground_truth.load(annotations).categories
    return next((number for number, name in categories.items() if name == "person"), next(iter(categories)))


def annotated_areas(annotations: str | os.PathLike, annotation_ids: np.ndarray) -> np.ndarray:
    """Returns [N]: these annotations' areas in square pixels. Raises ValueError if one is not in the file."""
    return annotated(annotations, annotation_ids, "area")


def annotated(annotations: str | os.PathLike, annotation_ids: np.ndarray, name: str) -> np.ndarray:
    """Returns [N, ...]: a column of `ground_truth.People`, ``area`` or ``box``, of these annotations.

    Raises ValueError if one is not in the file.
    """
    values: dict[int, Any] = {}
    for people in ground_truth.load(annotations).people.values():
        values |= zip(people.annotation_id.tolist(), getattr(people, name).tolist(), strict=True)
    missing = [number for number in annotation_ids.tolist() if number not in values]
    if missing:
        raise ValueError(f"{annotations} has no annotation {missing[0]}: give the file of the split")
    return np.array([values[number] for number in annotation_ids.tolist()], np.float64)
