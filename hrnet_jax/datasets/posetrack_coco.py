"""PoseTrack's sequences as the content of a COCO file.

Boxes are those of the labelled joints, grown by 15 % in all, as in the paper; the annotated ones are not read.
Joints inside ignore regions have no label. What COCO has no field for is in the field `coco_entries.POSETRACK` of
photos and people. People who cannot be trained on say why (`coco_entries.UNUSED`).
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hrnet_jax.datasets import polygons, posetrack, posetrack_files
from hrnet_jax.datasets.coco_entries import POSETRACK, UNUSED
from hrnet_jax.datasets.posetrack import JOINTS, Frame, Person
from hrnet_jax.datasets.records import SEEN
from hrnet_jax.skeletons import Skeleton

GROWN = 1.15  # box / tight box of the joints (Xiao et al. 2018)
MIN_JOINTS = 2  # one joint shows no size
MIN_SIDE = 8.0  # pixels


def read(path: pathlib.Path, split: str, skeleton: Skeleton) -> Any:
    """Reads a folder of sequences, one file each, or a file of several. Returns the content of a COCO file.

    Photos of 2018 and 2021 keep their ids. Those of 2017 are numbered in each sequence: their names are the ids.

    Raises:
      FileNotFoundError: there are no sequences.
      ValueError: an entry is invalid, files of 2017 are among those of 2018, frames share an id, or people of a
        frame share a track id.
    """
    del split
    files = posetrack_files.listed(path) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(
            f"{path} holds no sequences: neither .json files nor, for those of 2017, .mat files"
        )
    sequences = {file: posetrack_files.read_frames(file) for file in files}
    _check_years({file: year for file, (year, _) in sequences.items()})
    images, annotations = [], []
    for image_id, frame in _numbered(sequences):
        images.append({"id": image_id, "file_name": frame.name, POSETRACK: _frame(frame)})
        for person in frame.people:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": 1})
            annotations[-1] |= _person(person, frame, skeleton)
    category = {"id": 1, "name": "person", "keypoints": list(skeleton.joints)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _check_years(years: dict[pathlib.Path, int]) -> None:
    """Raises ValueError for files of several years, whose frames have different names and ids."""
    if len(of_years := {year: file for file, year in years.items()}) > 1:
        named = " and ".join(f"{file.name} is of {year}" for year, file in sorted(of_years.items()))
        folder = next(iter(years)).parent
        raise ValueError(f"{folder} holds files of different years: {named}; give each year a folder of its own")


def _numbered(
    sequences: dict[pathlib.Path, tuple[int, list[Frame]]],
) -> Iterator[tuple[int | str, Frame]]:
    """Yields all frames with their ids. Raises ValueError if two of 2018 have the same."""
    known: dict[int, tuple[pathlib.Path, str]] = {}
    for file, (year, frames) in sequences.items():
        for frame in frames:
            posetrack.check_track_ids(file, frame)
            if year == 2017:
                yield frame.name, frame
                continue
            if frame.image_id in known:
                other, name = known[frame.image_id]
                raise ValueError(
                    f"{file}: {frame.name} has the `id` {frame.image_id} of {name} in {other.name}: were the ids"
                    " renumbered in each sequence? PoseTrack's are different in all of them"
                )
            known[frame.image_id] = file, frame.name
            yield frame.image_id, frame


def _frame(frame: Frame) -> dict[str, Any]:
    """Returns what evaluation needs of a frame."""
    return {
        "sequence": pathlib.PurePosixPath(frame.name).parent.name,
        "is_labelled": frame.labelled,
        "is_listed": frame.listed,
        "ignore_regions": [region.tolist() for region in frame.regions],
    }


def _person(person: Person, frame: Frame, skeleton: Skeleton) -> dict[str, Any]:
    """Returns the fields of a person."""
    kept = person.exists & ~polygons.inside_any(person.joints, frame.regions)
    keypoints = np.zeros((skeleton.num_joints, 3))
    order = [skeleton.joints.index(name) for name in JOINTS]
    keypoints[order] = np.where(kept[:, None], np.insert(person.joints, 2, SEEN, axis=1), 0)
    head_size = None if np.isnan(person.head_size) else person.head_size
    fields = {
        "keypoints": keypoints.ravel().tolist(),
        POSETRACK: {"track_id": person.track_id, "head_size": head_size},
    }
    points = person.joints[person.exists]
    if len(points):
        fields["bbox"] = grown_box(points)
    if reason := _unused(points, kept, frame):
        fields[UNUSED] = reason
    return fields


def grown_box(joints: Sequence[Sequence[float]] | np.ndarray) -> list[float]:
    """Returns the box (x, y, width, height) of joints [N, 2], 15 % longer and wider than a tight one.

    One joint, or joints on a line, have a box that is `MIN_SIDE` wide.
    """
    low, high = np.min(joints, axis=0), np.max(joints, axis=0)
    sides = np.maximum(GROWN * (high - low), MIN_SIDE)
    return [*((low + high) / 2 - sides / 2).tolist(), *sides.tolist()]


def _unused(points: np.ndarray, kept: np.ndarray, frame: Frame) -> str:
    """Returns why a person with joints [N, 2] is not trained on, or ""."""
    if frame.labelled is False:
        return "in a frame marked as unlabelled"
    if len(points) < MIN_JOINTS:
        return f"fewer than {MIN_JOINTS} joints"
    if (np.ptp(points, axis=0) <= 0).any():
        return "joints on a line"
    return "" if kept.any() else "in an ignore region"
