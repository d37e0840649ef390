"""What devices say to each other in a step: the collective operations of a compiled program, read from its text.

One operation may carry hundreds of arrays, since compilers join those that are ready together; of each array the
text tells the line of ours that it comes from, and so what it is for. The CPU compiler writes sums of which each
device keeps a part as ``all-reduce``; those of GPUs and TPUs may turn them into ``reduce-scatter``.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
GRADIENTS, NORM, STATISTICS, UPDATE = "gradients", "batch norm", "statistics", "update"

_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = (.*)$")
_COLLECTIVE = re.compile(
    rf"^(?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\((?P<arrays>.*?)\)(?:, \w+=|$)"
)
_HEAD = re.compile(r" [\w\-]+\(")  # after the shape: what is done
_SHAPE = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_SOURCE = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Operation:
    """A collective operation.

    Attributes:
      kind: one of `KINDS`.
      bytes: of each array that it carries, whole: what devices hold together after gathering, before scattering.
      sources: of each array, where in our code it comes from, as JAX names it; "" if the compiler does not tell.
    """

    kind: str
    bytes: tuple[int, ...]
    sources: tuple[str, ...]

    @property
    def purpose(self) -> str:
        """What it is for.

        `NORM` if only normalising needs it; `GRADIENTS`, with all that rides along; `STATISTICS`, running ones,
        and the loss and other figures; the `UPDATE` of the weights.
        """
        if all("jit(standardize)" in source for source in self.sources):
            return NORM
        if any("transpose(" in source for source in self.sources):
            return GRADIENTS
        return STATISTICS if any("jvp(" in source for source in self.sources) else UPDATE


def read(text: str) -> list[Operation]:
    """Returns the collective operations of a program, in the order of its text; those in a loop stand there once.

    Args:
      text: of the compiled program, ``compiled.as_text()``.
    """
    return list(_operations(text))


def totals(operations: Sequence[Operation]) -> dict[str, dict[str, dict[str, int]]]:
    """Returns how many ``operations``, ``arrays`` and ``bytes`` there are, by purpose and kind."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for one in operations:
        kinds = found.setdefault(one.purpose, {})
        counts = kinds.setdefault(one.kind, {"operations": 0, "arrays": 0, "bytes": 0})
        for name, more in {"operations": 1, "arrays": len(one.bytes), "bytes": sum(one.bytes)}.items():
            counts[name] += more
    return found


def lines(operations: Sequence[Operation]) -> str:
    """Returns what was found, for the terminal."""
    return "\n".join(
        f"  {purpose:<11}{kind:<20}{counts['operations']:>5,} operations {counts['arrays']:>6,} arrays"
        f" {counts['bytes'] / 1e6:>10,.3f} MB"
        for purpose, kinds in totals(operations).items()
        for kind, counts in kinds.items()
    )


def _operations(text: str) -> Iterator[Operation]:
    defined: dict[str, str] = {}  # the instructions above, by name
    for line in text.splitlines():
        instruction = _INSTRUCTION.match(line)
        if instruction:
            defined[instruction[1]] = instruction[2]
            if found := _COLLECTIVE.search(instruction[2]):
                yield _operation(found, defined)


def _operation(found: re.Match[str], defined: Mapping[str, str]) -> Operation:
    """Makes an operation of what was found of it; its arrays are named, and defined above."""
    arrays = [defined[name] for name in re.findall(r"%([\w.\-]+)", found["arrays"])]
    given = [_sizes(_HEAD.split(array, maxsplit=1)[0])[0] for array in arrays]
    made = _sizes(found["result"])[-len(arrays) :]  # before them, an operation's start repeats what it is given
    sources = [_SOURCE.search(array) for array in arrays]
    return Operation(
        kind=found["kind"],
        bytes=tuple(map(max, given, made)),
        sources=tuple(source[1] if source else "" for source in sources),
    )


def _sizes(shapes: str) -> list[int]:
    """Returns the bytes of each array in a text such as ``(f32[3,4]{1,0}, pred[])``."""
    return [
        math.prod(int(side) for side in sides.split(",") if side) * (1 if name == "pred" else int(bits) // 8)
        for name, bits, sides in _SHAPE.findall(shapes)
    ]
