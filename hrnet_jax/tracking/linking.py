"""Linking of poses to those of earlier frames, greedily (Xiao et al., ECCV 2018, algorithm 1) or optimally."""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from scipy import optimize

from hrnet_jax.tracking.similarity import propagate

MIN_SIMILARITY = 0.2  # least similarity of a link; ours, the papers do not tell


def link(
    similarities: Sequence[np.ndarray], ids: Sequence[np.ndarray], count: int, threshold: float
) -> np.ndarray:
    """Returns [count]: the track id of each current pose, -1 for a new person.

    The most similar pair is linked first. Its current pose and its id, in all frames, take no further part. Of
    equal pairs, the first current pose is linked, to the newest frame, to the first pose in it. A similarity of 0
    never links.

    Args:
      similarities: for each earlier frame, the newest first, [M, count] of its poses and the current ones.
      ids: the track ids [M] in these frames.
      count: number of current poses.
      threshold: least similarity of a link.
    """
    linked = np.full(count, -1)
    if not similarities:
        return linked
    table = np.concatenate(similarities).T.copy()  # [current, earlier]
    owners = np.concatenate(ids)
    table[table < threshold] = 0.0
    while table.any():
        current, earlier = np.unravel_index(table.argmax(), table.shape)
        linked[current] = owners[earlier]
        table[current] = 0.0
        table[:, owners == owners[earlier]] = 0.0
    return linked


def link_optimally(
    similarities: Sequence[np.ndarray], ids: Sequence[np.ndarray], count: int, threshold: float
) -> np.ndarray:
    """Returns what `link` does, with the largest sum of similarities instead of the most similar pair first.

    The similarity to an id is that of its most similar pose.
    """
    linked = np.full(count, -1)
    if not similarities:
        return linked
    table, (owners, owner) = np.concatenate(similarities).T, np.unique(np.concatenate(ids), return_inverse=True)
    by_owner = np.zeros((len(owners), count))
    np.maximum.at(by_owner, owner, np.where(table < threshold, 0.0, table).T)
    chosen, current = optimize.linear_sum_assignment(by_owner, maximize=True)
    similar = by_owner[chosen, current] > 0
    linked[current[similar]] = owners[chosen[similar]]
    return linked


def number(linked: np.ndarray, first: int) -> np.ndarray:
    """Returns the track ids [N] with new ones, from `first` on, in place of -1."""
    is_new = linked < 0
    return np.where(is_new, first + np.cumsum(is_new) - 1, linked)


def follow(
    frames: Iterable[np.ndarray],
    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray],
    memory: int,
    threshold: float = MIN_SIMILARITY,
    flows: Iterable[np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """Yields the track ids [N] of the poses [N, K, 3] of each frame. They count up from 0.

    Args:
      frames: poses of each frame, in order.
      similarity: of earlier poses [A, K, 3] and current ones [B, K, 3], as [A, B]; see `similarity`.
      memory: number of earlier frames to link to (the paper's L_Q), also those without people.
      threshold: least similarity of a link.
      flows: optical flow [H, W, 2] from each frame to the next. Earlier poses are moved along it, frame by frame.
    """
    queue: collections.deque[tuple[np.ndarray, np.ndarray]] = collections.deque(maxlen=memory)
    steps, first = iter(flows) if flows is not None else None, 0
    for poses in frames:
        if steps is not None and queue:
            flow = next(steps)
            queue = collections.deque(((propagate(earlier, flow), ids) for earlier, ids in queue), memory)
        similarities = [similarity(earlier, poses) for earlier, _ in queue]
        ids = number(link(similarities, [ids for _, ids in queue], len(poses), threshold), first)
        first = max(first, ids.max(initial=-1) + 1)
        queue.appendleft((poses, ids))
        yield ids
