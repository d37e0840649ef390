"""`grouping` as one program for a device, under ``jit`` and ``vmap``. On CPUs it gives the same bits, much faster.

The last bits of costs decide, so it computes in float64, even if JAX is set to float32. TPUs emulate float64, so
they may break ties in another way.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hrnet_jax.bottom_up import compiled_assignment, grouping

STRIDE = 8
"""The number of partial sums that numpy keeps along a contiguous axis."""


class Groups(NamedTuple):
    """The people of a photo. They are P = K x M at most, when each candidate founds one."""

    people: jax.Array  # [P, K, 3 + T] float32 as `grouping.group` returns them, 0 from the count on
    count: jax.Array  # int32, the number of people
    is_finite: jax.Array  # bool; if not, nobody is found, where `grouping.group` raises ValueError


class _Joint(NamedTuple):
    """The candidates of a joint. The R that are above the least value stand first."""

    values: jax.Array  # [M] float64
    tags: jax.Array  # [M, T] float32
    rows: jax.Array  # [M] int32, their numbers among all candidates
    count: jax.Array  # int32, R


class _Sums(NamedTuple):
    """The sums of the tags of C people, to compute their means."""

    count: jax.Array  # [C] int32
    total: jax.Array  # [C, T] float32
    strides: jax.Array  # [C, 8] float32, sums of every eighth tag for T = 1


class _People(NamedTuple):
    """The people found so far: P in all, of which the first C are compared."""

    count: jax.Array  # int32
    keys: jax.Array  # [P] float32, the first tag of the founder
    sums: _Sums


def group(
    values: jax.Array,
    places: jax.Array,
    tags: jax.Array,
    order: Sequence[int],
    settings: grouping.Grouping = grouping.RELEASE,
) -> Groups:
    """Groups the candidates of a photo to people, as `grouping.group` does.

    Args:
      values: ``[K, M]`` of the heatmaps, M up to 64.
      places: ``[K, M, 2]`` (x, y) in pixels of the heatmaps.
      tags: ``[K, M, T]``, used as float32.
      order: the K joints in the order in which they are grouped, see `grouping.joint_order`.
      settings: see `grouping.Grouping`.

    Raises:
      ValueError: more than 64 candidates or people are to be compared.
    """
    check(values.shape[1], settings)
    tags = tags.astype(jnp.float32)
    with jax.enable_x64(True):
        exact = values.astype(jnp.float64)
        is_finite = (jnp.abs(exact) < grouping.LARGEST).all() & (jnp.abs(tags) < grouping.LARGEST).all()
        above = (exact > settings.joint_threshold) & is_finite
        joints = jax.tree.map(lambda array: array[np.array(order)], _above_first(exact, tags, above))
        start = _nobody(values.size, settings.most_people or 0, tags.shape[2])
        people, rows = lax.scan(functools.partial(_add, settings=settings), start, joints)
    rows = rows[np.argsort(order)][..., None]
    candidates = jnp.concatenate([array.astype(jnp.float32) for array in (places, values[..., None], tags)], 2)
    found = jnp.where(rows >= 0, jnp.take_along_axis(candidates, jnp.maximum(rows, 0), axis=1), 0)
    return Groups(found.swapaxes(0, 1), people.count, is_finite)


def check(candidates: int, settings: grouping.Grouping) -> None:
    """Raises ValueError if more than 64 candidates or people are to be compared."""
    most, compared = compiled_assignment.MAX_SIZE, settings.most_people
    if candidates > most or compared is None or compared > most:
        raise ValueError(
            f"`candidates` (={candidates}) and `most_people` (={compared}) must be at most {most} to group joints"
            " on the device: lower them, or group on the host"
        )


def group_on_host(
    values: np.ndarray,
    places: np.ndarray,
    tags: np.ndarray,
    order: Sequence[int],
    settings: grouping.Grouping = grouping.RELEASE,
) -> np.ndarray:
    """Does what `grouping.group` does, by `group` on the host's CPU.

    `grouping.group` itself takes over, several times slower, where `group` cannot: if more than 64 candidates or
    people are to be compared, or if JAX has no CPU.
    """
    most = compiled_assignment.MAX_SIZE
    limited = dataclasses.replace(settings, most_people=min(settings.most_people or most, most))
    cpu = _find_cpu()
    if cpu is not None and values.shape[1] <= most:
        with jax.default_device(cpu):
            groups = _group(values, places, tags, order=tuple(order), settings=limited)
        count = int(groups.count)
        if groups.is_finite and (limited == settings or count < most):
            return np.asarray(groups.people)[:count]
    return grouping.group(values, places, tags, order, settings)


_group = jax.jit(group, static_argnames=("order", "settings"))


def _find_cpu() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # `JAX_PLATFORMS` names others only
        return None


def _nobody(max_people: int, compared: int, size: int) -> _People:
    compared = min(compared, max_people)
    return _People(
        count=jnp.int32(0),
        keys=jnp.zeros(max_people, jnp.float32),
        sums=_Sums(
            count=jnp.zeros(compared, jnp.int32),
            total=jnp.zeros((compared, size), jnp.float32),
            strides=jnp.zeros((compared, STRIDE), jnp.float32),
        ),
    )


def _above_first(values: jax.Array, tags: jax.Array, above: jax.Array) -> _Joint:
    """Returns the candidates of each joint, those above the least value first, in unchanged order."""
    numbers = jnp.broadcast_to(_numbers(above.shape[1])[None], above.shape)
    _, rows = lax.sort((~above, numbers), num_keys=1)
    return _Joint(
        jnp.take_along_axis(values, rows, axis=1),
        jnp.take_along_axis(tags, rows[..., None], axis=1),
        rows,
        above.sum(axis=1).astype(jnp.int32),
    )


def _add(people: _People, joint: _Joint, *, settings: grouping.Grouping) -> tuple[_People, jax.Array]:
    """Adds the candidates of a joint. Also returns the number ``[P]`` of each person's candidate, or -1."""
    columns = jnp.minimum(people.count, len(people.sums.count))
    if settings.ignore_too_much:
        joint = joint._replace(count=jnp.where(columns == settings.most_people, 0, joint.count))
    number = _numbers(len(joint.values))
    owner = _match(people, joint, columns, settings)
    is_close = owner >= 0
    is_founder = (number < joint.count) & ~is_close
    founded, count = _founded(people, joint.tags[:, 0], is_founder)
    owner = jnp.where(is_close, owner, founded)
    nobody = jnp.full(len(people.keys), -1, jnp.int32)
    matched, founder = (
        nobody.at[jnp.where(kind, owner, len(nobody))].max(number, mode="drop") for kind in (is_close, is_founder)
    )
    last = jnp.maximum(matched, founder)
    keys = jnp.where(founder >= 0, joint.tags[founder, 0], people.keys)
    people = _People(count, keys, _add_tags(people.sums, joint.tags, matched, founder))
    return people, jnp.where(last >= 0, joint.rows[last], -1)


