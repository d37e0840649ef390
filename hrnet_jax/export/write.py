"""Writes trained networks to files for other programs, each of which is run and compared before it appears."""

import functools
import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from hrnet_jax import inference, models
from hrnet_jax.export import card, runtimes, stablehlo
from hrnet_jax.export.description import HEADS, HEATMAPS, JOINTS
from hrnet_jax.export.runtimes import ONNX, STABLEHLO
from hrnet_jax.export.to_onnx import file
from hrnet_jax.export.trained import Trained
from hrnet_jax.torch_interop import loading, state_dict
from hrnet_jax.torch_interop.state_dict import SAFETENSORS

SUFFIXES = (SAFETENSORS, STABLEHLO, ONNX)

MOST = 1e-4
"""Largest deviation of heatmaps and scores, relative to the largest value: a hundred times that of float32."""

MOST_PIXELS = 0.01
"""Largest deviation of half of the joints. Others may have two peaks of the same height."""

IMAGES = 3


def check_target(target: str | os.PathLike, output: str = HEATMAPS) -> None:
    """Raises ValueError if a file cannot be written here: a wrong suffix, an existing file, a missing package."""
    path = pathlib.Path(target)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{os.fspath(path)!r}: the name must end in {', '.join(SUFFIXES)}, which is the format")
    if output == JOINTS and path.suffix != STABLEHLO:
        raise ValueError(
            f"{os.fspath(path)!r}: only {STABLEHLO} files hold the step to joints; leave out --joints"
        )
    state_dict.check_target(path)
    if path.suffix == STABLEHLO:
        state_dict.check_target(stablehlo.description_path(path))
    if path.suffix == ONNX:
        file.require("onnx")
        file.require("onnxruntime")


def write(trained: Trained, target: str | os.PathLike, output: str = HEATMAPS) -> list[str]:
    """Writes a file in the format of its suffix.

    The file is complete and compared with the network or, after an error, absent.

    Args:
      trained: from `trained.load`.
      target: name ending in ``.safetensors``, ``.stablehlo`` or ``.onnx``; must not exist.
      output: of a program: ``"heatmaps"``, or ``"joints"`` for the whole step to joints in the photo. Of a network
        for whole photos it is the output of each head, heatmaps and tags.

    Returns:
      Sentences about the result, the deviation among them.

    Raises:
      ValueError: the file cannot be written, see `check_target`; the network has operations that the format lacks,
        or none to joints; or the file deviates from the network by more than `MOST`.
    """
    check_target(target, output)
    output = _output(trained, output)
    path = pathlib.Path(target)
    with state_dict.write_atomically(path) as partial:
        if path.suffix == SAFETENSORS:
            state_dict.save(partial, trained.tensors, trained.describe())
            notes = [_compare_tensors(trained, partial)]
        else:
            _write_program(trained, partial, output)
            notes = [_compare_program(trained, partial)]
            if path.suffix == STABLEHLO:
                stablehlo.description_path(partial).rename(stablehlo.description_path(path))
    if path.suffix == SAFETENSORS:
        written = card.write(trained, path)
        notes.append("the model card is README.md" if written else "README.md exists and is kept: no model card")
    return notes


def _output(trained: Trained, output: str) -> str:
    """Returns the output of a program of the network. Raises ValueError if it has no such."""
    if not models.find(trained.network["name"]).bottom_up:
        return output
    if output == JOINTS:
        raise ValueError(
            f"{trained.source!r} is a network that finds all people of a photo: leave out --joints, its program"
            " has heatmaps and tags"
        )
    return HEADS


def _write_program(trained: Trained, path: pathlib.Path, output: str) -> None:
    description = trained.describe() | {"output": output}
    size, function = trained.settings.image_size, _function(trained, output)
    if path.suffix == ONNX:
        file.write(path, function, size, description)
        return
    inputs = [((*size, 3), np.uint8), *[((2, 3), np.float32)] * (output == JOINTS)]
    stablehlo.write(path, function, inputs)
    stablehlo.write_description(path, description)


def _function(trained: Trained, output: str) -> Callable:
    """Returns the function to export: images to heatmaps or heads, or images and maps to joints and scores."""
    model, variables, settings = trained.model, trained.variables, trained.settings
    if output != JOINTS:
        return functools.partial(inference.predict_heatmaps, model, variables, flip_order=None, shift=0.0)
    options = settings.options | {"decoder": settings.decoder}
    return functools.partial(inference.predict_step, model, variables, **options)


def _compare_tensors(trained: Trained, path: pathlib.Path) -> str:
    """Reads the tensors back. Raises ValueError if a bit differs."""
    found = loading.read(path).tensors
    for name, tensor in trained.tensors.items():
        if found[name].dtype != tensor.dtype or found[name].tobytes() != tensor.tobytes():
            raise ValueError(f"{os.fspath(path)!r}: {name!r} is not what was written: try again, or another disk")
    return f"{len(found):,} tensors read back: every bit is equal"


def _compare_program(trained: Trained, path: pathlib.Path) -> str:
    """Runs a program on a batch and on one image. Raises ValueError if it deviates too far from the network."""
    program = runtimes.open_program(path)
    inputs = _inputs(trained.settings.image_size)[: 1 + (program.output == JOINTS)]
    with jax.default_matmul_precision("highest"):
        expected = jax.tree.leaves(jax.jit(_function(trained, program.output))(*inputs))
        batch, single = (jax.tree.leaves(program.call(*(array[:n] for array in inputs))) for n in (IMAGES, 1))
    outputs = list(zip(expected, batch, single, strict=True))
    joints, values = (outputs[:1], outputs[1:]) if program.output == JOINTS else ([], outputs)
    deviation = max(_deviation(array, wanted) for wanted, *found in values for array in found)
    text = f"deviates from the network by {deviation:.1e} of the largest {'score' if joints else 'value'}"
    pixels = [np.linalg.norm(np.asarray(a) - e[: len(a)], axis=-1) for e, *arrays in joints for a in arrays]
    text += "".join(f", joints by {array.max():.1e} px" for array in pixels[:1])
    if not deviation <= MOST or any(np.median(array) > MOST_PIXELS for array in pixels):
        raise ValueError(
            f"the file {text}, but at most {MOST:.0e} and {MOST_PIXELS} px are allowed: nothing was kept"
        )
    return f"{text}, on {IMAGES} images and on one"


def _deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference relative to the largest value, if that is not 0."""
    difference = np.abs(np.asarray(found) - expected[: len(found)]).max()
    return float(difference / (np.abs(expected).max() or 1))


def _inputs(image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of noise, and maps to them from photos."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *image_size, 3), np.uint8)
    return images, np.tile(np.array([[0.5, 0, -20], [0, 0.5, -10]], np.float32), (IMAGES, 1, 1))
