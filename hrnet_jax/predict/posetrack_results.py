"""Results in PoseTrack's form, of folders named as the benchmark names its videos."""

import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hrnet_jax.datasets import posetrack, posetrack18
from hrnet_jax.predict import poses, sequences
from hrnet_jax.skeletons import Skeleton

_FOLDER = re.compile(r"(\d{6})_(mpiinew|mpii|bonn)(?:_\w+)?")
_FRAME = re.compile(r"\d{6}")
_KINDS = {"mpii": 1, "bonn": 2, "mpiinew": 3}  # first digit of the ids of frames


def check(skeleton: Skeleton, groups: Sequence[sequences.Sequence], every: int) -> None:
    """Raises ValueError if results of some videos cannot have PoseTrack's form. Tells of missing first frames."""
    if every > 1:
        raise ValueError(f"--every (={every}): results for PoseTrack need all frames: leave it out")
    if not set(posetrack.JOINTS) & set(skeleton.joints):
        raise ValueError(
            f"PoseTrack has no joint of the skeleton {skeleton.name!r}: leave `posetrack` out of --write"
        )
    sources = {group.base: group.source for group in groups}
    for group in groups:
        if sources[group.base] != group.source:
            raise ValueError(
                f"{group.source} and {sources[group.base]} are both {group.base}: results would have the same name"
            )
        if not _FOLDER.fullmatch(group.base) or group.is_video:
            raise ValueError(
                f"{group.source} is not named as PoseTrack's folders of frames, such as 000342_mpii_test: leave"
                " `posetrack` out of --write"
            )
        if odd := [path for path in group.paths if not _FRAME.fullmatch(pathlib.PurePath(path).stem)]:
            raise ValueError(
                f"{odd[0]} is not named as the frames of PoseTrack18, from 000000.jpg on: those of PoseTrack17"
                " count from 00000001.jpg, and have other results"
            )
        if group.numbers[0] > 0:
            print(f"note: {group.source} begins with frame {group.numbers[0]}: results list those before as empty")


def make(
    group: sequences.Sequence, lines: Iterable[dict[str, Any]], skeleton: Skeleton, joint_score: float
) -> dict[str, Any]:
    """Returns the content of the file of results of a video.

    All frames are listed, from 0, PoseTrack18's first, to the last number that there is. Joints below
    `joint_score` are left out, and people without any; the score of the others is that of the joint times that of
    the person's box. Raises ValueError for too many tracks.
    """
    empty = (
        np.zeros((0, len(posetrack18.FILE_JOINTS), 2)),
        np.zeros((0, len(posetrack18.FILE_JOINTS))),
        np.zeros(0),
    )
    numbers = range(group.numbers[-1] + 1)
    people = dict.fromkeys(numbers, empty)
    for line in lines:
        people[line["frame"]] = _people(poses.from_json(line, skeleton), joint_score, line["source"])
    joints, scores, ids = zip(*people.values(), strict=True)
    return posetrack18.to_json([_image(group, number) for number in numbers], joints, scores, ids)


def _people(found: poses.Poses, joint_score: float, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns joints, scores and ids of a frame's people, in the order of the file."""
    count, joints = len(found), posetrack18.FILE_JOINTS
    places, scores = np.zeros((count, len(joints), 2)), np.zeros((count, len(joints)))
    kept = np.where(found.found_scores >= joint_score, found.found_scores * found.box_scores[:, None], 0.0)
    for column, joint in enumerate(joints):
        if joint in found.skeleton.joints and joint in posetrack.JOINTS:
            row = found.skeleton.joints.index(joint)
            places[:, column], scores[:, column] = found.joints[:, row], kept[:, row]
    ids = np.zeros(0, int) if found.ids is None else found.ids
    shown = scores.any(axis=1)
    ids = [posetrack.check_track_id(track_id, where) for track_id in ids[shown].tolist()]
    return places[shown], scores[shown], np.array(ids, int)


def _image(group: sequences.Sequence, number: int) -> dict[str, Any]:
    """Returns the entry of a frame, by its number."""
    sequence, kind = _FOLDER.fullmatch(group.base).groups()  # pyright: ignore[reportOptionalMemberAccess]
    frame_id = _KINDS[kind] * 10**10 + int(sequence) * 10**4 + number
    parts = pathlib.PurePath(group.paths[0]).parts
    start = len(parts) - 1 - parts[::-1].index("images") if "images" in parts else len(parts) - 2
    name = "/".join((*parts[start:-1], f"{number:06d}.jpg"))
    return {"id": frame_id, "frame_id": frame_id, "file_name": name}
