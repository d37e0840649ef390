"""The people to look at after an evaluation: the worst of each kind of error."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import pckh
from hrnet_jax.evaluation.error_analysis import GOOD, KINDS, NEAR, Errors
from hrnet_jax.evaluation.error_costs import JOINT_ERRORS
from hrnet_jax.skeletons import Skeleton

MOST = 6  # of each kind
MOST_NAMES = 4  # of joints in a caption


@dataclasses.dataclass(frozen=True)
class Example:
    """People on a photo, annotated and predicted, in photo pixels."""

    photo_id: int
    truth: np.ndarray  # [T, K, 2] annotated people
    visible: np.ndarray  # [T, K] bool, labelled
    predicted: np.ndarray  # [P, K, 2]
    found: np.ndarray  # [P, K] bool, joints that were found
    frame: np.ndarray  # [M, 2] points to show
    marked: np.ndarray  # [K] bool joints with the error, of the first of `predicted` and `truth`
    caption: str
    has_prediction: bool = True  # the first of `predicted` is what is wrong; False if a person was not found


def of_errors(errors: Errors) -> dict[str, list[Example]]:
    """Returns the worst of each kind of `error_costs.MENDED`, at most one of a photo.

    The worst detections are those that lose the most OKS by joints with the error. Of false positives they are
    those with the highest scores, of false negatives the largest people, and of scores the detections that
    outrank a much better one.
    """
    kinds = {kind: _of_joints(errors, kind) for kind in JOINT_ERRORS}
    kinds |= {"score": _of_scores(errors), "false_positive": _false_positives(errors)}
    kinds |= {"false_negative": _false_negatives(errors)}
    return {kind: list(_first(found)) for kind, found in kinds.items()}


def _first(examples: Iterable[Example]) -> Iterator[Example]:
    """Yields the first `MOST` of different photos."""
    photos: set[int] = set()
    for example in examples:
        if len(photos) == MOST:
            return
        if example.photo_id not in photos:
            photos.add(example.photo_id)
            yield example


def _of_joints(errors: Errors, kind: str) -> Iterator[Example]:
    has_error = errors.kind == KINDS.index(kind)
    target = GOOD if kind == "jitter" else np.maximum(errors.nearest, NEAR)
    loss = np.where(has_error, target - errors.similarity, 0).sum(axis=1)
    loss /= np.maximum((errors.kind >= 0).sum(axis=1), 1)
    oks = errors.oks()
    for row in _descending(loss):
        names = _names(errors.skeleton, has_error[row], errors.kind[row] >= 0)
        in_photo = np.flatnonzero(errors.people.photo_id == errors.detections.photo_id[row])
        others = in_photo[(in_photo != errors.person[row]) & (kind == "swap")]
        people = [errors.person[row], *others]
        yield _example(errors, people, [row], f"OKS {oks[row]:.2f}: {names}", has_error[row])


def _of_scores(errors: Errors) -> Iterator[Example]:
    pairs, oks, score = errors.outranked(), errors.oks(), errors.detections.score
    loss = errors.optimal_score[pairs[:, 1]] - oks[pairs[:, 0]]
    for matched, better in pairs[_descending(loss)]:
        caption = (
            f"OKS {oks[matched]:.2f} with score {score[matched]:.2f} outranks OKS"
            f" {errors.optimal_score[better]:.2f} with score {score[better]:.2f}"
        )
        yield _example(errors, [errors.person[matched]], [matched], caption)


def _false_positives(errors: Errors) -> Iterator[Example]:
    score = errors.detections.score  # 0 where no joint is certain enough to count
    for row in _descending(np.where(errors.false_positive, score, -np.inf), above=-np.inf):
        people = np.flatnonzero(errors.people.photo_id == errors.detections.photo_id[row])
        yield _example(errors, people, [row], f"score {score[row]:.2f}")


def _false_negatives(errors: Errors) -> Iterator[Example]:
    people = errors.people
    for row in _descending(np.where(errors.false_negative, people.area, 0)):
        in_photo = np.flatnonzero(errors.detections.photo_id == people.photo_id[row])
        caption = f"{np.sqrt(people.area[row]):.0f} pixels large, {people.visible[row].sum()} labelled joints"
        example = _example(errors, [row], in_photo, caption)
        frame = people.joints[row][people.visible[row]]
        yield dataclasses.replace(example, frame=frame, has_prediction=False)


def _descending(values: np.ndarray, above: float = 0) -> np.ndarray:
    """Returns the rows of values above a limit, the largest first."""
    order = np.argsort(-values, kind="stable")
    return order[values[order] > above]


def _example(errors: Errors, people, detections, caption: str, marked: np.ndarray | None = None) -> Example:
    """Frames the first person and what is near of its detection; a false positive is framed alone."""
    truth, visible = errors.people.joints[people], errors.people.visible[people]
    predicted, found = errors.detections.joints[detections], errors.detections.joint_score[detections] > 0
    if len(detections) and errors.person[detections[0]] < 0:
        frame = predicted[0][found[0]] if found[0].any() else predicted[0]
    else:
        of_person = errors.person[detections] == people[0]
        frame = _frame(truth[0][visible[0]], predicted[of_person][found[of_person]])
    photo = errors.detections.photo_id[detections[0]] if len(detections) else errors.people.photo_id[people[0]]
    marked = np.zeros(visible.shape[1], bool) if marked is None else marked
    return Example(int(photo), truth, visible, predicted, found, frame, marked, caption)


def _frame(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns [M, 2]: the points of both, the predicted ones at most the person's size away."""
    low, high = truth.min(axis=0), truth.max(axis=0)
    size = (high - low).max() / 2
    return np.concatenate([truth, np.clip(predicted, low - size, high + size)])


