"""What the tracker remembers of earlier frames: a table of poses, the newest frame first."""

import dataclasses
import math

import numpy as np

from hrnet_jax.tracking import similarity
from hrnet_jax.tracking.settings import FLOW, NONE, VELOCITY, Settings

PARTS = ("poses", "ids", "scores", "frames", "times", "detected", "began", "seen", "velocities")


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """The state of a tracker between two frames. Its size depends on people and memory, not on the past.

    Attributes:
      frame: number of frames so far.
      time: of the last one, in seconds.
      next_id: the next new track id.
      poses: [M, K, 3] the remembered poses, moved to the last frame: x, y in photo pixels, score.
      ids: [M] their track ids.
      scores: [M] scores of the last detections of the people.
      frames: [M] numbers of the frames they are of, from 0.
      times: [M] times of these frames.
      detected: [M] numbers of the frames in which a detection last supported the track.
      began: [M] times at which the tracks began.
      seen: [M] numbers of frames in which the tracks were seen.
      velocities: [M, 2] of the people before the background, in pixels per second.
    """

    frame: int
    time: float
    next_id: int
    poses: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    frames: np.ndarray
    times: np.ndarray
    detected: np.ndarray
    began: np.ndarray
    seen: np.ndarray
    velocities: np.ndarray

    def select(self, rows: np.ndarray) -> "State":
        """Returns the state with some of the remembered poses: indices or [M] bool."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in PARTS})


def start(num_joints: int) -> State:
    """Returns the state before the first frame."""
    whole, real = np.zeros(0, int), np.zeros(0)
    return State(
        frame=0,
        time=-math.inf,
        next_id=0,
        poses=np.zeros((0, num_joints, 3)),
        ids=whole,
        scores=real,
        frames=whole,
        times=real,
        detected=whole,
        began=real,
        seen=whole,
        velocities=np.zeros((0, 2)),
    )


def forget(state: State, time: float, settings: Settings) -> State:
    """Returns the state without the poses that are too old at the next frame."""
    recent = (state.frame - state.frames <= settings.memory_frames) & (
        time - state.times <= settings.memory_seconds
    )
    return state.select(recent)


def moved_poses(state: State, motion: str, time: float, shift: np.ndarray, flow: np.ndarray | None) -> np.ndarray:
    """Returns [M, K, 3]: the remembered poses at the next frame, by `motion`.

    "none", "flow", or "velocity", which is relative to the background, moved by `shift`.
    """
    if motion == NONE or not len(state.ids):
        return state.poses
    if motion == FLOW and flow is not None:
        return similarity.propagate(state.poses, flow)
    if motion == VELOCITY:
        moved = state.poses.copy()
        moved[..., :2] += (state.velocities * (time - state.time) + shift)[:, None]
        return moved
    raise ValueError("`motion` 'flow' needs the flow to each frame but the first of a shot: mark it with `cut`")


def newest_rows(state: State, ids: np.ndarray) -> np.ndarray:
    """Returns [N]: the row of the newest pose of each track id, -1 where none is remembered."""
    if not len(state.ids):
        return np.full(len(ids), -1)
    same = state.ids == ids[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def remember(state: State, added: State, settings: Settings) -> State:
    """Returns the state `added`, of the current frame, followed by the remembered poses that are still needed."""
    if settings.history == "latest":
        state = state.select(~np.isin(state.ids, added.ids))
    parts = {name: np.concatenate([getattr(added, name), getattr(state, name)]) for name in PARTS}
    return dataclasses.replace(added, **parts)
