"""Finds photos with red and blue exchanged, from the colour of the faces in them.

All skin reflects more red than blue. Coloured light and tinted photos are exceptions. In sound data, 69 of 71 real
faces in colour and 698 of 699 made-up ones are redder than blue. The floor allows for stage light. Sky, water and
grass are a weaker cue: only .7 of whole photos are redder.
"""

from collections.abc import Callable

import numpy as np

from hrnet_jax.datasets.records import AnnotatedPeople
from hrnet_jax.doctor import binomial_test, joint_names, side_cues
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.skeletons import Skeleton

FLOOR = 0.8
GREY = 4  # least difference of red and blue, in grey levels, of a face in colour: skips black-and-white photos
MOST_PHOTOS = 300  # spread evenly over the data set; the test needs a dozen faces
HEAD = ("upper_neck", "head_top")
REMEDY = (
    "look at some photos: if skin is blue, write them again with red and blue exchanged (cv2.imwrite takes BGR:"
    " `photo[..., ::-1]`)"
)

Faces = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows of people [N], centers [N, 2], radii [N] in photo pixels


def faces(people: AnnotatedPeople, skeleton: Skeleton) -> Faces:
    """Locates visible faces. Returns none if the skeleton has no suitable joints."""
    every = joint_names.coco_style(skeleton)
    for names, part in ((side_cues.FACE, 0.5), (HEAD, 0.2)):
        if set(names) <= set(every):
            positions, visible = side_cues.locate(people, skeleton, names)
            rows = np.flatnonzero(visible & ~people.crowd)
            points = [position[rows] for position in positions]
            return rows, np.mean(points, axis=0), part * np.linalg.norm(points[-2] - points[-1], axis=-1)
    return np.zeros(0, int), np.zeros((0, 2)), np.zeros(0)


def redness(photo: np.ndarray, center: np.ndarray, radius: float) -> float:
    """Returns the mean of red minus blue in a square of an RGB photo, in grey levels; 0 outside the photo."""
    reach = max(1, round(float(radius)))
    x, y = (round(float(coordinate)) for coordinate in center)
    patch = photo[max(0, y - reach) : max(0, y + reach + 1), max(0, x - reach) : max(0, x + reach + 1)]
    return float(patch[..., 0].mean() - patch[..., 2].mean()) if patch.size else 0.0


def examine(
    people: AnnotatedPeople, skeleton: Skeleton, read: Callable[[int], np.ndarray | None]
) -> tuple[str, list[Finding]]:
    """Returns a summary of the faces' colours, and a finding if red and blue seem exchanged.

    `read` returns the RGB photo with an id, or None for a damaged photo.
    """
    rows, centers, radii = faces(people, skeleton)
    face_photos = people.photo_id[rows]
    photo_ids = np.unique(face_photos)
    chosen = photo_ids[np.linspace(0, len(photo_ids) - 1, min(len(photo_ids), MOST_PHOTOS)).astype(int)]
    red: list[float] = []
    ids: list[int] = []
    for photo_id in chosen.tolist():
        photo = read(photo_id)
        if photo is not None:
            of_photo = np.flatnonzero(face_photos == photo_id)
            red += [redness(photo, centers[face], radii[face]) for face in of_photo]
            ids += [photo_id] * len(of_photo)
    coloured = np.abs(red) >= GREY
    checks = Checks(np.array(red)[coloured] > 0, np.array(ids, np.int64)[coloured], FLOOR)
    verdict = binomial_test.verdict(checks)
    if verdict == "unknown":
        return f"too few faces to decide ({len(checks)})", []
    failures = dict.fromkeys(checks.failures.tolist()) if verdict != "passed" else ()
    severity = "warning" if verdict == "failed" else "note"
    what = f"red and blue seem to be exchanged: {checks} faces are redder than blue, but nearly all should be"
    return f"{checks} faces are redder than blue", found("colours", severity, failures, what, REMEDY)
