"""A pose network as pure functions of its weights, the form that every other example transforms."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from hrnet_jax import heatmap, inference, losses, training
from hrnet_jax.models import layers

Predict = Callable[[Any, jax.Array], jax.Array]
"""(variables, images ``[B, H, W, 3]`` from 0 to 255) -> heatmaps ``[B, h, w, K]``."""

Loss = Callable[[Any, training.Batch], jax.Array]
"""(params, batch) -> ``[B]``, the loss of each person."""

SIGMA = 2.0
"""Heatmap pixels, of the targets' Gaussians: the default of a run."""


def make_predict(model: nn.Module) -> Predict:
    """Returns the network as a function. Images are uint8 or, to differentiate by pixels, floating-point."""
    return functools.partial(inference.predict_heatmaps, model, flip_order=None, shift=0.0)


def targets(batch: training.Batch, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Renders the target heatmaps ``[B, height, width, K]`` of a batch, and their weights ``[B, K]``."""
    image_size = (layers.STRIDE * height, layers.STRIDE * width)
    joints, visible = batch["joints"], batch["visible"]
    return heatmap.render(joints, visible, image_size=image_size, heatmap_size=(height, width), sigma=SIGMA)


def errors(heatmaps: jax.Array, batch: training.Batch) -> jax.Array:
    """Returns the mean squared error of each person's heatmaps, ``[B]``."""
    return losses.mse(heatmaps, *targets(batch, *heatmaps.shape[1:3])).mean(1)


def make_loss(predict: Predict, batch_stats: Any) -> Loss:
    """Returns the loss with running statistics. No person depends on the others of the batch."""

    def loss(params: Any, batch: training.Batch) -> jax.Array:
        heatmaps = predict({"params": params, "batch_stats": batch_stats}, batch["image"])
        return errors(heatmaps, batch)

    return loss


def make_training_loss(model: nn.Module) -> training.Loss:
    """Returns the loss of a training step, with the statistics of the batch.

    It compares the network's prediction alone, with a Gaussian. A run also compares an Hourglass's earlier stacks,
    and a CPN's levels with targets of their own.
    """

    def loss(params, batch_stats, batch):
        image = layers.normalize(batch["image"], model.colors, model.dtype)  # pyright: ignore
        variables = {"params": params, "batch_stats": batch_stats}
        heatmaps, updates = model.apply(variables, image, train=True, mutable=["batch_stats"])
        return errors(heatmaps, batch).mean(), (updates["batch_stats"], {})

    return loss
