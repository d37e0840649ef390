"""Follows the people of one video, a frame at a time and without looking ahead."""

import dataclasses
import io
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from hrnet_jax import buckets
from hrnet_jax.predict import frames
from hrnet_jax.predict.box_files import Found
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.predict.track_options import ONE_EURO, TrackOptions
from hrnet_jax.tracking import flow, memory, shots, smoothing, tracker
from hrnet_jax.tracking.settings import NONE
from hrnet_jax.tracking.tracker import Tracks

NOBODY: Found = (np.zeros((0, 4)), np.zeros(0))


class Follower:
    """Follows the people of one video: called with its frames in order, it returns their poses with track ids.

    Memory does not grow with the number of frames.

    Args:
      predictor: predicts the poses in the boxes that the tracker chooses. If its boxes are of a file with the ids
        of another tracker, these are taken. If it needs no boxes, the tracker chooses among the people that it
        finds in each frame, and proposes none.
      options: of the tracker.
      detect_every: frames from one detection to the next. In between, people are in boxes around their last poses,
        which the tracker moves on.
      heatmaps: whether results have them.
    """

    def __init__(
        self, predictor: Predictor, options: TrackOptions, detect_every: int = 1, *, heatmaps: bool = False
    ):
        self._predictor, self._detect_every, self._heatmaps = predictor, detect_every, heatmaps
        self._settings, self._smooths = options.for_detections(detect_every), options.smoother == ONE_EURO
        if isinstance(predictor, BoxPredictor):
            self._predictor = dataclasses.replace(predictor, nms_threshold=1.0)  # the tracker drops duplicates
        else:
            self._settings = dataclasses.replace(self._settings, propagation=NONE, box_nms=1.0)
        self._flow = flow.open_source(self._settings.flow) if self._settings.needs_flow else None
        num_joints = predictor.skeleton.num_joints
        self._tracker, self._smoother, self._count = memory.start(num_joints), smoothing.start(num_joints), 0
        self._last: Item | None = None

    def __call__(self, frame: Item) -> Result:
        """Follows people into the next frame, of a photo and time. Raises ValueError as the tracker does."""
        seen = frames.see(self._predictor, frame, heatmaps=self._heatmaps)
        given = seen.given()
        tracks = self._step(frame, seen) if given is None else self._adopt(*given, seen)
        self._count += 1
        self._last = frame
        return self._smoothed(seen.result(tracks))

    def pass_by(self, frame: Item) -> None:
        """Shows a frame whose people are known, so that the flow to the next one can be computed."""
        self._last = frame

    def _step(self, frame: Item, estimate: frames.Frame) -> Tracks:
        found = NOBODY
        if self._count % self._detect_every == 0:
            found = estimate.detect()
        change = self._compare(frame)
        cut = change.error >= self._settings.cut_error
        seen = tracker.Frame(
            time=_time(frame),
            size=frames.photo(frame).shape[:2],
            boxes=frames.corners(found[0]),
            scores=found[1],
            shift=change.shift,
            flow=None if cut else self._flow_to(frame),
            cut=cut,
        )
        sigmas = np.array(self._predictor.skeleton.sigmas)
        self._tracker, tracks = tracker.step(self._tracker, seen, estimate, self._settings, sigmas)
        return tracks

    def _compare(self, frame: Item) -> shots.Comparison:
        """Compares the last frame with the next one. Photos too small for it count as equal."""
        if self._last is None:
            return shots.NOTHING_IN_COMMON
        earlier, following = frames.photo(self._last), frames.photo(frame)
        low, high = sorted(earlier.shape[:2])
        is_large = low * min(1.0, shots.LONGER_SIDE / high) >= flow.MIN_SIDE
        return shots.compare(earlier, following) if is_large else shots.Comparison(0.0, np.zeros(2))

    def _flow_to(self, frame: Item) -> np.ndarray | None:
        """Returns the flow from the last frame to the next one, None if the tracker does not need it."""
        if self._flow is None or self._last is None:
            return None
        return self._flow(frames.name(self._last), frames.photo(self._last), frames.photo(frame))

    def _adopt(self, found: np.ndarray, scores: np.ndarray, ids: np.ndarray, estimate: frames.Frame) -> Tracks:
        """Takes the people of another tracker, except for boxes without a size."""
        sized = found[:, 2:].max(axis=1, initial=0) > 0
        num_joints = self._predictor.skeleton.num_joints
        return tracker.adopt(frames.corners(found[sized]), scores[sized], ids[sized], estimate, num_joints)

    def _smoothed(self, result: Result) -> Result:
        poses = result.poses
        if not self._smooths or poses.ids is None:
            return result
        joints = np.concatenate([poses.joints, poses.found_scores[..., None]], axis=-1)
        self._smoother, smoothed = smoothing.smooth(
            self._smoother, poses.time or 0.0, poses.ids, joints.astype(float), poses.boxes[:, 3]
        )
        poses = dataclasses.replace(poses, smoothed=smoothed[..., :2].astype(np.float32))
        return dataclasses.replace(result, poses=poses)

    def save(self, path: pathlib.Path) -> None:
        """Writes what is needed to go on after the last frame. The file is complete or unchanged."""
        parts = {"tracker": vars(self._tracker), "smoother": vars(self._smoother), "": {"count": self._count}}
        values = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
        content = io.BytesIO()
        np.savez(content, **values)
        buckets.write_atomically(path, content.getvalue())

    def restore(self, path: pathlib.Path) -> int:
        """Reads what `save` wrote, and returns the number of frames until then: 0 if the file is damaged."""
        parts: dict[str, dict[str, Any]] = {"tracker": {}, "smoother": {}, "": {}}
        try:
            with np.load(io.BytesIO(path.read_bytes())) as values:
                for name in values:
                    part, _, key = name.partition(".")
                    parts[part][key] = values[name] if values[name].ndim else values[name].item()
            tracked, smoothed = memory.State(**parts["tracker"]), smoothing.State(**parts["smoother"])
            count = int(parts[""]["count"])
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError):
            return 0
        self._tracker, self._smoother, self._count = tracked, smoothed, count
        return count


def _time(frame: Item) -> float:
    """Returns the time of a frame. Raises ValueError if there is none."""
    if frame.time is None:
        raise ValueError(f"{frame.source}: people are followed through frames at times: give `time`, in seconds")
    return frame.time
