"""Person detectors as ONNX files: a person is red, 32 pixels high and wide, and begins at a multiple of 32 pixels.

Each computes the outputs of a known kind of detector from an image prepared as that kind expects it. Class 0 is
`RED`, class 1 `BLUE`; other levels or orders of channels are nothing.
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

STRIDES = 8, 16, 32
RED, BLUE = (200, 60, 20), (30, 90, 210)  # RGB
RTMDET_MEAN = (103.53, 116.28, 123.675)
RTMDET_DEVIATION = (57.375, 57.12, 58.395)
MOST = 50  # rows of detectors that choose the best


class Graph:
    """Nodes of an ONNX graph, added one by one."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op}{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def save(self, path: pathlib.Path, shape: tuple, outputs: list[str]) -> pathlib.Path:
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)
        declared = [
            helper.make_tensor_value_info(name, number, None)
            for name, number in zip(outputs, [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64], strict=False)
        ]
        graph = helper.make_graph(self.nodes, "detector", [image], declared, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path


def _rows(graph: Graph, image: str, size: tuple[int, int]) -> str:
    """YOLOX's raw rows [1, A, 4 + 3] from an image of BGR in 0 to 255."""
    rows = []
    for stride in STRIDES:
        pooled = graph.add("AveragePool", image, kernel_shape=[stride] * 2, strides=[stride] * 2)
        colours = -np.array([*RED[::-1], *BLUE[::-1]])
        identity = np.tile(np.eye(3), (2, 1))[..., None, None]
        differences = graph.add("Conv", pooled, graph.constant(identity), graph.constant(colours))
        weight = np.zeros((7, 6, 1, 1))
        weight[5, :3] = weight[6, 3:] = -0.3
        bias = [0.5, 0.5, 0, 0, 20 if stride == 32 else -20, 8, 8]
        distances = graph.add("Abs", differences)
        cells = graph.add("Conv", distances, graph.constant(weight), graph.constant(bias))
        count = (size[0] // stride) * (size[1] // stride)
        rows.append(graph.add("Reshape", cells, graph.constant([1, 7, count], np.int64)))
    rows = graph.add("Transpose", graph.add("Concat", *rows, axis=2), perm=[0, 2, 1])
    boxes, logits = graph.add("Split", rows, graph.constant([4, 3], np.int64), axis=2, outputs=2)
    return graph.add("Concat", boxes, graph.add("Sigmoid", logits), axis=2)


def _decode(graph: Graph, rows: str, size: tuple[int, int]) -> tuple[str, str, str]:
    """Centres and sizes in pixels [1, A, 4], objectness [1, A, 1] and class scores [1, A, 2] from raw rows."""
    grids = [(np.mgrid[: size[0] // s, : size[1] // s][::-1].reshape(2, -1).T, s) for s in STRIDES]
    offsets = graph.constant(np.concatenate([grid for grid, _ in grids])[None])
    strides = graph.constant(np.concatenate([np.full((len(grid), 1), s) for grid, s in grids])[None])
    lengths = graph.constant([2, 2, 1, 2], np.int64)
    centres, sizes, objectness, classes = graph.add("Split", rows, lengths, axis=2, outputs=4)
    centres = graph.add("Mul", graph.add("Add", centres, offsets), strides)
    sizes = graph.add("Mul", graph.add("Exp", sizes), strides)
    return graph.add("Concat", centres, sizes, axis=2), objectness, classes


def _corners(graph: Graph, boxes: str) -> str:
    to_corners = [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]
    return graph.add("MatMul", boxes, graph.constant(to_corners))


def _yolox(graph: Graph, rows: str, size: tuple[int, int]) -> list[str]:
    return [rows]


def _yolox_decoded(graph: Graph, rows: str, size: tuple[int, int]) -> list[str]:
    return [graph.add("Concat", *_decode(graph, rows, size), axis=2)]


def _yolov8(graph: Graph, rows: str, size: tuple[int, int]) -> list[str]:
    boxes, objectness, classes = _decode(graph, rows, size)
    columns = graph.add("Concat", boxes, graph.add("Mul", objectness, classes), axis=2)
    return [graph.add("Transpose", columns, perm=[0, 2, 1])]


def _dets(graph: Graph, rows: str, size: tuple[int, int]) -> list[str]:
    boxes, objectness, classes = _decode(graph, rows, size)
    scores = graph.add("Mul", objectness, classes)
    best = graph.add("ReduceMax", scores, axes=[2], keepdims=1)
    dets = graph.add("Concat", _corners(graph, boxes), best, axis=2)
    return [dets, graph.add("ArgMax", scores, axis=2, keepdims=0)]


def _yolov10(graph: Graph, rows: str, size: tuple[int, int]) -> list[str]:
    dets, labels = _dets(graph, rows, size)
    number = graph.add("Cast", labels, to=onnx.TensorProto.FLOAT)
    labelled = graph.add("Concat", dets, graph.add("Unsqueeze", number, graph.constant([2], np.int64)), axis=2)
    scores = graph.add("Gather", dets, graph.constant(4, np.int64), axis=2)
    _, order = graph.add("TopK", scores, graph.constant([MOST], np.int64), axis=1, outputs=2)
    rows = graph.add("Squeeze", order, graph.constant([0], np.int64))
    return [graph.add("Gather", labelled, rows, axis=1)]


def _rgb_in_unit_range(graph: Graph) -> str:
    scaled = graph.add("Mul", "image", graph.constant(255))
    return graph.add("Gather", scaled, graph.constant([2, 1, 0], np.int64), axis=1)


def _standardized(graph: Graph) -> str:
    mean, deviation = (np.array(each)[:, None, None] for each in (RTMDET_MEAN, RTMDET_DEVIATION))
    return graph.add("Add", graph.add("Mul", "image", graph.constant(deviation)), graph.constant(mean))


Read = Callable[[Graph], str]
Write = Callable[[Graph, str, tuple[int, int]], list[str]]
KINDS: dict[str, tuple[Read, Write]] = {
    "yolox": (lambda graph: "image", _yolox),
    "yolox_decoded": (lambda graph: "image", _yolox_decoded),
    "yolox_nms": (lambda graph: "image", _dets),
    "rtmdet": (_standardized, _dets),
    "yolov8": (_rgb_in_unit_range, _yolov8),
    "yolov10": (_rgb_in_unit_range, _yolov10),
}


def write(path: pathlib.Path, kind: str, size: tuple[int, int] = (128, 128), batch: int | str = 1) -> pathlib.Path:
    """Writes the detector of a kind for images of a size, multiples of 32. A batch with a name is not fixed."""
    graph = Graph()
    read, compute = KINDS[kind]
    return graph.save(path, (batch, 3, *size), compute(graph, _rows(graph, read(graph), size), size))


def write_doubler(path: pathlib.Path, shape: tuple = (1, 3, 128, 128)) -> pathlib.Path:
    """Writes a file that is no detector: it doubles the image. Sides may be names, which are not fixed."""
    graph = Graph()
    return graph.save(path, shape, [graph.add("Add", "image", "image")])
