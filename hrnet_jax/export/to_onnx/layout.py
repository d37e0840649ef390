"""Primitives that move elements, as views or ONNX nodes."""

from collections.abc import Sequence
from typing import Any

from hrnet_jax.export.to_onnx import views
from hrnet_jax.export.to_onnx.graph import BATCH, Constant, Graph, Group, Repeat, UnsupportedError, Value, View
from hrnet_jax.export.to_onnx.views import arrange, identity, simplify, with_order, with_repeats


def keep(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Returns the operand: for primitives that only matter to the compiler."""
    return operand


def broadcast(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Adds repetitions along axes."""
    places = parameters["broadcast_dimensions"]
    repeated = [axis for axis, place in enumerate(places) if operand.shape[axis] < parameters["shape"][place]]
    view = views.drop(graph, operand, repeated)
    groups: list[Group] = [(Repeat(size),) if size > 1 else () for size in parameters["shape"]]
    for axis, place in enumerate(places):
        groups[place] = view.groups[axis] or groups[place]
    return View(view.name, view.sizes, tuple(groups))


def reshape(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Reshapes an array."""
    return views.reshape(graph, operand, parameters["new_sizes"])


def squeeze(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Removes axes of size 1."""
    shape = [size for axis, size in enumerate(operand.shape) if axis not in parameters["dimensions"]]
    return views.reshape(graph, operand, shape)


def transpose(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Reorders axes."""
    return View(operand.name, operand.sizes, tuple(operand.groups[axis] for axis in parameters["permutation"]))


def tile(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Repeats an array along axes."""
    order = range(len(operand.shape))
    name = graph.add("Tile", arrange(graph, operand, order), graph.integers(parameters["reps"]))
    return identity(name, parameters["shape"])


def concatenate(graph: Graph, parameters: dict[str, Any], *operands: Value) -> View:
    """Joins arrays along an axis."""
    axis, shape = parameters["dimension"], parameters["shape"]
    lead = simplify(graph, next(value for value in operands if isinstance(value, View)))
    order = lead.order
    for missing in (a for a in range(len(shape)) if a not in order):  # beside the axis that it may be merged with
        order.insert(order.index(missing - 1) + 1 if missing else 0, missing)
    names = [arrange(graph, value, order) for value in operands]
    return with_order(graph.add("Concat", *names, axis=order.index(axis)), shape, order)


def stack(graph: Graph, parameters: dict[str, Any], *operands: Value) -> View:
    """Joins arrays along a new axis."""
    axis, shape = parameters["axis"], parameters["shape"]
    thin = (*shape[:axis], 1, *shape[axis + 1 :])
    reshaped = [
        views.reshape(graph, v, thin) if isinstance(v, View) else Constant(v.full().reshape(thin), thin)
        for v in operands
    ]
    return concatenate(graph, {"dimension": axis, "shape": shape}, *reshaped)


def cut(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Slices an array."""
    strides = parameters["strides"] or (1,) * len(operand.shape)
    wanted = zip(parameters["start_indices"], parameters["limit_indices"], strides, strict=True)
    return _take(graph, operand, {axis: bounds for axis, bounds in enumerate(wanted)}, parameters["shape"])


def reverse(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Reverses axes."""
    return _take(graph, operand, {axis: (-1, -(2**31), -1) for axis in parameters["dimensions"]}, operand.shape)


def _take(graph: Graph, operand: View, bounds: dict[int, tuple[int, int, int]], shape: Sequence[int]) -> View:
    """Slices JAX axes by start, end and step."""
    bounds = {axis: bound for axis, bound in bounds.items() if bound != (0, operand.shape[axis], 1)}
    view = simplify(graph, operand)
    axes = [axis for of_jax in bounds if (axis := view.axis(of_jax)) is not None]
    if len(axes) < len(bounds) or any(view.sizes[axis] % BATCH == 0 for axis in axes):
        raise UnsupportedError("a part of the batch, or of repeated values")
    starts, ends, steps = (graph.integers(values) for values in zip(*bounds.values(), strict=True))
    taken = graph.add("Slice", view.name, starts, ends, graph.integers(axes), steps)
    return with_repeats(with_order(taken, shape, view.order), shape)


def pad(graph: Graph, parameters: dict[str, Any], operand: View, value: Value) -> View:
    """Pads with a value."""
    if any(between for _, _, between in parameters["padding_config"]):
        raise UnsupportedError("padding between elements")
    view = simplify(graph, operand)
    order = [*view.order, *(axis for axis in range(len(view.groups)) if axis not in view.order)]
    widths = pads([parameters["padding_config"][axis][:2] for axis in order])
    name = graph.add("Pad", arrange(graph, view, order), graph.integers(widths), arrange(graph, value, ()))
    return with_order(name, parameters["shape"], order)


def pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    """Returns ONNX's order of paddings: all at the beginning, then all at the end."""
    if min(width for pair in padding for width in pair) < 0:
        raise UnsupportedError("negative padding")
    return [*(low for low, _ in padding), *(high for _, high in padding)]
