"""ONNX graphs under construction, with the views of tensors that save moving data.

JAX's arrays are ``[batch, height, width, channels]``, ONNX convolves ``[batch, channels, height, width]``. A `View`
is a JAX array in terms of an ONNX tensor with other axes: transposing, reshaping and repeating change the view only,
and data move where an operation needs them to. A network is thus transposed once at its input and once at its output.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

BATCH = 9973
"""Batch size of the traced function. Sizes that are multiples of this prime number depend on the batch."""


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
    """Nodes in order of computation, and constants by name."""

    def __init__(self):
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._numbers = itertools.count()

    def constant(self, value: np.ndarray) -> str:
        """Adds a constant and returns its name."""
        name = f"constant_{next(self._numbers)}"
        self.constants[name] = np.ascontiguousarray(value).reshape(np.shape(value))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Adds a constant vector of integers and returns its name."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        output = f"{op.lower()}_{next(self._numbers)}"
        self.nodes.append(Node(op, list(inputs), output, attributes))
        return output

    def rename(self, name: str, new: str) -> None:
        """Gives a tensor a new name."""
        for node in self.nodes:
            node.inputs = [new if used == name else used for used in node.inputs]
            node.output = new if node.output == name else node.output

    def node_of(self, name: str) -> Node | None:
        """Returns the node that computes a tensor."""
        return next((node for node in reversed(self.nodes) if node.output == name), None)


def identity(name: str, shape: Sequence[int]) -> View:
    """Returns the view of a tensor as it is."""
    return View(name, tuple(shape), tuple((axis,) for axis in range(len(shape))))


def with_order(name: str, shape: Sequence[int], order: Sequence[int]) -> View:
    """Returns the view of shape `shape` of a tensor whose axes are these axes of the JAX array."""
    groups: list[Group] = [()] * len(shape)
    for axis, of_jax in enumerate(order):
        groups[of_jax] = (axis,)
    return View(name, tuple(shape[axis] for axis in order), tuple(groups))


def regroup(view: View, shape: Sequence[int]) -> View | None:
    """Returns the view reshaped to another shape, or None if an axis would have to be split."""
    rest = [part for group in view.groups for part in group]
    groups: list[Group] = []
    for size, following in itertools.zip_longest(shape, shape[1:]):
        group: list[int | Repeat] = [rest.pop(0)] if size == 1 and rest and view.size(rest[0]) == 1 else []
        while size > 1:
            if not rest or size % view.size(rest[0]):
                return None
            size //= view.size(rest[0])
            group.append(rest.pop(0))
        while rest and view.size(rest[0]) == 1 and following != 1:
            group.append(rest.pop(0))
        groups.append(tuple(group))
    return None if rest else View(view.name, view.sizes, tuple(groups))


def reshape(graph: Graph, view: View, shape: Sequence[int]) -> View:
    """Reshapes an array."""
    if (regrouped := regroup(view, shape)) is not None:
        return regrouped
    name = arrange(graph, view, range(len(view.groups)))
    return identity(graph.add("Reshape", name, graph.integers(_sizes(shape))), shape)


def _sizes(shape: Sequence[int]) -> list[int]:
    """Returns the sizes for ONNX's Reshape: -1 for the one that depends on the batch."""
    sizes = [-1 if size % BATCH == 0 else size for size in shape]
    if sizes.count(-1) > 1:
        raise UnsupportedError("two axes of an array depend on the batch size")
    return sizes


def simplify(graph: Graph, view: View) -> View:
    """Moves data so that each JAX axis is an ONNX axis, in any order, or has size 1 or repetitions only."""
    view = _enlarge(graph, view)
    for axis, group in enumerate(view.groups):
        if len(group) > 1:
            view = _expand(graph, view, axis)
    return view if all(len(group) <= 1 for group in view.groups) else _merge(graph, view)


