"""ONNX graphs under construction, with the views of tensors that save moving data.

JAX's arrays are ``[batch, height, width, channels]``, ONNX convolves ``[batch, channels, height, width]``. A
`View` is a JAX array in terms of an ONNX tensor with other axes. Transposing, reshaping and repeating change the
view only, and data move where an operation needs them to. So a network is transposed once at its input and once at
its output.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

BATCH = 9973
"""Batch size of the traced function. Sizes that are multiples of this prime number depend on the batch."""


SMALL = 64
"""Numbers in a small constant."""


class UnsupportedError(ValueError):
    """A computation that cannot be exported to ONNX."""


@dataclasses.dataclass
class Node:
    """An ONNX node. Constants are inputs by name, see `Graph.constants`."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Repeat:
    """A virtual axis: the same values a number of times."""

    times: int


Group = tuple[int | Repeat, ...]
"""The ONNX axes, and repetitions, that an axis of a JAX array consists of, in row-major order."""


@dataclasses.dataclass(frozen=True)
class View:
    """A JAX array in terms of an ONNX tensor.

    Attributes:
      name: of the ONNX tensor.
      sizes: of the axes of the ONNX tensor.
      groups: for each axis of the JAX array; empty for an axis of size 1. Each ONNX axis occurs once.
    """

    name: str
    sizes: tuple[int, ...]
    groups: tuple[Group, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the JAX array."""
        return tuple(int(np.prod([self.size(part) for part in group], dtype=int)) for group in self.groups)

    def size(self, part: int | Repeat) -> int:
        """Returns the size of a part of a group."""
        return part.times if isinstance(part, Repeat) else self.sizes[part]

    def axis(self, axis: int) -> int | None:
        """Returns the ONNX axis that a JAX axis is, or None if it is none or several."""
        group = self.groups[axis]
        return group[0] if len(group) == 1 and isinstance(group[0], int) else None

    @property
    def order(self) -> list[int]:
        """JAX axes that are one ONNX axis, in the order of the ONNX axes."""
        axes = [(self.axis(of_jax), of_jax) for of_jax in range(len(self.groups))]
        return [of_jax for axis, of_jax in sorted((a, j) for a, j in axes if a is not None)]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A JAX array that is known. The value has the rank of the array, and size 1 along repeated axes."""

    value: np.ndarray
    shape: tuple[int, ...]

    def full(self) -> np.ndarray:
        """Returns the whole array. Raises UnsupportedError if it depends on the batch size."""
        if any(size % BATCH == 0 and size for size in self.shape):
            raise UnsupportedError("an array of constants depends on the batch size")
        return np.broadcast_to(self.value, self.shape)


Value = View | Constant


class Graph:
    """Nodes in order of computation, and constants by name. Equal nodes and equal small constants occur once."""

    def __init__(self):
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._numbers = itertools.count()
        self._known: dict[Any, str] = {}

    def constant(self, value: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"constant_{next(self._numbers)}"
        if value.size <= SMALL:
            name = self._known.setdefault((value.dtype.str, value.shape, value.tobytes()), name)
        self.constants[name] = np.array(value, order="C")
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Adds a constant vector of integers and returns its name."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        new = f"{op.lower()}_{next(self._numbers)}"
        output = self._known.setdefault((op, inputs, repr(attributes)), new)
        if output == new:
            self.nodes.append(Node(op, list(inputs), output, attributes))
        return output

    def rename(self, name: str, new: str) -> None:
        """Gives a tensor a new name."""
        for node in self.nodes:
            node.inputs = [new if used == name else used for used in node.inputs]
            node.output = new if node.output == name else node.output
