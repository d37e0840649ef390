"""Optimal assignment of people to people, for many joints at once."""

import numpy as np
import scipy.optimize


def assign(score: np.ndarray) -> np.ndarray:
    """Returns [K, A, B] bool: for each joint the one-to-one pairs with the highest sum of scores.

    `score` [K, A, B] is above 0 for pairs that may be. Only they are assigned.
    """
    allowed = score > 0
    contested = (allowed.sum(axis=1) > 1).any(axis=-1) | (allowed.sum(axis=2) > 1).any(axis=-1)
    pairs = allowed.copy()
    for joint in np.flatnonzero(contested):
        rows, columns = scipy.optimize.linear_sum_assignment(score[joint], maximize=True)
        pairs[joint] = False
        pairs[joint, rows, columns] = allowed[joint, rows, columns]
    return pairs
