"""Load a checkpoint and run it: ``python -m examples.predict --checkpoint runs/w32``."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from examples import functions, start
from hrnet_jax import console, heatmap
from hrnet_jax.models import layers


def predict(model: nn.Module, variables: Any, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns joints ``[B, K, 2]`` in crop pixels and scores ``[B, K]``."""
    heatmaps = functions.make_predict(model)(variables, image)
    joints, scores = heatmap.decode(heatmaps, "dark")
    return layers.STRIDE * joints, scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the joints of the first person, and the distance to the labelled ones."""
    at = start.run(__doc__, arguments)
    joints, scores = jax.jit(predict, static_argnums=0)(at.model, at.variables, at.batch["image"])
    distances = jnp.linalg.norm(joints - at.batch["joints"], axis=-1)
    rows = zip(at.skeleton.joints, joints[0], scores[0], distances[0], at.batch["visible"][0], strict=True)
    for name, (x, y), score, distance, visible in rows:
        label = f"{distance:5.1f} pixels from its label" if visible else ""
        print(f"{name:<16} x {x:6.1f}  y {y:6.1f}  score {score:5.2f}  {label}")


if __name__ == "__main__":
    console.run(main)
