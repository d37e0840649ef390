"""Primitives that sum or compare elements, as ONNX nodes: convolution, matrix product, reduction, pooling."""

import math
from typing import Any

import numpy as np

from hrnet_jax.export.to_onnx.elementwise import Convert, elementwise
from hrnet_jax.export.to_onnx.graph import Constant, Graph, UnsupportedError, Value, View
from hrnet_jax.export.to_onnx.layout import pads
from hrnet_jax.export.to_onnx.views import arrange, identity, simplify, with_order


def convolution(graph: Graph, parameters: dict[str, Any], operand: Value, kernel: Value) -> View:
    """Convolves. With a dilated operand, it is a transposed convolution."""
    if parameters["batch_group_count"] != 1:
        raise UnsupportedError("its `batch_group_count` is not 1")
    source, weight, result = parameters["dimension_numbers"]
    image = arrange(graph, operand, source)
    dilations = list(parameters["rhs_dilation"])
    if set(parameters["lhs_dilation"]) != {1}:
        name = _transposed_convolution(graph, parameters, image, kernel)
    else:
        name = graph.add(
            "Conv",
            image,
            arrange(graph, kernel, weight),
            strides=list(parameters["window_strides"]),
            dilations=dilations,
            pads=pads(parameters["padding"]),
            group=parameters["feature_group_count"],
        )
    return with_order(name, parameters["shape"], result)


def _transposed_convolution(graph: Graph, parameters: dict[str, Any], image: str, kernel: Value) -> str:
    """Adds a transposed convolution. JAX writes it as a convolution of a dilated operand, with a mirrored one."""
    if set(parameters["window_strides"]) != {1} or parameters["feature_group_count"] != 1:
        raise UnsupportedError("it has both `lhs_dilation` and strides or groups")
    if not isinstance(kernel, Constant):
        raise UnsupportedError("its kernel is not constant")
    _, (features, channels, *spatial), _ = parameters["dimension_numbers"]
    weight = np.flip(kernel.full(), tuple(spatial)).transpose(channels, features, *spatial)
    dilations = parameters["rhs_dilation"]
    extents = [(size - 1) * dilation for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    padding = [(e - low, e - high) for e, (low, high) in zip(extents, parameters["padding"], strict=True)]
    return graph.add(
        "ConvTranspose",
        image,
        graph.constant(weight),
        strides=list(parameters["lhs_dilation"]),
        dilations=list(dilations),
        pads=pads(padding),
    )


def dot(graph: Graph, parameters: dict[str, Any], left: Value, right: Value) -> View:
    """Multiplies matrices. A constant one that is applied to channels becomes a 1x1 convolution."""
    (contracted, of_right), (batched, _) = parameters["dimension_numbers"]
    if isinstance(left, View) and isinstance(right, Constant) and len(right.shape) == 2 and not batched:
        (axis,), (summed,) = contracted, of_right
        if len(left.sizes) == 4 and left.groups[axis] == (1,):
            kernel = np.moveaxis(right.full(), summed, 1)
            name = graph.add("Conv", left.name, graph.constant(kernel[:, :, None, None]))
            sizes = (left.sizes[0], len(kernel), *left.sizes[2:])
            return View(name, sizes, (*left.groups[:axis], *left.groups[axis + 1 :], (1,)))
    operands = [arrange(graph, value, range(len(value.shape))) for value in (left, right)]
    equation = _einsum(parameters["dimension_numbers"], len(left.shape), len(right.shape))
    return identity(graph.add("Einsum", *operands, equation=equation), parameters["shape"])


def _einsum(numbers: Any, rank: int, right_rank: int) -> str:
    """Returns the equation of a matrix product, such as ``"abc,cd->abd"``."""
    (contracted, contracted_right), (batched, batched_right) = numbers
    left = [chr(ord("a") + axis) for axis in range(rank)]
    right = [chr(ord("A") + axis) for axis in range(right_rank)]
    for axis, other in zip((*contracted, *batched), (*contracted_right, *batched_right), strict=True):
        right[other] = left[axis]
    free = [name for axis, name in enumerate(left) if axis not in (*contracted, *batched)]
    free += [name for name in right if name not in left]
    return f"{''.join(left)},{''.join(right)}->{''.join([*(left[axis] for axis in batched), *free])}"


def reduce(op: str) -> Convert:
    """Returns the conversion of a primitive that reduces axes."""

    def convert(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
        view = simplify(graph, operand)
        reduced = parameters["axes"]
        order = [*view.order, *(axis for axis in range(len(view.groups)) if axis not in view.order)]
        axes, name = [order.index(axis) for axis in reduced], arrange(graph, view, order)
        if op == "ReduceSum":  # it alone takes its axes as an input in this opset
            name = graph.add(op, name, graph.integers(axes), keepdims=0)
        else:
            name = graph.add(op, name, axes=axes, keepdims=0)
        kept = sorted(set(order) - set(reduced))
        return with_order(name, parameters["shape"], [kept.index(axis) for axis in order if axis in kept])

    return convert


def pool(op: str) -> Convert:
    """Returns the conversion of a primitive that reduces windows. ONNX has averages instead of sums."""

    def convert(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
        windows, strides, padding = (parameters[n] for n in ("window_dimensions", "window_strides", "padding"))
        inside = [axis for axis, size in enumerate(windows) if size > 1 or strides[axis] > 1]
        outside = [axis for axis in range(len(windows)) if axis not in inside]
        if len(outside) != 2 or {*parameters["base_dilation"], *parameters["window_dilation"]} != {1}:
            raise UnsupportedError("its windows are dilated, or not over all axes but two")
        order = [*outside, *inside]
        name = graph.add(
            op,
            arrange(graph, operand, order),
            kernel_shape=[windows[axis] for axis in inside],
            strides=[strides[axis] for axis in inside],
            pads=pads([padding[axis] for axis in inside]),
            **({"count_include_pad": 1} if op == "AveragePool" else {}),
        )
        pooled = with_order(name, parameters["shape"], order)
        size = Constant(np.array(math.prod(windows), np.float32), ())
        return pooled if op == "MaxPool" else elementwise(graph, "Mul", pooled, size)

    return convert
