"""What goes into a predictor and comes out of it."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from hrnet_jax import visualize
from hrnet_jax.predict import boxes
from hrnet_jax.predict.poses import Poses


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """A photo to predict, such as a frame of a video.

    Attributes:
      source: path of the photo, or of the video.
      photo: ``[H, W, 3]`` uint8 RGB; None to read it from `source`.
      frame: index of the frame in a video, or the number in the name of a folder's frame; None for photos.
      time: of the frame in seconds.
      found: boxes and scores; None to find them.
      notes: what was changed to read the photo.
    """

    source: str = ""
    photo: np.ndarray | None = None
    frame: int | None = None
    time: float | None = None
    found: boxes.Found | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The poses of a photo with what they were predicted from.

    Attributes:
      poses: of N people.
      photo: ``[H, W, 3]`` uint8 RGB.
      crops: ``[N, h, w, 3]`` uint8, what the network saw of each person; None if it saw the whole photo.
      heatmaps: ``[N, h / 4, w / 4, K]`` float32, or None if they were not asked for.
      trails: [T, 2] points where each track has been lately, in photo pixels.
    """

    poses: Poses
    photo: np.ndarray
    crops: np.ndarray | None
    heatmaps: np.ndarray | None
    trails: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict)

    def draw(self, joint_score: float) -> np.ndarray:
        """Returns the photo with skeletons, see `Poses.draw`, over the trails of tracks."""
        photo = visualize.draw_trails(self.photo, self.trails) if self.trails else self.photo
        return self.poses.draw(photo, joint_score)
