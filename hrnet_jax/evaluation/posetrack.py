"""PoseTrack's evaluation: average precision, MOTA, MOTP, precision, recall, and beside them HOTA and IDF1.

The official evaluation (https://github.com/leonid-pishchulin/poseval) defines the former, and the tests hold these
to its numbers. A metric is a percentage for each joint, for the groups of `GROUPS`, and in total.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hrnet_jax.datasets.posetrack import JOINTS, Video
from hrnet_jax.evaluation import clear_mot, hota, joint_pairs, pose_ap
from hrnet_jax.evaluation.joint_pairs import Pairs

TOTAL = "Total"
SIDED = {"Shou": "shoulder", "Elb": "elbow", "Wri": "wrist", "Hip": "hip", "Knee": "knee", "Ankl": "ankle"}
GROUPS = {"Head": ("head_top", "head_bottom", "nose")} | {
    group: (f"right_{part}", f"left_{part}") for group, part in SIDED.items()
}
"""The columns of published tables, each the mean over its joints."""

COUNTS = ("objects", "matches", "misses", "switches", "false_positives", "distance")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The numbers of some videos.

    Attributes:
      metrics: percentages ``{metric: {joint, group or TOTAL: value}}``, NaN where undefined.
      counts: of the tracking, ``{count: {joint: number}}``; empty without a video to track in.
      frames: number of frames with people.
      untracked: names of videos with too few frames to evaluate tracking.
    """

    metrics: dict[str, dict[str, float]]
    counts: dict[str, dict[str, float]]
    frames: int
    untracked: tuple[str, ...]


def evaluate(truth: Sequence[Video], results: Sequence[Video]) -> Evaluation:
    """Evaluates the results of videos. Raises ValueError as `joint_pairs.pair` does."""
    return summarize([measure(joint_pairs.pair(*videos)) for videos in zip(truth, results, strict=True)])


@dataclasses.dataclass(frozen=True)
class Measured:
    """What `summarize` needs of a video. `mot` is None where it has too few frames."""

    name: str
    frames: int
    predictions: pose_ap.Predictions
    mot: clear_mot.Counts | None
    association: hota.Counts
    association_posetrack21: hota.Counts
    identity: np.ndarray


def measure(pairs: Pairs) -> Measured:
    """Measures a video on its own."""
    listed, labelled = pairs.select(pairs.truth.listed), pairs.select(pairs.truth.labelled)
    frames = len(listed.distance)
    return Measured(
        name=pairs.truth.name,
        frames=frames,
        predictions=pose_ap.joint_results(listed),
        mot=clear_mot.count(listed) if frames >= clear_mot.MIN_FRAMES else None,
        association=hota.count(labelled),
        association_posetrack21=hota.count(labelled, as_posetrack21=True),
        identity=hota.identity_counts(labelled),
    )


def summarize(videos: Sequence[Measured]) -> Evaluation:
    """Returns the metrics over videos. The sums are pooled before metrics are taken of them."""
    columns: dict[str, np.ndarray] = {}
    columns["AP"], columns["AP_precision"], columns["AP_recall"] = pose_ap.pooled([v.predictions for v in videos])
    counts = [video.mot for video in videos if video.mot is not None]
    pooled = clear_mot.total(counts) if counts else None
    if pooled is not None:
        columns |= clear_mot.metrics(pooled)
    columns["IDF1"] = hota.identity_f1(np.sum([video.identity for video in videos], axis=0))
    metrics = {name: _named(values) for name, values in columns.items()}
    parts = [video.association for video in videos], [video.association_posetrack21 for video in videos]
    for suffix, of_videos in zip(("", "_posetrack21"), parts, strict=True):
        for name, values in hota.metrics(of_videos).items():
            metrics[name + suffix] = _named(values[:-1]) | {TOTAL: float(values[-1])}
    return Evaluation(
        metrics=metrics,
        counts={name: _by_joint(getattr(pooled, name)) for name in COUNTS} if pooled is not None else {},
        frames=sum(video.frames for video in videos),
        untracked=tuple(video.name for video in videos if video.mot is None),
    )


def _by_joint(values: np.ndarray) -> dict[str, float]:
    return dict(zip(JOINTS, values.tolist(), strict=True))


def _named(values: np.ndarray) -> dict[str, float]:
    """Returns the values [K] by joint, means by group, and the mean of all that are defined."""
    joints = _by_joint(values)
    groups = {group: float(np.mean([joints[name] for name in names])) for group, names in GROUPS.items()}
    defined = values[~np.isnan(values)]
    return joints | groups | {TOTAL: float(defined.mean()) if defined.size else np.nan}
