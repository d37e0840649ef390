"""Communication between the devices in a training step, counted, and the step's predicted time on many chips.

Collective operations are read from the text of the compiled programs. Compilers combine collectives that are ready
together, so one operation may carry hundreds of arrays. The text gives the source of each array, and the source
gives the purpose. The CPU compiler writes ``all-reduce`` even where each device keeps only a part of the sum. The
compilers for GPUs and TPUs may use ``reduce-scatter`` there.

The predicted time is a model, not a measurement. Every chip computes at an assumed share of its published peak.
The counted communication follows, one operation after the other, without overlap. The number of people per chip is
fixed (weak scaling), so with perfect efficiency a step takes the same time on any number of chips.

Independent operations of one purpose and kind count as one, since compilers for GPUs and TPUs combine them. The
CPU compiler combines fewer. Sums of batch normalisation depend on each other, layer by layer, and stay separate.

A ring all-reduce sends ``2 (n - 1) / n`` of the bytes over each chip's links (Patarasuk and Yuan, 2009).
All-gather and reduce-scatter send half of that. Between islands, collectives are hierarchical: chips first use the
direct links within their island, then each exchanges its part with its counterparts over the slower network.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hrnet_jax.devices import CHIPS, Chip

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
GRADIENTS, NORM, STATISTICS, UPDATE = "gradients", "batch norm", "statistics", "update"

Totals = dict[str, dict[str, dict[str, int]]]  # ``operations``, ``arrays`` and ``bytes``, by purpose and kind

CHIP_COUNTS = (8, 64, 256, 512, 1024)  # numbers of chips that steps are predicted for
HOP_LATENCY = (
    1e-6  # seconds between neighbours in a torus (Austin et al., see `hrnet_jax.devices`, chapter on sharding)
)
# Seconds through a switch and between islands. Both are assumptions, since no figures are published.
SWITCH_LATENCY, NETWORK_LATENCY = 5e-6, 10e-6
COMPUTE, INPUT = "compute", "input"

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = (.*)$")
_COLLECTIVE = re.compile(
    rf"^(?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\((?P<operands>.*?)\)(?:, \w+=|$)"
)
_OPCODE = re.compile(r" [\w\-]+\(")  # follows the shape of the result
_SHAPE = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation."""

    kind: str  # one of `KINDS`
    bytes: tuple[int, ...]  # full size of each array: after gathering, before scattering
    sources: tuple[str, ...]  # JAX's name of the code that computed each array, or "" if the compiler gives none

    @property
    def purpose(self) -> str:
        """`NORM` if only batch normalisation needs it, `GRADIENTS` if any of its arrays is a gradient.

        Otherwise `STATISTICS` for running statistics, loss and metrics, or `UPDATE` for updated weights.
        """
        if all("jit(standardize)" in source for source in self.sources):
            return NORM
        if any("transpose(" in source for source in self.sources):
            return GRADIENTS
        return STATISTICS if any("jvp(" in source for source in self.sources) else UPDATE


def read_collectives(text: str) -> list[Collective]:
    """Returns the collective operations of a program in the order of its text. One in a loop appears once."""
    found: list[Collective] = []
    definitions: dict[str, str] = {}
    for line in text.splitlines():
        if instruction := _INSTRUCTION.match(line):
            name, definition = instruction.groups()
            definitions[name] = definition
            if match := _COLLECTIVE.search(definition):
                found.append(_parse(match, definitions))
    return found


def totals(collectives: Iterable[Collective]) -> Totals:
    """Sums collectives by purpose and kind."""
    found: Totals = {}
    for one in collectives:
        kinds = found.setdefault(one.purpose, {})
        counts = kinds.setdefault(one.kind, {"operations": 0, "arrays": 0, "bytes": 0})
        counts["operations"] += 1
        counts["arrays"] += len(one.bytes)
        counts["bytes"] += sum(one.bytes)
    return found


def communication_table(communication: Totals) -> str:
    """Formats `totals` for the terminal."""
    return "\n".join(
        f"  {purpose:<11}{kind:<20}{counts['operations']:>5,} operations {counts['arrays']:>6,} arrays"
        f" {counts['bytes'] / 1e6:>10,.3f} MB"
        for purpose, kinds in communication.items()
        for kind, counts in kinds.items()
    )


