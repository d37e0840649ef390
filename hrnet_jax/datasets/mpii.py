"""MPII in the authors' format: the people of ``annot/<split>.json``, and the truth of ``annot/gt_<split>.mat``.

The JSON file is a list of people: ``image``, ``center`` (x, y), ``scale`` (the person's height in units of 200
pixels), ``joints`` (K times x, y) and ``joints_vis`` (K); the file of a test split has neither of the last two.
Pixels count from 1 there, as MATLAB does; here from 0.
"""

import collections
import dataclasses
import pathlib

import numpy as np

from hrnet_jax import geometry, skeletons, validation
from hrnet_jax.datasets import matlab, records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton

FIRST_PIXEL = 1  # of MATLAB
NO_CENTER = -1  # the centre's x where the annotators gave none
LOWERED = 15  # pixels per scale that the original moves the centre down, so that no legs are cut off

_PARTS = {"ank": "ankle", "kne": "knee", "hip": "hip", "wri": "wrist", "elb": "elbow", "sho": "shoulder"}
_SIDED = {f"{side[0]}{short}": f"{side}_{part}" for side in ("left", "right") for short, part in _PARTS.items()}
JOINT_NAMES = {**_SIDED, "pelv": "pelvis", "thor": "thorax", "neck": "upper_neck", "head": "head_top"}
"""The ground-truth file's names of the joints -> ours."""


def load(path: pathlib.Path, skeleton: Skeleton) -> tuple[dict[int, Photo], records.People, dict[str, int]]:
    """Reads and checks a file of people.

    Args:
      path: such as ``annot/valid.json``.
      skeleton: what the people must be made of.

    Returns:
      The photos by id, numbered from 1 in order of first appearance; the people in the file's order, their
      `annotation_id` being the row in the file, counted from 1, and their photos not yet numbered
      (`photo_index` is -1); and how many rows were dropped by reason.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not JSON, or what is wrong in which row.
    """
    entries = validation.read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} must hold a list of people, but holds {validation.short_repr(entries)}")
    labelled = any(isinstance(entry, dict) and "joints" in entry for entry in entries)
    photo_ids: dict[str, int] = {}
    dropped: collections.Counter[str] = collections.Counter()
    kept = []
    for row, entry in enumerate(entries, start=1):
        what = f"{path}: row {row}"
        name = validation.inner_path(entry, "image", what)
        center = validation.numbers(entry.get("center"), 2, f"{what}: `center`")
        scale = validation.numbers([entry.get("scale")], 1, f"{what}: `scale`")[0]
        joints, visible = _joints(entry, skeleton, what) if labelled else _no_joints(skeleton)
        photo_id = photo_ids.setdefault(name, len(photo_ids) + 1)
        if center[0] == NO_CENTER:
            dropped["without centre"] += 1
        elif scale <= 0:
            dropped["without scale"] += 1
        else:
            kept.append((photo_id, row, box(np.array(center, np.float64), scale), joints, visible))
    photos = {photo_id: Photo(photo_id, name) for name, photo_id in photo_ids.items()}
    return photos, _table(kept, skeleton), dict(dropped)


