"""Files of boxes in COCO's forms, or by file name."""

import os
import pathlib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import coco_entries, plain_values
from hrnet_jax.skeletons import Skeleton

Found = tuple[np.ndarray, np.ndarray]
"""Boxes [N, 4] and scores [N]."""

_SCORE, _TRACK = 4, 5  # columns after those of the box

PERSON = 1  # COCO's number of the category

_COCO_NAME = re.compile(r"(?:COCO_\w+_)?(\d{12})")  # 000000000785.jpg is the photo of id 785


class FileBoxes:
    """The boxes in a JSON file. It is one of

    - COCO results: ``[{"image_id", "bbox": [x, y, width, height], "score", "category_id"}, ...]``. The ids are
      those of `images`, or else numbers as COCO names its photos, ``000000000785.jpg``, or names of photos;
    - the same with ``file_name`` instead of ``image_id``;
    - by file name: ``{"some/photo.jpg": [{"bbox", "score"}, ...], ...}``;
    - a COCO annotation file. People and boxes are then chosen as in the evaluation on ground-truth boxes.

    ``score`` is 1 and ``category_id`` a person's if missing; other categories are left out. A photo's boxes are
    those of the longest name that its path ends with: ``some/photo.jpg``, ``photo.jpg``. Frames of a video are
    named as `frame_name` does, or by ``frame`` beside its ``file_name``. All boxes may have a ``track_id``.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        skeleton: Skeleton,
        images: str | os.PathLike | None = None,
        box_score: float = -np.inf,
    ):
        """Reads the boxes of at least a score. Raises FileNotFoundError, or ValueError for a wrong entry."""
        self._path = pathlib.Path(path)
        content = validation.read_json(self._path)
        if isinstance(content, dict) and "annotations" in content:
            tables = _of_annotations(self._path, content, skeleton)
        else:
            names = read_image_names(images) if images else {}
            tables = _group(self._path, _entries(content, self._path), names)
        self._tables = {key: table[table[:, _SCORE] >= box_score] for key, table in tables.items()}
        numbered = np.isfinite(np.concatenate([np.zeros(0), *(table[:, _TRACK] for table in tables.values())]))
        self.has_tracks = bool(numbered.any())
        if self.has_tracks and not numbered.all():
            raise ValueError(
                f"{self._path}: {np.sum(~numbered):,} of {len(numbered):,} boxes have no `track_id`: give it to"
                " all, or to none"
            )
        if self.has_tracks:
            _check_track_ids(self._path, self._tables)

    @property
    def frames(self) -> int:
        """The number of photos and frames that have boxes."""
        return len(self._tables)

    @property
    def largest_track_id(self) -> int:
        """The largest track id, -1 if there is none."""
        tables = self._tables.values() if self.has_tracks else ()
        return max((int(table[:, _TRACK].max(initial=-1)) for table in tables), default=-1)

    def count_known(self, paths: Sequence[str]) -> int:
        """Returns how many of the photos the file has."""
        return sum(self.key(path) is not None for path in paths)

    def __str__(self) -> str:
        count = sum(map(len, self._tables.values()))
        tracks = ", with the ids of tracks" * self.has_tracks
        return f"{count:,} in {self.frames:,} photos, from {self._path}{tracks}"

    def __call__(self, path: str, photo: np.ndarray) -> Found:
        """Returns the boxes of a photo; none if the file does not name it."""
        return self.of_key(self.key(path))

    def of_key(self, key: str | int | None) -> Found:
        """Returns the boxes under a name or image id; none if the file does not have it."""
        table = self._table(key)
        return table[:, :_SCORE], table[:, _SCORE]

    def track_ids(self, path: str) -> np.ndarray:
        """Returns the track ids [N] of the boxes of a photo, of a file that `has_tracks`."""
        return self._table(self.key(path))[:, _TRACK].astype(int)

    def has_frames(self, path: str) -> bool:
        """Whether there is a frame of a video, see `frame_name`."""
        videos = {str(key).rpartition("/")[0] for key in self._tables}
        return longest_name(path, videos) is not None

    def _table(self, key: str | int | None) -> np.ndarray:
        none = np.zeros((0, _TRACK + 1))
        return none if key is None else self._tables.get(key, none)

    def key(self, path: str) -> str | int | None:
        """Returns the name or id under which the file has a photo, None if it is not there."""
        name = longest_name(path, self._tables)
        number = image_number(path) if name is None else None
        return number if number in self._tables else name


def _check_track_ids(path: pathlib.Path, tables: Mapping[str | int, np.ndarray]) -> None:
    """Raises ValueError for a negative track id, and for one that two people of a frame have."""
    for key, table in tables.items():
        ids, counts = np.unique(table[:, _TRACK], return_counts=True)
        if wrong := [int(track) for track, count in zip(ids, counts, strict=True) if track < 0 or count > 1]:
            reason = "is negative" if wrong[0] < 0 else "is that of two people"
            raise ValueError(
                f"{path}: `track_id` (={wrong[0]}) {reason} in {key!r}: number people from 0 in each frame"
            )


def longest_name(path: str, names: Container[Any]) -> str | None:
    """Returns the longest of the names that a path ends with, None if there is none."""
    parts = pathlib.PurePath(path).parts
    ends = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((end for end in (pathlib.PurePath(path).as_posix(), *ends) if end in names), None)


def image_number(path: str) -> int | None:
    """Returns the id that COCO's file names state, 785 for ``000000000785.jpg``; None for other names."""
    found = _COCO_NAME.fullmatch(pathlib.PurePath(path).stem)
    return int(found[1]) if found else None


