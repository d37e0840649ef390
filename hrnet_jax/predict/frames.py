"""What the tracker is given of a frame: detections, and the poses in the boxes that it chooses."""

import dataclasses
from typing import Protocol

import numpy as np

from hrnet_jax.predict import box_files, boxes, sources
from hrnet_jax.predict.box_files import Found
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.tracking.tracker import Tracks

Given = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes [N, 4], scores [N] and track ids [N]."""


class Frame(Protocol):
    """A frame as the tracker sees it. Called with boxes [N, 4], as corners, it returns poses [N, K, 3]."""

    def detect(self) -> Found:
        """Returns detected boxes and their scores."""
        ...

    def given(self) -> Given | None:
        """Returns the people of another tracker, None without one."""
        ...

    def __call__(self, corners: np.ndarray) -> np.ndarray:
        """Returns the poses in boxes."""
        ...

    def result(self, tracks: Tracks) -> Result:
        """Returns the people that the tracker kept, with their ids."""
        ...


def see(predictor: Predictor, item: Item, *, heatmaps: bool) -> Frame:
    """Returns what a predictor sees in a frame."""
    if isinstance(predictor, BoxPredictor):
        return _InBoxes(predictor, item, heatmaps)
    return _WithoutBoxes(predictor, item)


class _InBoxes:
    """The people in the boxes that the tracker chooses. The network runs when it has chosen."""

    def __init__(self, predictor: BoxPredictor, item: Item, heatmaps: bool):
        self._predictor, self._item, self._heatmaps = predictor, item, heatmaps
        self._estimated: tuple[np.ndarray, Result] | None = None

    def detect(self) -> Found:
        return boxes.check(self._predictor.find_boxes(name(self._item), photo(self._item)))

    def given(self) -> Given | None:
        find_boxes = self._predictor.find_boxes
        ids = box_files.track_ids(find_boxes, name(self._item))
        return None if ids is None else (*find_boxes(name(self._item), photo(self._item)), ids)

    def __call__(self, corners: np.ndarray) -> np.ndarray:
        poses = self._predict(corners).poses
        return np.concatenate([poses.joints, poses.scores[..., None]], axis=-1)

    def _predict(self, corners: np.ndarray) -> Result:
        sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        item = dataclasses.replace(self._item, found=(sized, np.ones(len(sized))))
        result = self._predictor.result(item, heatmaps=self._heatmaps)
        self._estimated = corners, result
        return result

    def result(self, tracks: Tracks) -> Result:
        nobody = np.zeros((0, 4))
        estimated, result = self._estimated or (nobody, self._predict(nobody))
        return _select(result, _rows(estimated, tracks.boxes), tracks, tracks.box_scores)


class _WithoutBoxes:
    """The people that the network finds in the whole frame. The tracker chooses among their boxes.

    All have the same score for the tracker, which weighs them by their joints. People of one joint, whose box has
    no size, are left out, and joints that were not found do not count.
    """

    def __init__(self, predictor: Predictor, item: Item):
        result = predictor.result(item)
        sized = result.poses.boxes[:, 2:].max(axis=1, initial=0) > 0
        self._poses, self._result = result.poses, result
        self._sized = np.flatnonzero(sized)
        self._corners = corners(result.poses.boxes[sized].astype(float))
        joints = np.concatenate([result.poses.joints, result.poses.found_scores[..., None]], axis=-1)
        self._joints = joints[sized].astype(float)  # [N, K, 3]

    def detect(self) -> Found:
        return self._poses.boxes[self._sized].astype(float), np.ones(len(self._sized))

    def given(self) -> None:
        return None

    def __call__(self, corners: np.ndarray) -> np.ndarray:
        return self._joints[_rows(self._corners, corners)]

    def result(self, tracks: Tracks) -> Result:
        # By their poses, too: the tracker may have dropped one of two people with equal boxes.
        found, kept = (
            np.concatenate([boxes, poses.reshape(len(boxes), -1)], axis=1)
            for boxes, poses in ((self._corners, self._joints), (tracks.boxes, tracks.poses))
        )
        rows = self._sized[_rows(found, kept)]
        return _select(self._result, rows, tracks, self._poses.box_scores[rows])


def _rows(among: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the rows of `among` [M, D] that were chosen [N, D]. Equal ones are taken in turn."""
    rows = []
    for i, row in enumerate(chosen):
        equal = np.flatnonzero((among == row).all(axis=1))
        taken = (chosen[:i] == row).all(axis=1).sum()
        rows.append(equal[taken % len(equal)])
    return np.array(rows, int)


def _select(result: Result, rows: np.ndarray, tracks: Tracks, box_scores: np.ndarray) -> Result:
    """Returns some people of a result, with the ids of their tracks."""
    found = result.poses
    poses = dataclasses.replace(
        found,
        boxes=found.boxes[rows],
        box_scores=box_scores.astype(np.float32),
        joints=found.joints[rows],
        scores=found.scores[rows],
        ids=tracks.ids,
        filled=None if found.filled is None else found.filled[rows],
    )
    crops, heatmaps = (None if array is None else array[rows] for array in (result.crops, result.heatmaps))
    return Result(poses, result.photo, crops, heatmaps)


def name(item: Item) -> str:
    """Returns the name of a frame in files of boxes and flow: that of its photo, or ``clip.mp4/000012``."""
    is_of_video = sources.is_video(item.source) and item.frame is not None
    return box_files.frame_name(item.source, item.frame or 0) if is_of_video else item.source


def photo(item: Item) -> np.ndarray:
    """Returns the photo of a frame. Raises ValueError if it was not read."""
    if item.photo is None:
        raise ValueError(f"{item.source}: people are followed through frames that were read: give `photo`")
    return item.photo


def corners(found: np.ndarray) -> np.ndarray:
    """Returns boxes [N, 4] x, y, width, height as corners."""
    return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
