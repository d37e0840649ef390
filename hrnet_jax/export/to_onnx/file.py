"""ONNX files: a network from uint8 images to heatmaps, for ONNX Runtime and others.

Input ``image`` is ``[batch, H, W, 3]`` uint8 RGB, output ``heatmaps`` is ``[batch, H / 4, W / 4, K]`` float32. A
network for whole photos has the outputs ``head_0`` and so on, those of `Network.bottom_up` in their order.
Normalization is part of the network, batch normalization is folded into the convolutions. The description is the
entry ``hrnet_jax`` of the model's metadata.
"""

import importlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hrnet_jax.export.to_onnx import trace
from hrnet_jax.export.to_onnx.graph import BATCH, Graph, Node

OPSET, IR_VERSION = 17, 8  # of 2022: what current runtimes have in common

METADATA = "hrnet_jax"


def require(package: str) -> None:
    """Raises ValueError unless a package of the extra ``onnx`` is installed."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"ONNX files need the package {package}: pip install 'hrnet_jax[onnx]'") from error


def write(
    path: pathlib.Path,
    heatmaps: Callable[[jax.Array], Any],
    image_size: tuple[int, int],
    description: Mapping[str, Any],
) -> None:
    """Writes a function of images as an ONNX file, and checks it.

    Raises UnsupportedError for a function with unknown primitives, see `trace.trace`.
    """
    import onnx  # pyright: ignore[reportMissingImports]

    shape = (BATCH, *image_size, 3)
    graph = trace.trace(heatmaps, shape)
    results = jax.tree.leaves(jax.eval_shape(heatmaps, jax.ShapeDtypeStruct(shape, np.uint8)))
    model = _model(graph, shape, results)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(dict(description))})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _model(graph: Graph, shape: tuple[int, ...], results: Sequence[jax.ShapeDtypeStruct]) -> Any:
    """Returns the protocol buffer of a graph."""
    from onnx import helper, numpy_helper  # pyright: ignore[reportMissingImports]

    def value(name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        sizes = ["batch" if size == BATCH else size for size in shape]
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), sizes)

    nodes = [_node(node) for node in graph.nodes]
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    names = zip(trace.output_names(len(results)), results, strict=True)
    ends = [value(trace.IMAGE, np.uint8, shape)], [value(name, x.dtype, x.shape) for name, x in names]
    return helper.make_model(
        helper.make_graph(nodes, "hrnet_jax", *ends, constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="hrnet_jax",
    )


def _node(node: Node) -> Any:
    from onnx import helper  # pyright: ignore[reportMissingImports]

    types = {
        name: helper.np_dtype_to_tensor_dtype(v) for name, v in node.attributes.items() if isinstance(v, np.dtype)
    }
    return helper.make_node(node.op, node.inputs, [node.output], name=node.output, **{**node.attributes, **types})
