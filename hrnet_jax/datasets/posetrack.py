"""PoseTrack's videos: the people of each frame, with track ids (Andriluka et al., CVPR 2018).

Shapes: F frames, N places for people, K joints in the order of `JOINTS`. `posetrack_files` reads and writes them.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from hrnet_jax import validation

JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "head_bottom", "nose", "head_top",
)  # fmt: skip
"""The joints that are evaluated. Their numbers are the ids of joints in files of 2017."""

NO_SCORE = -9999.0  # of a joint whose file has no scores, as in the official evaluation
MAX_TRACK_ID = 9999  # the official evaluation refuses larger ones
HEAD_PART = 0.6  # head size / diagonal of the head's box
MIN_CORNERS = 3


@dataclasses.dataclass(frozen=True)
class Person:
    """A person in a frame; fields as in `Video`, without frames and people."""

    track_id: int
    joints: np.ndarray  # [K, 2]
    exists: np.ndarray  # [K]
    scores: np.ndarray  # [K]
    head_size: float


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame as it stands in a file. `labelled` is None where the file does not say."""

    name: str
    image_id: int
    labelled: bool | None
    listed: bool
    regions: tuple[np.ndarray, ...]
    people: Sequence[Person]


@dataclasses.dataclass(frozen=True)
class Video:
    """The people of a sequence. Places without a person are padding.

    Attributes:
      name: name of the file, without its ending.
      year: 2017 or 2018, the format of the file.
      frames: F names of photos.
      image_ids: F numbers of the frames in the file.
      labelled: [F] bool, frames that annotators worked on; without such marks, frames with people.
      listed: [F] bool, frames with an entry for a person, even one without joints.
      regions: polygons [P, 2] of each frame. What is inside is not evaluated.
      present: [F, N] bool, False for padding.
      track_ids: [F, N] integers, unique in a frame.
      joints: [F, N, K, 2] float64 in photo pixels.
      exists: [F, N, K] bool, joints that are labelled or predicted.
      scores: [F, N, K] of joints, `NO_SCORE` where the file has none.
      head_sizes: [F, N] in pixels, NaN without a head box.
    """

    name: str
    year: int
    frames: tuple[str, ...]
    image_ids: tuple[int, ...]
    labelled: np.ndarray
    listed: np.ndarray
    regions: tuple[tuple[np.ndarray, ...], ...]
    present: np.ndarray
    track_ids: np.ndarray
    joints: np.ndarray
    exists: np.ndarray
    scores: np.ndarray
    head_sizes: np.ndarray

    def select(self, keep: np.ndarray) -> "Video":
        """Returns the video of some frames, [F] bool."""
        rows = np.flatnonzero(keep)
        chosen = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in chosen.items():
            if isinstance(value, np.ndarray):
                chosen[name] = value[rows]
            elif isinstance(value, tuple):
                chosen[name] = tuple(value[row] for row in rows)
        return Video(**chosen)

    def without(self, removed: np.ndarray, rows: np.ndarray) -> "Video":
        """Returns the video without joints [F, N, K], and in frames `rows` [F] without people who have none."""
        exists = self.exists & ~removed
        present = self.present & (exists.any(axis=-1) | ~rows[:, None])
        return dataclasses.replace(self, exists=exists, present=present)


def head_size(x1: float, y1: float, x2: float, y2: float) -> float:
    """Returns the size of a head from the corners of its box, the unit of distances."""
    return float(HEAD_PART * np.linalg.norm(np.subtract([x2, y2], [x1, y1])))


def check_track_id(track_id: int, where: str) -> int:
    """Returns a track id unchanged. Raises ValueError that begins with `where` if it is too large."""
    if track_id > MAX_TRACK_ID:
        raise ValueError(
            f"{where}: `track_id` (={track_id}) must be at most {MAX_TRACK_ID}: number each sequence anew"
        )
    return track_id


def polygon(corners: Sequence[Sequence[float]], where: str) -> np.ndarray:
    """Returns a polygon [P, 2]. Raises ValueError that begins with `where` for one or two corners."""
    if 0 < len(corners) < MIN_CORNERS:
        raise ValueError(
            f"{where}: an ignore region has {len(corners)} corners ({validation.short_repr(corners)}), but needs"
            f" {MIN_CORNERS}: complete or remove it"
        )
    return np.asarray(corners, np.float64).reshape(-1, 2)


def assemble(path: pathlib.Path, year: int, frames: Sequence[Frame]) -> Video:
    """Makes a video of the frames of a file. Raises ValueError if two people of a frame share a track id."""
    for frame in frames:
        check_track_ids(path, frame)
    shape = len(frames), max([1, *(len(frame.people) for frame in frames)])  # one at least, for maxima over people
    present, track_ids = np.zeros(shape, bool), np.full(shape, -1)
    joints, exists = np.zeros((*shape, len(JOINTS), 2)), np.zeros((*shape, len(JOINTS)), bool)
    scores, head_sizes = np.full((*shape, len(JOINTS)), NO_SCORE), np.full(shape, np.nan)
    for row, frame in enumerate(frames):
        for place, person in enumerate(frame.people):
            at = row, place
            present[at], track_ids[at], head_sizes[at] = True, person.track_id, person.head_size
            joints[at], exists[at], scores[at] = person.joints, person.exists, person.scores
    listed = np.array([frame.listed for frame in frames], bool)
    marked = [frame.listed if frame.labelled is None else frame.labelled for frame in frames]
    names, image_ids = tuple(frame.name for frame in frames), tuple(frame.image_id for frame in frames)
    regions = tuple(frame.regions for frame in frames)
    people = present, track_ids, joints, exists, scores, head_sizes
    return Video(path.stem, year, names, image_ids, np.array(marked, bool), listed, regions, *people)


def check_track_ids(path: pathlib.Path, frame: Frame) -> None:
    """Raises ValueError that begins with `path` if two people of a frame share a track id."""
    seen = set()
    for person in frame.people:
        if person.track_id in seen:
            raise ValueError(
                f"{path}: two people of frame {frame.name} have the `track_id` {person.track_id}:"
                " each needs one of its own"
            )
        seen.add(person.track_id)
