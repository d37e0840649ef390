"""What a program for TPUs costs, read from the text that the compiler writes.

Cycles are the compiler's own estimate for each operation. Operations run one after the other, so their sum is that
of a program; waiting for memory and for other chips is not in it. Layouts such as ``{3,0,2,1:T(8,128)S(1)}`` tell
how an array is padded to tiles, and where it lies: ``S(1)`` is the chip's own memory, everything else is HBM.
Bytes of HBM are an upper bound: an operation that reads a slice counts the whole array.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CONVOLUTIONS, NORM, FUSION = "convolutions", "normalisation, ReLU, sums", "fusion of branches"
OUTSIDE, COLLECTIVES, COPIES = "outside the network", "collectives", "copies"

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)(?:, (.*))?$")
_ARRAY = re.compile(r"\b(pred|[a-z]+?(\d+)\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SOURCE = re.compile(r'op_name="([^"]*)"')
_NO_MODULE = re.compile(r"[()]|^[A-Z]")  # functions that JAX transforms, and classes
_CALLED = re.compile(r"calls=%([\w.\-]+)")
_COLLECTIVE = re.compile(r"all-|reduce-scatter|collective-")
_COPY = re.compile(r"(copy|slice|dynamic-slice|dynamic-update-slice|transpose|async)(-start|-done)?$")
_ON_CHIP = "S(1)"
_MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "copy-done", "slice-done"}


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a program."""

    layer: str  # path of modules such as ``stage4.0/branches.0.0/conv1``, empty outside the network
    kind: str
    cycles: int
    hbm: int  # bytes between chip and HBM, at most
    fill: float  # share of the result's tiles that holds values


def read(text: str) -> list[Operation]:
    """Returns the operations of a program, those inside of fusions as one."""
    computations = dict(_computations(text))
    convolving = {name for name, lines in computations.items() if any(" convolution(" in line for line in lines)}
    found = [_INSTRUCTION.match(line) for line in computations["ENTRY"]]
    results = {match[1]: match[2] for match in found if match}
    return [_operation(match, results, convolving) for match in found if match]


def _computations(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the instructions of each computation by its name, the program's own as ``ENTRY``."""
    name, lines = "", []
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name, lines = "ENTRY" if line.startswith("ENTRY") else line.split()[0].lstrip("%"), []
        elif line.startswith("}"):
            yield name, lines
        else:
            lines.append(line)


def _operation(match: re.Match[str], results: Mapping[str, str], convolving: set[str]) -> Operation:
    _, result, opcode, operands, rest = match.groups(default="")
    source = found[1] if (found := _SOURCE.search(rest)) else ""
    called = found[1] if (found := _CALLED.search(rest)) else ""
    layer = "/".join(part for part in source.split("/")[:-1] if not _NO_MODULE.search(part))
    cycles = int(found[1]) if (found := _CYCLES.search(rest)) else 0
    inputs = [results[name] for name in re.findall(r"%([\w.\-]+)", operands) if name in results]
    kind = _kind(opcode, source, layer, opcode == "convolution" or called in convolving)
    return Operation(layer, kind, cycles, _hbm(opcode, result, inputs), _fill(result))


def _kind(opcode: str, source: str, layer: str, convolves: bool) -> str:
    if _COLLECTIVE.match(opcode):
        return COLLECTIVES
    if convolves:
        return CONVOLUTIONS
    if _COPY.match(opcode) or not source:
        return COPIES
    if not layer:
        return OUTSIDE
    return FUSION if re.fullmatch(r"stage\d+\.\d+", layer) else NORM


def _hbm(opcode: str, result: str, operands: Iterable[str]) -> int:
    if opcode in _MOVES_NOTHING:
        return 0
    if opcode in ("copy-start", "slice-start"):  # from HBM to the chip, or back
        return min(_padded(array) for array in list(_ARRAY.finditer(result))[:2])
    arrays = (array for part in (result, *operands) for array in _ARRAY.finditer(part))
    return sum(_padded(array) for array in arrays if _ON_CHIP not in (array[5] or ""))


def _fill(result: str) -> float:
    arrays = list(_ARRAY.finditer(result))
    padded = sum(map(_padded, arrays))
    return sum(map(_logical, arrays)) / padded if padded else 1.0


def _logical(array: re.Match[str]) -> int:
    return math.prod(_sides(array)) * _width(array)


def _padded(array: re.Match[str]) -> int:
    """Returns the bytes of an array whose minor axes are padded to its tile."""
    sides = _sides(array)
    tile = [int(side) for side in found[1].split(",")] if (found := _TILE.search(array[5] or "")) else []
    minor = [int(axis) for axis in (array[4] or "").split(",") if axis]
    for axis, side in zip(minor, reversed(tile), strict=False):
        sides[axis] = -(-sides[axis] // side) * side
    return math.prod(sides) * _width(array)


def _sides(array: re.Match[str]) -> list[int]:
    return [int(side) for side in array[3].split(",") if side]


def _width(array: re.Match[str]) -> int:
    return 1 if array[1] == "pred" else int(array[2]) // 8


def by_kind(operations: Iterable[Operation]) -> dict[str, dict[str, float]]:
    """Sums ``cycles`` and ``hbm`` by kind of operation, with ``fill``, the mean weighted by cycles."""
    kinds: dict[str, dict[str, float]] = {}
    for one in operations:
        kind = kinds.setdefault(one.kind, {"cycles": 0, "hbm": 0, "fill": 0.0})
        kind["cycles"] += one.cycles
        kind["hbm"] += one.hbm
        kind["fill"] += one.fill * one.cycles
    for kind in kinds.values():
        kind["fill"] /= max(kind["cycles"], 1)
    return dict(sorted(kinds.items(), key=lambda item: -item[1]["cycles"]))


def costliest(operations: Iterable[Operation], count: int) -> list[dict[str, Any]]:
    """Returns the layers with the most cycles, those of all operations of a layer together."""
    layers: dict[tuple[str, str], int] = {}
    for one in operations:
        layers[one.layer, one.kind] = layers.get((one.layer, one.kind), 0) + one.cycles
    order = sorted(layers, key=lambda key: -layers[key])[:count]
    return [{"layer": layer, "kind": kind, "cycles": layers[layer, kind]} for layer, kind in order]