def _numbers(size: int) -> jax.Array:
    return jnp.arange(size, dtype=jnp.int32)


def _match(people: _People, joint: _Joint, columns: jax.Array, settings: grouping.Grouping) -> jax.Array:
    """Returns the person of each candidate ``[M]`` among the first `columns`, or -1."""
    distance = _distances(joint.tags, people.sums)
    cost = jnp.round(distance) * 100 - joint.values[:, None] if settings.use_value else distance
    chosen = compiled_assignment.assign(_fill_up(cost, joint.count, columns))[: len(cost)]
    near = jnp.take_along_axis(distance, jnp.minimum(chosen, distance.shape[1] - 1)[:, None], axis=1)[:, 0]
    is_candidate = _numbers(len(cost)) < joint.count
    return jnp.where(is_candidate & (chosen < columns) & (near < settings.tag_threshold), chosen, -1)


def _distances(tags: jax.Array, sums: _Sums) -> jax.Array:
    """Returns float64 distances ``[M, C]`` of tags from the mean tags of people."""
    means = sums.total.astype(jnp.float64) / jnp.maximum(sums.count, 1).astype(jnp.float64)[:, None]
    difference = tags.astype(jnp.float64)[:, None] - means.astype(jnp.float32).astype(jnp.float64)[None]
    # XLA fuses a product and a sum, which rounds once instead of twice. The bound, never reached, prevents that.
    squares = jnp.minimum(jnp.square(difference), 1e300)
    return jnp.sqrt(functools.reduce(jnp.add, jnp.unstack(squares, axis=2)))


