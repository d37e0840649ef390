"""Finds out whether photos with a camera's orientation mark were annotated as stored or as shown.

Photos are read as stored. Annotation tools show them turned as the mark says, and may write width and height of
either. On the photo as shown, heads are above hips, and boxes and joints are on the photo.
"""

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from hrnet_jax.datasets.odd_photos import QUARTER_TURN, TURNED, UPRIGHT
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import coordinates
from hrnet_jax.doctor import people as people_checks
from hrnet_jax.doctor.findings import Finding, Severity, found
from hrnet_jax.doctor.readings import MARKS, Reading
from hrnet_jax.skeletons import Skeleton

SHOWN, STORED, UNKNOWN = "as shown", "as stored", "unknown"
LEFT_OUT = "; `prepare` leaves out these photos and their people"
TURN = "turn the pixels and remove the mark (`exiftran -ai FILE`)"
REMOVE = "remove the mark (`exiftool -Orientation= FILE`)"

# By how photos are annotated, and whether they have width and height as shown, which other checks refuse.
TEXTS: dict[tuple[str, bool], tuple[Severity, str, str]] = {
    (SHOWN, False): ("error", "; people fit them only as shown, but they are read as stored", TURN),
    (SHOWN, True): (
        "error",
        ", and width and height as shown, but are read as stored",
        f"{TURN}; never exchange width and height in the file{LEFT_OUT}",
    ),
    (STORED, False): ("note", ", which is ignored; people fit the photos as stored", f"nothing; or {REMOVE}"),
    (STORED, True): (
        "error",
        "; people fit them only as stored, but width and height are those as shown",
        f"exchange width and height of these photos in the file, and {REMOVE}{LEFT_OUT}",
    ),
    (UNKNOWN, False): (
        "warning",
        ", which is ignored; whether they were annotated as shown or as stored, their people do not tell",
        f"{TURN} if photos were annotated as shown; else {REMOVE}",
    ),
}


def examine(
    people: AnnotatedPeople, skeleton: Skeleton, photos: Mapping[int, Photo], *, squares: bool
) -> tuple[dict[int, Photo], list[Finding]]:
    """Examines photos with a mark.

    Returns all photos, those that are annotated as shown with `is_as_shown` and the size as shown, others without,
    and the findings. `squares`: boxes are MPII's, made from centre and scale.
    """
    with_people = {*people.photo_id.tolist()} or photos.keys()
    marked = {
        number: photo
        for number, photo in photos.items()
        if photo.mark != UPRIGHT and photo.width and (photo.is_as_shown or number in with_people)
    }
    ratios = _ratios(people, skeleton, marked, squares=squares) if marked else {}
    names: dict[tuple[str, bool], list[str]] = collections.defaultdict(list)
    meant = dict(photos)
    for number, verdict in _verdicts(ratios).items():
        photo = marked[number]
        verdict = SHOWN if verdict == UNKNOWN and photo.is_as_shown else verdict
        names[verdict, photo.is_as_shown].append(photo.file_name)
        meant[number] = _frame(photo, is_as_shown=verdict == SHOWN)
    findings: list[Finding] = []
    for key, of_kind in names.items():
        severity, what, remedy = TEXTS[key]
        if key == (SHOWN, False) and any(_is_exchanged(photo) for photo in marked.values()):
            remedy += ", and write width and height of the turned photos into the file"
        what = "{count} of {of} photos have a camera's orientation mark" + what
        findings += found(TURNED, severity, of_kind, what, remedy, of=len(photos))
    return meant, findings


def _is_exchanged(photo: Photo) -> bool:
    return photo.mark >= QUARTER_TURN and not photo.is_as_shown


def _frame(photo: Photo, *, is_as_shown: bool) -> Photo:
    """Returns a marked photo with the size as shown or as stored."""
    size = photo.width, photo.height
    width, height = size[::-1] if photo.mark >= QUARTER_TURN and photo.is_as_shown != is_as_shown else size
    return dataclasses.replace(photo, width=width, height=height, is_as_shown=is_as_shown)


def _verdicts(ratios: Mapping[int, float]) -> dict[int, str]:
    """Returns how photos are annotated, given the log-likelihood ratios of as shown to as stored.

    All are annotated alike, unless there is evidence for both.
    """
    ratio = np.array([*ratios.values()])
    least = coordinates.EVIDENCE + coordinates.CHANGE
    shown, stored = (coordinates.gain_by_share(way).max(initial=0.0) > least for way in (ratio, -ratio))
    of_all = UNKNOWN if shown == stored else SHOWN if shown else STORED
    one_by_one = np.where(ratio > 0, SHOWN, np.where(ratio < 0, STORED, UNKNOWN)).tolist()
    return dict(zip(ratios, one_by_one if shown and stored else [of_all] * len(ratio), strict=True))


def _ratios(
    people: AnnotatedPeople, skeleton: Skeleton, marked: Mapping[int, Photo], *, squares: bool
) -> dict[int, float]:
    """Returns the log-likelihood ratio of as shown to as stored of each marked photo, at most that of a person.

    In a mirrored photo, annotators name sides as they see them.
    """
    shown = {number: _frame(photo, is_as_shown=True) for number, photo in marked.items()}
    ratios = dict.fromkeys(marked, 0.0)
    people = people.select(np.isin(people.photo_id, [*marked]) & people.labelled.any(axis=1) & ~people.crowd)
    marks = np.array([marked[number].mark for number in people.photo_id.tolist()], int)
    for mark in np.unique(marks).tolist():
        rows = people.select(marks == mark)
        mirrored = dataclasses.replace(
            rows, joints=rows.joints[:, skeleton.flip_order], flags=rows.flags[:, skeleton.flip_order]
        )
        size, upright = people_checks.sizes(rows.photo_id, shown), np.ones(len(rows), int)
        fits, mirrored_fits = (
            coordinates.Fits(each, skeleton, size, upright, squares=squares) for each in (rows, mirrored)
        )
        as_stored = Reading(box_frame=MARKS[mark], joint_frame=MARKS[mark])
        ratio = fits(Reading()) - np.maximum(fits(as_stored), mirrored_fits(as_stored))
        for number, value in zip(rows.photo_id.tolist(), ratio.tolist(), strict=True):
            ratios[number] += value
    limit = coordinates.SURE
    return {number: min(max(ratio, -limit), limit) for number, ratio in ratios.items()}
