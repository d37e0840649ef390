"""Compares each frame of a video with the next: does a new shot begin, and how does the camera move?"""

import dataclasses

import cv2
import numpy as np

from hrnet_jax.tracking import flow

LONGER_SIDE = 320  # pixels at which the flow is computed; the accuracy of single pixels does not matter


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """What changes from a frame to the next.

    Attributes:
      error: mean forward-backward error of the flow, in longer sides of the photo: the distance from where a pixel
        began after it went along the flow and back along that of the opposite direction, over pixels that stay
        within. Ours: real video with quick motion has 0.001 to 0.008 from frame to frame and up to 0.023 over four
        frames, pairs of unrelated photos have 0.024 to 0.083.
      shift: [2] the median displacement (x, y) of the photo, in its pixels: that of the background, by the camera.
    """

    error: float
    shift: np.ndarray


NOTHING_IN_COMMON = Comparison(1.0, np.zeros(2))


def compare(earlier: np.ndarray, following: np.ndarray) -> Comparison:
    """Compares two photos [H, W, 3] uint8 RGB. Those of different sizes have `NOTHING_IN_COMMON`."""
    if earlier.shape != following.shape:
        return NOTHING_IN_COMMON
    first, second = (flow.shrink(photo, LONGER_SIDE) for photo in (earlier, following))
    there = flow.grey_dis(first, second, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    back = flow.grey_dis(second, first, cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    scale = earlier.shape[1] / first.shape[1], earlier.shape[0] / first.shape[0]
    return Comparison(_error(there, back), np.median(there.reshape(-1, 2), axis=0) * scale)


def _error(there: np.ndarray, back: np.ndarray) -> float:
    height, width = there.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + there[..., 0], y + there[..., 1]
    returned = there + cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    if not inside.any():
        return 1.0
    return float(np.hypot(returned[..., 0], returned[..., 1])[inside].mean() / max(height, width))