def _joints(entry: dict, skeleton: Skeleton, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the joints [K, 2] and whether they are labelled [K]."""
    joints = validation.require(entry, "joints", list, what)
    if len(joints) != skeleton.num_joints:
        raise ValueError(f"{what}: `joints` must be {skeleton.num_joints}, but there are {len(joints)}")
    points = [validation.numbers(joint, 2, f"{what}: `joints`[{k}]") for k, joint in enumerate(joints)]
    visible = validation.numbers(entry.get("joints_vis"), skeleton.num_joints, f"{what}: `joints_vis`")
    return np.array(points, np.float64) - FIRST_PIXEL, (np.array(visible) > 0).astype(np.float64)


def _no_joints(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((skeleton.num_joints, 2)), np.zeros(skeleton.num_joints)


def box(center: np.ndarray, scale: float) -> np.ndarray:
    """Returns the [4] square whose crop is that of the original for a centre [2] and a scale of the file.

    The original lowers the centre by 15 pixels per scale and pads by a quarter, which here every box is.
    """
    side = geometry.PIXELS_PER_SCALE * scale
    middle = center + np.array([0, LOWERED * scale]) - FIRST_PIXEL
    return np.array([*(middle - side / 2), side, side])


def _table(
    people: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]], skeleton: Skeleton
) -> records.People:
    """Turns rows of photo id, row number, box, joints and visible into arrays."""
    photo_ids, rows, boxes, joints, visible = zip(*people, strict=True) if people else ((),) * 5
    count = len(people)
    return records.People(
        photo_index=np.full(count, -1, np.int64),
        photo_id=np.array(photo_ids, np.int64),
        annotation_id=np.array(rows, np.int64),
        box=np.array(boxes, np.float64).reshape(count, 4),
        joints=np.array(joints, np.float64).reshape(count, skeleton.num_joints, 2),
        visible=np.array(visible, np.float64).reshape(count, skeleton.num_joints),
        score=np.ones(count),
    )


@dataclasses.dataclass(frozen=True)
class Truth:
    """What PCKh is counted on, for the R rows of a file of people.

    Attributes:
      joints: [R, K, 2] photo pixels counted from 1, as they stand in the file.
      missing: [R, K] 1 for joints that do not count, else 0.
      head_boxes: [R, 2, 2] two opposite corners of the head, (x, y).
    """

    joints: np.ndarray
    missing: np.ndarray
    head_boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.joints)


def read_truth(path: pathlib.Path, skeleton: Skeleton) -> Truth:
    """Reads the ground truth from MATLAB's file, with its joints in the skeleton's order.

    A joint whose name in the file is not among `JOINT_NAMES` is the one that the skeleton has in its row.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no MATLAB file, or what is wrong in it.
    """
    if not path.is_file():
        raise validation.missing(path)
    count = skeleton.num_joints
    shapes = {"pos_gt_src": (count, 2, -1), "jnt_missing": (count, -1), "headboxes_src": (2, 2, -1)}
    content = matlab.read(path, ["dataset_joints", *shapes])
    names = [str(name).strip() for name in np.ravel(content["dataset_joints"])]
    found = [JOINT_NAMES.get(name, ours) for name, ours in zip(names, skeleton.joints, strict=False)]
    if len(names) != skeleton.num_joints or set(found) != set(skeleton.joints):
        raise ValueError(
            f"{path}: `dataset_joints` ({', '.join(names)[:200]}) must be MPII's {skeleton.num_joints} joints"
        )
    rows = [found.index(name) for name in skeleton.joints]
    arrays = {name: _shaped(content[name], shape, f"{path}: `{name}`") for name, shape in shapes.items()}
    lengths = {name: array.shape[-1] for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{path}: its fields are of different numbers of people: {lengths}")
    heads = arrays["headboxes_src"]
    if not (np.abs(heads) <= validation.LARGEST).all() or (heads[0] == heads[1]).all():
        raise ValueError(f"{path}: `headboxes_src` must be finite boxes with a size: PCKh is measured in it")
    return Truth(
        joints=arrays["pos_gt_src"].transpose(2, 0, 1)[:, rows],
        missing=arrays["jnt_missing"].T[:, rows],
        head_boxes=arrays["headboxes_src"].transpose(2, 0, 1),
    )


def _shaped(array: np.ndarray, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Returns an array of numbers in a shape whose last length is open; MATLAB leaves it out where it is 1."""
    known = shape[:-1]
    if array.shape[: len(known)] != known or array.ndim > len(shape) or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{what} must be numbers of shape {known} + (people,), but is {array.dtype} {array.shape}"
        )
    return array.reshape(shape).astype(np.float64)


def save_truth(truth: Truth, path: pathlib.Path) -> None:
    """Writes what `load_truth` reads."""
    np.savez_compressed(path, **vars(truth))


def load_truth(path: pathlib.Path) -> Truth:
    """Reads the ground truth of a prepared split.

    Raises:
      ValueError: the file is damaged.
    """
    joints = skeletons.MPII.num_joints
    shapes = {"joints": (joints, 2), "missing": (joints,), "head_boxes": (2, 2)}
    return validation.read_arrays(path, Truth, {name: (np.float64, shape) for name, shape in shapes.items()})
