"""What keeps a perfect network from AP 1 on a split, and what the figure leaves out.

Parts of the original's bookkeeping cost other data sets AP: only 20 people of a photo count, people who are
dropped in preparation count as missed, photos that could not be read are left out. `of_split` says so beside the
figure, with the AP of the truth taken as predictions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hrnet_jax.datasets import records
from hrnet_jax.datasets.odd_photos import TURNED
from hrnet_jax.evaluation import average_precision, coco, ground_truth, matching
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Truth:
    """The people of a split, taken as predictions with score 1.

    Attributes:
      ap: their AP, or -1 if evaluation expects nobody.
      causes: why it is below 1, or there is none, in words.
      annotation_id: [N] int64, the people who are not found for these reasons or share such a photo.
    """

    ap: float
    causes: list[str]
    annotation_id: np.ndarray

    def __str__(self) -> str:
        ap = "no AP" if self.ap < 0 else f"AP {self.ap:.3f}"
        return ap + f": {'; '.join(self.causes)}" * bool(self.causes)


def truth_as_predictions(
    truth: ground_truth.GroundTruth,
    category: int,
    people: records.People,
    skeleton: Skeleton,
    reasons: Mapping[str, int],
) -> Truth | None:
    """Evaluates the selected `people` as predictions; None without labelled joints.

    `reasons` counts the people of whom nobody is selected though evaluation expects them.
    """
    everyone = truth.people.get(category)
    if everyone is None or not len(people) or not people.visible.any():
        return None
    found = matching.Detections(people.photo_id, people.joints, people.score, people.visible)
    ap = average_precision.metrics(truth, {category: found}, skeleton.sigmas)["AP"]
    expected = everyone.annotation_id[~everyone.ignored]
    photo_id, lost = everyone.photo_id[~everyone.ignored], ~np.isin(expected, people.annotation_id)
    photos, counts = np.unique(photo_id, return_counts=True)
    crowded, limit = photos[counts > matching.MAX_DETECTIONS], matching.MAX_DETECTIONS
    causes = [] if len(expected) else ["evaluation expects nobody: `num_keypoints` of all people is 0"]
    if lost.any():
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "dropped"
        causes.append(f"{lost.sum():,} people count as missed, since they are dropped ({listed})")
    if len(crowded):
        causes.append(f"{len(crowded):,} photos have more than {limit} people, and only {limit} of a photo count")
    return Truth(ap, causes, expected[lost | np.isin(photo_id, crowded)])


def truth_of_split(split: records.Split) -> Truth | None:
    """Evaluates the people of a prepared split as predictions; None for MPII, and without labelled joints."""
    if records.dataset(split.summary) != "coco" or not len(split.people):
        return None
    truth, category = ground_truth.load(split.annotations), coco.person_category(split.annotations)
    return truth_as_predictions(
        truth, category, split.people, split.skeleton, split.summary.get("people_missed", {})
    )


def of_split(split: records.Split) -> list[str]:
    """Returns what is to be said of the metrics of a prepared split: the ends of sentences on "the figure"."""
    said = []
    if unread := split.summary["photos_dropped"].get("unreadable", 0):
        said.append(
            f"covers {len(split.photos):,} photos, not {unread:,} more of the split that could not be read"
        )
    if turned := len(split.summary.get("photos_odd", {}).get(TURNED, ())):
        said.append(f"is of photos as stored: {turned:,} have a camera's orientation mark, which is ignored")
    truth = truth_of_split(split)
    if truth and truth.causes:
        said.append(f"cannot exceed that of the truth itself, {truth}")
    return said
