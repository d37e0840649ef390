"""Optical flow from each frame of a video to the next.

A flow is [H, W, 2] float32: the displacement (dx, dy), in pixels, of each pixel of the earlier photo. OpenCV's
dense inverse search (DIS; Kroeger et al., ECCV 2016) needs no weights. Learned methods come in as functions or
files.
"""

import functools
import os
import pathlib
from collections.abc import Callable

import cv2
import numpy as np

from hrnet_jax import fields, validation

LONGER_SIDE = 640
"""Pixels at which DIS computes. Of a video of 1280x720, more costs more and finds little more; see `benchmark`."""

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The user's: (earlier photo, next photo) [H, W, 3] uint8 RGB -> flow."""

Source = Callable[[str, np.ndarray, np.ndarray], np.ndarray]
"""(name of the earlier frame, its photo, the next photo) -> flow."""


def shrink(photo: np.ndarray, longer_side: int) -> np.ndarray:
    """Returns a photo in grey, [h, w] uint8, with the longer side of at most so many pixels."""
    scale = min(1.0, longer_side / max(photo.shape[:2]))
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    return cv2.cvtColor(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def enlarge(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns a flow [h, w, 2] at the (height, width) of the photo, in its pixels."""
    scale = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return cv2.resize(flow, size[::-1], interpolation=cv2.INTER_LINEAR) * scale


def dis(
    earlier: np.ndarray,
    following: np.ndarray,
    *,
    preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    longer_side: int = LONGER_SIDE,
) -> np.ndarray:
    """Returns the flow by DIS between two photos [H, W, 3] uint8 RGB, computed in grey at a smaller size."""
    first, second = (shrink(photo, longer_side) for photo in (earlier, following))
    return enlarge(grey_dis(first, second, preset), earlier.shape[:2])


MIN_SIDE = 32  # DIS fails on smaller photos


def grey_dis(first: np.ndarray, second: np.ndarray, preset: int) -> np.ndarray:
    """Returns the flow by DIS between grey photos [h, w] uint8. Raises ValueError if they are too small."""
    if min(first.shape) < MIN_SIDE:
        raise ValueError(
            f"photos of {first.shape[1]}x{first.shape[0]} are too small for optical flow: set it to none"
        )
    return cv2.DISOpticalFlow_create(preset).calc(first, second, None)  # pyright: ignore[reportAttributeAccessIssue]


METHODS: dict[str, Function] = {
    "dis": dis,
    "dis_fast": functools.partial(dis, preset=cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "dis_ultrafast": functools.partial(dis, preset=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
}
ENDINGS = (".flo", ".npy")


def open_source(name: str) -> Source:
    """Returns a source of flow by name: one of `METHODS`, ``module:function`` of a `Function`, or a folder.

    A folder has a file for each frame but the last, named as the frame: ``images/val/000342/000007.flo`` or
    ``000342/000007.npy`` is the flow from 000007.jpg to the next frame.

    Raises ValueError if there is none of that name.
    """
    if os.path.isdir(name):
        return functools.partial(_of_folder, pathlib.Path(name))
    function = fields.find("flow", name, METHODS)

    def source(frame: str, earlier: np.ndarray, following: np.ndarray) -> np.ndarray:
        if earlier.shape != following.shape:
            raise ValueError(
                f"frame {frame} is {earlier.shape}, and the next one {following.shape}: mark a new shot"
            )
        return check(function(earlier, following), earlier.shape[:2], f"the flow of {name} from frame {frame}")

    return source


def check(flow: np.ndarray, size: tuple[int, int], what: str) -> np.ndarray:
    """Returns a flow as float32. Raises ValueError that begins with `what` for another shape, or if not finite."""
    flow = np.asarray(flow)
    if flow.shape != (*size, 2):
        raise ValueError(
            f"{what} has the shape {flow.shape} and must have {(*size, 2)}: height and width of the photo, and 2"
        )
    if not np.issubdtype(flow.dtype, np.floating) or not np.isfinite(flow).all():
        raise ValueError(f"{what} must be finite floating-point numbers, in pixels, not {flow.dtype}")
    return flow.astype(np.float32, copy=False)


def _of_folder(folder: pathlib.Path, frame: str, earlier: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Reads the flow from a frame. Raises FileNotFoundError, or ValueError for a wrong file."""
    parts = pathlib.PurePath(frame).with_suffix("").parts
    names = ["/".join(parts[first:]) + ending for first in range(len(parts)) for ending in ENDINGS]
    path = next((path for path in map(folder.joinpath, names) if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} has no flow from frame {frame}: it must hold {names[0]} or {names[-1]}")
    return check(read(path), earlier.shape[:2], str(path))


def read(path: pathlib.Path) -> np.ndarray:
    """Reads a flow [H, W, 2] from a file of the Middlebury form ``.flo``, or ``.npy``.

    Raises ValueError if it is neither.
    """
    if not path.is_file():
        raise validation.missing(path)
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is no array of NumPy: {validation.one_line(error)}") from error
    flow = cv2.readOpticalFlow(str(path))
    if flow is None or not flow.size:
        raise ValueError(f"{path} is no optical flow of the form .flo, or it is cut off")
    return flow
