"""What is wrong with the rows of an MPII file of people; those that are sound go on to be examined as a table."""

import pathlib
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import mpii
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import people as people_checks
from hrnet_jax.doctor import tables
from hrnet_jax.doctor.findings import Finding, document, found
from hrnet_jax.doctor.tables import SEEN, People
from hrnet_jax.skeletons import Skeleton

# How far apart joints lie, at least and at most, of a person's height as `scale` says it (of five: .67 to .89).
REACH = (0.1, 2.0)
REMEDY = "get the authors' file again, or mend these rows"


def read(path: pathlib.Path, skeleton: Skeleton) -> tuple[dict[int, Photo], People | None, list[Finding]]:
    """Reads a file of people as far as it can be read.

    Returns:
      The photos by id, numbered as `datasets.mpii` does; the people, None if it is no such file; what is wrong.
    """
    try:
        entries, odd = document(path, REMEDY)
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{path} must hold a list of people, but holds {validation.short_repr(entries)}")
    except (ValueError, OSError) as error:
        return {}, None, found("annotations_unreadable", "error", [path.name], str(error), REMEDY)
    labelled = any(isinstance(entry, dict) and "joints" in entry for entry in entries)
    ids: dict[str, int] = {}
    rows, wrong, scales, flags = [], {}, [], []
    for row, entry in enumerate(entries, start=1):
        try:
            name = validation.inner_path(entry, "image", f"row {row}")
            rows.append(_row(entry, row, ids.setdefault(name, len(ids) + 1), skeleton, labelled))
            scales.append(float(entry["scale"]))
            flags += [row] * (labelled and not set(entry["joints_vis"]) <= {0, 1})
        except ValueError as error:
            wrong[row] = str(error)
    what = "{count} of {of} rows are malformed; the first: " + next(iter(wrong.values()), "")
    findings = odd + found("people_malformed", "error", wrong, what, REMEDY, of=len(entries))
    what = "`joints_vis` of {count} of {of} people has other values than 0 and 1"
    findings += found("flags", "error", flags, what, REMEDY, of=len(entries))
    table = tables.people(rows, skeleton.num_joints)
    photos = {number: Photo(number, name) for name, number in ids.items()}
    return photos, table, findings + _scales(table, np.array(scales))


def _row(entry: Any, row: int, photo_id: int, skeleton: Skeleton, labelled: bool) -> tuple:
    """Returns a row for `tables.people`; places of joints that are not labelled are left out, as MPII has -1."""
    what, count = f"row {row}", skeleton.num_joints
    center = validation.numbers(entry.get("center"), 2, f"{what}: `center`")
    (scale,) = validation.numbers([entry.get("scale")], 1, f"{what}: `scale`")
    points, marks = np.zeros((count, 2)), np.zeros(count)
    if labelled:
        joints = validation.require(entry, "joints", list, what)
        if len(joints) != count:
            raise ValueError(f"{what}: `joints` must be {count}, but there are {len(joints)}")
        points = np.array([validation.numbers(joint, 2, f"{what}: `joints`") for joint in joints], float)
        marks = np.array(validation.numbers(entry.get("joints_vis"), count, f"{what}: `joints_vis`"), float)
        nowhere = np.all(points <= 0, axis=1, keepdims=True)
        points = np.where(nowhere, 0.0, points - mpii.FIRST_PIXEL)
    box = mpii.box(np.array(center, float), scale)
    flags = np.where(marks > 0, SEEN, 0)
    return row, photo_id, box.tolist(), float(box[2] * box[3]), False, np.column_stack([points, flags]).tolist()


def _scales(table: People, scales: np.ndarray) -> list[Finding]:
    """Compares the scale with how far apart joints lie."""
    none = np.asarray(scales <= 0)
    what, remedy = "{count} of {of} people have no scale, so that they are not used", REMEDY
    findings = found("scales", "warning", table.id[none], what, remedy, of=len(table))
    labelled = np.expand_dims(table.labelled, 2)
    low = np.where(labelled, table.joints, np.inf).min(axis=1)
    high = np.where(labelled, table.joints, -np.inf).max(axis=1)
    reach = (high - low).max(axis=1) / np.maximum(table.box[:, 3], 1e-9)
    several = table.labelled.sum(axis=1) >= people_checks.FEW_JOINTS
    odd = several & ~none & ((reach < REACH[0]) | (reach > REACH[1]))
    what = "the scale of {count} of {of} people does not fit their joints: it is the height in units of 200 pixels"
    return findings + found("scales", "warning", table.id[odd], what, REMEDY, of=len(table))
