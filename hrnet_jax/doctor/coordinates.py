"""Finds out what the numbers of boxes and joints mean, when another reading fits people far better.

A file with damage is a mixture: some entries are in the package's reading, the others in another one. Its
likelihood is compared with that of sound data, over all people and for each of `readings.readings`. What one entry
can say is limited because annotators make mistakes, but not the same mistake in many entries.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import plausibility, readings
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.doctor.readings import PIXELS, Reading
from hrnet_jax.skeletons import Skeleton

SURE = 6.0  # logarithm of the most that one entry can say
SHARES = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.999])  # of entries in the other reading
EVIDENCE, CHANGE = 3.5, 1.5  # least gain of log-likelihood, and for each change (sound data: 2.2 in all)
FITTING = -2.5  # least mean log-likelihood of the entries in the other reading; of any in the package's
MISFIT = -4.5  # log-likelihood of an entry that is in neither reading
LEAST = 2  # entries in the other reading
EXPLAINED = 0.25  # of the entries that fit badly: any reading explains some of many other mistakes
MAX_PEOPLE = 2000  # of which the reading is chosen
MAX_READINGS = 3  # in one file, beside the package's
FILLED, LARGE = 0.8, 4.0  # numbers up to 100 fill a square of that side, but at most a quarter of the photo

Marks = np.ndarray | None  # as in `plausibility.Bodies`, None for all 1


class Fits:
    """Log-likelihoods of the same people in different readings, computed once for each reading of the joints."""

    def __init__(
        self, people: AnnotatedPeople, skeleton: Skeleton, size: np.ndarray, marks: np.ndarray, *, squares: bool
    ):
        self._people, self._size, self._squares = people, size, squares
        self._bodies = plausibility.Bodies(people, skeleton, marks)
        self._count = people.labelled.sum(axis=1)
        self._of_joints: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, reading: Reading) -> np.ndarray:
        """Returns [N] log-likelihoods."""
        box = reading.boxes(self._people.box, self._size)
        key = reading.joint_frame, reading.origin
        if key not in self._of_joints:
            self._of_joints[key] = self._examine_joints(reading.joints(self._people.joints, box, self._size))
        corners, score = self._of_joints[key]
        score = score + plausibility.joints_in_boxes(corners, box, self._count)
        if not self._squares:
            score = score + plausibility.boxes(box, self._size)
        return np.logaddexp(score, -SURE) + self._in_corner(reading.box_frame.unit)

    def _examine_joints(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labelled = self._people.labelled
        score = self._bodies(joints) + plausibility.joints_on_photos(joints, labelled, self._size)
        return plausibility.outermost(joints, labelled), score

    def _in_corner(self, unit: int) -> np.ndarray | float:
        """Returns what it says if all boxes are within the first `unit` pixels of much larger photos."""
        ends = np.abs(self._people.box).max(axis=0, initial=0)
        room = np.log(self._size.prod(axis=1) / max(unit, 1) ** 2)
        filled = unit > 1 and FILLED * unit < min(ends.reshape(2, 2).max(axis=0)) and ends.max() <= unit
        return np.clip(room, 0, SURE) if filled and np.median(room) > np.log(LARGE) else 0.0


def examine(
    people: AnnotatedPeople, skeleton: Skeleton, size: np.ndarray, marks: Marks = None, *, squares: bool = False
) -> tuple[AnnotatedPeople, list[Finding]]:
    """Examines what the numbers of people on photos of sizes [N, 2] mean.

    Returns the people with the numbers in the package's reading, so that nothing that follows from another one is
    found again, and the findings. `squares`: boxes are MPII's, made from centre and scale.
    """
    findings: list[Finding] = []
    for _ in range(MAX_READINGS):
        reading, rows = find(people, skeleton, size, marks, squares=squares)
        if reading == Reading():
            break
        findings += describe(reading, people.annotation_id[rows], len(people), "people")
        known = np.where(np.isfinite(size), size, 1.0)
        box = reading.boxes(people.box, known)
        joints = reading.joints(people.joints, box, known)
        people = dataclasses.replace(
            people,
            box=np.where(rows[:, None], box, people.box),
            joints=np.where(rows[:, None, None] & people.labelled[..., None], joints, people.joints),
        )
    return people, findings


def find(
    people: AnnotatedPeople, skeleton: Skeleton, size: np.ndarray, marks: Marks = None, *, squares: bool = False
) -> tuple[Reading, np.ndarray]:
    """Returns the reading that fits some people far better than the package's, and them, [N] bool.

    Without one, it is the package's, of nobody.
    """
    marks = np.ones(len(people), int) if marks is None else marks
    several = people.labelled.sum(axis=1) >= plausibility.FEW_JOINTS
    valid = ~people.crowd & np.isfinite(size).all(axis=1) & (people.box[:, 2:] > 0).all(axis=1)
    alone = not squares and np.count_nonzero(several & valid) < LEAST
    candidates = readings.BOX_ALONE if alone else readings.readings(with_boxes=not squares)[1:]
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(valid & (several | alone)))[:MAX_PEOPLE]
    if len(drawn) < LEAST:
        return Reading(), valid & False
    fits = Fits(people.select(drawn), skeleton, size[drawn], marks[drawn], squares=squares)
    reading, share = choose(candidates, fits, SHARES[-1:] if alone else SHARES)
    rows = np.zeros(len(people), bool)
    if reading != Reading():
        fits = Fits(people.select(valid), skeleton, size[valid], marks[valid], squares=squares)
        fit, base = fits(reading), fits(Reading())
        likely = ((fit > MISFIT) | (share == SHARES[-1])) & (_weights(fit - base, share) > 0.5)
        if likely.sum() >= max(LEAST, EXPLAINED * np.count_nonzero(base < MISFIT)):
            tells = (fit > MISFIT) | people.labelled[valid].any(axis=1)
            rows[valid] = (likely & tells) | ((fit > base) & (base < FITTING))
            return reading, rows
    return Reading(), rows


def choose(
    candidates: Sequence[Reading], fits: Callable[[Reading], np.ndarray], shares: np.ndarray = SHARES
) -> tuple[Reading, float]:
    """Returns the best reading and its share, or the package's and 0, given the log-likelihoods [N] in each."""
    base, best = fits(Reading()), (EVIDENCE, Reading(), 0.0)
    for reading in candidates:
        fit = fits(reading)
        gains = gain_by_share(fit - base, shares)
        share = float(shares[gains.argmax()])
        gain = float(gains.max()) - CHANGE * reading.changes
        if gain > best[0] and np.average(fit, weights=_weights(fit - base, share)) > FITTING:
            best = gain, reading, share
    _, reading, share = best
    if reading.frames == readings.SIDES.frames:
        reading = dataclasses.replace(reading, box_frame=PIXELS, joint_frame=PIXELS)
    return reading, share


