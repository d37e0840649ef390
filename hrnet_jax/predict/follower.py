"""Follows the people of one video, a frame at a time and without looking ahead."""

import dataclasses
import io
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from hrnet_jax import buckets
from hrnet_jax.predict import box_files, boxes, sources
from hrnet_jax.predict.box_files import Found
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.predict.track_options import ONE_EURO, TrackOptions
from hrnet_jax.tracking import flow, memory, shots, smoothing, tracker
from hrnet_jax.tracking.tracker import Tracks

NOBODY: Found = (np.zeros((0, 4)), np.zeros(0))


class Follower:
    """Follows the people of one video: called with its frames in order, it returns their poses with track ids.

    Memory does not grow with the number of frames.

    Args:
      predictor: predicts the poses in the boxes that the tracker chooses. If its boxes are of a file with the ids
        of another tracker, these are taken.
      options: of the tracker.
      detect_every: frames from one detection to the next. In between, people are in boxes around their last poses,
        which the tracker moves on.
      heatmaps: whether results have them.
    """

    def __init__(
        self, predictor: Predictor, options: TrackOptions, detect_every: int = 1, *, heatmaps: bool = False
    ):
        self._predictor = dataclasses.replace(predictor, nms_threshold=1.0)  # the tracker drops duplicates
        self._detect_every, self._heatmaps = detect_every, heatmaps
        self._settings, self._smooths = options.for_detections(detect_every), options.smoother == ONE_EURO
        self._flow = flow.open_source(self._settings.flow) if self._settings.needs_flow else None
        num_joints = predictor.network.skeleton.num_joints
        self._tracker, self._smoother, self._count = memory.start(num_joints), smoothing.start(num_joints), 0
        self._last: Item | None = None

    def __call__(self, frame: Item) -> Result:
        """Follows people into the next frame, of a photo and time. Raises ValueError as the tracker does."""
        estimate = _Estimate(self._predictor, frame, self._heatmaps)
        given = box_files.track_ids(self._predictor.find_boxes, name(frame))
        tracks = self._step(frame, estimate) if given is None else self._adopt(frame, given, estimate)
        self._count += 1
        self._last = frame
        return self._smoothed(estimate.result(tracks))

    def pass_by(self, frame: Item) -> None:
        """Shows a frame whose people are known, so that the flow to the next one can be computed."""
        self._last = frame

    def _step(self, frame: Item, estimate: "_Estimate") -> Tracks:
        found = NOBODY
        if self._count % self._detect_every == 0:
            found = boxes.check(self._predictor.find_boxes(name(frame), _photo(frame)))
        change = self._compare(frame)
        cut = change.error >= self._settings.cut_error
        seen = tracker.Frame(
            time=_time(frame),
            size=_photo(frame).shape[:2],
            boxes=_corners(found[0]),
            scores=found[1],
            shift=change.shift,
            flow=None if cut else self._flow_to(frame),
            cut=cut,
        )
        sigmas = np.array(self._predictor.network.skeleton.sigmas)
        self._tracker, tracks = tracker.step(self._tracker, seen, estimate, self._settings, sigmas)
        return tracks

    def _compare(self, frame: Item) -> shots.Comparison:
        """Compares the last frame with the next one. Photos too small for it count as equal."""
        if self._last is None:
            return shots.NOTHING_IN_COMMON
        earlier, following = _photo(self._last), _photo(frame)
        low, high = sorted(earlier.shape[:2])
        is_large = low * min(1.0, shots.LONGER_SIDE / high) >= flow.MIN_SIDE
        return shots.compare(earlier, following) if is_large else shots.Comparison(0.0, np.zeros(2))

    def _flow_to(self, frame: Item) -> np.ndarray | None:
        """Returns the flow from the last frame to the next one, None if the tracker does not need it."""
        if self._flow is None or self._last is None:
            return None
        return self._flow(name(self._last), _photo(self._last), _photo(frame))

    def _adopt(self, frame: Item, ids: np.ndarray, estimate: "_Estimate") -> Tracks:
        """Takes the people of another tracker, except for boxes without a size."""
        found, scores = self._predictor.find_boxes(name(frame), _photo(frame))
        sized = found[:, 2:].max(axis=1, initial=0) > 0
        num_joints = self._predictor.network.skeleton.num_joints
        return tracker.adopt(_corners(found[sized]), scores[sized], ids[sized], estimate, num_joints)

    def _smoothed(self, result: Result) -> Result:
        poses = result.poses
        if not self._smooths or poses.ids is None:
            return result
        joints = np.concatenate([poses.joints, poses.scores[..., None]], axis=-1)
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


class _Estimate:
    """The network, on one frame: boxes [N, 4] corners -> poses [N, K, 3]. Keeps what it saw."""

    def __init__(self, predictor: Predictor, frame: Item, heatmaps: bool):
        self._predictor, self._frame, self._heatmaps = predictor, frame, heatmaps
        self._estimated: tuple[np.ndarray, Result] | None = None

    def __call__(self, corners: np.ndarray) -> np.ndarray:
        poses = self._predict(corners).poses
        return np.concatenate([poses.joints, poses.scores[..., None]], axis=-1)

    def _predict(self, corners: np.ndarray) -> Result:
        sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        frame = dataclasses.replace(self._frame, found=(sized, np.ones(len(sized))))
        result = self._predictor.result(frame, heatmaps=self._heatmaps)
        self._estimated = corners, result
        return result

    def result(self, tracks: Tracks) -> Result:
        """Returns the people that the tracker kept, with their ids."""
        nobody = np.zeros((0, 4))
        estimated, result = self._estimated or (nobody, self._predict(nobody))
        rows = [int((estimated == box).all(axis=1).argmax()) for box in tracks.boxes]
        poses = dataclasses.replace(
            result.poses,
            boxes=result.poses.boxes[rows],
            box_scores=tracks.box_scores.astype(np.float32),
            joints=result.poses.joints[rows],
            scores=result.poses.scores[rows],
            ids=tracks.ids,
        )
        heatmaps = None if result.heatmaps is None else result.heatmaps[rows]
        return Result(poses, result.photo, result.crops[rows], heatmaps)


def name(frame: Item) -> str:
    """Returns the name of a frame in files of boxes and flow: that of its photo, or ``clip.mp4/000012``."""
    is_of_video = sources.is_video(frame.source) and frame.frame is not None
    return box_files.frame_name(frame.source, frame.frame or 0) if is_of_video else frame.source


def _photo(frame: Item) -> np.ndarray:
    """Returns the photo of a frame. Raises ValueError if it was not read."""
    if frame.photo is None:
        raise ValueError(f"{frame.source}: people are followed through frames that were read: give `photo`")
    return frame.photo


def _time(frame: Item) -> float:
    """Returns the time of a frame. Raises ValueError if there is none."""
    if frame.time is None:
        raise ValueError(f"{frame.source}: people are followed through frames at times: give `time`, in seconds")
    return frame.time


def _corners(found: np.ndarray) -> np.ndarray:
    return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
