"""Average precision by kinds of people, errors of joints in units of their sigma, and calibration of scores.

``N`` is the number of detections that COCO counts, ``G`` that of annotated people, ``A`` that of groups.
"""

import dataclasses

import numpy as np

from hrnet_jax.evaluation import average_precision, error_analysis, ground_truth, matching, oks
from hrnet_jax.evaluation.error_analysis import KINDS, NEAR, Errors

SIZES = (0, 32, 64, 96, 192, np.inf)  # square roots of areas
PEOPLE = (1, 2, 3, 5, 9, np.inf)  # in the photo
OVERLAPS = (0, 1, 3, np.inf)  # boxes of others, grouped as by Ronchi and Perona (ICCV 2017)
OVERLAP = 0.1  # IoU of two boxes that overlap
JOINTS = (0.0, 0.3, 0.6, 0.9, 1.0)  # share of joints that are labelled: of COCO's 17 up to 5, 10, 15 and 17
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
BINS = 10  # of scores, of equal width


@dataclasses.dataclass(frozen=True)
class Groups:
    """A groups of people. A false positive counts in the groups of its detection."""

    labels: tuple[str, ...]
    people: np.ndarray  # [G, A] bool
    detections: np.ndarray  # [N, A] bool


def summary(errors: Errors) -> dict[str, dict]:
    """Returns all of the below for the detections of a category."""
    arguments = errors.people, errors.detections, errors.skeleton.sigmas
    return {
        "precision_recall": precision_recall(*arguments),
        "AP_by": average_precisions(*arguments),
        "joints": joint_errors(errors),
        "calibration": calibration(errors),
    }


