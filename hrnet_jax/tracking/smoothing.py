"""Smooths the joints of followed people for display: the One Euro filter (Casiez et al., CHI 2012).

A low-pass filter whose cutoff rises with the speed: still joints do not tremble, and quick ones do not lag. It
does not look ahead. It is not part of the evaluation.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the filter. The values are usual starting points, not measured.

    Attributes:
      min_cutoff: of a joint at rest, in Hz. Lower values tremble less and lag more.
      beta: by which the cutoff rises, in Hz for a speed of one height of the person's box per second.
      speed_cutoff: of the low-pass filter of the speed, in Hz. 1: Casiez et al.
      joint_threshold: joints of lower score are left as they are, and not remembered.
      max_gap: seconds without a track or joint after which it begins anew.
    """

    min_cutoff: float = 1.0
    beta: float = 5.0
    speed_cutoff: float = 1.0
    joint_threshold: float = 0.2
    max_gap: float = 0.5


DEFAULT = Settings()


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """The state of the filter: for M tracks seen lately, K joints each.

    Attributes:
      ids: [M] track ids.
      joints: [M, K, 2] smoothed.
      raw: [M, K, 2] as they came in.
      speeds: [M, K, 2] smoothed, in pixels per second.
      times: [M, K] at which each joint was last seen, -inf for never.
    """

    ids: np.ndarray
    joints: np.ndarray
    raw: np.ndarray
    speeds: np.ndarray
    times: np.ndarray


def start(num_joints: int) -> State:
    """Returns the state before the first frame."""
    table = np.zeros((0, num_joints, 2))
    return State(np.zeros(0, int), table, table, table, np.zeros((0, num_joints)))


def smooth(
    state: State,
    time: float,
    ids: np.ndarray,
    poses: np.ndarray,
    heights: np.ndarray,
    settings: Settings = DEFAULT,
) -> tuple[State, np.ndarray]:
    """Returns the state after a frame, and its poses [N, K, 3] with smoothed joints.

    Args:
      state: after the frame before.
      time: of the frame in seconds.
      ids: [N] track ids.
      poses: [N, K, 3] x, y in photo pixels, score.
      heights: [N] of the people's boxes, in photo pixels: the unit of speed.
      settings: see there.
    """
    before = _rows(state, ids)
    joints, seen = poses[..., :2], poses[..., 2] >= settings.joint_threshold
    known = seen & (time - before.times <= settings.max_gap) & (time > before.times)
    step = np.where(known, time - before.times, 1.0)[..., None]
    speeds = np.where(known[..., None], (joints - before.raw) / step, 0.0)
    speeds = before.speeds + _weight(settings.speed_cutoff, step) * (speeds - before.speeds)
    speeds = np.where(known[..., None], speeds, 0.0)
    relative = np.linalg.norm(speeds, axis=-1, keepdims=True) / np.maximum(heights, 1.0)[:, None, None]
    weight = _weight(settings.min_cutoff + settings.beta * relative, step)
    smoothed = np.where(known[..., None], before.joints + weight * (joints - before.joints), joints)
    now = State(ids, smoothed, joints, speeds, np.full(poses.shape[:2], float(time)))
    added = _where(seen, now, before)
    lost = ~np.isin(state.ids, ids) & (time - state.times.max(axis=1, initial=-np.inf) <= settings.max_gap)
    kept = [getattr(state, field.name)[lost] for field in dataclasses.fields(State)]
    parts = zip((getattr(added, field.name) for field in dataclasses.fields(State)), kept, strict=True)
    return State(*map(np.concatenate, parts)), np.concatenate([smoothed, poses[..., 2:]], axis=-1)


def _weight(cutoff: np.ndarray | float, step: np.ndarray) -> np.ndarray:
    """Returns the weight of the newest value in a low-pass filter of first order, for a step in seconds."""
    turn = 2 * np.pi * cutoff * step
    return turn / (turn + 1)


def _rows(state: State, ids: np.ndarray) -> State:
    """Returns the rows of tracks, with times of -inf for those that are not remembered."""
    num_joints = state.joints.shape[1]
    table, never = np.zeros((1, num_joints, 2)), np.full((1, num_joints), -np.inf)
    unknown = len(state.ids)  # the row appended for these
    same = state.ids == ids[:, None]
    rows = np.where(same.any(axis=1), same.argmax(axis=1) if unknown else unknown, unknown)
    joints, raw, speeds = (np.concatenate([part, table])[rows] for part in (state.joints, state.raw, state.speeds))
    return State(ids, joints, raw, speeds, np.concatenate([state.times, never])[rows])


def _where(seen: np.ndarray, now: State, before: State) -> State:
    """Returns the state with the joints [N, K] seen now, and the earlier ones of the rest."""
    places = seen[..., None]
    return State(
        now.ids,
        np.where(places, now.joints, before.joints),
        np.where(places, now.raw, before.raw),
        np.where(places, now.speeds, before.speeds),
        np.where(seen, now.times, before.times),
    )
