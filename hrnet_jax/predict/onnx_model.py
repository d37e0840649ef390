"""Runs an ONNX file on images, in onnxruntime where it is installed, otherwise in OpenCV's dnn module."""

import dataclasses
import importlib.util
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from hrnet_jax import validation

Outputs = dict[str, np.ndarray]
"""The arrays that a file computes, by name. Those with more axes come first: OpenCV forgets the file's order."""


@dataclasses.dataclass(frozen=True)
class Model:
    """An ONNX file that computes arrays from one image. Threads may share it."""

    path: pathlib.Path
    engine: str  # "onnxruntime" or "OpenCV"
    size: tuple[int, int]  # height and width of the image
    compute: Callable[[np.ndarray], Outputs]

    def __call__(self, image: np.ndarray) -> Outputs:
        """Computes the outputs for a float32 image [1, 3, H, W]. Raises ValueError if the engine cannot."""
        try:
            outputs = self.compute(image)
        except Exception as error:  # onnxruntime raises many kinds
            raise _refused(self.path, self.engine, error) from error
        return dict(sorted(outputs.items(), key=lambda output: -output[1].ndim))


def open_model(path: pathlib.Path) -> Model:
    """Opens a file. Raises FileNotFoundError or ValueError if it is missing or the engine does not read it."""
    if not path.is_file():
        raise validation.missing(path) if not path.exists() else ValueError(f"{path} is not a file")
    engine = "onnxruntime" if _has_onnxruntime() else "OpenCV"
    try:
        shape, compute = (_open_in_onnxruntime if _has_onnxruntime() else _open_in_opencv)(path)
    except Exception as error:  # onnxruntime raises many kinds
        raise _refused(path, engine, error) from error
    if len(shape) != 4 or shape[1] != 3 or not all(isinstance(side, int) and side > 0 for side in shape[2:]):
        raise ValueError(f"{path} takes an input of {list(shape)}, not [1, 3, H, W]: export it with a fixed size")
    return Model(path, engine, (shape[2], shape[3]), compute)


def _has_onnxruntime() -> bool:
    return importlib.util.find_spec("onnxruntime") is not None


def _refused(path: pathlib.Path, engine: str, error: Exception) -> ValueError:
    other = "; onnxruntime may: pip install 'hrnet_jax[onnx]'" if engine == "OpenCV" else ""
    return ValueError(f"{path} cannot be run by {engine} ({validation.one_line(error)}){other}")


def _open_in_onnxruntime(path: pathlib.Path) -> tuple[Sequence[Any], Callable[[np.ndarray], Outputs]]:
    """Returns the shape of the input and the function from image to outputs."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised as well
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,), names = session.get_inputs(), [output.name for output in session.get_outputs()]

    def compute(pixels: np.ndarray) -> Outputs:
        arrays = session.run(names, {image.name: pixels})
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    return image.shape, compute


def _open_in_opencv(path: pathlib.Path) -> tuple[Sequence[Any], Callable[[np.ndarray], Outputs]]:
    """Returns the shape of the input and the function from image to outputs."""
    net = cv2.dnn.readNetFromONNX(str(path))
    names, lock = net.getUnconnectedOutLayersNames(), threading.Lock()

    def compute(pixels: np.ndarray) -> Outputs:
        with lock:  # a net holds the arrays of its last run
            net.setInput(pixels)
            return {name: np.array(output) for name, output in zip(names, net.forward(names), strict=True)}

    _, (shapes, *_), _ = net.getLayersShapes([[]])
    return np.ravel(shapes[0]).tolist(), compute
