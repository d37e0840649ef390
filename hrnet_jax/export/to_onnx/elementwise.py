"""Primitives that compute element by element, as ONNX nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hrnet_jax.export.to_onnx.graph import Constant, Graph, UnsupportedError, Value, View
from hrnet_jax.export.to_onnx.views import align, simplify, with_order, with_repeats

Convert = Callable[..., Value]
"""(graph, parameters of the primitive, *operands) -> result. ``parameters["shape"]`` is that of the result."""

OPERATORS = {
    "abs": "Abs", "add": "Add", "and": "And", "ceil": "Ceil", "cos": "Cos", "div": "Div", "eq": "Equal",
    "erf": "Erf", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual",
    "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg",
    "not": "Not", "or": "Or", "pow": "Pow", "round": "Round", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt",
    "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
"""Primitives that are one ONNX operator."""

_COMMUTATIVE = ("Add", "Mul")  # a constant comes second


def elementwise(graph: Graph, op: str, *operands: Value, **attributes: Any) -> View:
    """Applies an operator to arrays of one shape, in the order of axes of the first with the most axes."""
    if op in _COMMUTATIVE:
        operands = tuple(sorted(operands, key=lambda operand: isinstance(operand, Constant)))
    shape = max((operand.shape for operand in operands), key=len)
    values = [_at_rank(simplify(graph, v) if isinstance(v, View) else v, len(shape)) for v in operands]
    views = [value for value in values if isinstance(value, View)]
    varying = {axis for view in views for axis in view.order}
    varying |= {a for v in values if isinstance(v, Constant) for a, size in enumerate(v.value.shape) if size > 1}
    order = max(views, key=lambda view: len(view.sizes)).order
    order += sorted(varying - set(order))
    name = graph.add(op, *(align(graph, value, order) for value in values), **attributes)
    return with_repeats(with_order(name, shape, order), shape)


def _at_rank(value: Value, rank: int) -> Value:
    """Returns an operand with the rank of the others; JAX also allows scalars."""
    if len(value.shape) == rank:
        return value
    if isinstance(value, View):
        return View(value.name, value.sizes, ((),) * rank)
    return Constant(value.value.reshape((1,) * rank), (1,) * rank)


def one_operator(op: str) -> Convert:
    """Returns the conversion of a primitive that is one operator."""
    return lambda graph, parameters, *operands: elementwise(graph, op, *operands)


def cast(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Converts to another type."""
    return elementwise(graph, "Cast", operand, to=np.dtype(parameters["new_dtype"]))


def square(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Squares an array."""
    return elementwise(graph, "Mul", operand, operand)


def rsqrt(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Computes one over the square root."""
    return elementwise(graph, "Reciprocal", elementwise(graph, "Sqrt", operand))


def integer_power(graph: Graph, parameters: dict[str, Any], operand: View) -> View:
    """Raises to a constant power."""
    exponent = Constant(np.array(parameters["y"], np.float32), ())
    return elementwise(graph, "Pow", operand, exponent)


def select(graph: Graph, parameters: dict[str, Any], which: Value, *cases: Value) -> View:
    """Selects the second case where `which` is true. A selection that is a ReLU becomes one."""
    if len(cases) != 2:
        raise UnsupportedError("a selection among more than two cases")
    if isinstance(cases[0], View) and _is_zero(cases[1]):
        not_positive = elementwise(graph, "LessOrEqual", *cases)  # the node of `which` itself, if it compares so
        if which == not_positive:
            return elementwise(graph, "Relu", cases[0])
    return elementwise(graph, "Where", which, cases[1], cases[0])


def _is_zero(value: Value) -> bool:
    return isinstance(value, Constant) and not value.value.any()
