"""Compares tracks with ground truth, person by person, for the page of a tracked video.

This is for the eye: PoseTrack's MOTA counts joints, see `evaluation.posetrack`.
"""

import pathlib
from typing import Any

import numpy as np

from hrnet_jax.datasets.posetrack import JOINTS, Video
from hrnet_jax.evaluation import assignment
from hrnet_jax.evaluation.joint_pairs import THRESHOLD
from hrnet_jax.skeletons import Skeleton

SHARE = 0.5  # of a person's labelled joints that are near enough, at least, to be the same person


class Comparison:
    """Compares the frames of a video in order.

    Attributes:
      people: for each person of the ground truth, ``(frame, track)`` in each labelled frame: the place of the
        frame in the video, and the id of the track there, None if there is none.
      switches: ``(frame, person, track before, track)`` where a person gets another track.
    """

    def __init__(self, truth: Video, skeleton: Skeleton):
        """Raises ValueError if the skeletons have no joint in common, or a person has no head box."""
        shared = [joint for joint in JOINTS if joint in skeleton.joints]
        if not shared:
            raise ValueError(f"{truth.name}: the skeleton {skeleton.name!r} has no joint of PoseTrack's")
        self._truth, self._shared = truth, [JOINTS.index(joint) for joint in shared]
        self._predicted = [skeleton.joints.index(joint) for joint in shared]
        first = 0 if truth.year > 2017 else 1
        numbers = [int(pathlib.PurePath(name).stem) - first for name in truth.frames]
        self._rows = {
            number: row for row, number in enumerate(numbers) if truth.labelled[row] or truth.listed[row]
        }
        self._last: dict[int, int] = {}
        self.people: dict[int, list[tuple[int, int | None]]] = {}
        self.switches: list[tuple[int, int, int, int]] = []

    def add(self, place: int, line: dict[str, Any]) -> None:
        """Compares a frame, given its place in the video and its line."""
        row = self._rows.get(line["frame"])
        if row is None:
            return
        truth = self._truth
        seen = truth.present[row] & truth.exists[row][:, self._shared].any(axis=-1)
        people, tracks = truth.track_ids[row][seen].tolist(), [person["id"] for person in line["people"]]
        shares = self._shares(row, seen, line)
        matched = self._match(people, tracks, shares)
        for person in people:
            track = matched.get(person)
            self.people.setdefault(person, []).append((place, track))
            if track is not None:
                before = self._last.setdefault(person, track)
                if before != track:
                    self.switches.append((place, person, before, track))
                self._last[person] = track

    def _shares(self, row: int, seen: np.ndarray, line: dict[str, Any]) -> np.ndarray:
        """Returns [G, D]: the share of each person's labelled joints near those of each track."""
        joints = np.array([person["joints"] for person in line["people"]], float)
        joints = joints.reshape(len(line["people"]), -1, 3)[:, self._predicted, :2] if len(joints) else joints
        if not len(joints) or not seen.any():
            return np.zeros((int(seen.sum()), len(joints)))
        places, exists = (
            self._truth.joints[row][seen][:, self._shared],
            self._truth.exists[row][seen][:, self._shared],
        )
        heads = self._truth.head_sizes[row][seen]
        if np.isnan(heads).any():
            raise ValueError(
                f"{self._truth.name}: a person in {self._truth.frames[row]} has no head box (`bbox_head`)"
            )
        distance = np.linalg.norm(joints[None] - places[:, None], axis=-1)
        near = (distance <= THRESHOLD * heads[:, None, None]) & exists[:, None]
        return near.sum(axis=-1) / exists.sum(axis=-1)[:, None]

    def _match(self, people: list[int], tracks: list[int], shares: np.ndarray) -> dict[int, int]:
        """Returns the track of each person that has one: the last one where it fits, else the best assignment."""
        fits = np.where(shares >= SHARE, shares, 0.0)
        kept = np.zeros(fits.shape, bool)
        for g, person in enumerate(people):
            if self._last.get(person) in tracks:
                d = tracks.index(self._last[person])
                kept[g, d] = fits[g, d] > 0 and not kept[:, d].any()
        rest = np.where(kept.any(axis=1, keepdims=True) | kept.any(axis=0, keepdims=True), 0.0, fits)
        pairs = kept | assignment.assign(rest[None])[0] if fits.size else kept
        return {people[g]: tracks[d] for g, d in zip(*np.nonzero(pairs), strict=True)}

    def to_json(self) -> dict[str, Any]:
        """Returns the runs of equal tracks ``[first, last, track]`` of each person, and the switches."""
        people = [{"id": person, "runs": _runs(frames)} for person, frames in sorted(self.people.items())]
        missed = sum(track is None for frames in self.people.values() for _, track in frames)
        return {
            "people": people,
            "switches": self.switches,
            "missed": missed,
            "labelled": sum(map(len, self.people.values())),
        }


def _runs(frames: list[tuple[int, int | None]]) -> list[list[int | None]]:
    """Returns ``[first frame, last frame, track]`` of frames with the same track, in order."""
    runs: list[list[int | None]] = []
    for place, track in frames:
        if runs and runs[-1][2] == track:
            runs[-1][1] = place
        else:
            runs.append([place, place, track])
    return runs
