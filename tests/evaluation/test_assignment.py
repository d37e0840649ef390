import itertools

import numpy as np

from hrnet_jax.evaluation import assignment


def test_the_best_of_all_assignments_is_found():
    rng = np.random.default_rng(0)
    score = rng.random((40, 3, 4)) * (rng.random((40, 3, 4)) < 0.6)
    for joint, pairs in zip(score, assignment.assign(score), strict=True):
        best = max(
            sum(joint[row, column] for row, column in enumerate(chosen))
            for chosen in itertools.permutations(range(4), 3)
        )
        assert joint[pairs].sum() == best
        assert pairs.sum(axis=0).max() <= 1 and pairs.sum(axis=1).max() <= 1 and (joint[pairs] > 0).all()


def test_one_person_between_two_takes_the_better():
    assert assignment.assign(np.array([[[0.4, 0.5]]])).tolist() == [[[False, True]]]
    assert assignment.assign(np.array([[[0.4], [0.5]]])).tolist() == [[[False], [True]]]


def test_pairs_without_rivals_are_taken():
    score = np.array([[[0.5, 0, 0], [0, 0, 0.1]], [[0, 0, 0], [0, 0, 0]]])
    assert assignment.assign(score).tolist() == (score > 0).tolist()
