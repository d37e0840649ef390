"""Where the people of a video have been lately."""

import collections

import numpy as np

from hrnet_jax.predict.poses import JOINT_SCORE, Poses

SECONDS = 1.5  # that a trail goes back


class Trails:
    """The trails of the tracks of one video. Holds only the last seconds."""

    def __init__(self):
        self._points: dict[int, collections.deque[tuple[float, np.ndarray]]] = {}

    def add(self, poses: Poses) -> dict[int, np.ndarray]:
        """Adds the people of a frame. Returns the points [T, 2] of all recent tracks, the oldest first."""
        now = poses.time or 0.0
        ids = [] if poses.ids is None else poses.ids.tolist()
        for track_id, points, scores in zip(ids, poses.shown_joints, poses.found_scores, strict=True):
            if (scores >= JOINT_SCORE).any():
                middle = np.median(points[scores >= JOINT_SCORE], axis=0)
                self._points.setdefault(track_id, collections.deque()).append((now, middle))
        for track_id, points in list(self._points.items()):
            while points and points[0][0] < now - SECONDS:
                points.popleft()
            if not points:
                del self._points[track_id]
        return {track_id: np.array([point for _, point in points]) for track_id, points in self._points.items()}
