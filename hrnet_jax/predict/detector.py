"""Finds people in photos with a detector from an ONNX file."""

import dataclasses
import os
import pathlib

import cv2
import numpy as np

from hrnet_jax.predict import detector_kinds, onnx_model

GREY = 114  # fills the image beside the photo, as in the training of all known detectors
SUPPRESSION_IOU = 0.45


@dataclasses.dataclass(frozen=True)
class Detector:
    """A person detector, called with a photo. Threads may share it. Its string describes it in one line."""

    model: onnx_model.Model
    kind: str  # a name in `detector_kinds.KINDS`
    threshold: float  # lowest score of a box

    def __str__(self) -> str:
        model, (height, width) = self.model, self.model.size
        return f"{model.path.name}: {self.kind}, {width}x{height}, threshold {self.threshold}, {model.engine}"

    def __call__(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Detects the people of a photo [H, W, 3], uint8 RGB.

        Boxes with an IoU above 0.45 with a box of higher score are dropped.

        Returns:
          boxes: [N, 4] float32, (x, y, width, height) in photo pixels, within the photo, the best first.
          scores: [N] float32 in 0 to 1.
        """
        kind, size = detector_kinds.KINDS[self.kind], self.model.size
        image, scale, corner = fit(photo, size, kind.centred)
        outputs = self.model(normalize(image, kind))
        corners, scores = kind.decode(list(outputs.values()), size)
        confident = scores >= self.threshold
        boxes = to_photo(corners[confident], scale, corner, photo.shape[:2])
        return suppress(boxes, scores[confident].astype(np.float32))


def open_detector(path: str | os.PathLike, kind: str | None = None, threshold: float = 0.3) -> Detector:
    """Opens a person detector.

    It runs in onnxruntime where that is installed, otherwise in OpenCV. One run on a grey image tells the kind of
    the detector from its outputs.

    Args:
      path: An ONNX file. Its input is one image of a fixed size; its outputs are of a known kind.
      kind: A name in `detector_kinds.KINDS`, if the outputs do not tell it.
      threshold: Lowest score of a box, in 0 to 1.

    Raises:
      FileNotFoundError: the file is missing.
      ValueError: it is not an ONNX file, the engine cannot run it, or its kind is not known or is another.
    """
    if kind is not None and kind not in detector_kinds.KINDS:
        raise ValueError(f"`kind` {kind!r} is no kind of detector: give one of {', '.join(detector_kinds.KINDS)}")
    model = onnx_model.open_model(pathlib.Path(path))
    outputs = model(np.full((1, 3, *model.size), GREY, np.float32))
    try:
        return Detector(model, detector_kinds.recognize(outputs, model.size, kind), threshold)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def fit(photo: np.ndarray, size: tuple[int, int], centred: bool) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Resizes a photo to fit into an image of another size, and fills the rest with grey.

    Returns:
      image: [*size, 3] uint8.
      scale: Image pixels per photo pixel.
      corner: (x, y) of the photo's top left corner in the image.
    """
    scale = min(size[0] / photo.shape[0], size[1] / photo.shape[1])
    height, width = (max(1, int(side * scale)) for side in photo.shape[:2])
    x, y = ((size[1] - width) // 2, (size[0] - height) // 2) if centred else (0, 0)
    image = np.full((*size, 3), GREY, np.uint8)
    image[y : y + height, x : x + width] = cv2.resize(photo, (width, height))
    return image, scale, (x, y)


def normalize(image: np.ndarray, kind: detector_kinds.Kind) -> np.ndarray:
    """Turns an image [H, W, 3], uint8 RGB, into [1, 3, H, W] float32 as a kind of detector expects it."""
    channels = image if kind.rgb else image[..., ::-1]
    pixels = (channels - np.array(kind.mean, np.float32)) / np.array(kind.deviation, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def to_photo(
    corners: np.ndarray, scale: float, corner: tuple[int, int], photo_size: tuple[int, int]
) -> np.ndarray:
    """Turns corners [N, 4] in image pixels into boxes [N, 4] xywh in photo pixels, float32, within the photo."""
    limits = np.array(photo_size[::-1], np.float32)
    points = (corners.reshape(-1, 2, 2).astype(np.float32) - np.array(corner, np.float32)) / np.float32(scale)
    points = np.clip(points, 0, limits)
    return np.concatenate([points[:, 0], points[:, 1] - points[:, 0]], axis=1)


def suppress(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Applies NMS to boxes [N, 4] xywh with scores [N], and drops empty boxes. The best come first."""
    filled = np.all(boxes[:, 2:] > 0, axis=1)
    boxes, scores = boxes[filled], scores[filled]
    kept = np.array(cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, SUPPRESSION_IOU), int)
    return boxes[kept], scores[kept]
