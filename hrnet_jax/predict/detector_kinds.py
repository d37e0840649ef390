"""What known families of detectors expect of an image, and the people in their outputs.

A detector sees the photo resized to fit into its image, and grey beside it. Its outputs are in image pixels, and
class 0 is the person. ``C`` is the number of classes. ``A`` is the number of cells of three grids whose cells are
8, 16 and 32 pixels wide.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

PERSON = 0
STRIDES = 8, 16, 32  # pixels
MAX_LOG_SIZE = 10  # of a box in cells: e^10 cells are wider than any image

Size = tuple[int, int]
Shapes = Sequence[tuple[int, ...]]
Boxes = tuple[np.ndarray, np.ndarray]
"""Corners [N, 4] (left, top, right, bottom) in image pixels, and scores [N] of being a person."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A family of detectors: what its outputs look like and how they are read, how an image is prepared."""

    outputs: str  # for messages
    fits: Callable[[Shapes, Size], bool]  # whether these are shapes of its outputs for an image of this size
    decode: Callable[[Sequence[np.ndarray], Size], Boxes]
    plausible: Callable[[Sequence[np.ndarray]], bool] = lambda outputs: True  # whether these may be its values
    rgb: bool = False  # otherwise BGR
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # of pixels in 0 to 255, in the order of channels
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    centred: bool = False  # the photo in the middle of the image, otherwise in its top left corner


def _cells(size: Size) -> int:
    return sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)


def _fits_yolox(shapes: Shapes, size: Size) -> bool:
    return len(shapes) == 1 and shapes[0][:-1] == (1, _cells(size)) and shapes[0][-1] > 5


def _fits_yolov8(shapes: Shapes, size: Size) -> bool:
    return len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] > 4 and shapes[0][2] == _cells(size)


def _fits_yolov10(shapes: Shapes, size: Size) -> bool:
    return len(shapes) == 1 and shapes[0][::2] == (1, 6) and not _fits_yolox(shapes, size)


def _fits_dets(shapes: Shapes, size: Size) -> bool:
    del size
    return len(shapes) == 2 and shapes[0][::2] == (1, 5) and shapes[1] == shapes[0][:2]


def _is_logarithmic(outputs: Sequence[np.ndarray]) -> bool:
    """Whether the sizes of boxes are logarithms of cells; otherwise they are pixels."""
    return outputs[0][..., 2:4].max() < MAX_LOG_SIZE


def _corners(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)


def _decode_yolox(outputs: Sequence[np.ndarray], size: Size) -> Boxes:
    """Decodes YOLOX's rows of centre, logarithm of size, objectness and class scores (arXiv:2107.08430)."""
    grids = [np.indices((size[0] // stride, size[1] // stride))[::-1].reshape(2, -1).T for stride in STRIDES]
    stride = np.repeat(STRIDES, [len(grid) for grid in grids])[:, None]
    rows = outputs[0][0]
    centres, sizes = (rows[:, :2] + np.concatenate(grids)) * stride, np.exp(rows[:, 2:4]) * stride
    return _corners(centres, sizes), rows[:, 4] * rows[:, 5 + PERSON]


def _decode_yolox_decoded(outputs: Sequence[np.ndarray], size: Size) -> Boxes:
    """Decodes rows of centre, size, objectness and class scores."""
    del size
    rows = outputs[0][0]
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4] * rows[:, 5 + PERSON]


def _decode_yolov8(outputs: Sequence[np.ndarray], size: Size) -> Boxes:
    """Decodes columns of centre, size and class scores."""
    del size
    columns = outputs[0][0]
    return _corners(columns[:2].T, columns[2:4].T), columns[4 + PERSON]


def _decode_yolov10(outputs: Sequence[np.ndarray], size: Size) -> Boxes:
    """Decodes rows of corners, score and class."""
    del size
    people = outputs[0][0][outputs[0][0, :, 5] == PERSON]
    return people[:, :4], people[:, 4]


def _decode_dets(outputs: Sequence[np.ndarray], size: Size) -> Boxes:
    """Decodes rows of corners and score, and the class of each row."""
    del size
    people = outputs[0][0][outputs[1][0] == PERSON]
    return people[:, :4], people[:, 4]


KINDS = {
    "yolox": Kind("[1, A, 5+C]", _fits_yolox, _decode_yolox, _is_logarithmic),
    "yolox_decoded": Kind(
        "[1, A, 5+C], sizes in pixels", _fits_yolox, _decode_yolox_decoded, lambda out: not _is_logarithmic(out)
    ),
    "yolox_nms": Kind("dets [1, N, 5], labels [1, N]", _fits_dets, _decode_dets),
    "rtmdet": Kind(
        "dets [1, N, 5], labels [1, N]",
        _fits_dets,
        _decode_dets,
        mean=(103.53, 116.28, 123.675),
        deviation=(57.375, 57.12, 58.395),
    ),
    "yolov8": Kind("[1, 4+C, A]", _fits_yolov8, _decode_yolov8, rgb=True, deviation=(255.0,) * 3, centred=True),
    "yolov10": Kind("[1, N, 6]", _fits_yolov10, _decode_yolov10, rgb=True, deviation=(255.0,) * 3, centred=True),
}
"""Families of detectors by name. YOLO11 and YOLO12 are read as `yolov8`, exports with suppression as `yolov10`."""


def recognize(outputs: dict[str, np.ndarray], size: Size, kind: str | None = None) -> str:
    """Returns the name of the family whose detectors compute such outputs for an image of this size.

    Args:
      outputs: Arrays by name.
      size: Height and width of the image.
      kind: The name, if the caller knows it.

    Raises:
      ValueError: no family does, or the given one does not, or several do and none is given.
    """
    arrays = list(outputs.values())
    fitting = [name for name, each in KINDS.items() if each.fits([array.shape for array in arrays], size)]
    if kind is not None and kind not in fitting:
        raise ValueError(_unknown(outputs, size, f"`kind` {kind!r} does not have these outputs"))
    found = [kind] if kind else [name for name in fitting if KINDS[name].plausible(arrays)]
    if not found:
        raise ValueError(_unknown(outputs, size, "no known kind of detector has these outputs"))
    if len(found) > 1:
        choice = " and ".join(found)
        raise ValueError(_unknown(outputs, size, f"{choice} have these outputs, name one by --detector_kind"))
    return found[0]


def _unknown(outputs: dict[str, np.ndarray], size: Size, problem: str) -> str:
    found = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    known = "; ".join(f"{name}: {each.outputs}" for name, each in KINDS.items())
    return f"{problem}: {found} (for an image of {size}). Known are {known}"
