"""`assignment` for a device: the same search in float64, under ``jit`` and ``vmap``.

A set of columns or rows is a uint64: bit c stands for column c. This keeps the state of `_walk` below a kilobyte,
so that XLA compiles it to a single loop on CPUs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

MAX_SIZE = 64
"""Largest number of rows: bits of a set."""


class _Search(NamedTuple):
    """A search for a row without a star that gets a zero, along rows that give theirs away."""

    zeros: jax.Array  # [N] uint64, the columns of each row where no cost is left
    stars: jax.Array  # [N] int32, the column of each row, or -1
    primes: jax.Array  # [N] int32, the column that each covered row may get instead
    open_rows: jax.Array  # uint64
    open_columns: jax.Array  # uint64
    row: jax.Array  # int32
    column: jax.Array  # int32, -1 at the end of the path
    has_zero: jax.Array  # bool, whether an open zero was found


def assign(cost: jax.Array) -> jax.Array:
    """Returns the column of each row ``[N]`` int32, as `assignment.assign` does. Needs ``jax.enable_x64``.

    Args:
      cost: ``[N, N]`` float64, N up to `MAX_SIZE`. The last rows and columns take no part if their costs are 0 on
        the diagonal and infinite elsewhere. Other costs must be finite, or the search does not end.
    """
    left = cost - cost.min(axis=1, keepdims=True)
    zeros = _column_sets(left == 0)
    stars, free = _star(zeros)
    *_, stars, _ = lax.while_loop(lambda state: state[3] != 0, _augment, (left, zeros, stars, free))
    return stars


def _bit(number: jax.Array) -> jax.Array:
    """Returns the set of a number; the empty set for -1."""
    return jnp.where(number < 0, 0, jnp.uint64(1) << jnp.maximum(number, 0).astype(jnp.uint64))


def _column_sets(table: jax.Array) -> jax.Array:
    """Returns the set of columns ``[N]`` where each row of a ``[N, N]`` table is true."""
    bits = _bit(jnp.arange(table.shape[1], dtype=jnp.int32))
    return jnp.where(table, bits[None], jnp.uint64(0)).sum(axis=1)


def _members(subset: jax.Array, size: int) -> jax.Array:
    """Returns ``[size]`` bool: whether each number is in a set."""
    return (subset >> jnp.arange(size, dtype=jnp.uint64)) & 1 != 0


def _highest(subset: jax.Array) -> jax.Array:
    """Returns the highest number in a set, -1 if it is empty."""
    return jnp.int32(63) - lax.clz(subset).astype(jnp.int32)


def _star(zeros: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gives each row the first zero in a column that is still free. Returns stars and the free columns."""

    def step(row: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        stars, free = state
        found = zeros[row] & free
        first = found & (~found + 1)
        return stars.at[row].set(_highest(first)), free ^ first

    size = len(zeros)
    every = jnp.uint64(2**size - 1)
    return lax.fori_loop(0, size, step, (jnp.full(size, -1, jnp.int32), every))


_State = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _augment(state: _State) -> _State:
    """Gives one more row a column, given the costs left, their zeros, the stars and the free columns."""
    left, zeros, stars, free = state
    size = len(zeros)
    nowhere = jnp.full(size, -1, jnp.int32)
    start = jnp.int32(0)
    search = _Search(zeros, stars, nowhere, jnp.uint64(2**size - 1), free, start, start, jnp.array(True))

    def proceed(state: tuple[jax.Array, _Search]) -> tuple[jax.Array, _Search]:
        left, search = state
        left = _shift(left, search)
        search = search._replace(zeros=_column_sets(left == 0), row=start, column=start, has_zero=jnp.array(True))
        return left, _walk(search)

    def is_searching(state: tuple[jax.Array, _Search]) -> jax.Array:
        # Under `vmap`, problems that are solved come here, too, as long as others are not.
        return (state[1].column >= 0) & (state[1].open_columns != 0)

    left, search = lax.while_loop(is_searching, proceed, (left, _walk(search)))
    stars, end = _exchange(search)
    return left, search.zeros, stars, free & ~_bit(end)


def _walk(search: _Search) -> _Search:
    """Primes open zeros until there is none, or until one is in a row without a star."""
    return lax.while_loop(lambda state: state.has_zero & (state.column >= 0), _prime, search)


def _prime(search: _Search) -> _Search:
    """Primes the next open zero, see `assignment`."""
    number = jnp.arange(len(search.zeros), dtype=jnp.int32)
    is_open = _members(search.open_rows, len(number))
    candidates = is_open & (search.zeros & search.open_columns != 0)
    turn = jnp.where(number < search.row, number + len(number), number)
    row = lax.argmin(jnp.where(candidates, turn, 2 * len(number)), 0, jnp.int32)
    found = search.zeros[row] & search.open_columns
    before = found & (_bit(search.column) - 1)
    column = search.stars[row]
    primed = search._replace(
        primes=search.primes.at[row].set(_highest(jnp.where(before != 0, before, found))),
        open_rows=search.open_rows & ~_bit(row),
        open_columns=search.open_columns | _bit(column),
        row=row,
        column=column,
    )
    unchanged = search._replace(has_zero=jnp.array(False))
    return jax.tree.map(lambda a, b: jnp.where(candidates[row], a, b), primed, unchanged)


def _shift(left: jax.Array, search: _Search) -> jax.Array:
    """Makes new zeros: adds the least open cost to covered rows, then subtracts it from open columns."""
    rows, columns = (_members(subset, len(left)) for subset in (search.open_rows, search.open_columns))
    least = jnp.where(rows[:, None] & columns[None], left, jnp.inf).min()
    raised = left + jnp.where(rows, 0, least)[:, None]
    return raised - jnp.where(columns, least, 0)[None]


def _exchange(search: _Search) -> tuple[jax.Array, jax.Array]:
    """Moves stars to primes along the path to `search.row`. Returns stars and the column that it fills."""

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        stars, row, _ = state
        column = search.primes[row]
        number = jnp.arange(len(stars), dtype=jnp.int32)
        owner = jnp.where(stars == column, number, -1).max()
        return stars.at[row].set(column), owner, column

    state = (search.stars, search.row, jnp.int32(-1))
    stars, _, column = lax.while_loop(lambda state: state[1] >= 0, step, state)
    return stars, column
