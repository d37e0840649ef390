"""The average precision that each kind of error costs: it is mended, and average precision computed again.

See `error_analysis` for the kinds of errors and their source.
"""

import dataclasses
from collections.abc import Collection

import numpy as np

from hrnet_jax.evaluation import average_precision, error_analysis, matching
from hrnet_jax.evaluation.error_analysis import GOOD, KINDS, NEAR, Errors

JOINT_ERRORS = ("miss", "swap", "inversion", "jitter")
MENDED = (*JOINT_ERRORS, "score", "false_positive", "false_negative")
"""Errors in the order in which the paper mends them."""


def mend(errors: Errors, kinds: Collection[str]) -> matching.Detections:
    """Moves joints with errors of the `kinds` among `JOINT_ERRORS` straight to their annotation.

    A jitter ends at the similarity `GOOD`, a miss at `NEAR`, and an inversion or swap at the similarity that it
    had to the wrong joint. These are the places in the program of the paper's authors.
    """
    rows = np.flatnonzero(errors.person >= 0)
    kind, person = errors.kind[rows], errors.person[rows]
    target = np.where(kind == KINDS.index("jitter"), GOOD, np.maximum(errors.nearest[rows], NEAR))
    sizes = 2 * np.asarray(errors.skeleton.sigmas) * np.sqrt(errors.people.area[person])[:, None]
    offset = errors.detections.joints[rows] - errors.people.joints[person]
    length = np.maximum(np.linalg.norm(offset, axis=-1), np.spacing(1))
    moved = errors.people.joints[person] + offset * (sizes * np.sqrt(-2 * np.log(target)) / length)[..., None]
    joints = errors.detections.joints.copy()
    chosen = np.isin(kind, [KINDS.index(name) for name in JOINT_ERRORS if name in kinds])
    joints[rows] = np.where(chosen[..., None], moved, joints[rows])
    return dataclasses.replace(errors.detections, joints=joints)


def precision_without(errors: Errors, kinds: Collection[str]) -> float:
    """Returns the average precision after errors of some kinds of `MENDED` are mended.

    Joints are mended first, then scores, see `error_analysis.rescore`. What is a false positive then is removed,
    and false negatives are ignored, as crowds are.
    """
    people, sigmas = errors.people, errors.skeleton.sigmas
    detections = mend(errors, kinds)
    if "score" in kinds:
        score, _ = error_analysis.rescore(people, detections, sigmas)
        detections = matching.best(dataclasses.replace(detections, score=score))
    ignored = np.zeros(len(people), bool)
    if "false_positive" in kinds or "false_negative" in kinds:
        _, false_positive, false_negative = error_analysis.match(people, detections, sigmas)
        detections = detections.select(~false_positive | ("false_positive" not in kinds))
        ignored = false_negative & ("false_negative" in kinds)
    nothing = np.zeros((len(detections.score), 1), bool)
    matches = matching.match_groups(people, detections, sigmas, ignored[:, None], nothing)
    return max(float(average_precision.by_group(matches)[0]), 0.0)  # undefined if all people are ignored


def summary(errors: Errors) -> dict[str, dict[str, float]]:
    """Returns for each kind of `MENDED` how often it occurs and what it costs.

    These are ``count`` and ``share`` (of labelled joints of matched detections; of matched people for scores, of
    detections for false positives, of people for false negatives), ``gain`` of average precision if it alone were
    mended, and ``mended_AP`` after it and all kinds before it are.
    """
    labelled, matched = int((errors.kind >= 0).sum()), int((errors.person >= 0).sum())
    totals = {kind: (int((errors.kind == KINDS.index(kind)).sum()), labelled) for kind in JOINT_ERRORS} | {
        "score": (len(errors.outranked()), matched),
        "false_positive": (int(errors.false_positive.sum()), len(errors.false_positive)),
        "false_negative": (int(errors.false_negative.sum()), int((~errors.people.ignored).sum())),
    }
    before = precision_without(errors, ())
    return {
        kind: {
            "count": count,
            "share": count / total if total else 0.0,
            "gain": precision_without(errors, (kind,)) - before,
            "mended_AP": precision_without(errors, MENDED[: i + 1]),
        }
        for i, (kind, (count, total)) in enumerate(totals.items())
    }
