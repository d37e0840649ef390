"""Limits of a device: measured rates of matrix products and of memory traffic.

At these rates a program's operations and its bytes each take a time. The longer one bounds the program from below
(roofline model; Williams, Waterman and Patterson, 2009). Matrices are multiplied in JAX's default precision, as in
the network. For float32 that is a lower one on recent GPUs and TPUs.
"""

import timeit
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

PRODUCTS = 8  # consecutive products per timed call, so that the launch time is negligible
SIDE = {"cpu": 2048}  # of the matrices, by platform
BYTES = {"cpu": 2**28}  # of the copied array, by platform; far larger than any cache


def peak_rates(dtype: str, rounds: int = 7) -> dict[str, float]:
    """Measures the ``operations`` and ``bytes`` per second of one device, the best of several rounds.

    The matrices are of type `dtype`. A multiply-add counts as two operations.
    """
    platform = jax.default_backend()
    side, size = SIDE.get(platform, 8192), BYTES.get(platform, 2**31)
    random = np.random.default_rng(0)  # constant matrices draw less power and run faster
    first, second = (jnp.asarray(random.standard_normal((side, side)) / side**0.5, dtype) for _ in range(2))
    array = jnp.asarray(np.resize(random.standard_normal(2**20).astype(np.float32), size // 4))

    @jax.jit
    def products(first: jax.Array, second: jax.Array) -> jax.Array:
        for _ in range(PRODUCTS):
            first = first @ second
        return first

    product = _shortest(products, first, second, rounds=rounds) / PRODUCTS
    copy = _shortest(jax.jit(jnp.negative), array, rounds=rounds)
    return {"operations": 2 * side**3 / product, "bytes": 2 * size / copy}


def limits(cost: Mapping[str, float], rates: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Returns the seconds needed for ``operations`` and ``bytes``, and the ``share`` explained by the longer.

    The `cost` is from `workload.cost`, the `rates` from `peak_rates`. The program took a measured `seconds`.
    """
    bounds = {name: cost[name] / rates[name] for name in ("operations", "bytes")}
    return bounds | {"share": float(np.max([*bounds.values()])) / seconds}


def summary(cost: Mapping[str, float], rates: Mapping[str, float], bounds: Mapping[str, float]) -> str:
    """Formats cost, rates and `limits` for the terminal."""
    lines = [
        f"  {cost[name] / 1e9:,.1f} G {name} counted at {rates[name] / 1e9:,.0f} G/s"
        f" would take {bounds[name]:.3g} s"
        for name in ("operations", "bytes")
    ]
    memory = f"memory needed {cost['memory'] / 1e9:.2f} GB"
    return "\n".join(lines) + f": {bounds['share']:.0%} of the step's time; {memory}"


def _shortest(function: Callable, *arguments: jax.Array, rounds: int) -> float:
    jax.block_until_ready(function(*arguments))  # compiles
    times = timeit.repeat(lambda: jax.block_until_ready(function(*arguments)), number=1, repeat=rounds)
    return min(times)
