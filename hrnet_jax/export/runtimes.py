"""Exported programs as prediction steps: ``.onnx`` files run by ONNX Runtime, ``.stablehlo`` files by JAX.

Neither the network's code nor Flax is needed, and no checkpoint: the weights are in the file.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from hrnet_jax import codecs, validation
from hrnet_jax.export import description, stablehlo
from hrnet_jax.export.description import HEADS, HEATMAPS, JOINTS, Settings
from hrnet_jax.export.to_onnx import file

ONNX, STABLEHLO = ".onnx", ".stablehlo"

Step = Callable[[Any, jax.typing.ArrayLike, jax.typing.ArrayLike], tuple[jax.Array, jax.Array]]
"""(variables, image, photo_to_crop) -> (joints, scores), as `inference.PredictStep`; variables are not used."""


@dataclasses.dataclass(frozen=True)
class Program:
    """An exported program.

    Attributes:
      call: the program, from ``[B, H, W, 3]`` uint8 images to ``[B, h, w, K]`` heatmaps, or from images and
        ``[B, 2, 3]`` maps from photo to crop pixels to ``[B, K, 2]`` joints in photo pixels and ``[B, K]`` scores,
        or from images to a sequence with the output of each head.
      settings: of predictions with it.
      output: ``"heatmaps"``, ``"joints"`` or ``"heads"``.
      description: all that the file says of its network, see `hrnet_jax.export.description`.
    """

    call: Callable[..., Any]
    settings: Settings
    output: str
    description: Mapping[str, Any]

    def step(self) -> Step:
        """Returns a prediction step with the file's settings, for `inference.predict` and others that take one.

        Raises ValueError for a network for whole photos.
        """
        if self.output == HEADS:
            raise ValueError(
                "the program is of a network that finds all people of a photo, and this is for one person in a"
                " crop: give another"
            )
        if self.output == JOINTS:
            return lambda variables, image, photo_to_crop: self.call(image, photo_to_crop)
        settings, order = self.settings, self.settings.flip_order
        finish = jax.jit(functools.partial(_finish, settings=settings))

        def step(variables: Any, image: jax.typing.ArrayLike, photo_to_crop: jax.typing.ArrayLike):
            image = np.asarray(image)
            mirrored = None if order is None else self.call(np.ascontiguousarray(image[:, :, ::-1]))
            return finish(self.call(image), mirrored, photo_to_crop)

        return step


def _finish(heatmaps, mirrored, photo_to_crop, *, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """Averages with the heatmaps of the mirrored image, if any, and decodes, as `inference.predict_step`."""
    if mirrored is not None:
        codec = codecs.CODECS[settings.codec]
        heatmaps = (heatmaps + codec.flip(mirrored, settings.skeleton.flip_order, settings.flip_shift)) * 0.5
    reading = {"decoder": settings.decoder, "codec": settings.codec}
    return codecs.decode_in_photo(heatmaps, photo_to_crop, settings.image_size, **reading)


def open_program(path: str | os.PathLike) -> Program:
    """Opens an ``.onnx`` or ``.stablehlo`` file of `hrnet_jax.export`.

    Raises:
      FileNotFoundError: the file, or the description beside it, is missing.
      ValueError: the file has another suffix, is damaged, or was not exported by this package; or ONNX Runtime is
        not installed.
    """
    path = pathlib.Path(path)
    if path.suffix not in _READERS:
        raise ValueError(f"{path} is not an exported program: give a file named {' or '.join(_READERS)}")
    if not path.is_file():
        raise validation.missing(path)
    call, content = _READERS[path.suffix](path)
    if (output := content.get("output")) not in (HEATMAPS, JOINTS, HEADS):
        raise ValueError(f"{path}: `output` (={output!r:.100}) must be {HEATMAPS!r}, {JOINTS!r} or {HEADS!r}")
    return Program(call, description.from_json(content, os.fspath(path)), output, content)


def _read_onnx(path: pathlib.Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    file.require("onnxruntime")
    import onnxruntime  # pyright: ignore[reportMissingImports]

    providers = [name for name in _PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), providers=providers)
    except Exception as error:  # a class of its own for each kind of damage
        raise ValueError(f"{path} cannot be opened ({validation.one_line(error)}): export it again") from error
    content = session.get_modelmeta().custom_metadata_map.get(file.METADATA)
    if content is None:
        raise ValueError(f"{path} was not exported by hrnet_jax: it has no description of its network")

    def call(image: Any) -> Any:
        first, *others = session.run(None, {"image": np.asarray(image)})
        return [first, *others] if others else first

    return call, _parse(content, path)


_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")  # the first that is installed runs a node


def _parse(content: str, path: pathlib.Path) -> dict[str, Any]:
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: its description is damaged ({error!s:.200}): export it again") from error


def _read_stablehlo(path: pathlib.Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    beside = stablehlo.description_path(path)
    if not beside.is_file():
        raise FileNotFoundError(
            f"{beside}, the description of {path.name}, is missing: copy it, too, or export again"
        )
    return stablehlo.read(path), _parse(beside.read_text(), beside)


_READERS = {ONNX: _read_onnx, STABLEHLO: _read_stablehlo}