def _parse(match: re.Match[str], definitions: Mapping[str, str]) -> Collective:
    """Builds a collective from its match. Its operands are names defined earlier in the text."""
    operands = [definitions[name] for name in re.findall(r"%([\w.\-]+)", match["operands"])]
    inputs = [_sizes(_OPCODE.split(operand, maxsplit=1)[0])[0] for operand in operands]
    outputs = _sizes(match["result"])[-len(operands) :]  # a `-start` operation lists its inputs first
    sources = tuple(found[1] if (found := _SOURCE.search(operand)) else "" for operand in operands)
    return Collective(match["kind"], tuple(map(max, inputs, outputs)), sources)


def _sizes(shapes: str) -> list[int]:
    """Returns the bytes of each array in a text such as ``(f32[3,4]{1,0}, pred[])``."""
    return [
        math.prod(int(side) for side in sides.split(",") if side) * (1 if name == "pred" else int(bits) // 8)
        for name, bits, sides in _SHAPE.findall(shapes)
    ]


@dataclasses.dataclass(frozen=True)
class StepCost:
    """Cost of a training step on each chip."""

    people: float
    operations: float  # arithmetic
    communication: Totals


def latency(chip: Chip, chips: int) -> float:
    """Returns the seconds in which an empty message reaches all of the chips of one island."""
    if chip.axes == 0:
        return SWITCH_LATENCY * math.log2(chips)
    side = chips ** (1 / chip.axes)
    hops = side / 2 if chips >= chip.closed else side - 1  # both ways round a ring, or along a line
    return HOP_LATENCY * chip.axes * hops if chips > 1 else 0.0


def collective_time(kind: str, size: float, chip: Chip, chips: int) -> float:
    """Returns the seconds of a collective operation, one of `KINDS`, on arrays of `size` bytes in all."""
    inside, islands = min(chips, chip.island), math.ceil(chips / chip.island)
    bandwidth = chip.links if inside >= chip.closed else chip.links / 2
    once = (inside - 1) / inside * size / bandwidth + latency(chip, inside)
    once += (islands - 1) / islands * size / inside / chip.network + NETWORK_LATENCY * math.log2(islands)
    return once * (2 if kind == "all-reduce" else 1)


def predict(cost: StepCost, chip: Chip, chips: int, share: float, load_rate: float = math.inf) -> dict[str, Any]:
    """Predicts the time of a step and its parts.

    Computing reaches a `share` of the chips' peak and each host loads `load_rate` people per second.

    Returns the number of ``chips``. The seconds of the ``step`` and of its ``parts``. The ``efficiency``, or share
    of the step spent computing. The ``people`` per second of all chips together. The ``people_per_host``: the rate
    at which each host must load so that no chip waits. The ``limit``: the longest part, or loading if it takes
    longer than all parts together, since it overlaps with them.
    """
    parts = {COMPUTE: cost.operations / (share * chip.operations)}
    for purpose, kinds in cost.communication.items():
        parts[purpose] = 0.0
        for kind, counts in kinds.items():
            rounds = counts["operations"] if purpose == NORM else 1
            parts[purpose] += rounds * collective_time(kind, counts["bytes"] / rounds, chip, chips)
    busy, people = sum(parts.values()), cost.people * min(chip.host, chips)
    step = max(busy, people / load_rate)
    return {
        "chips": chips,
        "parts": parts,
        "step": step,
        "efficiency": parts[COMPUTE] / step,
        "people": cost.people * chips / step,
        "people_per_host": people / busy,
        "limit": INPUT if step > busy else max(parts, key=parts.__getitem__),
    }


def predict_all(cost: StepCost, share: float, load_rate: float = math.inf) -> dict[str, list[dict[str, Any]]]:
    """Returns `predict` for each of `CHIPS`, at each of `CHIP_COUNTS`."""
    return {name: [predict(cost, chip, n, share, load_rate) for n in CHIP_COUNTS] for name, chip in CHIPS.items()}


def prediction_table(predicted: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Formats predictions for the terminal."""
    head = f"  {'':<12}{'chips':>6}{'step':>10}{'computing':>11}{'people/s':>12}{'each host loads':>17}  limit"
    rows = [
        f"  {name:<12}{row['chips']:>6,}{1e3 * row['step']:>7.1f} ms{row['efficiency']:>11.1%}"
        f"{row['people']:>12,.0f}{row['people_per_host']:>13,.0f} p/s  {row['limit']}"
        for name, rows in predicted.items()
        for row in rows
    ]
    return "\n".join([head, *rows])
