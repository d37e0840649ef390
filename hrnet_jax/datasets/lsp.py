"""Leeds Sports Pose and its extended training set: ``joints.mat`` as the content of a COCO file.

LSP has 2,000 people, ``joints`` [3, 14, 2000] with x, y and 1 for hidden joints, and photos ``im0001.jpg``. The
first half is for training. LSPET has 10,000 people for training, ``joints`` [14, 3, 10000] with x, y and 1 for
labelled joints, and photos ``im00001.jpg``. Each photo shows one person.
"""

import pathlib
from typing import Any

import numpy as np

from hrnet_jax.datasets import matlab
from hrnet_jax.datasets.records import HIDDEN, SEEN
from hrnet_jax.skeletons import Skeleton


def read(path: pathlib.Path, split: str, skeleton: Skeleton) -> Any:
    """Reads LSP. `split` is ``train``, the first half of the people, or another name for the rest."""
    joints = _joints(path, (3, skeleton.num_joints)).transpose(2, 1, 0)
    flags = np.where(joints[..., 2] == 0, SEEN, HIDDEN)
    half, rows = len(joints) // 2, np.arange(len(joints))
    rows = rows[:half] if split == "train" else rows[half:]
    return _content(joints, flags, rows, "im{:04d}.jpg", skeleton)


def read_extended(path: pathlib.Path, split: str, skeleton: Skeleton) -> Any:
    """Reads LSPET, which has one split."""
    del split
    joints = _joints(path, (skeleton.num_joints, 3)).transpose(2, 0, 1)
    flags = np.where(joints[..., 2] > 0, SEEN, 0)
    return _content(joints, flags, np.arange(len(joints)), "im{:05d}.jpg", skeleton)


def _joints(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    """Returns [*shape, N] float64. Raises ValueError for another file."""
    joints = matlab.read(path, ["joints"])["joints"]
    if joints.ndim != len(shape) + 1 or joints.shape[:-1] != shape or joints.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: `joints` must be numbers of shape {shape} + (people,), but is {joints.dtype} {joints.shape}:"
            " is it the file of the other set? LSP is prepared with `lsp`, its extended training set with `lspet`"
        )
    return joints.astype(np.float64)


def _content(joints: np.ndarray, flags: np.ndarray, rows: np.ndarray, name: str, skeleton: Skeleton) -> Any:
    """Returns the content of a COCO file. Ids are the numbers in the photos' names."""
    ids = (rows + 1).tolist()
    keypoints = np.where(flags[..., None] > 0, np.dstack([joints[..., :2], flags]), 0.0).reshape(len(joints), -1)
    people = zip(ids, keypoints[rows].tolist(), strict=True)
    return {
        "images": [{"id": number, "file_name": name.format(number)} for number in ids],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "keypoints": of_person}
            for number, of_person in people
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(skeleton.joints)}],
    }
