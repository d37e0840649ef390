"""Conversion of a JAX function to an ONNX graph, by tracing.

The function is traced to a jaxpr: JAX's list of primitive operations. Operations on constants, such as the folding
of running statistics into a scale, are computed at once; the others become nodes (`primitives`). Any network
whose primitives are known can thus be exported, without a word about its modules.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from hrnet_jax.export.to_onnx import fold
from hrnet_jax.export.to_onnx.elementwise import OPERATORS
from hrnet_jax.export.to_onnx.graph import Constant, Graph, UnsupportedError, Value
from hrnet_jax.export.to_onnx.primitives import PRIMITIVES
from hrnet_jax.export.to_onnx.views import arrange, identity

IMAGE, HEATMAPS, HEAD = "image", "heatmaps", "head"
"""Names of the input and the output. Several outputs are ``head_0``, ``head_1`` and so on."""

_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # parameters with the function of a call


def output_names(count: int) -> list[str]:
    """Returns the names of so many outputs."""
    return [HEATMAPS] if count == 1 else [f"{HEAD}_{i}" for i in range(count)]


def trace(function: Callable[[jax.Array], Any], shape: Sequence[int]) -> Graph:
    """Returns the graph of a function of one uint8 array, with input `IMAGE` and the outputs of `output_names`.

    A first size of `BATCH` stands for any number. Raises UnsupportedError, naming the primitive, if one is not
    known.
    """
    jaxpr = jax.make_jaxpr(function)(jax.ShapeDtypeStruct(tuple(shape), np.uint8))
    graph = Graph()
    results = _convert(graph, jaxpr, [identity(IMAGE, shape)])
    names = output_names(len(results))
    for result, name in zip(results, names, strict=True):
        graph.rename(arrange(graph, result, range(len(result.shape))), name)
    fold.fold(graph, names)
    return graph


def _convert(graph: Graph, closed: core.ClosedJaxpr, arguments: Sequence[Value]) -> list[Value]:
    """Adds the equations of a jaxpr and returns its results."""
    known: dict[Any, Value] = dict(zip(closed.jaxpr.invars, arguments, strict=True))
    known |= {var: _constant(value) for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

    def read(atom: Any) -> Value:
        return _constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for equation in closed.jaxpr.eqns:
        results = _apply(graph, equation, [read(atom) for atom in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _constant(value: Any) -> Constant:
    array = np.asarray(value)
    return Constant(array, array.shape)


def _apply(graph: Graph, equation: core.JaxprEqn, operands: list[Value]) -> list[Value]:
    """Computes or adds one equation. Raises UnsupportedError if it is not known."""
    name, parameters = equation.primitive.name, equation.params
    if inner := next((parameters[key] for key in _INNER if key in parameters), None):
        closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
        return _convert(graph, closed, operands)
    try:
        if all(isinstance(operand, Constant) for operand in operands):
            return _compute(equation, operands)  # pyright: ignore[reportArgumentType]
        if name not in PRIMITIVES:
            raise UnsupportedError("it is not known")
        return [PRIMITIVES[name](graph, {**parameters, "shape": _shape(equation.outvars[0])}, *operands)]
    except UnsupportedError as error:
        raise UnsupportedError(
            f"the primitive `{name}` of {equation.source_info.name_stack} cannot be exported to ONNX: {error};"
            " write this part of the network with other operations, or export to .stablehlo"
        ) from error


def _compute(equation: core.JaxprEqn, operands: Sequence[Constant]) -> list[Value]:
    """Computes an equation of constants. Repeated values stay repeated."""
    name, parameters = equation.primitive.name, equation.params
    shapes = [_shape(variable) for variable in equation.outvars]
    if name == "broadcast_in_dim":
        (operand,) = operands
        sizes = [1] * len(parameters["shape"])
        for axis, place in enumerate(parameters["broadcast_dimensions"]):
            sizes[place] = operand.value.shape[axis]
        return [Constant(operand.value.reshape(sizes), shapes[0])]
    if name in OPERATORS or name == "convert_element_type":
        values = np.broadcast_arrays(*(operand.value for operand in operands))
    else:
        values = [operand.full() for operand in operands]
    results = equation.primitive.bind(*values, **parameters)
    results = results if equation.primitive.multiple_results else [results]
    return [Constant(np.asarray(result), shape) for result, shape in zip(results, shapes, strict=True)]


def _shape(variable: core.Var) -> tuple[int, ...]:
    return tuple(variable.aval.shape)  # pyright: ignore[reportAttributeAccessIssue]
