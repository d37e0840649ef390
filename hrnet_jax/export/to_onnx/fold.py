"""Simplification of an ONNX graph: batch normalization becomes part of the convolution before it."""

import collections
from collections.abc import Sequence

import numpy as np

from hrnet_jax.export.to_onnx.graph import Graph, Node


def fold(graph: Graph, outputs: Sequence[str]) -> None:
    """Folds arithmetic with a constant per channel into the convolution before it. Removes unused nodes."""
    _fold_affine(graph, outputs)
    _remove_unused(graph, outputs)


def _fold_affine(graph: Graph, outputs: Sequence[str]) -> None:
    """Turns ``(conv(x) - mean) * scale + bias`` into one convolution. Computes in float64, rounds once."""
    uses = collections.Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(outputs)
    convolutions: dict[str, Node] = {}
    affine: dict[int, tuple[Node, np.ndarray, np.ndarray]] = {}
    kept = []
    for node in graph.nodes:
        convolution = convolutions.get(node.inputs[0]) if node.inputs else None
        constant = _per_channel(graph, node.inputs[1:])
        if node.op in _RULES and convolution is not None and constant is not None and uses[node.inputs[0]] == 1:
            _, scale, shift = affine.get(id(convolution), (convolution, np.ones(1), np.zeros(1)))
            affine[id(convolution)] = (convolution, *_RULES[node.op](scale, shift, constant))
            convolution.output = node.output
            convolutions[node.output] = convolution
            continue
        if node.op == "Conv" and all(name in graph.constants for name in node.inputs[1:]):
            convolutions[node.output] = node
        kept.append(node)
    graph.nodes = kept
    for convolution, scale, shift in affine.values():
        _scale(graph, convolution, scale, shift)


_RULES = {
    "Add": lambda scale, shift, constant: (scale, shift + constant),
    "Sub": lambda scale, shift, constant: (scale, shift - constant),
    "Mul": lambda scale, shift, constant: (scale * constant, shift * constant),
    "Div": lambda scale, shift, constant: (scale / constant, shift / constant),
}
"""Operator -> (scale, shift, constant) -> scale and shift after it."""


def _per_channel(graph: Graph, inputs: Sequence[str]) -> np.ndarray | None:
    """Returns the second operand if it is a constant for each channel, or for all."""
    constant = graph.constants.get(inputs[0]) if len(inputs) == 1 else None
    if constant is None or constant.size != (constant.shape[1] if constant.ndim == 4 else 1):
        return None
    return constant.reshape(-1).astype(np.float64)


def _scale(graph: Graph, convolution: Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """Applies a scale and a shift to the results of a convolution without bias."""
    weight = graph.constants[convolution.inputs[1]]
    shift = np.broadcast_to(shift, len(weight)).astype(weight.dtype)
    scaled = (weight * np.broadcast_to(scale, len(weight)).reshape(-1, 1, 1, 1)).astype(weight.dtype)
    convolution.inputs[1:] = [graph.constant(scaled), graph.constant(shift)]


def _remove_unused(graph: Graph, outputs: Sequence[str]) -> None:
    """Removes nodes and constants that the outputs do not depend on."""
    used, kept = set(outputs), []
    for node in reversed(graph.nodes):
        if node.output in used:
            kept.append(node)
            used.update(node.inputs)
    graph.nodes = kept[::-1]
    graph.constants = {name: value for name, value in graph.constants.items() if name in used}
