"""The golden numbers are the crc32 of what munkres 1.1.4 gives: the column of each row, C for a row left over."""

import itertools
import zlib

import numpy as np
import pytest
from scipy import optimize

from hrnet_jax.bottom_up import assignment


def digest(tables) -> int:
    """The crc32 of the columns of all rows of all tables."""
    return zlib.crc32(b"".join(bytes(np.minimum(assignment.assign(t), t.shape[1]).tolist()) for t in tables))


def random_tables():
    """Costs as grouping makes them, with many ties: rounded distances, with values or not, filled up or not."""
    rng = np.random.RandomState(0)
    for number in range(400):
        rows, columns = rng.randint(1, 10, 2)
        values = (rng.randint(0, 9, (rows, 1)) / 9 * (number % 2)).astype(np.float32)
        cost = rng.randint(0, 4, (rows, columns)) * 100.0 - values
        if number % 4 > 1 and rows > columns:
            cost = np.concatenate([cost, np.full((rows, rows - columns), 1e10)], axis=1)
        yield cost


def total(cost: np.ndarray, columns: list[int]) -> float:
    return sum(cost[row, column] for row, column in enumerate(columns) if column < cost.shape[1])


@pytest.mark.parametrize(
    ("levels", "shape", "golden"),
    [(2, (3, 3), 130426356), (3, (2, 3), 2402654697), (3, (3, 2), 3195776493)],
    ids=str,
)
def test_all_small_tables_are_solved_as_by_munkres(levels, shape, golden):
    entries = itertools.product(range(levels), repeat=shape[0] * shape[1])
    assert digest(np.array(table, float).reshape(shape) for table in entries) == golden


def test_ties_are_broken_as_by_munkres():
    assert digest(random_tables()) == 2057862579


def test_columns_beyond_a_machine_word_are_searched_too():
    cost = np.random.RandomState(1).randint(0, 9, (64, 70)).astype(float)
    assert digest([cost]) == 1439852401


def test_the_total_is_the_least():
    for cost in random_tables():
        least = cost[optimize.linear_sum_assignment(cost)].sum()
        assert total(cost, assignment.assign(cost)) == pytest.approx(least, rel=1e-12)


def test_rows_choose_in_turn_and_the_last_free_zero_is_taken_by_the_one_in_need():
    assert assignment.assign(np.zeros((2, 3))) == [0, 1]
    assert assignment.assign(np.array([[0.0, 1, 1, 1], [0, 1, 1, 1], [0, 2, 1, 1]])) == [0, 3, 2]


def test_costs_beside_large_ones_are_rounded_as_in_float64():
    left_over = np.full((2, 1), 1e10)
    for difference, chosen in ((1e-7, 0), (1e-5, 1)):
        cost = np.concatenate([[[0.0], [-difference]], left_over], axis=1)
        assert assignment.assign(cost).index(0) == chosen


def test_nothing_is_assigned_to_nothing():
    assert assignment.assign(np.zeros((0, 0))) == assignment.assign(np.zeros((0, 3))) == []
    assert len(assignment.assign(np.zeros((2, 0)))) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_costs_that_are_not_finite_are_told(value):
    with pytest.raises(ValueError, match="`cost` must be finite"):
        assignment.assign(np.array([[0.0, value]]))
