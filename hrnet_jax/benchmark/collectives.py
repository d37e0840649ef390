"""Collective operations of a compiled training step, read from the text of its programs.

Compilers combine collectives that are ready together, so one operation may carry hundreds of arrays. The text
gives the source of each array, and the source gives the purpose. The CPU compiler writes ``all-reduce`` even where
each device keeps only a part of the sum. The compilers for GPUs and TPUs may use ``reduce-scatter`` there.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
GRADIENTS, NORM, STATISTICS, UPDATE = "gradients", "batch norm", "statistics", "update"

Totals = dict[str, dict[str, dict[str, int]]]
"""Numbers of ``operations``, ``arrays`` and ``bytes``, by purpose and kind."""

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = (.*)$")
_COLLECTIVE = re.compile(
    rf"^(?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\((?P<operands>.*?)\)(?:, \w+=|$)"
)
_OPCODE = re.compile(r" [\w\-]+\(")  # follows the shape of the result
_SHAPE = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation.

    Attributes:
      kind: one of `KINDS`.
      bytes: full size of each array: after gathering, before scattering.
      sources: JAX's name of the code that computed each array, or "" if the compiler gives none.
    """

    kind: str
    bytes: tuple[int, ...]
    sources: tuple[str, ...]

    @property
    def purpose(self) -> str:
        """Purpose of the operation.

        `NORM` if only batch normalisation needs it. `GRADIENTS` if it carries any gradient, whatever else is
        combined with it. `STATISTICS` for running statistics, loss and metrics. `UPDATE` for updated weights.
        """
        if all("jit(standardize)" in source for source in self.sources):
            return NORM
        if any("transpose(" in source for source in self.sources):
            return GRADIENTS
        return STATISTICS if any("jvp(" in source for source in self.sources) else UPDATE


def read(text: str) -> list[Collective]:
    """Returns the collective operations of a program in the order of its text. One in a loop appears once.

    Args:
      text: text of the compiled program, ``compiled.as_text()``.
    """
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


def table(communication: Totals) -> str:
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
    sources = [_SOURCE.search(operand) for operand in operands]
    return Collective(
        kind=match["kind"],
        bytes=tuple(map(max, inputs, outputs)),
        sources=tuple(source[1] if source else "" for source in sources),
    )


def _sizes(shapes: str) -> list[int]:
    """Returns the bytes of each array in a text such as ``(f32[3,4]{1,0}, pred[])``."""
    return [
        math.prod(int(side) for side in sides.split(",") if side) * (1 if name == "pred" else int(bits) // 8)
        for name, bits, sides in _SHAPE.findall(shapes)
    ]
