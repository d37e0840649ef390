"""The sequences of PoseTrack to follow people in: truth, photos and detections."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np

from hrnet_jax import skeletons, validation
from hrnet_jax.datasets import posetrack18, posetrack_files
from hrnet_jax.datasets.posetrack import JOINTS, Video
from hrnet_jax.predict.box_files import FileBoxes
from hrnet_jax.predict.photos import read_photo

_SKELETON = skeletons.load("posetrack")
SIGMAS = np.array([_SKELETON.sigmas[_SKELETON.joints.index(name)] for name in JOINTS])


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence of F frames.

    Attributes:
      truth: people and frames.
      photos: F paths of photos.
      boxes: F arrays [N, 4] of detections, corners in photo pixels.
      scores: F arrays [N] of these.
    """

    truth: Video
    photos: tuple[pathlib.Path, ...]
    boxes: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]

    def photo(self, frame: int) -> np.ndarray:
        """Reads the photo [H, W, 3] uint8 RGB of a frame. Raises PhotoError if it is none."""
        return read_photo(str(self.photos[frame]))[0]


def read(truth: pathlib.Path, images: pathlib.Path, detections: pathlib.Path) -> Iterator[Sequence]:
    """Yields the sequences of a folder of PoseTrack's JSON files, in the order of names.

    Args:
      truth: folder of the files.
      images: folder that the frames' names, ``images/val/000342_mpii_test/000000.jpg``, are relative to.
      detections: COCO results by image id.

    Raises FileNotFoundError if something is missing, and ValueError for an invalid file or one of other frames.
    """
    files = sorted(truth.glob("*.json"))
    if not files:
        raise FileNotFoundError(
            f"{truth} holds no .json files: give the folder of ground truth, such as annotations/val"
        )
    found = FileBoxes(detections, skeletons.COCO)
    for file in files:
        video = posetrack_files.read(file)
        tables = [found.of_key(number) for number in video.image_ids]
        if not any(len(scores) for _, scores in tables):
            raise ValueError(
                f"{detections} has no box for the frames of {file} ({video.image_ids[0]}, ...): is it of another"
                " split, or are its images numbered anew?"
            )
        corners = [np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1) for box, _ in tables]
        photos = tuple(images / name for name in video.frames)
        if missing := next((path for path in photos if not path.is_file()), None):
            raise validation.missing(missing)
        yield Sequence(video, photos, tuple(corners), tuple(scores for _, scores in tables))


def to_results(truth: Video, people: list[tuple[np.ndarray, np.ndarray, np.ndarray]], joint_score: float) -> dict:
    """Returns a results file of the benchmark: see `posetrack18.to_json`.

    `people` has poses [N, K, 3] in the order of `JOINTS`, box scores [N] and ids [N] of each frame. The score of a
    joint is multiplied by that of the box. Joints below `joint_score` are left out, and people without any.
    """
    names = posetrack18.FILE_JOINTS
    joints, scores, ids = [], [], []
    for poses, box_scores, numbers in people:
        certain = np.where(poses[..., 2] >= joint_score, poses[..., 2], 0.0)
        shown = certain.any(axis=1)
        table = np.zeros((shown.sum(), len(names), 3))
        order = [names.index(name) for name in JOINTS]
        table[:, order, :2], table[:, order, 2] = poses[shown, :, :2], (certain * box_scores[:, None])[shown]
        joints.append(table[..., :2])
        scores.append(table[..., 2])
        ids.append(numbers[shown])
    images = [
        {"id": number, "frame_id": number, "file_name": name}
        for number, name in zip(truth.image_ids, truth.frames, strict=True)
    ]
    return posetrack18.to_json(images, joints, scores, ids)
