"""Findings in an MPII file of people: invalid rows, flags and scales."""

import dataclasses
import pathlib

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import mpii
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import SEEN, AnnotatedPeople
from hrnet_jax.doctor import people as people_checks
from hrnet_jax.doctor.findings import Finding, document, found
from hrnet_jax.skeletons import Skeleton

# Limits of the joints' extent relative to the person's height by `scale` (measured on five people: .67 to .89).
EXTENT = (0.1, 2.0)
REMEDY = "get the authors' file again, or correct these rows"


def read(path: pathlib.Path, skeleton: Skeleton) -> tuple[dict[int, Photo], AnnotatedPeople | None, list[Finding]]:
    """Returns the photos by id, the people, or None if it is no such file, and the findings in all its rows.

    Joints without a location (-1 in the file) are moved to 0, and flags above 0 become `SEEN`.
    """
    errors = validation.ErrorCollector()
    try:
        content, findings = document(path, REMEDY)
        rows = mpii.read(path, content, skeleton, errors)
    except (ValueError, OSError) as error:
        return {}, None, found("annotations_unreadable", "error", [path.name], str(error), REMEDY)
    what = "{count} of {of} rows are malformed; the first: " + errors.first["people_malformed"]
    findings += found(
        "people_malformed", "error", errors.entries["people_malformed"], what, REMEDY, of=len(content)
    )
    people, others = about(rows)
    return rows.photos, people, findings + others


def about(rows: mpii.Rows) -> tuple[AnnotatedPeople, list[Finding]]:
    """Returns the people of valid rows, and findings in their flags and scales."""
    people = rows.people
    odd = people.annotation_id[~np.isin(people.flags, (0, 1)).all(axis=1)]
    what = "`joints_vis` of {count} of {of} people has other values than 0 and 1"
    findings = found("flags", "error", odd, what, REMEDY, of=len(people))
    nowhere = (people.joints <= -mpii.FIRST_PIXEL).all(axis=2, keepdims=True)
    people = dataclasses.replace(
        people, joints=np.where(nowhere, 0.0, people.joints), flags=np.where(people.labelled, SEEN, 0)
    )
    return people, findings + _scales(people, rows.scale)


def _scales(people: AnnotatedPeople, scale: np.ndarray) -> list[Finding]:
    """Compares the scale with the extent of the joints."""
    none = np.asarray(scale <= 0)
    what = "{count} of {of} people have no scale, so they are not used"
    findings = found("scales", "warning", people.annotation_id[none], what, REMEDY, of=len(people))
    labelled = np.expand_dims(people.labelled, 2)
    low = np.where(labelled, people.joints, np.inf).min(axis=1)
    high = np.where(labelled, people.joints, -np.inf).max(axis=1)
    extent = (high - low).max(axis=1) / np.maximum(people.box[:, 3], 1e-9)
    several = people.labelled.sum(axis=1) >= people_checks.FEW_JOINTS
    odd = several & ~none & ((extent < EXTENT[0]) | (extent > EXTENT[1]))
    what = "the scale of {count} of {of} people does not fit their joints: it is the height in units of 200 pixels"
    return findings + found("scales", "warning", people.annotation_id[odd], what, REMEDY, of=len(people))
