"""COCO's ten keypoint metrics: average precision and recall over OKS thresholds and sizes.

The values equal those of pycocotools bit for bit (https://cocodataset.org/#keypoints-eval). ``A`` is the number of
sizes, ``T`` that of thresholds (see `matching`) and ``R`` that of recalls.
"""

from collections.abc import Mapping

import numpy as np

from hrnet_jax.evaluation import ground_truth, matching, oks

METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
RECALLS = np.linspace(0, 1, 101)  # points at which precision is averaged


def metrics(
    truth: ground_truth.GroundTruth, detections: Mapping[int, matching.Detections], sigmas: oks.Sigmas
) -> dict[str, float]:
    """Returns the ten metrics, averaged over the categories of the detections; -1 without annotated people.

    `truth` has the annotations of all photos to evaluate. The detections by category are on its photos. Raises
    ValueError if a category has another number of joints than `sigmas`.
    """
    precision = np.full((len(matching.SIZES), len(matching.THRESHOLDS), len(RECALLS), len(detections)), -1.0)
    recall = np.full((len(matching.SIZES), len(matching.THRESHOLDS), len(detections)), -1.0)
    for k, category in enumerate(sorted(detections)):
        people = truth.people.get(category)
        if people is not None:
            _check_joints(people, detections[category], sigmas, category)
            matches = matching.match_detections(people, detections[category], sigmas)
            precision[..., k], recall[..., k] = curves(matches)
    return dict(zip(METRICS, [*_summary(precision), *_summary(recall)], strict=True))


def _check_joints(people: ground_truth.People, detections: matching.Detections, sigmas, category: int) -> None:
    counts = people.joints.shape[1], detections.joints.shape[1]
    if counts != (len(sigmas), len(sigmas)):
        raise ValueError(
            f"category {category} has {counts[0]} joints in the annotations and {counts[1]} in the results, but"
            f" the skeleton has {len(sigmas)}: use annotations, results and skeleton of one kind"
        )


def _summary(values: np.ndarray) -> list[float]:
    """Averages [A, T, ...] over all thresholds, at .5 and at .75, then for medium and for large people."""
    every, medium, large = values
    at = [every[threshold == matching.THRESHOLDS] for threshold in (0.5, 0.75)]
    return [float(np.mean(part[part > -1])) if (part > -1).any() else -1.0 for part in (every, *at, medium, large)]


def curves(matches: matching.Matches) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision [A, T, R] at each recall and final recall [A, T]; -1 for sizes without people."""
    precision = np.full((*matches.true_positive.shape[1:], len(RECALLS)), -1.0)
    recall = np.full(precision.shape[:2], -1.0)
    order = np.argsort(-matches.score, kind="stable")
    for size, threshold in np.argwhere(np.broadcast_to(matches.positives[:, None] > 0, recall.shape)):
        true, false = (part[order, size, threshold] for part in (matches.true_positive, matches.false_positive))
        precision[size, threshold], recall[size, threshold] = _curve(true, false, int(matches.positives[size]))
    return precision, recall


def by_group(matches: matching.Matches) -> np.ndarray:
    """Returns [A]: the average precision over thresholds and recalls; -1 for groups without people."""
    precision, _ = curves(matches)
    return np.array([values[values > -1].mean() if (values > -1).any() else -1.0 for values in precision])


def _curve(true_positive: np.ndarray, false_positive: np.ndarray, positives: int) -> tuple[np.ndarray, float]:
    """Returns the interpolated precision [R], 0 beyond the final recall, and the final recall.

    Takes [N] bool by detection, in descending order of score, and the number of annotated people.
    """
    true, false = (np.cumsum(part).astype(np.float64) for part in (true_positive, false_positive))
    recall = true / positives
    precision = np.maximum.accumulate((true / (false + true + np.spacing(1)))[::-1])[::-1]
    return np.append(precision, 0.0)[np.searchsorted(recall, RECALLS)], recall[-1] if recall.size else 0.0
