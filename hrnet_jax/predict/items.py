"""What goes into a predictor and comes out of it."""

import dataclasses

import numpy as np

from hrnet_jax.predict import boxes
from hrnet_jax.predict.poses import Poses


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """A photo to predict, such as a frame of a video.

    Attributes:
      source: path of the photo, or of the video.
      photo: ``[H, W, 3]`` uint8 RGB; None to read it from `source`.
      frame: index of the frame, None for photos.
      time: of the frame in seconds.
      found: boxes and scores; None to find them.
    """

    source: str = ""
    photo: np.ndarray | None = None
    frame: int | None = None
    time: float | None = None
    found: boxes.Found | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The poses of a photo with what they were predicted from.

    Attributes:
      poses: of N people.
      photo: ``[H, W, 3]`` uint8 RGB.
      crops: ``[N, h, w, 3]`` uint8, what the network saw.
      heatmaps: ``[N, h / 4, w / 4, K]`` float32, or None if they were not asked for.
    """

    poses: Poses
    photo: np.ndarray
    crops: np.ndarray
    heatmaps: np.ndarray | None
