"""JAX's primitives as ONNX nodes, opset 17.

`PRIMITIVES` has a function for each primitive: it adds nodes to the graph and returns the result's view. A network of
your own exports if its primitives are among them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hrnet_jax.export import onnx_graph
from hrnet_jax.export.onnx_graph import (
    BATCH,
    Constant,
    Graph,
    Group,
    Repeat,
    UnsupportedError,
    Value,
    View,
    align,
    arrange,
    identity,
    is_axis,
    order_of,
    simplify,
    with_order,
)

Convert = Callable[..., Value]
"""(graph, parameters of the primitive, *operands) -> result."""

ELEMENTWISE = {
    "abs": "Abs", "add": "Add", "and": "And", "ceil": "Ceil", "cos": "Cos", "div": "Div", "eq": "Equal",
    "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual",
    "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg",
    "not": "Not", "or": "Or", "pow": "Pow", "round": "Round", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt",
    "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
"""Primitives that are one ONNX operator, element by element."""


_COMMUTATIVE = ("Add", "Mul")  # a constant comes second


def elementwise(graph: Graph, op: str, *operands: Value, **attributes: Any) -> View:
    """Applies an operator to arrays of one shape, in the order of axes of the first with the most axes."""
    if op in _COMMUTATIVE:
        operands = tuple(sorted(operands, key=lambda operand: isinstance(operand, Constant)))
    shape = max((operand.shape for operand in operands), key=len)
    values = [_at_rank(simplify(graph, v) if isinstance(v, View) else v, len(shape)) for v in operands]
    views = [value for value in values if isinstance(value, View)]
    varying = {axis for view in views for axis, group in enumerate(view.groups) if is_axis(group)}
    varying |= {a for v in values if isinstance(v, Constant) for a, size in enumerate(v.value.shape) if size > 1}
    order = [axis for axis in order_of(max(views, key=lambda view: len(view.sizes))) if axis in varying]
    name = graph.add(op, *(align(graph, value, order) for value in values), **attributes)
    return _repeated(with_order(name, shape, order), shape)


def _at_rank(value: Value, rank: int) -> Value:
    """Returns an operand with the rank of the others; JAX also allows scalars."""
    if len(value.shape) == rank:
        return value
    if isinstance(value, View):
        return View(value.name, value.sizes, ((),) * rank)
    return Constant(value.value.reshape((1,) * rank), (1,) * rank)


def _repeated(view: View, shape: Sequence[int]) -> View:
    """Returns a view of this shape, with repetitions along axes that its tensor lacks."""
    groups = [group or (Repeat(size),) * (size > 1) for group, size in zip(view.groups, shape, strict=True)]
    return View(view.name, view.sizes, tuple(groups))


def _elementwise(op: str) -> Convert:
    return lambda graph, parameters, *operands: elementwise(graph, op, *operands)


def _identity(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return operand


def _cast(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return elementwise(graph, "Cast", operand, to=np.dtype(parameters["new_dtype"]))


def _square(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return elementwise(graph, "Mul", operand, operand)


def _rsqrt(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return elementwise(graph, "Reciprocal", elementwise(graph, "Sqrt", operand))


def _integer_power(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    exponent = Constant(np.array(parameters["y"], np.float32), ())
    return elementwise(graph, "Pow", operand, exponent)


def _select(graph: Graph, parameters: dict[str, Any], which: Value, *cases: Value) -> View:
    """Selects the second case where `which` is true. A selection that is a ReLU becomes one."""
    if len(cases) != 2:
        raise UnsupportedError("a selection among more than two cases")
    if isinstance(which, View) and isinstance(cases[0], View) and _is_zero(cases[1]):
        node = graph.node_of(which.name)
        compared = node is not None and node.op == "LessOrEqual" and node.inputs[0] == simplify(graph, cases[0]).name
        if node is not None and compared and not graph.constants.get(node.inputs[1], np.ones(1)).any():
            return elementwise(graph, "Relu", cases[0])
    return elementwise(graph, "Where", which, cases[1], cases[0])


def _is_zero(value: Value) -> bool:
    return isinstance(value, Constant) and not value.value.any()


def _broadcast(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    groups: list[Group] = [(Repeat(size),) if size > 1 else () for size in parameters["shape"]]
    for axis, place in enumerate(parameters["broadcast_dimensions"]):
        groups[place] = operand.groups[axis] + groups[place] * (operand.shape[axis] == 1)
    return View(operand.name, operand.sizes, tuple(groups))


def _reshape(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return onnx_graph.reshape(graph, operand, parameters["new_sizes"])


def _squeeze(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    shape = [size for axis, size in enumerate(operand.shape) if axis not in parameters["dimensions"]]
    return onnx_graph.reshape(graph, operand, shape)


def _transpose(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return View(operand.name, operand.sizes, tuple(operand.groups[axis] for axis in parameters["permutation"]))


def _convolution(graph: Graph, parameters: dict[str, Any], operand: Value, kernel: Value) -> View:
    if parameters["batch_group_count"] != 1 or set(parameters["lhs_dilation"]) != {1}:
        raise UnsupportedError("a convolution with `lhs_dilation` or `batch_group_count`")
    source, weight, result = parameters["dimension_numbers"]
    name = graph.add(
        "Conv",
        arrange(graph, operand, source),
        arrange(graph, kernel, weight),
        strides=list(parameters["window_strides"]),
        dilations=list(parameters["rhs_dilation"]),
        pads=_pads(parameters["padding"]),
        group=parameters["feature_group_count"],
    )
    return with_order(name, parameters["shape"], result)


def _pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    """Returns ONNX's order of paddings: all at the beginning, then all at the end."""
    if min(pad for pair in padding for pad in pair) < 0:
        raise UnsupportedError("negative padding")
    return [*(low for low, _ in padding), *(high for _, high in padding)]


