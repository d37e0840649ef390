"""Masks of photos for training on whole photos: crowds and people without labelled joints do not count.

``masks.npz`` of a prepared split lists the pixels that do not count as runs, a row each:

- ``photo_id``: [R] int64, ascending;
- ``start``, ``stop``: [R] int32, pixels of the photo counted row by row, without the last.

A region is the segmentation of its annotation, as polygons or run lengths, or else the box. Photos of CrowdPose
count whole, as in the original.
"""

import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from hrnet_jax import buckets, validation
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Photo

FILE = "masks.npz"
COLUMNS = {"photo_id": (np.int64, ()), "start": (np.int32, ()), "stop": (np.int32, ())}
WITHOUT = ("crowdpose",)
"""Published data sets whose photos count whole."""

COUNTS, IGNORED = 255, 0
"""Values of a mask, as the original warps it."""

_LEAST = 6  # numbers of a polygon


@dataclasses.dataclass(frozen=True)
class Masks:
    """The runs of pixels that do not count, see the top of this file."""

    photo_id: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def of_photo(self, photo_id: int, size: tuple[int, int]) -> np.ndarray:
        """Returns the mask of a photo of a size, ``[height, width]`` uint8: `COUNTS`, or `IGNORED`.

        Raises ValueError if a run lies outside the photo.
        """
        mask = np.full(size, COUNTS, np.uint8)
        first, last = np.searchsorted(self.photo_id, [photo_id, photo_id + 1])
        flat, starts, stops = mask.reshape(-1), self.start[first:last], self.stop[first:last]
        if len(starts) and (starts.min() < 0 or stops.max() > flat.size):
            raise ValueError(f"{FILE}: the mask of photo {photo_id} is larger than the photo: prepare it again")
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            flat[start:stop] = IGNORED
        return mask


def write(directory: pathlib.Path, photos: Sequence[Photo], people: Mapping[int, Sequence[dict]]) -> None:
    """Writes the masks of photos of known sizes, ascending by id. `people` are their annotations by photo id."""
    tables = [_runs(photo, people.get(photo.id, ())) for photo in photos]
    rows = np.concatenate([np.zeros((0, 3), np.int64), *tables])
    content = io.BytesIO()
    columns = zip(COLUMNS.items(), rows.T, strict=True)
    np.savez_compressed(content, **{name: column.astype(dtype) for (name, (dtype, _)), column in columns})
    buckets.write_atomically(directory / FILE, content.getvalue())


def read(directory: pathlib.Path) -> Masks:
    """Reads the masks of a prepared split. Raises ValueError if they are missing or damaged."""
    path = directory / FILE
    if not path.is_file():
        raise ValueError(
            f"{directory} has no {FILE}, which training on whole photos needs: an earlier version prepared the"
            " split; prepare it again, with --force"
        )
    masks = validation.read_arrays(path, Masks, COLUMNS)
    if (np.diff(masks.photo_id) < 0).any():
        raise ValueError(f"{path} is damaged (`photo_id` is not ascending): prepare the split again, with --force")
    return masks


def _runs(photo: Photo, people: Sequence[dict]) -> np.ndarray:
    """Returns the rows of a photo in the file, ``[R, 3]`` int64."""
    ignored = np.zeros((photo.height, photo.width), bool)
    for entry in people:
        if is_ignored(entry):
            ignored |= region(entry, ignored.shape)
    edges = np.flatnonzero(np.diff(ignored.reshape(-1), prepend=False, append=False)).reshape(-1, 2)
    return np.insert(edges, 0, photo.id, axis=1)


def is_ignored(entry: Mapping[str, Any]) -> bool:
    """Whether an annotation is of a crowd, or of a person without labelled joints."""
    labelled = sum(mark > 0 for mark in entry["keypoints"][2::3])
    return bool(entry.get("iscrowd", 0)) or entry.get("num_keypoints", labelled) == 0


def region(entry: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of an annotation, ``[height, width]`` bool: its segmentation, or its box without one."""
    given = entry.get("segmentation")
    if polygons := [*_polygons(given)]:
        texts = (outline["counts"].decode() for outline in coco_mask.frPyObjects(polygons, *size))  # pyright: ignore
        return np.any([_filled(_lengths(text), size) for text in texts], axis=0)
    if isinstance(given, dict) and given.get("size") == [*size]:
        counts = given.get("counts")
        counts = _lengths(counts) if isinstance(counts, str) else counts
        if isinstance(counts, list) and _fits(counts, size):
            return _filled(counts, size)
    return _box(entry["bbox"], size)


def _polygons(given: Any) -> Iterator[list[float]]:
    """Yields the polygons of a segmentation, moved near to the photo, so that pycocotools need not walk far."""
    for polygon in given if isinstance(given, list) else ():
        if isinstance(polygon, list) and len(polygon) >= _LEAST and len(polygon) % 2 == 0:
            try:
                numbers = validation.numbers(polygon, len(polygon), "polygon")
            except ValueError:
                continue
            yield np.clip(numbers, -photo_records.MAX_SIDE, 2 * photo_records.MAX_SIDE).tolist()


def _lengths(text: str) -> list[int]:
    """Returns the run lengths that COCO packs into text.

    A character holds 5 bits, the lowest first, and a sixth that announces more. The numbers have a sign, and from
    the fourth on they are differences to the last but one.
    """
    lengths, value, shift = [], 0, 0
    for bits in (ord(character) - 48 for character in text):
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value, shift = 0, 0
    return lengths


def _fits(counts: Sequence[Any], size: tuple[int, int]) -> bool:
    """Whether run lengths are those of a mask of this size."""
    return all(type(count) is int and count >= 0 for count in counts) and sum(counts) == size[0] * size[1]


def _filled(counts: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of run lengths, which go column by column and begin outside."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size[::-1]).T


def _box(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of a box (x, y, width, height)."""
    x, y, width, height = box
    rows, columns = np.arange(size[0])[:, None], np.arange(size[1])
    return (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
