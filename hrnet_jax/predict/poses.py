"""The poses of the people in one photo, and their forms in JSON and COCO's result files."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hrnet_jax import visualize
from hrnet_jax.evaluation import oks
from hrnet_jax.skeletons import Skeleton

JOINT_SCORE = 0.2
"""Joints of lower score are drawn as uncertain, and do not count in a person's score, as in the evaluation."""


@dataclasses.dataclass(frozen=True, eq=False)
class Poses:
    """The poses of N people in a photo, or in a frame of a video.

    Coordinates are pixels of the photo as it is shown, after turning it as its EXIF mark says.

    Attributes:
      source: path of the photo or video as given; empty for an array.
      frame: index of the frame in the video, from 0; None for photos.
      time: of the frame, in seconds from the first; None for photos.
      size: (height, width) of the photo.
      boxes: [N, 4] float32 x, y, width, height.
      box_scores: [N] float32, the detector's; 1 for boxes without a score. Of people found without boxes, the
        mean of the scores of all joints, where those that are filled or missing count 0, as in the evaluation.
      joints: [N, K, 2] float32 x, y.
      scores: [N, K] float32, the maximum of each joint's heatmap: about 1 for certain joints.
      skeleton: names and connections of the K joints.
      notes: what was changed about the photo to read it, each in a few words.
      ids: [N] of the tracks of people who are followed through a video; None for others.
      smoothed: [N, K, 2] float32 joints to show instead, smoothed over time; None for those as predicted.
      filled: [N, K] bool, of people found without boxes: joints that were not found, and were put at the best
        pixel that was left. These are guesses, and some are far off. Joints with a score of 0 are missing, and
        their places mean nothing. None for people in boxes.
    """

    source: str
    frame: int | None
    time: float | None
    size: tuple[int, int]
    boxes: np.ndarray
    box_scores: np.ndarray
    joints: np.ndarray
    scores: np.ndarray
    skeleton: Skeleton
    notes: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    smoothed: np.ndarray | None = None
    filled: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def person_scores(self) -> np.ndarray:
        """[N] float64: the box score times the mean of the joint scores above 0.2, as in COCO's evaluation.

        That of people found without boxes is their box score.
        """
        if self.filled is not None:
            return self.box_scores.astype(np.float64)
        return oks.rescore(self.box_scores, self.scores, JOINT_SCORE)

    @property
    def found_scores(self) -> np.ndarray:
        """[N, K] float32: the joint scores, 0 for joints that are filled."""
        return self.scores if self.filled is None else np.where(self.filled, np.float32(0), self.scores)

    @property
    def shown_joints(self) -> np.ndarray:
        """[N, K, 2] float32: the joints to show. They are smoothed if there are such, and NaN where not found."""
        joints = self.joints if self.smoothed is None else self.smoothed
        return joints if self.filled is None else np.where(self.found_scores[..., None] > 0, joints, np.nan)

    def draw(self, photo: np.ndarray, joint_score: float = JOINT_SCORE) -> np.ndarray:
        """Draws all skeletons on a photo ``[H, W, 3]`` uint8 RGB and returns the picture.

        Joints that score below `joint_score` are drawn as rings, and their limbs as thin lines. Joints that are
        filled or missing are not drawn. A photo of another
        size than `size`, such as a thumbnail, gets the joints scaled. People of tracks have the colour and number
        of their track.
        """
        scale = np.array(photo.shape[1::-1], np.float32) / np.array(self.size[::-1], np.float32)
        joints = (self.shown_joints + 0.5) * scale - 0.5
        certain = self.scores >= joint_score
        if self.ids is None:
            return visualize.draw_people(photo, joints, self.skeleton, certain=certain)
        return visualize.draw_tracks(photo, joints, self.skeleton, self.ids.tolist(), certain=certain)

    def to_json(self) -> dict[str, Any]:
        """Returns the poses as in ``poses.json``. Numbers are as short as possible without losing a bit.

        ``{"source", "frame", "time", "height", "width", "people": [{"box": [x, y, width, height], "box_score",
        "score", "joints": [[x, y, score], ...]}, ...]}``. People of tracks also have their ``id``, and if there
        are any, ``smoothed`` joints ``[[x, y], ...]``, and those found without boxes ``filled`` ``[false, ...]``.
        """
        joints = np.concatenate([self.joints, self.scores[..., None]], axis=-1)
        columns = {
            "box": self.boxes,
            "box_score": self.box_scores,
            "score": self.person_scores.astype(np.float32),
            "joints": joints,
        }
        listed = {name: _numbers(values) for name, values in columns.items()}
        listed |= {"id": self.ids.tolist()} if self.ids is not None else {}
        listed |= {"smoothed": _numbers(self.smoothed)} if self.smoothed is not None else {}
        listed |= {"filled": self.filled.tolist()} if self.filled is not None else {}
        people = [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
        height, width = self.size
        photo = {"source": self.source, "frame": self.frame, "time": self.time, "height": height, "width": width}
        return {**photo, "people": people}

    def to_coco(self, image_id: int | str, category_id: int = 1) -> list[dict[str, Any]]:
        """Returns the people as entries of a COCO result file, which pycocotools evaluates.

        ``{"image_id", "category_id", "keypoints" [x, y, score, ...], "score"}``. There is no `bbox`: pycocotools
        would take the person's area from it.
        """
        keypoints = np.concatenate([self.joints, self.scores[..., None]], axis=-1)
        keypoints = keypoints.reshape(len(self), 3 * self.skeleton.num_joints)
        return [
            {"image_id": image_id, "category_id": category_id, "keypoints": of_person, "score": score}
            for of_person, score in zip(_numbers(keypoints), self.person_scores.tolist(), strict=True)
        ]


def from_json(content: Mapping[str, Any], skeleton: Skeleton) -> Poses:
    """Returns the poses that `Poses.to_json` wrote, with the same bits, except for the notes."""
    people, joints = content["people"], skeleton.num_joints
    table = np.array([person["joints"] for person in people], np.float32).reshape(-1, joints, 3)
    has_ids, is_smoothed, is_filled = (people and name in people[0] for name in ("id", "smoothed", "filled"))
    smoothed = [person["smoothed"] for person in people] if is_smoothed else []
    filled = [person["filled"] for person in people] if is_filled else []
    return Poses(
        source=content["source"],
        frame=content["frame"],
        time=content["time"],
        size=(content["height"], content["width"]),
        boxes=np.array([person["box"] for person in people], np.float32).reshape(-1, 4),
        box_scores=np.array([person["box_score"] for person in people], np.float32),
        joints=table[..., :2],
        scores=table[..., 2],
        skeleton=skeleton,
        ids=np.array([person["id"] for person in people], np.int64) if has_ids else None,
        smoothed=np.array(smoothed, np.float32).reshape(-1, joints, 2) if is_smoothed else None,
        filled=np.array(filled, bool).reshape(-1, joints) if is_filled else None,
    )


def shown_joints(person: Mapping[str, Any]) -> list[list[Any]]:
    """Returns ``[[x, y, score], ...]`` of a person in JSON, at the smoothed places if there are any.

    Joints of people found without boxes that are filled or missing are ``[None, None, 0.0]``.
    """
    places, joints = person.get("smoothed", person["joints"]), person["joints"]
    shown = [[*place[:2], joint[2]] for place, joint in zip(places, joints, strict=True)]
    if "filled" not in person:
        return shown
    pairs = zip(shown, person["filled"], strict=True)
    return [[None, None, 0.0] if filled or joint[2] <= 0 else joint for joint, filled in pairs]


def _numbers(array: np.ndarray) -> Any:
    """Returns nested lists of the shortest numbers that are read back as the same float32."""
    flat = [float(text) for text in array.astype(np.float32).ravel().astype("U32").tolist()]
    return np.array(flat).reshape(array.shape).tolist()