def _dot(graph: Graph, parameters: dict[str, Any], left: Value, right: Value) -> View:
    """Multiplies matrices. A matrix that is applied to the channels of a picture becomes a 1x1 convolution."""
    (contracted, of_right), (batched, also) = parameters["dimension_numbers"]
    if isinstance(left, View) and isinstance(right, Constant) and len(right.shape) == 2 and len(contracted) == 1:
        (axis,) = contracted
        if left.groups[axis] == (1,) and len(left.sizes) == 4:
            kernel = right.full().T if of_right[0] == 0 else right.full()
            name = graph.add("Conv", left.name, graph.constant(kernel[:, :, None, None]))
            sizes = (left.sizes[0], len(kernel), *left.sizes[2:])
            return View(name, sizes, (*left.groups[:axis], *left.groups[axis + 1 :], (1,)))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    of_left = [next(letters) for _ in left.shape]
    pairs = dict(zip((*of_right, *also), (*contracted, *batched), strict=True))
    names = [of_left[pairs[axis]] if axis in pairs else next(letters) for axis in range(len(right.shape))]
    rest = [n for a, n in enumerate(of_left) if a not in (*contracted, *batched)]
    rest += [n for a, n in enumerate(names) if a not in pairs]
    equation = f"{''.join(of_left)},{''.join(names)}->{''.join([*(of_left[a] for a in batched), *rest])}"
    operands = [arrange(graph, value, range(len(value.shape))) for value in (left, right)]
    return identity(graph.add("Einsum", *operands, equation=equation), parameters["shape"])


def _concatenate(graph: Graph, parameters: dict[str, Any], *operands: Value) -> View:
    axis, shape = parameters["dimension"], parameters["shape"]
    lead = simplify(graph, next(value for value in operands if isinstance(value, View)))
    order = order_of(lead)[: len(lead.sizes)]
    for missing in (a for a in range(len(shape)) if a not in order):  # beside the axis that it may be merged with
        order.insert(order.index(missing - 1) + 1 if missing else 0, missing)
    names = [arrange(graph, value, order) for value in operands]
    return with_order(graph.add("Concat", *names, axis=order.index(axis)), shape, order)


def _stack(graph: Graph, parameters: dict[str, Any], *operands: Value) -> View:
    axis, shape = parameters["axis"], parameters["shape"]
    thin = (*shape[:axis], 1, *shape[axis + 1 :])
    reshaped = [
        onnx_graph.reshape(graph, v, thin) if isinstance(v, View) else Constant(v.full().reshape(thin), thin)
        for v in operands
    ]
    return _concatenate(graph, {"dimension": axis, "shape": shape}, *reshaped)


