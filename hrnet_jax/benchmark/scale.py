"""How far a training step can be spread: its time on many chips, predicted from what their makers publish.

A prediction, not a measurement: every chip computes at an assumed share of its peak, and what chips say to each
other, counted by `collectives`, takes its time after that, one thing at a time. Each chip has the same people
whatever the number of chips, so that a step spread without loss takes as long on all of them. What need not wait
for each other is taken as one operation, as compilers for GPUs and TPUs join it, those for CPUs less so; the
sums of batch normalisation do have to wait, layer for layer.

An all-reduce sends each byte twice round a ring, ``2 (n - 1) / n`` of them over each chip's links (Patarasu and
Yuan, 2009); gathering or scattering, once. Islands of chips that are linked directly do so among themselves first;
then each chip does the same with its part and its counterparts in other islands, over the slower network.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hrnet_jax.benchmark import collectives

COUNTS = (8, 64, 256, 512, 1024)
"""Chips that a step is predicted for."""

HOP = 1e-6
"""Seconds from a chip to the next in a torus (Austin et al., below, in the chapter on sharding)."""

SWITCH, NETWORK = 5e-6, 10e-6
"""Seconds for a message through a switch, and between islands: assumed, nobody publishes them."""

COMPUTE, INPUT = "compute", "input"


@dataclasses.dataclass(frozen=True)
class Chip:
    """What is published of a chip.

    Attributes:
      operations: a second, bfloat16, dense.
      links: bytes a second that it sends to its neighbours, over all links together.
      axes: of the torus that they form; 0: a switch joins them.
      closed: how many make a torus whose rings are closed; with fewer, half of what the links carry is of use.
      island: how many can be linked so.
      network: bytes a second that each sends beyond.
      host: chips that a host feeds.
    """

    operations: float
    links: float
    axes: int
    closed: int
    island: int
    network: float
    host: int


# Operations, tori and hosts: cloud.google.com/tpu/docs, pages v4, v5e, v5p and v6e; NVIDIA's data sheets of H100
# and H200 (SXM; half of what they give with sparsity). Links and networks: Austin et al., "How to Scale Your
# Model" (2025), jax-ml.github.io/scaling-book, the chapters on TPUs (a link's bytes in one direction, times the
# links of a chip) and on GPUs (NVLink, and an InfiniBand port of 400 Gb/s for each).
CHIPS = {
    "TPU v4": Chip(275e12, 6 * 45e9, axes=3, closed=64, island=4096, network=6.25e9, host=4),
    "TPU v5e": Chip(197e12, 4 * 45e9, axes=2, closed=256, island=256, network=3.125e9, host=8),
    "TPU v5p": Chip(459e12, 6 * 90e9, axes=3, closed=64, island=8960, network=6.25e9, host=4),
    "TPU v6e": Chip(918e12, 4 * 90e9, axes=2, closed=256, island=256, network=12.5e9, host=8),
    "H100, H200": Chip(989e12, 450e9, axes=0, closed=1, island=8, network=50e9, host=8),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """What a training step asks of each chip.

    Attributes:
      people: it works on.
      operations: it computes.
      talk: what it says to others, see `collectives.totals`.
    """

    people: float
    operations: float
    talk: Mapping[str, Mapping[str, Mapping[str, int]]]


def wait(chip: Chip, chips: int) -> float:
    """Returns the seconds that a message takes to reach all of an island's chips, however short it is."""
    if chip.axes == 0:
        return SWITCH * math.log2(chips)
    side = chips ** (1 / chip.axes)
    hops = side / 2 if chips >= chip.closed else side - 1  # round a ring both ways, or along a line
    return HOP * chip.axes * hops if chips > 1 else 0.0


def seconds(kind: str, size: float, chip: Chip, chips: int) -> float:
    """Returns what a collective operation takes.

    Args:
      kind: one of `collectives.KINDS`.
      size: bytes of its arrays, whole.
      chip: of all that take part.
      chips: how many do.
    """
    inside, islands = min(chips, chip.island), math.ceil(chips / chip.island)
    links = chip.links if inside >= chip.closed else chip.links / 2
    once = (inside - 1) / inside * size / links + wait(chip, inside)
    once += (islands - 1) / islands * size / inside / chip.network + NETWORK * math.log2(islands)
    return once * (2 if kind == "all-reduce" else 1)


def predict(step: Step, chip: Chip, chips: int, share: float, loaded: float = math.inf) -> dict[str, Any]:
    """Returns a step's time on so many chips, and where it goes.

    Args:
      step: what is asked of each chip.
      chip: the kind.
      chips: how many.
      share: of the chips' peak that computing reaches.
      loaded: people a second that a host can load.

    Returns:
      The seconds of each of its ``parts``, and of the ``step``; the ``efficiency``, the share of computing in it;
      ``people`` a second, of all chips; those that each host ``needs`` to load so that no chip waits; and the
      ``limit``: loading, which happens meanwhile, if it takes longest, or else the longest part.
    """
    parts = {COMPUTE: step.operations / (share * chip.operations)}
    for purpose, kinds in step.talk.items():
        parts[purpose] = 0.0
        for kind, counts in kinds.items():
            times = counts["operations"] if purpose == collectives.NORM else 1
            parts[purpose] += times * seconds(kind, counts["bytes"] / times, chip, chips)
    busy, fed = sum(parts.values()), step.people * min(chip.host, chips)
    whole = max(busy, fed / loaded)
    return {
        "chips": chips,
        "parts": parts,
        "step": whole,
        "efficiency": parts[COMPUTE] / whole,
        "people": step.people * chips / whole,
        "needs": fed / busy,
        "limit": INPUT if whole > busy else max(parts, key=parts.__getitem__),
    }


def predictions(step: Step, share: float, loaded: float = math.inf) -> dict[str, list[dict[str, Any]]]:
    """Returns what `predict` says of each of `CHIPS` and `COUNTS`."""
    return {name: [predict(step, chip, chips, share, loaded) for chips in COUNTS] for name, chip in CHIPS.items()}


def table(predicted: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Returns predictions as lines for the terminal."""
    head = f"  {'':<12}{'chips':>6}{'step':>10}{'computing':>11}{'people/s':>12}{'each host loads':>17}  limit"
    rows = [
        f"  {name:<12}{row['chips']:>6,}{1e3 * row['step']:>7.1f} ms{row['efficiency']:>11.1%}"
        f"{row['people']:>12,.0f}{row['needs']:>13,.0f} p/s  {row['limit']}"
        for name, rows in predicted.items()
        for row in rows
    ]
    return "\n".join([head, *rows])
