"""What a device could do at best: how fast it multiplies matrices and moves bytes, measured.

The time that a program's operations or bytes would take at these rates, whichever is longer, is the least it can
take (the roofline model of Williams, Waterman and Patterson, 2009); the rest is what might be gained. Matrices are
multiplied in JAX's default precision, as the network's are: on recent GPUs and TPUs that of float32 is less.
"""

import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

PRODUCTS = 8  # a turn, one after the other, so that starting them does not count
SIDE = {"cpu": 2048}  # of the matrices, by platform
BYTES = {"cpu": 2**28}  # of the arrays that are copied: far more than any cache holds


def rates(dtype: str, rounds: int = 7) -> dict[str, float]:
    """Returns the ``operations`` (2 a multiply-add) and ``bytes`` a second of one device, the best of some rounds.

    Args:
      dtype: of the matrices.
      rounds: of each.
    """
    platform = jax.default_backend()
    side, size = SIDE.get(platform, 8192), BYTES.get(platform, 2**31)
    random = np.random.default_rng(0)  # constants would be easy on a chip's power, and so faster
    first, second = (jnp.asarray(random.standard_normal((side, side)) / side**0.5, dtype) for _ in range(2))
    array = jnp.asarray(np.resize(random.standard_normal(2**20).astype(np.float32), size // 4))

    @jax.jit
    def products(first: jax.Array, second: jax.Array) -> jax.Array:
        for _ in range(PRODUCTS):
            first = first @ second
        return first

    product = _least(products, first, second, rounds=rounds) / PRODUCTS
    copy = _least(jax.jit(jnp.negative), array, rounds=rounds)
    return {"operations": 2 * side**3 / product, "bytes": 2 * size / copy}


def shares(cost: Mapping[str, float], reached: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Returns the seconds that ``operations`` and ``bytes`` would take, and the ``share`` they explain.

    Args:
      cost: operations and bytes of a program on each device, see `step.cost`.
      reached: see `rates`.
      seconds: that the program takes.
    """
    least = {name: cost[name] / reached[name] for name in ("operations", "bytes")}
    return least | {"share": float(np.max([*least.values()])) / seconds}


def lines(cost: Mapping[str, float], reached: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """Returns what was found, for the terminal."""
    return (
        "\n".join(
            f"  {count:,.1f} G {what} at {rate:,.0f} G/s would take {limits[name]:.3g} s"
            for name, what, count, rate in (
                ("operations", "operations counted", cost["operations"] / 1e9, reached["operations"] / 1e9),
                ("bytes", "bytes counted", cost["bytes"] / 1e9, reached["bytes"] / 1e9),
            )
        )
        + f": {limits['share']:.0%} of the step's time; memory needed {cost['memory'] / 1e9:.2f} GB"
    )


def _least(function: Callable, *arguments: jax.Array, rounds: int) -> float:
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return float(np.min(seconds))
