"""Follows people through a video, frame by frame and without looking ahead.

The algorithm is that of SimpleBaselines (Xiao et al., ECCV 2018, section 3), which HRNet's paper uses for
PoseTrack, with choices: see `settings`. A frame passes `candidates` (detections and boxes proposed from the last
poses), the network, the suppression of duplicate poses, and `linking` to the poses in the `memory`.

Boxes are corners [N, 4], x1, y1, x2, y2, and poses [N, K, 3], x, y, score, in photo pixels.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from hrnet_jax.evaluation import oks
from hrnet_jax.tracking import candidates, linking, memory, similarity
from hrnet_jax.tracking.candidates import Candidates
from hrnet_jax.tracking.memory import State
from hrnet_jax.tracking.settings import VELOCITY, Settings

Estimate = Callable[[np.ndarray], np.ndarray]
"""The network: boxes [N, 4] -> poses [N, K, 3]."""

LINKS = {"greedy": linking.link, "optimal": linking.link_optimally}


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """What the tracker is told of a frame.

    Attributes:
      time: in seconds, or the index of the frame where the rate is not known. It increases.
      size: (height, width) of the photo.
      boxes: [N, 4] detections.
      scores: [N] of these.
      shift: (x, y) by which the camera moved the background since the last frame, in pixels; see `shots`.
      flow: [H, W, 2] optical flow to this frame from the last one, at its pixels; see `flow`.
      cut: True for the first frame of a shot: everybody before it is forgotten.
    """

    time: float
    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    shift: np.ndarray | tuple[float, float] = (0.0, 0.0)
    flow: np.ndarray | None = None
    cut: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Tracks:
    """The people of a frame: those detected first, each in the order of the boxes.

    Attributes:
      boxes: [N, 4] in which the poses were estimated.
      box_scores: [N] on the detector's scale.
      poses: [N, K, 3]. All joints; see `Settings.joint_score`.
      ids: [N] track ids, from 0, never used again.
      detected: [N] whether a detection of this frame supports the person.
      began: [N] times at which the tracks began.
    """

    boxes: np.ndarray
    box_scores: np.ndarray
    poses: np.ndarray
    ids: np.ndarray
    detected: np.ndarray
    began: np.ndarray


def step(
    state: State, frame: Frame, estimate: Estimate, settings: Settings, sigmas: oks.Sigmas
) -> tuple[State, Tracks]:
    """Follows people into the next frame.

    Args:
      state: after the last frame; `memory.start` before the first.
      frame: the next frame.
      estimate: the network. It is called once, unless there is no box.
      settings: see there.
      sigmas: [K] of the skeleton, see `oks.joint_similarity`.

    Raises ValueError for arrays of other shapes, a time that does not increase, and a missing flow.
    """
    found, shift = _check(frame, state), np.asarray(frame.shift, float)
    state = state.select(np.zeros(len(state.ids), bool)) if frame.cut else state
    state = memory.forget(state, frame.time, settings)
    proposed = candidates.propose(state, frame.time, frame.size, shift, frame.flow, settings)
    chosen = candidates.unify(found, proposed, settings)
    poses = _estimate(estimate, chosen.boxes, state.poses.shape[1])
    kept = select_poses(poses, chosen, settings, sigmas)
    poses, chosen = poses[kept], chosen.select(kept)
    moved = memory.moved_poses(state, settings.motion, frame.time, shift, frame.flow)
    table, link = compare(moved, poses, settings, sigmas), LINKS[settings.assignment]
    linked = link([table], [state.ids], len(poses), settings.min_similarity)
    state = dataclasses.replace(state, poses=moved)
    wanted = (linked >= 0) | (chosen.scores >= settings.new_score)
    return _record(state, frame, chosen.select(wanted), poses[wanted], linked[wanted], settings)


def _check(frame: Frame, state: State) -> Candidates:
    """Returns the detections. Raises ValueError for wrong arrays or times."""
    boxes, scores = np.asarray(frame.boxes, float), np.asarray(frame.scores, float)
    if boxes.shape != (len(scores), 4) or scores.ndim != 1 or not np.isfinite(boxes).all():
        raise ValueError(
            f"detections must be finite `boxes` [N, 4] and `scores` [N], but are {boxes.shape} and {scores.shape}"
        )
    if not frame.time > state.time:
        raise ValueError(f"`time` (={frame.time}) must be later than that of the last frame, {state.time}")
    if frame.flow is not None and frame.flow.shape != (*frame.size, 2):
        raise ValueError(f"`flow` {frame.flow.shape} must have the shape {(*frame.size, 2)} of the photo")
    return Candidates(boxes, scores, np.full(len(scores), state.frame), scores)


def _estimate(estimate: Estimate, boxes: np.ndarray, num_joints: int) -> np.ndarray:
    expected = len(boxes), num_joints, 3
    poses = np.asarray(estimate(boxes), float) if len(boxes) else np.zeros(expected)
    if poses.shape != expected:
        raise ValueError(f"the poses of {len(boxes)} boxes must be {expected}, but are {poses.shape}")
    return poses


def select_poses(poses: np.ndarray, boxes: Candidates, settings: Settings, sigmas: oks.Sigmas) -> np.ndarray:
    """Returns the indices of poses [N, K, 3] of at least the `pose_score` that OKS-NMS keeps, in order.

    A person's score is that of COCO's evaluation, and its area that of its box.
    """
    mean_scores = oks.rescore(np.ones(len(poses)), poses[..., 2], settings.joint_threshold)
    rows = np.flatnonzero(mean_scores >= settings.pose_score)
    if not len(rows):
        return rows
    areas = (boxes.boxes[:, 2:] - boxes.boxes[:, :2]).prod(axis=1)
    parts = poses[rows, :, :2], (boxes.scores * mean_scores)[rows], areas[rows]
    return rows[np.sort(oks.suppress(np.zeros(len(rows), int), *parts, sigmas, settings.pose_nms))]


def compare(earlier: np.ndarray, current: np.ndarray, settings: Settings, sigmas: oks.Sigmas) -> np.ndarray:
    """Returns [A, B]: the similarity of poses [A, K, 3] and [B, K, 3]."""
    if settings.similarity == "iou":
        return similarity.box_similarity(earlier, current, settings.joint_threshold)
    return similarity.pose_similarity(earlier, current, sigmas, settings.joint_threshold)


def _record(
    state: State, frame: Frame, boxes: Candidates, poses: np.ndarray, linked: np.ndarray, settings: Settings
) -> tuple[State, Tracks]:
    """Returns the state with the people of a frame, and these. `linked` are ids, -1 for new people."""
    ids, count = linking.number(linked, state.next_id), len(poses)
    rows = memory.newest_rows(state, linked)
    old = rows >= 0
    times, seen, velocities = np.full(count, float(frame.time)), np.ones(count, int), np.zeros((count, 2))
    began = times.copy()
    began[old], seen[old] = state.began[rows[old]], state.seen[rows[old]] + 1
    if settings.motion == VELOCITY:
        velocities[old] = _velocities(state, rows[old], poses[old], frame.time, settings)
    added = State(
        frame=state.frame + 1,
        time=float(frame.time),
        next_id=max(state.next_id, ids.max(initial=-1) + 1),
        poses=poses,
        ids=ids,
        scores=boxes.detection_scores,
        frames=np.full(count, state.frame),
        times=times,
        detected=boxes.detected,
        began=began,
        seen=seen,
        velocities=velocities,
    )
    tracks = Tracks(boxes.boxes, boxes.scores, poses, ids, boxes.detected == state.frame, began)
    return memory.remember(state, added, settings), tracks


def _velocities(state: State, rows: np.ndarray, poses: np.ndarray, time: float, settings: Settings) -> np.ndarray:
    """Returns [N, 2]: the velocities of people after they were found where they were not quite expected.

    The mean of the first displacements, then an exponentially weighted one: the velocity is corrected by the
    distance from the expected pose.
    """
    expected = state.poses[rows]
    valid = (np.minimum(expected[..., 2], poses[..., 2]) >= settings.joint_threshold)[..., None]
    off = ((poses - expected)[..., :2] * valid).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    gain = np.maximum(settings.velocity_gain, 1 / state.seen[rows])
    return state.velocities[rows] + (gain / (time - state.times[rows]))[:, None] * off


def adopt(boxes: np.ndarray, scores: np.ndarray, ids: np.ndarray, estimate: Estimate, num_joints: int) -> Tracks:
    """Estimates the poses of people that another tracker follows, by its boxes [N, 4], scores [N] and ids [N].

    `began` is unknown (NaN). Raises ValueError for other shapes, and if two people have the same id.
    """
    boxes, scores, ids = np.asarray(boxes, float), np.asarray(scores, float), np.asarray(ids, int)
    if boxes.shape != (len(ids), 4) or scores.shape != ids.shape or ids.ndim != 1:
        raise ValueError(
            f"`boxes` {boxes.shape}, `scores` {scores.shape}, `ids` {ids.shape} must be [N, 4], [N], [N]"
        )
    if len(set(ids.tolist())) < len(ids):
        raise ValueError(f"`ids` (={ids.tolist()}) must be different within a frame")
    poses, count = _estimate(estimate, boxes, num_joints), len(ids)
    return Tracks(boxes, scores, poses, ids, np.ones(count, bool), np.full(count, np.nan))