def _slice(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    strides = parameters["strides"] or (1,) * len(operand.shape)
    wanted = zip(parameters["start_indices"], parameters["limit_indices"], strides, strict=True)
    return _take(graph, operand, {axis: bounds for axis, bounds in enumerate(wanted)}, parameters["shape"])


def _reverse(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    return _take(graph, operand, {axis: (-1, -(2**31), -1) for axis in parameters["dimensions"]}, operand.shape)


def _take(graph: Graph, operand: View, bounds: dict[int, tuple[int, int, int]], shape: Sequence[int]) -> View:
    """Slices JAX axes by start, end and step."""
    bounds = {axis: bound for axis, bound in bounds.items() if bound != (0, operand.shape[axis], 1)}
    view = simplify(graph, operand)
    if any(operand.shape[axis] % BATCH == 0 for axis in bounds) or any(not is_axis(view.groups[a]) for a in bounds):
        raise UnsupportedError("a part of the batch, or of repeated values")
    axes = graph.integers([view.groups[axis][0] for axis in bounds])  # pyright: ignore[reportArgumentType]
    starts, ends, steps = (graph.integers(values) for values in zip(*bounds.values(), strict=True))
    taken = graph.add("Slice", view.name, starts, ends, axes, steps)
    return _repeated(with_order(taken, shape, order_of(view)[: len(view.sizes)]), shape)


def _pad(graph: Graph, parameters: dict[str, Any], operand: View, value: Value) -> View:
    low, high, between = zip(*parameters["padding_config"], strict=True)
    if any(between):
        raise UnsupportedError("padding between elements")
    order = range(len(operand.shape))
    pads = graph.integers(_pads(list(zip(low, high, strict=True))))
    name = graph.add("Pad", arrange(graph, operand, order), pads, arrange(graph, value, ()))
    return identity(name, parameters["shape"])


def _reduce(op: str) -> Convert:
    def convert(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
        view = simplify(graph, operand)
        order, reduced = order_of(view), parameters["axes"]
        axes, name = [order.index(axis) for axis in reduced], arrange(graph, view, order)
        if op == "ReduceSum":  # alone takes its axes as an input in this opset
            name = graph.add(op, name, graph.integers(axes), keepdims=0)
        else:
            name = graph.add(op, name, axes=axes, keepdims=0)
        left = sorted(axis for axis in order if axis not in reduced)
        return with_order(name, parameters["shape"], [left.index(axis) for axis in order if axis in left])

    return convert


def _pool(op: str) -> Convert:
    def convert(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
        windows, strides, padding = (parameters[n] for n in ("window_dimensions", "window_strides", "padding"))
        inside = [axis for axis, size in enumerate(windows) if size > 1 or strides[axis] > 1]
        outside = [axis for axis in range(len(windows)) if axis not in inside]
        dilated = {*parameters["base_dilation"], *parameters["window_dilation"]} != {1}
        if len(outside) != 2 or dilated:
            raise UnsupportedError("pooling with dilation, or over other than two axes of a picture")
        order = [*outside, *inside]
        options = {"count_include_pad": 1} if op == "AveragePool" else {}
        name = graph.add(
            op,
            arrange(graph, operand, order),
            kernel_shape=[windows[axis] for axis in inside],
            strides=[strides[axis] for axis in inside],
            pads=_pads([padding[axis] for axis in inside]),
            **options,
        )
        pooled = with_order(name, parameters["shape"], order)
        size = Constant(np.array(math.prod(windows), np.float32), ())
        return pooled if op == "MaxPool" else elementwise(graph, "Mul", pooled, size)

    return convert


PRIMITIVES: dict[str, Convert] = {
    **{name: _elementwise(op) for name, op in ELEMENTWISE.items()},
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolution,
    "convert_element_type": _cast,
    "copy": _identity,
    "copy_p": _identity,
    "dot_general": _dot,
    "integer_pow": _integer_power,
    "optimization_barrier": _identity,
    "pad": _pad,
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool"),
    "reshape": _reshape,
    "rev": _reverse,
    "rsqrt": _rsqrt,
    "select_n": _select,
    "slice": _slice,
    "square": _square,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
}
"""A function for each primitive, by its name in a jaxpr. ``parameters["shape"]`` is the shape of the result."""
