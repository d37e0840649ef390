"""Findings in the areas of people: none, larger than the box, or in another unit than square pixels."""

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import binomial_test
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.doctor.people import SLACK

ROUNDING = 1.01  # an area is at most the box's (measured: up to .95 of it)
LEAST_AREA, FLOOR = 0.02, 0.98  # of the box; of people have that much (measured: .07 of the box or more, all)
MOSTLY = 0.9  # of areas in another unit are plausible in it


def examine(people: AnnotatedPeople, size: np.ndarray) -> list[Finding]:
    """Examines areas on photos of sizes [N, 2]. People are selected by them, and OKS is relative to them."""
    none, ids = people.area <= 0, people.annotation_id
    expected = people.labelled.any(axis=1) & ~people.crowd  # evaluation ignores others
    remedy = "write the area of the person's segmentation in square pixels; without one, .53 of the box's is usual"
    what = "{count} of {of} people have no area: they are dropped, and count as missed in evaluation"
    findings = found("areas_missing", "warning", ids[none & expected], what, remedy, of=len(ids))
    of_box = np.prod(np.maximum(people.box[:, 2:], 0) + SLACK, axis=1)
    given = ~none & ~people.crowd & (people.box[:, 2:] > 0).all(axis=1)
    fits = (people.area > LEAST_AREA * of_box) & (people.area <= ROUNDING * of_box)
    if binomial_test.verdict(Checks(fits[given], ids[given], FLOOR)) not in ("unknown", "passed"):
        other, about = _other_units(people.select(given & ~fits), size[given & ~fits], of=len(ids))
        findings, fits = findings + about, fits | np.isin(ids, other)
    too_large = given & ~fits & (people.area > of_box)
    what = "{count} of {of} people have an area larger than their box"
    return findings + found("areas_too_large", "warning", ids[too_large], what, remedy, of=len(ids))


def _other_units(people: AnnotatedPeople, size: np.ndarray, of: int) -> tuple[np.ndarray, list[Finding]]:
    """Finds out the unit of areas that do not fit the boxes. Returns the ids of those that it explains."""
    photo, box, ids = size.prod(axis=1), people.box[:, 2:].prod(axis=1), people.annotation_id
    units = {"area * W * H": photo, "area * W * H / 100": photo / 100, "area * area": people.area}
    units |= {"area * width * height of the box": box}
    explained = {
        formula: (people.area * unit > LEAST_AREA * box) & (people.area * unit <= ROUNDING * box)
        for formula, unit in units.items()
    }
    best = max(explained, key=lambda formula: int(explained[formula].sum()))
    rows, small = explained[best], people.area < LEAST_AREA * box
    if rows.mean() < MOSTLY:
        rows, best = small, "the area in square pixels; without a segmentation, .53 of the box's is usual"
    what = "the areas of {count} of {of} people are not in square pixels: they do not fit the boxes"
    return ids[rows], found("areas_unit", "error", ids[rows], what, f"write {best}", of=of)
