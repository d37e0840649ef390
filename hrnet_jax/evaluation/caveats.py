"""What keeps a perfect network from AP 1 on a split, and what the figure leaves out.

Parts of the original's bookkeeping cost other data sets AP without a word: only 20 people of a photo count, people who
are dropped in preparation count as missed, photos that could not be read are left out. `of_split` says so beside the
figure, with the AP of the truth taken as predictions where that is below 1.
"""

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.datasets.odd_photos import TURNED
from hrnet_jax.evaluation import average_precision, coco, ground_truth, matching


def of_split(split: records.Split) -> list[str]:
    """Returns sentences on the metrics of a prepared split, none if nothing is to be said."""
    said = []
    if unread := split.summary["photos_dropped"].get("unreadable", 0):
        said.append(f"covers {len(split.photos):,} photos; {unread:,} more of this split could not be read")
    if turned := len(split.summary.get("photos_odd", {}).get(TURNED, ())):
        said.append(f"reads {turned:,} photos as stored, though they have a camera's orientation mark")
    if causes := _causes(split):
        said.append(f"cannot reach AP 1, but {ap_of_truth(split):.3f}: {'; '.join(causes)}")
    return said


def ap_of_truth(split: records.Split) -> float:
    """Returns the AP of a split's own people, taken as predictions with score 1; -1 if it has none."""
    people = split.people
    if records.dataset(split.summary) != "coco" or not people.visible.any():
        return -1.0
    truth, scores = ground_truth.load(split.annotations), np.ones(len(people))
    found = matching.Detections(people.photo_id, people.joints, scores, np.ones(people.visible.shape))
    category = coco.person_category(split.annotations)
    return average_precision.metrics(truth, {category: found}, split.skeleton.sigmas)["AP"]


def _causes(split: records.Split) -> list[str]:
    """Returns why the truth itself is not found, in words."""
    if records.dataset(split.summary) != "coco" or not split.people.visible.any():
        return []
    everyone = ground_truth.load(split.annotations).people.get(coco.person_category(split.annotations))
    if everyone is None:
        return []
    causes = []
    expected = everyone.annotation_id[~everyone.ignored]
    if lost := int((~np.isin(expected, split.people.annotation_id)).sum()):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in split.summary.get("people_missed", {}).items())
        causes.append(f"{lost:,} people count as missed, though nobody predicts them ({reasons or 'dropped'})")
    _, counts = np.unique(everyone.photo_id[~everyone.ignored], return_counts=True)
    if crowded := int((counts > matching.MAX_DETECTIONS).sum()):
        limit = f"more than {matching.MAX_DETECTIONS} people, of whom COCO's protocol counts {matching.MAX_DETECTIONS}"
        causes.append(f"{crowded:,} photos have {limit}")
    return causes
