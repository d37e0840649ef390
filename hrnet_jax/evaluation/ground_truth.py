"""COCO's ground truth as arrays: an annotation file is read once, whatever is then asked of it."""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class People:
    """Everyone of one category, a row for each of G, photos ascending, a photo's people in the file's order.

    Attributes:
      photo_id: [G] int64.
      annotation_id: [G] int64.
      joints: [G, K, 2] float64 in photo pixels; a category without joints has a K of 0.
      visible: [G, K] bool, where a joint is labelled, hidden or not.
      box: [G, 4] float64 x, y, width, height in photo pixels.
      area: [G] float64 in square pixels.
      crowd: [G] bool, where the row stands for any number of people.
      ignored: [G] bool, who is neither missed nor found wrongly: crowds and people without labelled joints.
    """

    photo_id: np.ndarray
    annotation_id: np.ndarray
    joints: np.ndarray
    visible: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray

    def __len__(self) -> int:
        return len(self.photo_id)


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """What a COCO annotation file says.

    Attributes:
      photo_ids: [P] int64, ascending; photos without people among them.
      categories: the names by number, in the file's order.
      people: by the category's number; annotations of photos that the file does not list are left out.
    """

    photo_ids: np.ndarray
    categories: Mapping[int, str]
    people: Mapping[int, People]


def load(path: str | os.PathLike) -> GroundTruth:
    """Reads a COCO annotation file; the one read last is remembered until it changes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or an annotation lacks something or has another number of joints than others of
        its category.
    """
    path = pathlib.Path(path).resolve()
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


def forget() -> None:
    """Forgets the file that was read last."""
    _read.cache_clear()


@functools.lru_cache(maxsize=1)
def _read(path: pathlib.Path, changed: int, size: int) -> GroundTruth:
    """Reads a file in the state that its time of change and size stand for."""
    del changed, size
    try:
        return _parse(json.loads(path.read_bytes()), path)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r:.200}): prepare the split again, with --force") from error


def _parse(content: dict, path: pathlib.Path) -> GroundTruth:
    photo_ids = np.unique(np.array([photo["id"] for photo in content["images"]], np.int64))
    listed = set(photo_ids.tolist())
    entries = [entry for entry in content.get("annotations", []) if entry["image_id"] in listed]
    by_category: dict[int, list[dict]] = {}
    for entry in sorted(entries, key=lambda entry: entry["image_id"]):
        by_category.setdefault(entry["category_id"], []).append(entry)
    names = {category["id"]: category["name"] for category in content["categories"]}
    return GroundTruth(photo_ids, names, {number: _table(of, path) for number, of in by_category.items()})


def _table(entries: list[dict], path: pathlib.Path) -> People:
    """Turns the annotations of one category into arrays."""
    try:
        keypoints = _keypoints(entries, path)
        visible = keypoints[..., 2] > 0
        seen = visible.sum(axis=1).tolist()
        counted = [entry.get("num_keypoints", count) for entry, count in zip(entries, seen, strict=True)]
        crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in entries])
        return People(
            photo_id=np.array([entry["image_id"] for entry in entries], np.int64),
            annotation_id=np.array([entry["id"] for entry in entries], np.int64),
            joints=keypoints[..., :2],
            visible=visible,
            box=np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4),
            area=np.array([entry["area"] for entry in entries], np.float64),
            crowd=crowd,
            ignored=crowd | (np.array(counted) == 0),
        )
    except KeyError as error:
        raise ValueError(f"{path}: an annotation of category {entries[0]['category_id']} has no {error}") from None


def _keypoints(entries: list[dict], path: pathlib.Path) -> np.ndarray:
    """Returns [G, K, 3] float64: x, y and label of each joint."""
    lists = [entry.get("keypoints", ()) for entry in entries]
    lengths = {len(numbers) for numbers in lists}
    if len(lengths) > 1 or max(lengths) % 3:
        raise ValueError(
            f"{path}: `keypoints` of category {entries[0]['category_id']} are of {sorted(lengths)} numbers:"
            " they must all be of three for each joint"
        )
    flat = np.fromiter(itertools.chain.from_iterable(lists), np.float64)
    return flat.reshape(len(entries), -1, 3) if flat.size else np.zeros((len(entries), 0, 3))