def read_image_names(path: str | os.PathLike) -> dict[int | str, str]:
    """Returns the file names of the ``images`` of a COCO annotation file, by id. Raises ValueError."""
    path = pathlib.Path(path)
    entries = validation.require(validation.read_json(path), "images", list, str(path))
    places = [f"{path}: images[{row}]" for row in range(len(entries))]
    return {_id(entry, "id", at): _name(entry, at) for entry, at in zip(entries, places, strict=True)}


def _id(entry: Any, field: str, where: str) -> int | str:
    """Returns an id: an integer, also in quotes or as a float, or else text such as a UUID."""
    value = validation.require(entry, field, (int, float, str), where)
    try:
        return plain_values.whole(entry, field, where)
    except ValueError:
        if isinstance(value, str):
            return value
        raise


def _name(entry: Any, where: str) -> str:
    return pathlib.PurePath(validation.require(entry, "file_name", str, where)).as_posix()


def frame_name(path: str, frame: int) -> str:
    """Returns the name of a frame of a video in files of boxes: ``clip.mp4/000012``."""
    return f"{path}/{frame:06d}"


def _of_annotations(path: pathlib.Path, content: Any, skeleton: Skeleton) -> dict[str | int, np.ndarray]:
    """Returns the boxes of annotated people by file name, as the evaluation selects and clips them."""
    from hrnet_jax.datasets import coco

    annotations = coco.read(path, content, skeleton, validation.raise_error(path))
    people, _ = coco.select_people(annotations, skeleton)
    return {
        photo.file_name: np.column_stack([people.box[rows], people.score[rows], np.full(rows.sum(), np.nan)])
        for photo in annotations.photos.values()
        for rows in [people.photo_id == photo.id]
    }


def _entries(content: Any, path: pathlib.Path) -> Iterable[tuple[str, Any]]:
    """Yields entries with their place in the file. Those listed by file name get the name as a field."""
    if isinstance(content, list):
        yield from ((f"{path}: entry {row}", entry) for row, entry in enumerate(content))
        return
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold COCO results or boxes by file name, but is {type(content).__name__}")
    for name in content:
        for row, entry in enumerate(validation.require(content, name, list, str(path))):
            where = f"{path}: {name!r:.100}, entry {row}"
            yield where, {"file_name": name, **(entry if isinstance(entry, dict) else {"bbox": entry})}


def _group(
    path: pathlib.Path, entries: Iterable[tuple[str, Any]], names: Mapping[int | str, str]
) -> dict[str | int, np.ndarray]:
    """Returns tables [N, 6] of people by file name or, without one, by id. Raises ValueError for an invalid entry.

    The columns are box, score and track id, NaN if there is none.
    """
    rows: dict[str | int, list[list[float]]] = {}
    for where, entry in entries:
        validation.require(entry, "bbox", list, where)
        box = coco_entries.in_order(plain_values.numbers(entry["bbox"], 4, f"{where}: `bbox`"))
        score = plain_values.real({"score": 1.0, **entry}, "score", where)
        category = plain_values.whole({"category_id": PERSON, **entry}, "category_id", where)
        if category == PERSON:
            track = plain_values.whole(entry, "track_id", where) if "track_id" in entry else np.nan
            rows.setdefault(_key(entry, where, names, path), []).append([*box, score, track])
    return {key: np.array(table, np.float64) for key, table in rows.items()}


def _key(entry: dict, where: str, names: Mapping[int | str, str], path: pathlib.Path) -> str | int:
    """Returns the file name of an entry's photo, or its id if that is all that is known."""
    if "file_name" in entry:
        name = _name(entry, where)
        return frame_name(name, plain_values.whole(entry, "frame", where)) if "frame" in entry else name
    photo = _id(entry, "image_id", where)
    if names and photo not in names:
        raise ValueError(f"{where}: `image_id` (={photo}) is not among --images: is {path} of another split?")
    return names.get(photo, photo)


def track_ids(finder: Any, path: str) -> np.ndarray | None:
    """Returns the track ids [N] of a photo's boxes, None unless they are of a file that has some."""
    return finder.track_ids(path) if isinstance(finder, FileBoxes) and finder.has_tracks else None
