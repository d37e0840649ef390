"""MPII in the authors' format: people in ``annot/<split>.json``, ground truth in ``annot/gt_<split>.mat``.

The JSON file is a list of people: ``image``, ``center`` (x, y), ``scale`` (the person's height in units of 200
pixels), ``joints`` (K times x, y) and ``joints_vis`` (K). Test splits have neither of the last two. Pixels are
counted from 1 in the files as in MATLAB, and from 0 here.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from hrnet_jax import geometry, skeletons, validation
from hrnet_jax.datasets import matlab, records
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.validation import OnError

FIRST_PIXEL = 1  # of MATLAB
NO_CENTER = -1  # x of a missing centre
LOWERED = 15  # pixels per scale by which the original moves the centre down, to keep the legs in the crop

_PARTS = {"ank": "ankle", "kne": "knee", "hip": "hip", "wri": "wrist", "elb": "elbow", "sho": "shoulder"}
_SIDED = {f"{side[0]}{short}": f"{side}_{part}" for side in ("left", "right") for short, part in _PARTS.items()}
JOINT_NAMES = {**_SIDED, "pelv": "pelvis", "thor": "thorax", "neck": "upper_neck", "head": "head_top"}
"""Joint names of the ground-truth file -> ours."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The R valid rows of a file of people, in its order.

    In the table of people, `annotation_id` is the row, counted from 1, `photo_index` is -1, `flags` are
    `joints_vis`, and the area is the box's.
    """

    photos: dict[int, Photo]  # by photo id, counted from 1 in order of first appearance
    people: records.AnnotatedPeople
    scale: np.ndarray  # [R] float64, as in the file
    has_center: np.ndarray  # [R] bool


def load(path: pathlib.Path, skeleton: Skeleton) -> Rows:
    """Reads and validates a file of people such as ``annot/valid.json``.

    Raises FileNotFoundError if there is no such file, and ValueError if it is not JSON, or a row is invalid.
    """
    return read(path, validation.read_json(path), skeleton, validation.raise_error(path))


def read(path: pathlib.Path, content: Any, skeleton: Skeleton, on_error: OnError) -> Rows:
    """Validates the content of a file of people. Skips invalid rows if `on_error` returns.

    The only kind of errors is people_malformed. Raises ValueError if the content is not a list, or empty.
    """
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} must hold a list of people, but holds {validation.short_repr(content)}")
    has_joints = any(isinstance(entry, dict) and "joints" in entry for entry in content)
    no_joints = [[FIRST_PIXEL] * 2] * skeleton.num_joints, [0] * skeleton.num_joints
    photo_ids: dict[str, int] = {}
    rows = []
    for row, entry in enumerate(content, start=1):
        where = f"row {row}"
        try:
            name = validation.inner_path(entry, "image", where)
            photo_id = photo_ids.setdefault(name, len(photo_ids) + 1)
            center = validation.numbers(entry.get("center"), 2, f"{where}: `center`")
            (scale,) = validation.numbers([entry.get("scale")], 1, f"{where}: `scale`")
            joints, marks = _joints(entry, skeleton, where) if has_joints else no_joints
        except ValueError as error:
            on_error("people_malformed", row, str(error))
        else:
            rows.append((row, photo_id, center, scale, joints, marks))
    photos = {photo_id: Photo(photo_id, name) for name, photo_id in photo_ids.items()}
    return _table(rows, photos, skeleton)


def _joints(entry: dict, skeleton: Skeleton, where: str) -> tuple[list, list]:
    """Returns the joints [K, 2] and their flags [K], as in the file."""
    joints = validation.require(entry, "joints", list, where)
    if len(joints) != skeleton.num_joints:
        raise ValueError(f"{where}: `joints` must be {skeleton.num_joints}, but there are {len(joints)}")
    points = [validation.numbers(joint, 2, f"{where}: `joints`[{k}]") for k, joint in enumerate(joints)]
    return points, validation.numbers(entry.get("joints_vis"), skeleton.num_joints, f"{where}: `joints_vis`")


def _table(
    rows: list[tuple[int, int, list[float], float, list, list]], photos: dict[int, Photo], skeleton: Skeleton
) -> Rows:
    """Turns rows of number, photo id, centre, scale, joints and flags into arrays."""
    count, num_joints = len(rows), skeleton.num_joints
    numbers, photo_ids, centers, scales, joints, marks = zip(*rows, strict=True) if rows else ((),) * 6
    center, scale = np.array(centers, np.float64).reshape(count, 2), np.array(scales, np.float64)
    boxes = _boxes(center, scale)
    flags = np.array(marks, np.float64).reshape(count, num_joints)
    people = records.AnnotatedPeople(
        photo_index=np.full(count, -1, np.int64),
        photo_id=np.array(photo_ids, np.int64),
        annotation_id=np.array(numbers, np.int64),
        box=boxes,
        joints=np.array(joints, np.float64).reshape(count, num_joints, 2) - FIRST_PIXEL,
        visible=(flags > 0).astype(np.float64),
        score=np.ones(count),
        area=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(count, bool),
        flags=flags,
    )
    return Rows(photos, people, scale, center[:, 0] != NO_CENTER)


def select_people(rows: Rows) -> tuple[records.People, dict[str, int]]:
    """Chooses the people for training and evaluation, as the original does.

    Returns the people, without `photo_index` (-1), and the number of dropped rows by reason.
    """
    no_scale = rows.has_center & (rows.scale <= 0)
    counts = {"without centre": int((~rows.has_center).sum()), "without scale": int(no_scale.sum())}
    dropped = {reason: count for reason, count in counts.items() if count}
    return rows.people.select(rows.has_center & ~no_scale).to_people(), dropped


def _boxes(center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns the squares [..., 4] of centres [..., 2] and scales [...] of the file: the original's crops.

    The original moves the centre down by 15 pixels per scale and pads by a quarter, as every box is here.
    """
    side = geometry.PIXELS_PER_SCALE * scale
    low = [0, LOWERED] * scale[..., None] + center - FIRST_PIXEL - side[..., None] / 2
    return np.concatenate([low, side[..., None], side[..., None]], axis=-1)