def _fill_up(cost: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Fills up the first rows and columns of costs ``[M, C]`` to a square, and that to one of ``[N, N]``.

    As on the host, candidates may be left over at a high cost, and people without any. The rest takes no part.
    """
    size = max(cost.shape)
    row, column = _numbers(size)[:, None], _numbers(size)[None]
    padded = jnp.pad(cost, [(0, size - side) for side in cost.shape])
    square = jnp.where(row >= rows, 0.0, jnp.where(column < columns, padded, grouping.LEFT_OVER))
    is_inside = jnp.maximum(row, column) < jnp.maximum(rows, columns)
    return jnp.where(is_inside, square, jnp.where(row == column, 0.0, jnp.inf))


def _founded(people: _People, keys: jax.Array, is_founder: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the number of the person ``[M]`` that each founder founds or replaces, and the number of people."""
    number, person = _numbers(len(keys)), _numbers(len(people.keys))
    is_same = (keys[:, None] == people.keys[None]) & (person < people.count)[None]
    earlier = jnp.where(is_same, person[None], -1).max(axis=1)
    first = jnp.where((keys[:, None] == keys[None]) & is_founder[None], number[None], len(keys)).min(axis=1)
    is_new = is_founder & (earlier < 0) & (first == number)
    later = people.count + (is_new[None] & (number[None] < number[:, None])).sum(axis=1, dtype=jnp.int32)
    return jnp.where(earlier < 0, later[first], earlier), people.count + is_new.sum(dtype=jnp.int32)


def _add_tags(sums: _Sums, tags: jax.Array, matched: jax.Array, founder: jax.Array) -> _Sums:
    """Adds the tags of candidates, given for each person ``[P]``. A founder's replaces those before it."""
    matched, founder = matched[: len(sums.count)], founder[: len(sums.count)]
    is_new = founder >= 0
    sums = _Sums(*(jnp.where(is_new.reshape(-1, *[1] * (array.ndim - 1)), 0, array) for array in sums))
    sums = _add_tag(sums, tags[founder], is_new)
    return _add_tag(sums, tags[matched], matched > founder)


def _add_tag(sums: _Sums, tags: jax.Array, is_added: jax.Array) -> _Sums:
    """Adds tags ``[C, T]`` of some people in float32, in the order of numpy's `mean` of ``[N, T]``.

    That is one by one. But if T is 1, numpy adds every eighth tag up to the last multiple of eight, and the eight
    sums in pairs (for N up to 128).
    """
    slot = jnp.where(is_added, sums.count % STRIDE, -1)
    strides = sums.strides + jnp.where(slot[:, None] == _numbers(STRIDE)[None], tags[:, :1], 0)
    total = sums.total + jnp.where(is_added[:, None], tags, 0)
    if tags.shape[1] == 1:
        pairs = strides
        while pairs.shape[1] > 1:
            pairs = pairs[:, ::2] + pairs[:, 1::2]
        total = jnp.where((slot == STRIDE - 1)[:, None], pairs, total)
    return _Sums(sums.count + is_added.astype(jnp.int32), total, strides)
