"""Optimal assignment by the method of Munkres, with a fixed order of search.

Grouping rounds the distances of tags, so many assignments cost the same. The order of search decides which one is
found. `assign` searches like the solver behind HigherHRNet's results (munkres 1.0.12 to 1.1.4). SciPy's
`linear_sum_assignment` finds assignments of equal cost, but often others.

Rows and columns are numbered from 0. A set of columns is an integer: bit c stands for column c.
"""

import itertools

import numpy as np

_WORD = 62  # bits that fit in an int64


def assign(cost: np.ndarray) -> list[int]:
    """Returns the column of each row in an assignment of least total cost.

    Munkres, "Algorithms for the Assignment and Transportation Problems", J. SIAM 1957. A table that is not square
    is filled up with zeros.

    Args:
      cost: ``[R, C]`` float64.

    Returns:
      R distinct columns. With more rows than columns, those of C and above mean that the row is left over.

    Raises:
      ValueError: a cost is not finite. The search would never end.
    """
    if not np.isfinite(cost).all():
        raise ValueError("`cost` must be finite: replace NaN, and use a large number in place of infinity")
    rows, columns = cost.shape
    size = max(rows, columns)
    left = np.zeros((size, size))
    left[:rows, :columns] = cost
    left -= left.min(axis=1, keepdims=True, initial=np.inf)
    zeros = _column_sets(left == 0)
    stars, free = _star(zeros)
    while free:
        free &= ~_augment(left, zeros, stars, free)
    return stars[:rows]


def _column_sets(table: np.ndarray) -> list[int]:
    """Returns the set of columns where each row of a ``[R, C]`` table is true."""
    low = table[:, :_WORD]
    sets = (low @ (1 << np.arange(low.shape[1]))).tolist()
    if table.shape[1] <= _WORD:
        return sets
    return [a | b << _WORD for a, b in zip(sets, _column_sets(table[:, _WORD:]), strict=True)]


def _star(zeros: list[int]) -> tuple[list[int], int]:
    """Gives each row the first zero in a column that is still free.

    Returns the column of each row, or -1, and the set of columns that remain free.
    """
    stars, free = [], (1 << len(zeros)) - 1
    for row in zeros:
        first = row & free & -(row & free)
        stars.append(first.bit_length() - 1)
        free ^= first
    return stars, free


def _augment(left: np.ndarray, zeros: list[int], stars: list[int], free: int) -> int:
    """Gives one more row a column, in place. Returns the column that is no longer free, as a set.

    Args:
      left: ``[N, N]`` costs that are left after reduction. No entry is negative.
      zeros: the set of columns of each row where `left` is 0.
      stars: the column of each row, or -1.
      free: the set of columns that no row has.
    """
    search, open_columns = zeros.copy(), free  # `search` is empty for covered rows
    open_rows = np.ones(len(zeros), bool)
    primes: dict[int, int] = {}
    row = column = 0
    while True:
        row, column = _next_zero(search, open_columns, row, column)
        if column < 0:
            _shift(left, open_rows, open_columns)
            zeros[:] = _column_sets(left == 0)
            search = [found if is_open else 0 for found, is_open in zip(zeros, open_rows.tolist(), strict=True)]
            row = column = 0
            continue
        primes[row] = column
        if stars[row] < 0:
            return _exchange(stars, primes, row)
        column = stars[row]
        open_rows[row], search[row] = False, 0
        open_columns |= 1 << column


def _next_zero(zeros: list[int], open_columns: int, row: int, column: int) -> tuple[int, int]:
    """Returns the next open zero, or (0, -1).

    It is in the first row that has one, from `row` on and around the end, and there the last one, from `column` on
    and around the end.
    """
    for candidate in itertools.chain(range(row, len(zeros)), range(row)):
        if found := zeros[candidate] & open_columns:
            before = found & ((1 << column) - 1)
            return candidate, (before or found).bit_length() - 1
    return 0, -1


def _shift(left: np.ndarray, open_rows: np.ndarray, open_columns: int) -> None:
    """Makes new zeros in place: adds the least open cost to covered rows and subtracts it from open columns.

    In this order, because the release's sums round against its costs of 1e10.
    """
    columns = np.array([open_columns >> column & 1 for column in range(len(left))], bool)
    least = left.take(np.flatnonzero(open_rows), 0).take(np.flatnonzero(columns), 1).min()
    left += np.where(open_rows, 0, least)[:, None]
    left -= np.where(columns, least, 0)


def _exchange(stars: list[int], primes: dict[int, int], row: int) -> int:
    """Moves stars to primes along the alternating path from `row`, which has none. Returns its end, as a set."""
    owners = {column: owner for owner, column in enumerate(stars)}
    while True:
        column = stars[row] = primes[row]
        if column not in owners:
            return 1 << column
        row = owners[column]
