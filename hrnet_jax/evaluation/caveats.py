"""What keeps a perfect network from AP 1 on a split, and what the figure leaves out.

Parts of the original's bookkeeping cost other data sets AP: only 20 people of a photo count, people who are
dropped in preparation count as missed, photos that could not be read are left out. `of_split` says so beside the
figure, with the AP of the truth taken as predictions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hrnet_jax.datasets import mpii, records
from hrnet_jax.datasets.odd_photos import TURNED
from hrnet_jax.evaluation import average_precision, coco, frame_ap, ground_truth, matching, pckh, protocols
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Truth:
    """The people of a split, taken as predictions with score 1.

    Attributes:
      score: their value of the main metric, or -1 if evaluation expects nobody.
      causes: why it is below 1, or there is none, in words.
      annotation_id: [N] int64, the people who are not found for these reasons or share such a photo.
    """

    score: float
    causes: list[str]
    annotation_id: np.ndarray
    metric: str = "AP"
    best: float = 1.0

    @property
    def is_perfect(self) -> bool:
        """Whether the score is the best, but for the epsilon that pycocotools adds in AP."""
        return round(self.score / self.best, 6) >= 1

    def __str__(self) -> str:
        score = f"no {self.metric}" if self.score < 0 else f"{self.metric} {self.score:.3f}"
        return score + f": {'; '.join(self.causes)}" * bool(self.causes)


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
    causes = [] if len(expected) else ["evaluation expects nobody: all are crowds, or their `num_keypoints` is 0"]
    causes += _missed(lost, reasons)
    if len(crowded):
        causes.append(f"{len(crowded):,} photos have more than {limit} people, and only {limit} of a photo count")
    return Truth(ap, causes, expected[lost | np.isin(photo_id, crowded)])


def _missed(lost: np.ndarray, reasons: Mapping[str, int]) -> list[str]:
    """Returns what is to be said of people [G] whom nobody predicts."""
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "dropped"
    return [f"{lost.sum():,} people count as missed, since they are dropped ({listed})"] * bool(lost.any())


def truth_of_split(split: records.Split, *, in_photos: bool = False) -> Truth | None:
    """Evaluates the people of a prepared split as predictions.

    With `in_photos` also those that are dropped because of their boxes, which nobody needs to find them in photos.
    Returns None without ground truth or labelled joints, and for PCK, which is 1 for the people that there are.
    """
    if not len(split.people) or not split.annotations.is_file() or protocols.is_pck(split):
        return None
    if records.dataset(split.summary) == "mpii":
        return _truth_of_mpii(split)
    if records.published(split.summary) == "posetrack":
        return _truth_of_posetrack(split)
    truth, category = ground_truth.load(split.annotations), coco.person_category(split.annotations)
    people = _expected(truth.people[category]) if in_photos else split.people
    return truth_as_predictions(truth, category, people, split.skeleton, split.summary.get("people_missed", {}))


def _expected(people: ground_truth.People) -> records.People:
    """Returns the people whom evaluation expects to be found."""
    expected = people.select(~people.ignored)
    columns = {name: getattr(expected, name) for name in ("photo_id", "annotation_id", "box", "joints", "visible")}
    unknown = np.full(len(expected), -1)
    return records.People(photo_index=unknown, score=np.ones(len(expected)), **columns)


def _truth_of_posetrack(split: records.Split) -> Truth:
    """Evaluates the people of PoseTrack's frames by its own metric."""
    people, category = split.people, coco.person_category(split.annotations)
    keypoints = np.concatenate([people.joints, people.visible[..., None]], axis=-1)
    found = coco.listed(people.photo_id, keypoints, people.score, category)
    score = frame_ap.metrics(found, split.annotations, split.skeleton)[frame_ap.TOTAL]
    everyone = ground_truth.load(split.annotations).people[category]
    expected = everyone.annotation_id[~everyone.ignored]
    lost = ~np.isin(expected, people.annotation_id)
    causes = _missed(lost, split.summary.get("people_missed", {}))
    return Truth(score, causes, expected[lost], frame_ap.TOTAL, 100.0)


def _truth_of_mpii(split: records.Split) -> Truth:
    """Compares the people of MPII's JSON file with the MATLAB file that PCKh is computed from."""
    truth = mpii.load_truth(split.annotations).select(split.people.annotation_id - 1)
    metric = f"PCKh@{pckh.THRESHOLD}/Mean"
    score = pckh.metrics(split.people.joints, truth, split.skeleton)[metric]
    far = (pckh.errors_in_heads(split.people.joints, truth) > pckh.THRESHOLD) & (truth.missing == 0)
    ids = split.people.annotation_id[far.any(axis=1)]
    causes = [f"joints of {len(ids):,} people are elsewhere in the MATLAB file"] if len(ids) else []
    return Truth(score, causes, ids, metric, 100.0)


def of_split(split: records.Split, *, in_photos: bool = False) -> list[str]:
    """Returns what is to be said of the metrics of a prepared split: the ends of sentences on "the figure".

    See `truth_of_split` on `in_photos`.
    """
    said = []
    if unread := split.summary["photos_dropped"].get("unreadable", 0):
        said.append(
            f"covers {len(split.photos):,} photos, not {unread:,} more of the split that could not be read"
        )
    of_marks = (each for each in split.summary.get("findings", []) if each["kind"] == TURNED)
    said += [f"is of photos as stored: {each['what']}" for each in of_marks if each["severity"] != "note"]
    truth = truth_of_split(split, in_photos=in_photos)
    if truth and truth.causes:
        limit = f"cannot exceed that of the truth itself, {truth}"
        said.append(limit if truth.score >= 0 else f"does not exist: {'; '.join(truth.causes)}")
    return said
