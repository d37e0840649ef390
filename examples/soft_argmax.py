"""Joints as expectations over heatmaps, which have gradients, and a network trained with them end to end."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from examples import start
from hrnet_jax import console, sharding, training
from hrnet_jax.models import layers

SHARPNESS = 20.0
"""Factor of heatmaps before the softmax. The target's peaks have height 1, and e^20 outweighs all other pixels."""


def probabilities(heatmaps: jax.Array, sharpness: float = SHARPNESS) -> jax.Array:
    """Turns heatmaps ``[..., h, w, K]`` into distributions over their pixels, by a softmax."""
    return jax.nn.softmax(sharpness * heatmaps, axis=(-3, -2))


def pixels(height: int, width: int, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Returns the position (x, y) of each pixel, ``[h, w, 2]``."""
    return jnp.stack(jnp.meshgrid(jnp.arange(width, dtype=dtype), jnp.arange(height, dtype=dtype)), -1)


def soft_argmax(heatmaps: jax.Array, sharpness: float = SHARPNESS) -> jax.Array:
    """Returns the mean position of each heatmap, ``[B, K, 2]`` heatmap pixels (Sun et al., ECCV 2018).

    A differentiable `heatmap.decode`.
    """
    _, height, width, _ = heatmaps.shape
    positions = pixels(height, width, heatmaps.dtype)
    return jnp.einsum("bhwk,hwc->bkc", probabilities(heatmaps, sharpness), positions, precision="highest")


def make_loss(model: nn.Module, sharpness: float = SHARPNESS) -> training.Loss:
    """Returns a loss on joints instead of heatmaps: the mean distance along x and y in crop pixels."""

    def loss(params, batch_stats, batch):
        image = layers.normalize(batch["image"], model.colors, model.dtype)  # pyright: ignore
        variables = {"params": params, "batch_stats": batch_stats}
        heatmaps, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
        distance = jnp.abs(layers.STRIDE * soft_argmax(heatmaps, sharpness) - batch["joints"])  # pyright: ignore
        labelled = batch["visible"][..., None] > 0
        return jnp.mean(distance, where=labelled), (updates["batch_stats"], {})

    return loss


def train(
    model: nn.Module, variables: Any, batch: training.Batch, steps: int, learning_rate: float = 1e-2
) -> tuple[training.TrainState, list[float]]:
    """Fits a network to one batch with Adam. Returns the state and the loss before each step."""
    optimizer = optax.adam(learning_rate)
    replicated = sharding.replicated(sharding.make_mesh(jax.devices()[:1]))
    step = jax.jit(training.make_train_step(make_loss(model), optimizer, replicated))
    state, losses = training.init_state(variables, optimizer), []
    for _ in range(steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return state, losses


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the distance to the labelled joints while a network is trained on one batch."""
    at = start.run(__doc__, arguments)
    _, losses = train(at.model, at.variables, at.batch, steps=100)
    for number in (0, 10, 30, len(losses) - 1):
        print(f"step {number:>3}: {losses[number]:.1f} crop pixels along x and y")


if __name__ == "__main__":
    console.run(main)
