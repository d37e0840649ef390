"""COCO's ground truth as arrays. A file is read once for all metrics."""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Mapping
from typing import Self

import numpy as np

from hrnet_jax import validation


@dataclasses.dataclass(frozen=True)
class People:
    """G people of one category. Photos ascend; a photo's people keep the order of the file."""

    photo_id: np.ndarray  # [G] int64
    annotation_id: np.ndarray  # [G] int64
    joints: np.ndarray  # [G, K, 2] float64 in photo pixels; K is 0 for a category without joints
    visible: np.ndarray  # [G, K] bool, the joint is labelled (visible or hidden)
    box: np.ndarray  # [G, 4] float64 x, y, width, height in photo pixels
    area: np.ndarray  # [G] float64 in square pixels
    crowd: np.ndarray  # [G] bool, the row stands for any number of people
    ignored: np.ndarray  # [G] bool, crowds and people without labelled joints: neither hits nor misses

    def __len__(self) -> int:
        return len(self.photo_id)

    def select(self, rows: np.ndarray) -> Self:
        """Returns some rows, by a mask or by their numbers."""
        return dataclasses.replace(self, **{name: column[rows] for name, column in vars(self).items()})


@dataclasses.dataclass(frozen=True)
class GroundTruth:
    """The content of a COCO annotation file."""

    photo_ids: np.ndarray  # [P] int64, ascending, including photos without people
    categories: Mapping[int, str]  # names by number, in the order of the file
    people: Mapping[int, People]  # by category number, without annotations of unlisted photos
    texts: Mapping[int | str, str]  # the ids that photos have outside, if these are text
    crowd_index: Mapping[int, float] = dataclasses.field(default_factory=dict)  # by photo id (CrowdPose)
    species: Mapping[int, str] = dataclasses.field(default_factory=dict)  # by annotation id (AP-10K)


def load(path: str | os.PathLike) -> GroundTruth:
    """Reads a COCO annotation file. The last file is cached until it changes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is damaged, an annotation lacks a field, or numbers of joints differ within a category.
    """
    path = pathlib.Path(path).resolve()
    if not path.is_file():
        raise validation.missing(path)
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


def forget() -> None:
    """Clears the cache of `load`."""
    _read.cache_clear()


@functools.lru_cache(maxsize=1)
def _read(path: pathlib.Path, changed: int, size: int) -> GroundTruth:
    """Reads a file. Time of change and size are part of the cache's key."""
    del changed, size
    content = validation.read_json(path)
    try:
        return parse(content)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{error!r:.200}"
        raise ValueError(f"{path} is damaged ({reason}): prepare the split again with --force") from error


def parse(content: dict) -> GroundTruth:
    """Converts the content of a file. Raises one of several errors if it is damaged."""
    photo_ids = np.unique(_column(content["images"], "id", "i").astype(np.int64))
    listed = set(photo_ids.tolist())
    entries = [entry for entry in content.get("annotations", []) if entry["image_id"] in listed]
    by_category: dict[int, list[dict]] = {}
    for entry in sorted(entries, key=lambda entry: entry["image_id"]):
        by_category.setdefault(entry["category_id"], []).append(entry)
    names = {category["id"]: category["name"] for category in content["categories"]}
    texts: dict[int | str, str] = {
        image["id"]: image["source_id"] for image in content["images"] if "source_id" in image
    }
    crowd_index = {image["id"]: float(image["crowdIndex"]) for image in content["images"] if "crowdIndex" in image}
    species = {entry["id"]: entry["species"] for entry in entries if "species" in entry}
    tables = {number: _table(of) for number, of in by_category.items()}
    return GroundTruth(photo_ids, names, tables, texts, crowd_index, species)


def _table(entries: list[dict]) -> People:
    """Converts the annotations of one category to arrays."""
    try:
        keypoints = _keypoints(entries)
        visible = keypoints[..., 2] > 0
        labelled = visible.sum(axis=1).tolist()
        counts = [entry.get("num_keypoints", count) for entry, count in zip(entries, labelled, strict=True)]
        crowd = np.array([bool(entry.get("iscrowd", 0)) for entry in entries])
        return People(
            photo_id=_column(entries, "image_id", "i").astype(np.int64),
            annotation_id=_column(entries, "id", "i").astype(np.int64),
            joints=keypoints[..., :2],
            visible=visible,
            box=_column(entries, "bbox", "if").astype(np.float64).reshape(len(entries), 4),
            area=_column(entries, "area", "if").astype(np.float64).reshape(len(entries)),
            crowd=crowd,
            ignored=crowd | (np.array(counts) == 0),
        )
    except KeyError as error:
        raise ValueError(f"an annotation of category {entries[0]['category_id']} has no {error}") from None


def _column(entries: list[dict], name: str, kinds: str) -> np.ndarray:
    """Returns a field of all entries. Raises ValueError unless its dtype is of one of numpy's `kinds`."""
    column = np.array([entry[name] for entry in entries])
    if len(column) and (column.dtype.kind not in kinds or not np.isfinite(column).all()):
        raise ValueError(f"`{name}` must be {'an integer' if kinds == 'i' else 'finite numbers'} in every entry")
    return column


def _keypoints(entries: list[dict]) -> np.ndarray:
    """Returns [G, K, 3] float64: x, y and flag of each joint."""
    lists = [entry.get("keypoints", ()) for entry in entries]
    lengths = {len(numbers) for numbers in lists}
    if len(lengths) > 1 or max(lengths) % 3:
        raise ValueError(
            f"`keypoints` of category {entries[0]['category_id']} have {sorted(lengths)} numbers:"
            " give each entry three for every joint"
        )
    flat = np.fromiter(itertools.chain.from_iterable(lists), np.float64)
    return flat.reshape(len(entries), -1, 3) if flat.size else np.zeros((len(entries), 0, 3))
