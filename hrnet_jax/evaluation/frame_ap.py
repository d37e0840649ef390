"""PoseTrack's average precision of a prepared split: people in single frames, without tracks.

The definition is that of `pose_ap`, and so of mmpose's figures: a joint ranks by its own score.
"""

import collections
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import posetrack
from hrnet_jax.datasets.coco_entries import POSETRACK
from hrnet_jax.datasets.posetrack import JOINTS, Frame, Person, Video
from hrnet_jax.evaluation import coco, joint_pairs, pose_ap
from hrnet_jax.evaluation.posetrack import GROUPS
from hrnet_jax.skeletons import Skeleton

TOTAL = "mAP"
COLUMNS = {**{f"AP_{group}": group for group in GROUPS}, TOTAL: TOTAL}
UNDEFINED = -1.0  # the value of a metric without joints, as in COCO's evaluation


def metrics(found: Sequence[coco.Result], annotations: str | os.PathLike, skeleton: Skeleton) -> dict[str, float]:
    """Returns average precision in percent: the mean of `GROUPS` of joints, and of all joints.

    Raises ValueError if the annotations are not of PoseTrack, or a person has no head box.
    """
    pairs = [joint_pairs.pair(*videos) for videos in _videos(found, pathlib.Path(annotations), skeleton)]
    videos = [pose_ap.joint_results(pair.select(pair.truth.listed)) for pair in pairs]
    of_joint: dict[str, float] = dict(zip(JOINTS, pose_ap.pooled(videos)[0].tolist(), strict=True))
    groups = {f"AP_{group}": _mean([of_joint[name] for name in names]) for group, names in GROUPS.items()}
    return groups | {TOTAL: _mean([*of_joint.values()])}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else UNDEFINED


def _videos(found: Sequence[coco.Result], annotations: pathlib.Path, skeleton: Skeleton) -> Iterator[list[Video]]:
    """Yields the people of each sequence, annotated and found."""
    content = validation.read_json(annotations)
    truth, results = collections.defaultdict(list), collections.defaultdict(list)
    for entry in content["annotations"]:
        truth[entry["image_id"]].append(entry)
    for result in found:
        results[result["image_id"]].append(result)
    sequences = collections.defaultdict(list)
    for row, image in enumerate(content["images"]):
        of_frame = validation.require(image, POSETRACK, dict, f"{annotations}: images[{row}]")
        annotated = [_annotated(entry, skeleton) for entry in truth[image["id"]]]
        of_photo = results[image["id"]] + results[image.get("source_id")]  # as here, or as outside
        predicted = [_predicted(number, result, skeleton) for number, result in enumerate(of_photo)]
        frames = [_frame(image, of_frame, people) for people in (annotated, predicted)]
        sequences[of_frame["sequence"]].append(frames)
    for name, frames in sequences.items():
        yield [posetrack.assemble(pathlib.Path(name), 2018, of_both) for of_both in zip(*frames, strict=True)]


def _frame(image: Mapping[str, Any], of_frame: Mapping[str, Any], people: list[Person]) -> Frame:
    regions = tuple(np.array(region, np.float64).reshape(-1, 2) for region in of_frame["ignore_regions"])
    marks = of_frame["is_labelled"], of_frame["is_listed"]
    return Frame(image["file_name"], image["id"], *marks, regions, people)


def _annotated(entry: Mapping[str, Any], skeleton: Skeleton) -> Person:
    keypoints, more = _keypoints(entry, skeleton), entry[POSETRACK]
    size = np.nan if more["head_size"] is None else more["head_size"]
    scores = np.full(len(JOINTS), posetrack.NO_SCORE)
    return Person(more["track_id"], keypoints[:, :2], keypoints[:, 2] > 0, scores, size)


def _predicted(number: int, result: coco.Result, skeleton: Skeleton) -> Person:
    keypoints = _keypoints(result, skeleton)
    return Person(number, keypoints[:, :2], (keypoints != 0).any(axis=1), keypoints[:, 2], np.nan)


def _keypoints(entry: Mapping[str, Any], skeleton: Skeleton) -> np.ndarray:
    """Returns x, y and flag or score of the joints, in PoseTrack's order."""
    table = np.array(entry["keypoints"], np.float64).reshape(skeleton.num_joints, 3)
    return table[[skeleton.joints.index(name) for name in JOINTS]]
