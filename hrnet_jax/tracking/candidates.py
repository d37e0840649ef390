"""Boxes in which poses are estimated: the detector's, and those that the poses of the last frame propose."""

import dataclasses

import numpy as np

from hrnet_jax.evaluation import oks
from hrnet_jax.tracking import memory, similarity
from hrnet_jax.tracking.memory import State
from hrnet_jax.tracking.settings import NONE, Settings


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes of a frame.

    Attributes:
      boxes: [N, 4] corners in photo pixels.
      scores: [N] on the detector's scale.
      detected: [N] number of the frame in which a detection last supported each: the current one for detections.
      detection_scores: [N] score of this detection.
    """

    boxes: np.ndarray
    scores: np.ndarray
    detected: np.ndarray
    detection_scores: np.ndarray

    def select(self, rows: np.ndarray) -> "Candidates":
        """Returns some of the boxes: indices or [N] bool."""
        return Candidates(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def propose(
    state: State,
    time: float,
    size: tuple[int, int],
    shift: np.ndarray,
    flow: np.ndarray | None,
    settings: Settings,
) -> Candidates:
    """Returns the boxes around the poses of the last frame, moved to the next one. See `tracker.Frame` for it.

    The score is the one of the person's last detection times the mean of the scores of the pose's valid joints, so
    it is on the detector's scale. People without a detection for too long are left out, and so are poses that span
    no box, and boxes outside of the photo.
    """
    limit = 0 if settings.propagation == NONE else settings.propagation_frames
    state = state.select((state.frames == state.frame - 1) & (state.frame - state.detected <= limit))
    poses = memory.moved_poses(state, settings.propagation, time, shift, flow)
    boxes = similarity.grow(similarity.tight_boxes(poses, settings.joint_threshold), settings.growth)
    scores = oks.rescore(state.scores, state.poses[..., 2], settings.joint_threshold)
    spans = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    inside = (boxes[:, :2] < size[::-1]).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    return Candidates(boxes, scores, state.detected, state.scores).select(spans & inside)


def unify(found: Candidates, proposed: Candidates, settings: Settings) -> Candidates:
    """Returns what box NMS and the least score leave of detections and proposed boxes, detections first.

    A proposed box that replaces a detection of lower score counts as detected.
    """
    found = found.select(found.scores >= settings.box_score)
    proposed = proposed.select(proposed.scores >= settings.box_score)
    names = [field.name for field in dataclasses.fields(Candidates)]
    both = Candidates(*(np.concatenate([getattr(found, name), getattr(proposed, name)]) for name in names))
    kept = np.sort(similarity.suppress_boxes(both.boxes, both.scores, settings.box_nms))
    chosen = both.select(kept)
    replaced = similarity.iou(chosen.boxes, found.boxes) > settings.box_nms
    supported = replaced.any(axis=1) & (kept >= len(found.scores))
    support = np.where(replaced, found.scores, 0.0).max(axis=1, initial=0.0)
    return dataclasses.replace(
        chosen,
        detected=np.where(supported, found.detected.max(initial=-1), chosen.detected),
        detection_scores=np.where(supported, support, chosen.detection_scores),
    )