def gain_by_share(ratio: np.ndarray, shares: np.ndarray = SHARES) -> np.ndarray:
    """Returns [S] by how much log-likelihood rises if shares [S] of the entries are in the other reading."""
    return np.log1p(shares[:, None] * np.expm1(ratio)).sum(axis=1)


def _weights(ratio: np.ndarray, share: float) -> np.ndarray:
    """Returns [N] probabilities that an entry is in the other reading."""
    return share / (share + (1 - share) * np.exp(-ratio))


def describe(reading: Reading, ids: np.ndarray, count: int, whose: str, prefix: str = "") -> list[Finding]:
    """Returns the finding that entries are in another reading. `prefix` is of the finding's kind."""
    of_boxes, of_joints = reading.differs
    things = " and ".join(["boxes"] * of_boxes + ["joints"] * of_joints)
    what = f"the {things} of {{count}} of {{of}} {whose} fit only if read otherwise: {reading}"
    formulas = [f"[a, b, c, d] of a box as {reading.box_formula()}"] * of_boxes
    formulas += [f"[a, b] of a joint as {reading.joint_formula()}"] * of_joints
    remedy = f"on a photo of W x H pixels, write {' and '.join(formulas)}"
    if reading.is_turned and reading.frames[0] == reading.frames[1]:
        remedy += " (not if these people do lie, stand on their heads, or are seen from above)"
    severity = "error" if 2 * len(ids) >= count else "warning"
    return found(f"{prefix}{reading.kind}", severity, ids, what, remedy, of=count)
