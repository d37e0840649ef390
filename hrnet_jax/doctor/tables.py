"""What all formats come down to before they are examined: tables of people and of boxes, photos by id."""

import dataclasses
from collections.abc import Sequence

import numpy as np

HIDDEN, SEEN = 1, 2  # COCO's flags of a labelled joint; 0 if it is not labelled


@dataclasses.dataclass(frozen=True)
class People:
    """A table of N people with K joints as the file has them, nothing cleaned.

    Attributes:
      id: [N] int64, COCO's annotation ids or the rows of MPII's file.
      photo_id: [N] int64.
      box: [N, 4] float64 x, y, width, height.
      area: [N] float64 in square pixels.
      crowd: [N] bool.
      joints: [N, K, 2] float64 in photo pixels.
      flags: [N, K] float64 as they stand in the file; MPII's 1 is `SEEN`.
    """

    id: np.ndarray
    photo_id: np.ndarray
    box: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    joints: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def labelled(self) -> np.ndarray:
        """[N, K] bool, as training reads the flags."""
        return np.asarray(self.flags > 0)


@dataclasses.dataclass(frozen=True)
class Boxes:
    """A detector's boxes: photo_id [N] int64, box [N, 4] float64 (x, y, width, height), score [N] float64."""

    photo_id: np.ndarray
    box: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)


def people(
    rows: Sequence[tuple[int, int, Sequence[float], float, bool, Sequence[Sequence[float]]]], joints: int
) -> People:
    """Makes a table of rows of id, photo id, box, area, crowd, and `joints` times x, y, flag."""
    ids, photo_ids, boxes, areas, crowds, keypoints = zip(*rows, strict=True) if rows else ((),) * 6
    points = np.array(keypoints, np.float64).reshape(len(rows), joints, 3)
    return People(
        id=np.array(ids, np.int64),
        photo_id=np.array(photo_ids, np.int64),
        box=np.array(boxes, np.float64).reshape(len(rows), 4),
        area=np.array(areas, np.float64),
        crowd=np.array(crowds, bool),
        joints=points[..., :2],
        flags=points[..., 2],
    )


def select(table: People, rows: np.ndarray) -> People:
    """Returns some rows of a table."""
    return People(**{name: column[rows] for name, column in vars(table).items()})


def boxes(photo_ids: Sequence[int], box: Sequence[Sequence[float]], scores: Sequence[float]) -> Boxes:
    """Makes a table of a detector's boxes."""
    count = len(scores)
    return Boxes(
        photo_id=np.array(photo_ids, np.int64),
        box=np.array(box, np.float64).reshape(count, 4),
        score=np.array(scores, np.float64),
    )


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns [N, M] intersection over union of boxes [N, 4] and [M, 4] (x, y, width, height)."""
    a, b = first[:, None], second[None, :]
    corner = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = np.prod(np.maximum(corner - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - both
    return both / np.maximum(union, 1e-9)
