"""Test-time augmentation as transforms of functions: flips, shifts and scales compose.

A transform takes a function from images to heatmaps and returns another, that moves the image, predicts, and moves
the heatmaps back.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from examples import functions, start
from hrnet_jax import console, heatmap
from hrnet_jax.models import layers

Heatmaps = Callable[[jax.Array], jax.Array]
"""(images ``[B, H, W, 3]``) -> heatmaps ``[B, h, w, K]``."""


def flipped(predict: Heatmaps, flip_order: np.ndarray, shift: float = 0.75) -> Heatmaps:
    """Predicts from the mirrored image; see `heatmap.flip` for `shift`."""
    return lambda image: heatmap.flip(predict(image[:, :, ::-1]), flip_order, shift)


def shifted(predict: Heatmaps, x: int, y: int) -> Heatmaps:
    """Predicts from the image shifted by heatmap pixels to the right and down. Borders come in black."""

    def moved(image: jax.Array) -> jax.Array:
        heatmaps = predict(_shift(image, layers.STRIDE * x, layers.STRIDE * y))
        return _shift(heatmaps, -x, -y)

    return moved


def _shift(array: jax.Array, x: int, y: int) -> jax.Array:
    """Shifts ``[B, h, w, C]`` by whole pixels and fills with zeros."""
    rows, columns = ((max(n, 0), max(-n, 0)) for n in (y, x))
    padded = jnp.pad(array, ((0, 0), rows, columns, (0, 0)))
    height, width = array.shape[1:3]
    return padded[:, rows[1] :][:, :height][:, :, columns[1] :][:, :, :width]


def scaled(predict: Heatmaps, factor: float) -> Heatmaps:
    """Predicts from the image enlarged about its middle by a factor. Borders come in black."""

    def resized(image: jax.Array) -> jax.Array:
        middle = (np.array(image.shape[1:3]) / layers.STRIDE - 1) / 2  # (y, x) in heatmap pixels
        heatmaps = predict(_scale(image, factor, layers.STRIDE * middle))
        return _scale(heatmaps, 1 / factor, middle)

    return resized


def _scale(array: jax.Array, factor: float, middle: np.ndarray) -> jax.Array:
    """Enlarges ``[B, h, w, C]`` by a factor about a point (y, x), bilinearly."""
    floating = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    # jax.image has pixel centres at halves, we have them at integers.
    translation = (1 - factor) * (middle + 0.5)
    scale, translation = (jnp.asarray(x, floating.dtype) for x in ([factor, factor], translation))
    return jax.image.scale_and_translate(
        floating, array.shape, (1, 2), scale, translation, "linear", antialias=False
    )


def average(*predictions: Heatmaps) -> Heatmaps:
    """Averages the heatmaps of several functions."""
    return lambda image: jnp.mean(jnp.stack([predict(image) for predict in predictions]), 0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the distance to the labelled joints for several augmentations."""
    at = start.run(__doc__, arguments)
    image, order = at.batch["image"].astype(jnp.float32), at.skeleton.flip_order
    plain = jax.jit(functools.partial(functions.make_predict(at.model), at.variables))
    shifts = [shifted(plain, x, y) for x in (-1, 1) for y in (-1, 1)]
    scales = [scaled(plain, factor) for factor in (0.9, 1.1)]
    for name, predictions in {
        "none": [plain],
        "flip": [plain, flipped(plain, order)],
        "shifts": [plain, *shifts],
        "scales": [plain, *scales],
        "all, and all of them flipped": [f for g in (plain, *shifts, *scales) for f in (g, flipped(g, order))],
    }.items():
        joints, _ = heatmap.decode(average(*predictions)(image), "dark")
        distance = jnp.linalg.norm(layers.STRIDE * joints - at.batch["joints"], axis=-1)
        print(f"{name:<28} {jnp.mean(distance, where=at.batch['visible'] > 0):.2f} crop pixels from the labels")


if __name__ == "__main__":
    console.run(main)
