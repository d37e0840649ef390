"""Tells which points are strictly inside polygons, exactly: a point on an edge is outside."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

ROUNDING = 8 * np.finfo(np.float64).eps  # bound of the rounding error of `_side`, relative to its terms


def inside_any(points: np.ndarray, polygons: Sequence[np.ndarray]) -> np.ndarray:
    """Returns [...]: whether each point [..., 2] is strictly inside one of the polygons [P, 2]."""
    flat = points.reshape(-1, 2)
    found = np.zeros(len(flat), bool)
    for polygon in polygons:
        if len(polygon):
            low, high = polygon.min(axis=0), polygon.max(axis=0)
            near = np.flatnonzero(((flat > low) & (flat < high)).all(axis=-1) & ~found)
            found[near] = _inside(flat[near], polygon)
    return found.reshape(points.shape[:-1])


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Returns [M] by the even-odd rule, for polygons that cross themselves, too."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    side = _side(points[:, None], start, end)
    low, high = np.minimum(start, end), np.maximum(start, end)
    on_edge = (side == 0) & ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=-1)
    y = points[:, None, 1]
    upward, downward = (start[:, 1] <= y) & (end[:, 1] > y), (start[:, 1] > y) & (end[:, 1] <= y)
    crossings = (upward & (side > 0)) | (downward & (side < 0))  # of the ray to the right
    return (crossings.sum(axis=-1) % 2 == 1) & ~on_edge.any(axis=-1)


def _side(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns [M, P] above 0 for points to the left of an edge, below 0 to the right, and 0 on its line."""
    along, offset = end - start, points - start
    left, right = along[:, 0] * offset[..., 1], along[:, 1] * offset[..., 0]
    side = left - right
    unsure = np.abs(side) <= ROUNDING * (np.abs(left) + np.abs(right))
    for point, edge in np.argwhere(unsure):
        side[point, edge] = _exact_side(points[point, 0], start[edge], end[edge])
    return side


def _exact_side(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> int:
    (x, y), (x1, y1), (x2, y2) = ([Fraction(float(value)) for value in pair] for pair in (point, start, end))
    side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
    return (side > 0) - (side < 0)
