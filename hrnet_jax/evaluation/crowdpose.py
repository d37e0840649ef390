"""CrowdPose's average precision, also of easy, medium and hard photos.

The values are those of the authors' tool (https://github.com/Jeff-sjtu/CrowdPose). It differs from COCO's
evaluation in three points. A person's area is 0.53 of the box's, whatever the file says. There are no sizes.
`EASY` and `HARD` divide the photos by their crowd index; the tool rounds these three figures to four digits. The
paper draws the first line at 0.1, the tool at 0.2.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hrnet_jax.datasets.coco_entries import AREA_OF_BOX
from hrnet_jax.evaluation import average_precision as ap
from hrnet_jax.evaluation import coco, ground_truth, matching
from hrnet_jax.skeletons import Skeleton

EASY, HARD = 0.2, 0.8  # crowd index: easy below the first, hard from the second on
DIGITS = 4
METRICS = (*(name for name in ap.METRICS if name[-2:] not in ("_M", "_L")), "AP_easy", "AP_medium", "AP_hard")


def metrics(found: Sequence[coco.Result], annotations: str | os.PathLike, skeleton: Skeleton) -> dict[str, float]:
    """Returns `METRICS`. All are 0 if `found` is empty, and those of photos of a kind without people are -1.

    Raises ValueError if a result is of an unknown photo or another skeleton, or a photo has no crowd index.
    """
    truth = ground_truth.load(annotations)
    if missing := np.setdiff1d(truth.photo_ids, [*truth.crowd_index]).tolist():
        raise ValueError(
            f"{annotations}: {len(missing)} photos (id {missing[0]}, ...) have no `crowdIndex`: prepare the"
            " authors' file with `python -m hrnet_jax.prepare crowdpose`"
        )
    if not found:
        return dict.fromkeys(METRICS, 0.0)
    detections = coco.detections(found, annotations, skeleton)
    truth = dataclasses.replace(truth, people={kind: _of_boxes(of) for kind, of in truth.people.items()})
    everyone = ap.metrics(truth, detections, skeleton.sigmas)
    index = np.array([truth.crowd_index[photo] for photo in truth.photo_ids.tolist()])
    kinds = {"easy": index < EASY, "medium": (index >= EASY) & (index < HARD), "hard": index >= HARD}
    by_kind = {}
    for kind, rows in kinds.items():
        precision = _on_photos(truth, detections, truth.photo_ids[rows], skeleton)
        by_kind[f"AP_{kind}"] = round(precision, DIGITS)
    return {name: value for name, value in (everyone | by_kind).items() if name in METRICS}


def _of_boxes(people: ground_truth.People) -> ground_truth.People:
    """Returns the people with areas from their boxes."""
    return dataclasses.replace(people, area=people.box[:, 2] * people.box[:, 3] * AREA_OF_BOX)


def _on_photos(
    truth: ground_truth.GroundTruth,
    detections: dict[int, matching.Detections],
    photo_ids: np.ndarray,
    skeleton: Skeleton,
) -> float:
    """Returns the AP on some photos."""
    people = {kind: of.select(np.isin(of.photo_id, photo_ids)) for kind, of in truth.people.items()}
    found = {kind: of.select(np.isin(of.photo_id, photo_ids)) for kind, of in detections.items()}
    return ap.metrics(dataclasses.replace(truth, people=people), found, skeleton.sigmas)["AP"]
