"""Smooths the joints of followed people with a look ahead: the filter of Savitzky and Golay (1964).

Each place becomes that of a polynomial fitted to the frames around it. It does not lag, unlike filters of a live
video. It is not part of the evaluation.
"""

import itertools

import numpy as np
import scipy.signal

WINDOW = 9  # frames that a polynomial is fitted to; ours
DEGREE = 2  # of the polynomial; ours
JOINT_THRESHOLD = 0.2  # joints of lower score are left as they are, and not used
MAX_GAP = 1.5  # usual steps of time between neighbours; a track begins anew after longer ones


def smooth(times: np.ndarray, poses: np.ndarray, window: int = WINDOW, degree: int = DEGREE) -> np.ndarray:
    """Returns the smoothed joints [F, K, 2] of a track.

    Runs of fewer frames than the window are left as they are.

    Args:
      times: [F] of the frames in which the person was seen, increasing.
      poses: [F, K, 3] x, y in photo pixels, score.
      window: odd number of frames.
      degree: of the polynomial, below `window`.
    """
    smoothed = poses[..., :2].astype(np.float64)
    steps = np.diff(times)
    begins = np.concatenate([[True], steps > MAX_GAP * np.median(steps)]) if len(steps) else np.array([True])
    for joint in range(poses.shape[1]):
        seen = poses[:, joint, 2] >= JOINT_THRESHOLD
        for first, last in runs(seen, begins):
            if last - first >= window:
                places = poses[first:last, joint, :2]
                smoothed[first:last, joint] = scipy.signal.savgol_filter(places, window, degree, axis=0)
    return smoothed


def runs(seen: np.ndarray, begins: np.ndarray) -> list[tuple[int, int]]:
    """Returns the ranges (first, last + 1) of frames [F] that are seen, cut where one begins anew."""
    numbers = np.cumsum(begins | ~seen).tolist()  # equal within a run
    groups = itertools.groupby(np.flatnonzero(seen).tolist(), key=numbers.__getitem__)
    ranges = [list(frames) for _, frames in groups]
    return [(frames[0], frames[-1] + 1) for frames in ranges]
