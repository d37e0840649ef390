"""Tables of people with damaged coordinates: each damage writes sound numbers as another program would.

    PYTHONPATH=. python tests/made_readings.py FILE.json ...

prints how many of the damages `doctor` finds in COCO annotation files, by the share of damaged entries.

The functions map points [..., 2] on photos of `size` [..., 2] (width, height) to the numbers in a file.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np

from hrnet_jax.datasets import coco
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import coordinates
from hrnet_jax.doctor import people as findings_in_people
from hrnet_jax.doctor.readings import ORIGINS, UNITS, Frame, Reading
from hrnet_jax.skeletons import COCO, Skeleton

Corners = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Write = Callable[[Corners], list[np.ndarray]]
Turn = Callable[[np.ndarray, np.ndarray], np.ndarray]

FORMS: dict[str, Write] = {
    "corner and size": lambda box: [box[0], box[1], box[2] - box[0], box[3] - box[1]],
    "two corners": lambda box: [*box],
    "centre and size": lambda box: [
        (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
    ],
    "lower left corner and size": lambda box: [box[0], box[3], box[2] - box[0], box[3] - box[1]],
    "left, right, top, bottom": lambda box: [box[0], box[2], box[1], box[3]],
}  # fmt: skip


def from_below(points, size):
    return np.stack([points[..., 0], size[..., 1] - points[..., 1]], axis=-1)


def from_the_right(points, size):
    return np.stack([size[..., 0] - points[..., 0], points[..., 1]], axis=-1)


def upside_down(points, size):
    return size - points


def exchanged(points, size):
    return points[..., ::-1]


def turned_clockwise(points, size):
    return np.stack([size[..., 1] - points[..., 1], points[..., 0]], axis=-1)


def turned_counter_clockwise(points, size):
    return np.stack([points[..., 1], size[..., 0] - points[..., 0]], axis=-1)


def transposed_from_the_end(points, size):
    return (size - points)[..., ::-1]


TURNS: dict[tuple[bool, bool, bool], Turn] = {
    (False, False, True): from_below,
    (False, True, False): from_the_right,
    (False, True, True): upside_down,
    (True, False, False): exchanged,
    (True, True, False): turned_counter_clockwise,
    (True, False, True): turned_clockwise,
    (True, True, True): transposed_from_the_end,
}


def write_point(points: np.ndarray, size: np.ndarray, frame: Frame) -> np.ndarray:
    """Returns the numbers of points [..., 2] in a frame."""
    if frame.unit:
        points = points / size * frame.unit
    return TURNS[frame.turn](points, size) if any(frame.turn) else points


def write_boxes(box: np.ndarray, size: np.ndarray, form: str, frame: Frame) -> np.ndarray:
    """Returns the numbers [N, 4] of boxes (x, y, width, height)."""
    ends = [write_point(point, size, frame) for point in (box[:, :2], box[:, :2] + box[:, 2:])]
    low, high = np.minimum(*ends), np.maximum(*ends)
    return np.stack(FORMS[form]((low[:, 0], low[:, 1], high[:, 0], high[:, 1])), axis=1)


def damage(people: AnnotatedPeople, size: np.ndarray, reading: Reading, rows: np.ndarray) -> AnnotatedPeople:
    """Writes the boxes and labelled joints of some people [N] bool so that only `reading` finds them again."""
    corner, extent = people.box[:, None, :2], people.box[:, None, 2:]
    if reading.origin == ORIGINS[0]:
        joints = write_point(people.joints, size[:, None], reading.joint_frame)
    else:
        joints = (people.joints - corner) / (extent if reading.origin == ORIGINS[2] else 1)
    joints = np.where(people.labelled[..., None] & rows[:, None, None], joints, people.joints)
    box = write_boxes(people.box, size, reading.form, reading.box_frame)
    return dataclasses.replace(people, joints=joints, box=np.where(rows[:, None], box, people.box))


def some(people: AnnotatedPeople, share: float, seed: int) -> np.ndarray:
    """Draws a share of the people with labelled joints, [N] bool, at least one."""
    usable = np.flatnonzero(people.labelled.any(axis=1) & ~people.crowd)
    count = max(1, round(share * len(usable)))
    rows = np.zeros(len(people), bool)
    rows[np.random.default_rng(seed).choice(usable, count, replace=False)] = True
    return rows


_DOWN, _RIGHT, _, _EXCHANGED, *_ = map(Frame, TURNS)
_UNITS = [Frame(unit=unit) for unit in UNITS]
_EXCHANGED_UNITS = [Frame((True, False, False), unit) for unit in UNITS]
_TURNED = list(map(Frame, TURNS))
BOXES = [
    *(Reading(form) for form in [*FORMS][1:]),
    *(Reading(box_frame=frame) for frame in _TURNED + _UNITS),
    Reading("two corners", _EXCHANGED),
    Reading("lower left corner and size", _DOWN),
    *(Reading(form, frame) for form in ("two corners", "centre and size") for frame in _UNITS),
    Reading("two corners", _EXCHANGED_UNITS[0]),
    Reading("two corners", _EXCHANGED_UNITS[2]),
]
JOINTS = [Reading(joint_frame=frame) for frame in _TURNED + _UNITS] + [
    Reading(origin=name) for name in ORIGINS[1:]
]
BOTH = [
    *(Reading(box_frame=frame, joint_frame=frame) for frame in _TURNED + _UNITS if frame != _RIGHT),
    *(Reading("centre and size", frame, frame) for frame in _UNITS),
    *(Reading("two corners", frame, frame) for frame in _UNITS),
]
READINGS = BOXES + JOINTS + BOTH
"""Damages that show. (Boxes and joints counted from the right look like left and right exchanged.)"""


def matrix(
    people: AnnotatedPeople,
    skeleton: Skeleton,
    size: np.ndarray,
    share: float,
    readings: Sequence[Reading] = READINGS,
) -> tuple[list[Reading], list[Reading]]:
    """Damages a share of sound people in each way. Returns the damages not found, and those with a wrong name."""
    missed, misnamed = [], []
    for number, reading in enumerate(readings):
        rows = some(people, share, seed=number)
        found, _ = coordinates.find(damage(people, size, reading, rows), skeleton, size)
        if found != reading:
            (missed if found == Reading() else misnamed).append(reading)
    return missed, misnamed


def table(path: pathlib.Path) -> tuple[AnnotatedPeople, np.ndarray]:
    """Reads the people of a COCO annotation file, and the sizes [N, 2] of their photos."""
    found = coco.load(path, COCO)
    people = coco.table([entry for on_photo in found.people.values() for entry in on_photo], COCO)
    return people, findings_in_people.sizes(people.photo_id, found.photos)


def main(paths: Sequence[str]) -> None:
    for path in paths:
        people, size = table(pathlib.Path(path))
        alarms = coordinates.examine(people, COCO, size)[1]
        print(f"{path}: {len(people)} people, {len(alarms)} false alarms, {len(READINGS)} damages")
        for share in (1.0, 0.5, 0.3, 0.1):
            missed, misnamed = map(len, matrix(people, COCO, size, share))
            found = len(READINGS) - missed - misnamed
            print(f"  {share:4.0%} of the entries: {found} named, {misnamed} named otherwise, {missed} missed")


if __name__ == "__main__":
    main(sys.argv[1:])
