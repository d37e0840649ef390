"""Greedy linking of poses to those of earlier frames (Xiao et al., ECCV 2018, algorithm 1)."""

from collections.abc import Sequence

import numpy as np

MIN_SIMILARITY = 0.2  # least similarity of a link; ours, the papers do not tell


def link(similarities: Sequence[np.ndarray], ids: Sequence[np.ndarray], count: int, threshold: float) -> np.ndarray:
    """Returns [count]: the track id of each current pose, -1 for a new person.

    The most similar pair is linked first. Its current pose and its id, in all frames, take no further part. Of equal
    pairs, the first current pose is linked, with the newest frame, with the first earlier pose in it. A similarity of 0 never links.

    Args:
      similarities: for each earlier frame, the newest first, [M, count] of its poses and the current ones.
      ids: the track ids [M] in these frames.
      count: number of current poses.
      threshold: least similarity of a link.
    """
    linked = np.full(count, -1)
    if not similarities:
        return linked
    table = np.concatenate([similarity.reshape(-1, count) for similarity in similarities]).T.copy()  # [count, earlier]
    owners = np.concatenate(ids)
    table[(table < threshold) | (table <= 0)] = 0.0
    while table.any():
        current, earlier = np.unravel_index(table.argmax(), table.shape)
        linked[current] = owners[earlier]
        table[current] = 0.0
        table[:, owners == owners[earlier]] = 0.0
    return linked


def number(linked: np.ndarray, first: int) -> np.ndarray:
    """Returns the track ids [N] with new ones, from `first` on, in place of -1."""
    is_new = linked < 0
    return np.where(is_new, first + np.cumsum(is_new) - 1, linked)
