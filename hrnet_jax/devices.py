"""Published specifications of accelerators: what cannot be asked of a device that is only described.

Memory, operations, tori and hosts are from cloud.google.com/tpu/docs (pages v4, v5e, v5p and v6e) and NVIDIA's
data sheets of H100 and H200 (SXM; half of the operations with sparsity). Links and networks are from Austin et
al., "How to Scale Your Model" (2025), jax-ml.github.io/scaling-book, chapters on TPUs (bytes of a link in one
direction, times the links of a chip) and on GPUs (NVLink, and one InfiniBand port of 400 Gb/s per GPU).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from hrnet_jax import distributed


@dataclasses.dataclass(frozen=True)
class Chip:
    """Specification of a chip."""

    operations: float  # peak operations per second in bfloat16, dense
    memory: float  # bytes
    bandwidth: float  # bytes per second between chip and memory
    links: float  # bytes per second sent to neighbours over all links together
    axes: int  # dimensions of the torus formed by the links, or 0 for a switch
    closed: int  # smallest number of chips whose torus has closed rings; fewer use half of the link bandwidth
    island: int  # largest number of chips with direct links
    network: float  # bytes per second sent by each chip to other islands
    host: int  # number of chips per host
    kind: str = ""  # JAX's ``device_kind``
    clock: float = 0.0  # cycles per second, from the operations and the size of the matrix units; 0 where unused
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of XLA; see `compiler_options`


_EQUAL_CODE_ONCE = {"xla_tpu_enable_deduplicated_calls": True}
"""Operations that are equal, as those of a stage's blocks, share their code (docs/tpu.md)."""

_MORE_ON_CHIP = {"xla_tpu_scoped_vmem_limit_kib": 32768, "xla_tpu_input_conv_multi_users": True}
"""An operation may keep more on the chip; what convolutions read is computed in each of them (docs/tpu.md)."""

CHIPS = {
    "TPU v4": Chip(
        275e12, 32 * 2**30, 1228e9, links=6 * 45e9, axes=3, closed=64, island=4096, network=6.25e9, host=4,
        kind="TPU v4", clock=1.05e9, options=_EQUAL_CODE_ONCE,
    ),
    "TPU v5e": Chip(
        197e12, 16 * 2**30, 819e9, links=4 * 45e9, axes=2, closed=256, island=256, network=3.125e9, host=8,
        kind="TPU v5 lite", clock=1.5e9, options=_EQUAL_CODE_ONCE | _MORE_ON_CHIP,
    ),
    "TPU v5p": Chip(
        459e12, 95 * 2**30, 2765e9, links=6 * 90e9, axes=3, closed=64, island=8960, network=6.25e9, host=4,
        kind="TPU v5", clock=1.75e9, options=_EQUAL_CODE_ONCE,
    ),
    "TPU v6e": Chip(
        918e12, 32 * 2**30, 1640e9, links=4 * 90e9, axes=2, closed=256, island=256, network=12.5e9, host=8,
        kind="TPU v6 lite", clock=1.75e9, options=_EQUAL_CODE_ONCE,
    ),
    "H100, H200": Chip(
        989e12, 80e9, 3350e9, links=450e9, axes=0, closed=1, island=8, network=50e9, host=8,
    ),
}  # fmt: skip
"""Chips by the name that their makers use; for H100 and H200 the smaller of their memories and bandwidths."""


LANES = 128  # of a TPU's vectors


def lanes_hint(kind: str, people: int) -> str:
    """Says which numbers of people fill the vectors of a device of a kind, if it is a TPU and `people` do not.

    From half of `LANES` on, the compiler lays people into the lanes. Below, it lays channels there: the 32 of the
    finest branch of HRNet-W32 leave three quarters of them empty.
    """
    if not kind.startswith("TPU") or people % LANES == 0:
        return ""
    return (
        f"{people} people at a time leave a part of the vectors of a {kind} empty: a multiple of {LANES} on each"
        " device is fastest, and 32 cost three times as much for each person (docs/tpu.md)"
    )


@functools.cache
def compiler_options(device: Any) -> dict[str, Any]:
    """Returns the options of XLA to compile with for a device, as ``jax.jit(compiler_options=...)`` takes them.

    The device may be only described. If its compiler does not know an option, it is said, and there are none.
    """
    options = next((dict(chip.options) for chip in CHIPS.values() if chip.kind == device.device_kind), {})
    if not options:
        return {}
    trial = jax.jit(jnp.negative, in_shardings=SingleDeviceSharding(device), compiler_options=options)
    try:
        trial.lower(jax.ShapeDtypeStruct((), jnp.float32)).compile()
    except jax.errors.JaxRuntimeError as error:
        first = str(error).splitlines()[0]
        distributed.log_once(f"note: programs are slower than on {device.device_kind} they could be: {first}")
        return {}
    return options


def find(kind: str) -> tuple[str, Chip]:
    """Returns name and specification of the chip with devices of a kind. Raises ValueError for an unknown kind."""
    for name, chip in CHIPS.items():
        if chip.kind and chip.kind == kind:
            return name, chip
    known = ", ".join(chip.kind for chip in CHIPS.values() if chip.kind)
    raise ValueError(f"nothing is known of devices of the kind {kind!r}; known are {known}")
