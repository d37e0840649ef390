"""COCO's ten figures of people's joints: average precision and recall, over thresholds and sizes.

The figures are pycocotools' to the last bit (https://cocodataset.org/#keypoints-eval). ``A`` is the number of
sizes, ``T`` of thresholds (see `matching`), ``R`` of recalls.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hrnet_jax.evaluation import ground_truth, matching

METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
RECALLS = np.linspace(0, 1, 101)  # at which the precision is averaged


def figures(
    truth: ground_truth.GroundTruth,
    found: Mapping[int, matching.Detections],
    sigmas: Sequence[float] | np.ndarray,
) -> dict[str, float]:
    """Returns the ten figures, averaged over the categories found; -1 where there is nobody to find.

    Args:
      truth: the annotations of all photos that count, with detections or without.
      found: detections by category, on photos of `truth`.
      sigmas: K, see `oks.joint_similarity`.

    Raises:
      ValueError: the people of a category have another number of joints than there are sigmas.
    """
    precision = np.full((len(matching.SIZES), len(matching.THRESHOLDS), len(RECALLS), len(found)), -1.0)
    recall = np.full((len(matching.SIZES), len(matching.THRESHOLDS), len(found)), -1.0)
    for k, category in enumerate(sorted(found)):
        people = truth.people.get(category)
        if people is not None:
            _check_joints(people, found[category], sigmas, category)
            precision[..., k], recall[..., k] = curves(matching.judge(people, found[category], sigmas))
    return dict(zip(METRICS, [*_summary(precision), *_summary(recall)], strict=True))


def _check_joints(people: ground_truth.People, found: matching.Detections, sigmas, category: int) -> None:
    counts = people.joints.shape[1], found.joints.shape[1]
    if counts != (len(sigmas), len(sigmas)):
        raise ValueError(
            f"category {category} has {counts[0]} joints in the annotations and {counts[1]} in the results, but"
            f" the skeleton {len(sigmas)}: all must be of one skeleton"
        )


def _summary(values: np.ndarray) -> list[float]:
    """Averages [A, T, ...] over all thresholds, at two of them, and for medium and large people."""
    every, medium, large = values
    at = [every[threshold == matching.THRESHOLDS] for threshold in (0.5, 0.75)]
    return [float(np.mean(part[part > -1])) if (part > -1).any() else -1.0 for part in (every, *at, medium, large)]


def curves(verdicts: matching.Verdicts) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision [A, T, R] at the recalls and recall [A, T] in the end; -1 for sizes that nobody has."""
    precision = np.full((*verdicts.right.shape[1:], len(RECALLS)), -1.0)
    recall = np.full(precision.shape[:2], -1.0)
    order = np.argsort(-verdicts.score, kind="stable")
    for size, threshold in np.argwhere(np.broadcast_to(verdicts.people[:, None] > 0, recall.shape)):
        right, wrong = (of[order, size, threshold] for of in (verdicts.right, verdicts.wrong))
        precision[size, threshold], recall[size, threshold] = _curve(right, wrong, int(verdicts.people[size]))
    return precision, recall


def _curve(right: np.ndarray, wrong: np.ndarray, people: int) -> tuple[np.ndarray, float]:
    """Returns [R] the best precision at each recall or beyond, 0 past the last one, which is the other result.

    Args:
      right: [N] bool by detection, best first.
      wrong: [N] bool.
      people: how many there are to find.
    """
    hits, misses = (np.cumsum(of).astype(np.float64) for of in (right, wrong))
    reached = hits / people
    precision = np.maximum.accumulate((hits / (misses + hits + np.spacing(1)))[::-1])[::-1]
    return np.append(precision, 0.0)[np.searchsorted(reached, RECALLS)], reached[-1]