def average_precisions(
    people: ground_truth.People, detections: matching.Detections, sigmas: oks.Sigmas
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns ``{property: {group: {"AP", "people"}}}`` by size, number of people, overlap and labelled joints.

    Takes detections from `matching.best`. AP is over the thresholds of COCO; groups without people are left out.
    A false positive counts in the group of the box around its joints for the size, as in COCO, of its photo for
    the number of people, and otherwise of the most similar annotated person of its photo, if there is one.
    """
    extent = np.ptp(detections.joints, axis=1).prod(axis=-1)
    everyone, nearest = _people_in_photo(people), _nearest(people, detections, sigmas)
    in_photo = np.append(everyone, 0)[_any_of_photo(people, detections)]
    labelled = people.visible.sum(axis=1)
    edges = [0, *(int(share * len(sigmas)) + 1 for share in JOINTS[1:])]
    groups = {
        "size": _by_value(np.sqrt(people.area), np.sqrt(extent), SIZES, "{} px"),
        "people": _by_value(everyone, in_photo, PEOPLE),
        "overlap": _by_value(values := _overlaps(people), np.append(values, -1)[nearest], OVERLAPS),
        "joints": _by_value(labelled, np.append(labelled, -1)[nearest], (1, *edges[1:])),
    }
    return {name: _of_groups(people, detections, sigmas, table) for name, table in groups.items()}


def _of_groups(people, detections, sigmas, groups: Groups) -> dict[str, dict[str, float]]:
    matches = matching.match_groups(people, detections, sigmas, ~groups.people, ~groups.detections)
    table = zip(groups.labels, average_precision.by_group(matches), matches.positives, strict=True)
    return {label: {"AP": float(value), "people": int(count)} for label, value, count in table if count}


def _by_value(people: np.ndarray, detections: np.ndarray, edges: tuple[float, ...], unit: str = "{}") -> Groups:
    """Groups people and detections by a value, from each edge to below the next."""
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    tables = ((values[:, None] >= low) & (values[:, None] < high) for values in (people, detections))
    return Groups(tuple(unit.format(_range(a, b, unit)) for a, b in zip(low, high, strict=True)), *tables)


def _range(low: float, high: float, unit: str) -> str:
    if np.isinf(high):
        return f"{low:.0f} or more"
    last = high if unit != "{}" else high - 1
    return f"{low:.0f} to {last:.0f}" if last > low else f"{low:.0f}"


def _people_in_photo(people: ground_truth.People) -> np.ndarray:
    """Returns [G]: how many people are annotated in each one's photo, crowds apart."""
    _, photo = np.unique(people.photo_id, return_inverse=True)
    return np.bincount(photo, ~people.crowd)[photo].astype(int)


def _any_of_photo(people: ground_truth.People, detections: matching.Detections) -> np.ndarray:
    """Returns [N]: the row of a person in each detection's photo, -1 for none."""
    row = np.minimum(np.searchsorted(people.photo_id, detections.photo_id), len(people) - 1)
    return np.where(people.photo_id[row] == detections.photo_id, row, -1)


def _nearest(people: ground_truth.People, detections: matching.Detections, sigmas: oks.Sigmas) -> np.ndarray:
    """Returns [N]: the row of the most similar person in the photo that is not ignored, -1 for none."""
    nearest = np.full(len(detections.score), -1)
    for rows, columns in matching.blocks(detections.photo_id, people.photo_id):
        similarity = matching.similarities(detections.joints, rows, people, columns, np.asarray(sigmas))
        similarity[np.broadcast_to(people.ignored[columns][:, None], similarity.shape)] = -1
        found = np.take_along_axis(columns, similarity.argmax(axis=2), axis=1)
        nearest[rows[rows >= 0]] = np.where(similarity.max(axis=2) >= 0, found, -1)[rows >= 0]
    return nearest


def _overlaps(people: ground_truth.People) -> np.ndarray:
    """Returns [G]: how many other people's boxes overlap each one's, crowds apart."""
    counts = np.zeros(len(people), int)
    for own, other in error_analysis.pairs(people, people.photo_id, np.arange(len(people))):
        is_other = (own != other) & ~people.crowd[other]
        first, second = people.box[own], people.box[other]
        low = np.maximum(first[:, :2], second[:, :2])
        high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        union = first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - common
        counts += np.bincount(own[is_other & (common > OVERLAP * union)], minlength=len(people))
    return counts


def precision_recall(
    people: ground_truth.People, detections: matching.Detections, sigmas: oks.Sigmas
) -> dict[str, dict[str, float | list[float]]]:
    """Returns ``{threshold: {"AP", "precision": [R]}}`` with the precision at `average_precision.RECALLS`."""
    nobody, nothing = np.zeros((len(people), 1), bool), np.zeros((len(detections.score), 1), bool)
    (precision,), _ = average_precision.curves(matching.match_groups(people, detections, sigmas, nobody, nothing))
    table = zip(matching.THRESHOLDS, precision, strict=True)
    return {
        f"{threshold:.2f}": {"AP": float(values.mean()), "precision": values.tolist()}
        for threshold, values in table
    }


def joint_errors(errors: Errors) -> dict[str, dict[str, float | list[float] | None]]:
    """Returns for each joint the share of each of `KINDS`, `count`, and `QUANTILES` of the error in sigmas.

    The unit is the joint's sigma times the square root of the person's area. Over labelled joints of matches.
    """
    table = {}
    for k, name in enumerate(errors.skeleton.joints):
        kind = errors.kind[errors.kind[:, k] >= 0, k]
        similarity = np.maximum(errors.similarity[errors.kind[:, k] >= 0, k], np.finfo(float).tiny)
        sigmas = 2 * np.sqrt(-2 * np.log(similarity))
        shares = {word: float(np.mean(kind == i)) if len(kind) else None for i, word in enumerate(KINDS)}
        quantiles = np.quantile(sigmas, QUANTILES).tolist() if len(kind) else None
        table[name] = {"count": len(kind), **shares, "sigmas": quantiles}
    return table


def calibration(errors: Errors) -> dict[str, dict]:
    """Returns the `reliability` of the scores of people and of joints: hits have an OKS or similarity of `NEAR`.

    Ignored detections do not count. Joints are the labelled ones of matched detections.
    """
    counted, labelled = errors.false_positive | (errors.person >= 0), errors.kind >= 0
    people = errors.detections.score[counted], errors.oks()[counted] >= NEAR
    joints = errors.detections.joint_score[labelled], errors.similarity[labelled] >= NEAR
    return {"people": reliability(*people), "joints": reliability(*joints)}


def reliability(score: np.ndarray, hit: np.ndarray) -> dict[str, list | float | None]:
    """Returns the share of hits by score, in `BINS` equal bins of [0, 1], and the expected calibration error.

    Lists of ``score`` (the mean), ``hits`` (the share) and ``count``; None for empty bins. The error is the mean
    difference of score and share over all (Guo et al., ICML 2017); None without any.
    """
    number = np.clip((score * BINS).astype(int), 0, BINS - 1)
    count = np.bincount(number, minlength=BINS)
    mean, share = (np.bincount(number, values, BINS) / np.maximum(count, 1) for values in (score, hit))
    error = float((np.abs(mean - share) * count).sum() / len(score)) if len(score) else None
    lists = {
        name: [float(value) if many else None for value, many in zip(values, count, strict=True)]
        for name, values in (("score", mean), ("hits", share))
    }
    return {**lists, "count": count.tolist(), "error": error}
