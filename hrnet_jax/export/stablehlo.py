"""StableHLO files: a whole program with its weights, for any process with JAX, without this package.

    program = jax.export.deserialize(bytearray(open("w32.stablehlo", "rb").read()))
    heatmaps = program.call(image)

It runs on CPUs, NVIDIA GPUs and TPUs, for any batch size. ``FILE.stablehlo.json`` beside it has the description.
"""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

PLATFORMS = ("cpu", "cuda", "tpu")

Shape = tuple[int, ...]


def write(
    path: pathlib.Path,
    function: Callable[..., Any],
    inputs: Sequence[tuple[Shape, Any]],
) -> None:
    """Writes a function of arrays as a StableHLO file.

    Args:
      path: of the file.
      function: to export, with its weights inside.
      inputs: shape and dtype of each argument, without the batch, which may have any size.
    """
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    arguments = [jax.ShapeDtypeStruct((batch, *shape), dtype) for shape, dtype in inputs]
    program = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    path.write_bytes(program.serialize())


def read(path: pathlib.Path) -> Callable[..., Any]:
    """Returns the compiled function in a StableHLO file. Raises ValueError if it is damaged."""
    from jax import export

    try:
        return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    except Exception as error:  # flatbuffers and MLIR raise several kinds
        raise ValueError(f"{path} is not a whole StableHLO file ({error!r:.200}): export it again") from error


def description_path(path: pathlib.Path) -> pathlib.Path:
    """Returns the path of the description beside a StableHLO file."""
    return path.with_name(path.name + ".json")


def write_description(path: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes the description beside a StableHLO file."""
    description_path(path).write_text(json.dumps(dict(description), indent=1) + "\n")