@dataclasses.dataclass(frozen=True)
class Truth:
    """The ground truth of PCKh, for the R rows of a file of people."""

    joints: np.ndarray  # [R, K, 2] photo pixels, counted from 1 as in the file
    missing: np.ndarray  # [R, K] 1 for joints that are not scored, else 0
    head_boxes: np.ndarray  # [R, 2, 2] two opposite corners of the head, (x, y)

    def __len__(self) -> int:
        return len(self.joints)

    def select(self, rows: np.ndarray) -> "Truth":
        """Returns the ground truth of some rows."""
        return Truth(**{name: array[rows] for name, array in vars(self).items()})


def read_truth(path: pathlib.Path, skeleton: Skeleton) -> Truth:
    """Reads the ground truth from a MATLAB file, and puts its joints in the skeleton's order.

    A joint with a name not in `JOINT_NAMES` is taken for the skeleton's joint of the same row. Raises
    FileNotFoundError if there is no such file, and ValueError if it is not a MATLAB file, or not MPII's.
    """
    if not path.is_file():
        raise validation.missing(path)
    count = skeleton.num_joints
    shapes = {"pos_gt_src": (count, 2, -1), "jnt_missing": (count, -1), "headboxes_src": (2, 2, -1)}
    content = matlab.read(path, ["dataset_joints", *shapes])
    names = [str(name).strip() for name in np.ravel(content["dataset_joints"])]
    found = [JOINT_NAMES.get(name, joint) for name, joint in zip(names, skeleton.joints, strict=False)]
    if len(names) != count or set(found) != set(skeleton.joints):
        raise ValueError(f"{path}: `dataset_joints` ({', '.join(names)[:200]}) must be MPII's {count} joints")
    rows = [found.index(name) for name in skeleton.joints]
    arrays = {name: _shaped(content[name], shape, f"{path}: `{name}`") for name, shape in shapes.items()}
    lengths = {name: array.shape[-1] for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{path}: its arrays have different numbers of people: {lengths}")
    heads = arrays["headboxes_src"]
    if not (np.abs(heads) <= validation.MAX_NUMBER).all() or (heads[0] == heads[1]).all():
        raise ValueError(f"{path}: `headboxes_src` must be finite boxes with a size: PCKh is relative to it")
    return Truth(
        joints=arrays["pos_gt_src"].transpose(2, 0, 1)[:, rows],
        missing=arrays["jnt_missing"].T[:, rows],
        head_boxes=arrays["headboxes_src"].transpose(2, 0, 1),
    )


def _shaped(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Checks and reshapes an array of numbers. The last length is free, and MATLAB omits it if it is 1."""
    known = shape[:-1]
    if array.shape[: len(known)] != known or array.ndim > len(shape) or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{where} must be numbers of shape {known} + (people,), but is {array.dtype} {array.shape}"
        )
    return array.reshape(shape).astype(np.float64)


def save_truth(truth: Truth, path: pathlib.Path) -> None:
    """Writes the file that `load_truth` reads."""
    np.savez_compressed(path, **vars(truth))


def load_truth(path: pathlib.Path) -> Truth:
    """Reads the ground truth of a prepared split. Raises ValueError if the file is damaged."""
    joints = skeletons.MPII.num_joints
    shapes = {"joints": (joints, 2), "missing": (joints,), "head_boxes": (2, 2)}
    return validation.read_arrays(path, Truth, {name: (np.float64, shape) for name, shape in shapes.items()})
