"""Colour order: whether photos were written with red and blue exchanged, told from the faces in them.

Skin reflects more red than blue, whoever's it is; under coloured light or in a tinted photo it need not look so.
In sound data faces are redder than blue: 69 of 71 real ones that have a colour, 698 of 699 made-up ones; the
floor leaves room for stage light. Sky, water and grass tell much less: .7 of whole photos are redder.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hrnet_jax.datasets.records import SEEN, AnnotatedPeople
from hrnet_jax.doctor import binomial_test, joint_names, side_cues
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.doctor.findings import Finding, found
from hrnet_jax.skeletons import Skeleton

FLOOR = 0.8
GREY = 4  # grey levels between red and blue from which on a face has a colour: black-and-white photos do not vote
MOST_PHOTOS = 300  # looked at, spread evenly over the data set; the test needs a dozen faces
HEAD = ("upper_neck", "head_top")
REMEDY = (
    "look at a few photos: if skin is blue, write them again with red and blue exchanged (cv2.imwrite takes BGR:"
    " `photo[..., ::-1]`)"
)

Faces = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows of people, middles [N, 2], radii [N] in photo pixels


def faces(people: AnnotatedPeople, skeleton: Skeleton) -> Faces:
    """Returns where faces are to be seen; none if the skeleton's joints do not tell."""
    at = {name: people.joints[:, k] for k, name in enumerate(joint_names.usual(skeleton))}
    marks = {name: people.flags[:, k] for k, name in enumerate(joint_names.usual(skeleton))}
    least = min(SEEN, people.flags.max(initial=0))
    for names, ends, part in ((side_cues.FACE, side_cues.FACE[1:], 0.5), (HEAD, HEAD, 0.2)):
        if least > 0 and set(names) <= set(at):
            rows = np.flatnonzero(np.all([marks[name] >= least for name in names], axis=0) & ~people.crowd)
            middle = np.mean([at[name][rows] for name in names], axis=0)
            radius = part * np.linalg.norm(at[ends[0]][rows] - at[ends[1]][rows], axis=-1)
            return rows, middle, radius
    return np.zeros(0, int), np.zeros((0, 2)), np.zeros(0)


def redness(photo: np.ndarray, middle: np.ndarray, radius: float) -> float:
    """Returns how much redder than blue a square of an RGB photo is, in grey levels; 0 outside the photo."""
    reach = max(1, round(float(radius)))
    x, y = (round(float(place)) for place in middle)
    patch = photo[max(0, y - reach) : max(0, y + reach + 1), max(0, x - reach) : max(0, x + reach + 1)]
    return float(patch[..., 0].mean() - patch[..., 2].mean()) if patch.size else 0.0


def examine(
    people: AnnotatedPeople, skeleton: Skeleton, read: Callable[[int], np.ndarray | None]
) -> tuple[str, list[Finding]]:
    """Returns what the colour order was told from, and whether it is wrong.

    Args:
      people: their places in the photos.
      skeleton: theirs.
      read: gives the RGB photo of an id; None if it is not whole.
    """
    rows, middles, radii = faces(people, skeleton)
    photo_ids = np.unique(people.photo_id[rows])
    chosen = photo_ids[np.linspace(0, len(photo_ids) - 1, min(len(photo_ids), MOST_PHOTOS)).astype(int)]
    red, ids = [], []
    for photo_id in chosen.tolist():
        photo = read(photo_id)
        for number in np.flatnonzero(people.photo_id[rows] == photo_id):
            if photo is None:
                break
            red.append(redness(photo, middles[number], radii[number]))
            ids.append(photo_id)
    return _judge(np.array(red), np.array(ids, np.int64))


def _judge(red: np.ndarray, photo_ids: Sequence[int] | np.ndarray) -> tuple[str, list[Finding]]:
    """Judges by how much redder than blue each face is [N], and on which photo [N]."""
    coloured = np.abs(red) >= GREY
    votes = Checks(red[coloured] > 0, np.asarray(photo_ids)[coloured], FLOOR)
    judged = binomial_test.verdict(votes)
    if judged == "unknown":
        return f"too few faces to tell ({len(votes)})", []
    against = dict.fromkeys(votes.against.tolist()) if judged != "right" else ()
    severity = "warning" if judged == "wrong" else "note"
    what = f"red and blue seem to be exchanged: {votes} faces are redder than blue, and nearly all should be"
    return f"{votes} faces are redder than blue", found("colours", severity, against, what, REMEDY)