def of_heads(
    joints: np.ndarray, people: records.People, truth: mpii.Truth, skeleton: Skeleton
) -> dict[str, list[Example]]:
    """Returns people of MPII with the largest mean errors, and with the most joints at their mirror joints.

    Takes predictions [N, K, 2] in photo pixels and the truth of these N people. A joint is at its mirror joint if
    it is within `pckh.THRESHOLD` heads of it and not of its own place.
    """
    labelled = (truth.missing == 0) & (people.visible > 0)
    error = pckh.errors_in_heads(joints, truth)
    far = labelled & (error > pckh.THRESHOLD)
    mirrored = dataclasses.replace(truth, joints=truth.joints[:, skeleton.flip_order])
    is_inverted = (
        far & labelled[:, skeleton.flip_order] & (pckh.errors_in_heads(joints, mirrored) <= pckh.THRESHOLD)
    )
    mean = np.where(labelled, np.minimum(error, 10), 0).sum(axis=1) / np.maximum(labelled.sum(axis=1), 1)
    kinds = {"worst": (mean * far.any(axis=1), far), "inversion": (is_inverted.sum(axis=1), is_inverted)}

    def example(row: int, marked: np.ndarray) -> Example:
        names = _names(skeleton, marked, labelled[row])
        frame = _frame(people.joints[row][labelled[row]], joints[row][labelled[row]])
        caption = f"{mean[row]:.2f} heads off on average: {names}"
        tables = people.joints[[row]], labelled[[row]], joints[[row]], np.ones((1, len(marked)), bool)
        return Example(int(people.photo_id[row]), *tables, frame, marked, caption)

    return {
        kind: list(_first(example(row, marked[row]) for row in _descending(values)))
        for kind, (values, marked) in kinds.items()
    }


def _names(skeleton: Skeleton, marked: np.ndarray, labelled: np.ndarray) -> str:
    """Returns the names of a few joints, or how many they are."""
    if marked.sum() > MOST_NAMES:
        return f"{marked.sum()} of {labelled.sum()} joints"
    return ", ".join(
        name.replace("_", " ") for name, is_marked in zip(skeleton.joints, marked, strict=True) if is_marked
    )