def _enlarge(graph: Graph, view: View) -> View:
    """Applies repetitions of single pixels by one nearest-neighbour upsampling."""
    factors = {g[0]: g[1].times for g in view.groups if len(g) == 2 and is_axis(g[:1]) and isinstance(g[1], Repeat)}
    if not factors:
        return view
    scales = np.array([factors.get(axis, 1) for axis in range(len(view.sizes))], np.float32)
    rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    name = graph.add("Resize", view.name, "", graph.constant(scales), **rule)
    sizes = tuple(size * factors.get(axis, 1) for axis, size in enumerate(view.sizes))
    return View(name, sizes, tuple(group[:1] if group and group[0] in factors else group for group in view.groups))


def is_axis(group: Group) -> bool:
    """Whether a group is one axis of the ONNX tensor."""
    return len(group) == 1 and isinstance(group[0], int)


def order_of(view: View) -> list[int]:
    """Returns the JAX axes in the order of the ONNX axes; those of size 1 and repetitions come last."""
    last = len(view.sizes)
    return sorted(range(len(view.groups)), key=lambda a: view.groups[a][0] if is_axis(view.groups[a]) else last)


def _expand(graph: Graph, view: View, axis: int) -> View:
    """Turns the repetitions in an axis into axes of the ONNX tensor."""
    while repeats := [at for at, part in enumerate(view.groups[axis]) if isinstance(part, Repeat)]:
        before = [g for group in (*view.groups[:axis], view.groups[axis][: repeats[0]]) for g in group]
        place = max((part + 1 for part in before[-1:] if isinstance(part, int)), default=0)
        times = view.size(view.groups[axis][repeats[0]])
        if times % BATCH == 0:
            raise UnsupportedError("an array is repeated along the batch")
        name = graph.add("Unsqueeze", view.name, graph.integers([place]))
        lengths = [times if at == place else 1 for at in range(len(view.sizes) + 1)]
        name = graph.add("Expand", name, graph.integers(lengths))
        groups = [[p + 1 if isinstance(p, int) and p >= place else p for p in group] for group in view.groups]
        groups[axis][repeats[0]] = place
        view = View(name, (*view.sizes[:place], times, *view.sizes[place:]), tuple(map(tuple, groups)))
    return view


def _merge(graph: Graph, view: View) -> View:
    """Merges the ONNX axes of each JAX axis into one."""
    name, groups = view.name, [group for group in view.groups if is_axis(group) or len(group) > 1]
    in_place = sorted(groups)
    if [part for group in in_place for part in group] == list(range(len(view.sizes))):
        groups = in_place  # they are beside each other
    else:
        name = graph.add("Transpose", name, perm=[part for group in groups for part in group])
    order = [view.groups.index(group) for group in groups]
    sizes = graph.integers(_sizes([view.shape[axis] for axis in order]))
    return with_order(graph.add("Reshape", name, sizes), view.shape, order)


def arrange(graph: Graph, value: Value, order: Sequence[int]) -> str:
    """Returns the name of a tensor with these axes of a JAX array, of full size. Other axes must have size 1."""
    if isinstance(value, View):
        for axis, group in enumerate(value.groups):
            value = value if is_axis(group) else _expand(graph, value, axis)
    return align(graph, value if isinstance(value, View) else Constant(value.full(), value.shape), order)


def align(graph: Graph, value: Value, order: Sequence[int]) -> str:
    """Returns the name of a tensor with these axes of a JAX array. Repeated axes have size 1."""
    if isinstance(value, Constant):
        others = [axis for axis in range(value.value.ndim) if axis not in order]
        array = value.value.transpose([*order, *others])
        return graph.constant(array.reshape(array.shape[: len(order)]))
    view = simplify(graph, value)
    present = [axis for axis in order if is_axis(view.groups[axis])]
    name, perm = view.name, [view.groups[axis][0] for axis in present]
    if perm != sorted(perm):  # pyright: ignore[reportArgumentType]
        name = graph.add("Transpose", name, perm=perm)
    missing = [place for place, axis in enumerate(order) if axis not in present]
    return graph.add("Unsqueeze", name, graph.integers(missing)) if missing else name
