"""Unbiased data processing (UDP, Huang et al., CVPR 2020): targets, loss and decoders, equal to the authors' code.

Lengths are measured between the centres of pixels. The corner pixels of heatmap and crop have the same centres, so
heatmap pixel ``(x, y)`` is crop pixel ``(x (W - 1) / (w - 1), y (H - 1) / (h - 1))``, and a mirrored heatmap needs
no shift. See `geometry.crop_to_photo` for the crops and `codecs` for what belongs together.

A joint has either one heatmap, a Gaussian, or three of `MAPS`: 1 near the joint, and the offsets to it along x and
y in units of a radius. The three are neighbours: ``[B, h, w, 3 K]``.
"""

import jax
import jax.numpy as jnp
import numpy as np

from hrnet_jax import heatmap, losses

MAPS = 3
"""Heatmaps of a joint with offsets."""

RADIUS, RADIUS_V1 = 4.0, 3.5
"""Heatmap pixels around a joint that are near it: the authors' default, and their choice in "UDPv1"."""

_SMOOTH = np.array([1, 3.5, 7, 9, 7, 3.5, 1]) / 32  # OpenCV's own for 7 pixels and no given sigma
_SMOOTHER = np.exp(-np.square(np.arange(-7, 8)) / (2 * 2.6**2))  # for 15 pixels: 2.6 = 0.3 (7 - 1) + 0.8
_SMOOTHER /= _SMOOTHER.sum()
_LOWEST, _HIGHEST = 1e-3, 50.0  # of heatmaps whose logarithm is taken


def stride(image_size: tuple[int, ...], heatmap_size: tuple[int, ...]) -> np.ndarray:
    """Returns crop pixels per heatmap pixel along (x, y), for sizes (height, width)."""
    crop, heatmap_side = (np.array(size[::-1]) - 1.0 for size in (image_size, heatmap_size))
    return crop / heatmap_side


def render(
    joints: jax.Array,
    visible: jax.Array,
    *,
    image_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
) -> tuple[jax.Array, jax.Array]:
    """Renders Gaussians that keep the fraction of a pixel, cut to the square around the nearest pixel.

    Arguments and results are those of `heatmap.render`.
    """
    center = joints / stride(image_size, heatmap_size).astype(joints.dtype)[None, None]
    pixel = jnp.trunc(center + 0.5)
    weights = jnp.where(heatmap.touches(pixel, 3 * sigma, heatmap_size), visible, 0)
    along_x, along_y = (
        jnp.where(jnp.abs(from_pixel) <= 3 * sigma, jnp.exp(-jnp.square(offset) / (2 * sigma**2)), 0)
        for offset, from_pixel in zip(
            heatmap.offsets(center, heatmap_size), heatmap.offsets(pixel, heatmap_size), strict=True
        )
    )
    gaussian = along_y[:, :, None] * along_x[:, None]
    return jnp.where((weights > 0.5)[:, None, None], gaussian, 0), weights


def render_offsets(
    joints: jax.Array,
    visible: jax.Array,
    *,
    image_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
    radius: float = RADIUS,
) -> tuple[jax.Array, jax.Array]:
    """Renders a disc of ones around each visible joint, and in it the offsets to the joint.

    Args:
      joints: ``[B, K, 2]`` in crop pixels.
      visible: ``[B, K]``, 1 for labelled joints and 0 for others.
      image_size: (H, W) of the crop.
      heatmap_size: (h, w) of the heatmaps.
      sigma: not used, since there is no Gaussian.
      radius: of the disc in heatmap pixels, and unit of the offsets.

    Returns:
      ``[B, h, w, 3 K]`` heatmaps and ``[B, K]`` weights of the discs for the loss. Weights equal `visible`: as in
      the authors' code, a joint far outside the crop is one to be found nowhere.
    """
    del sigma
    center = joints / stride(image_size, heatmap_size).astype(joints.dtype)[None, None]
    x, y = heatmap.offsets(center, heatmap_size)
    x, y = jnp.broadcast_arrays(-x[:, None] / radius, -y[:, :, None] / radius)
    near = (jnp.square(x) + jnp.square(y) <= 1) & (visible > 0.5)[:, None, None]
    maps = jnp.stack([jnp.ones_like(x), x, y], -1)
    return jnp.where(near[..., None], maps, 0).reshape(*x.shape[:3], -1), visible


def offset_loss(heatmaps: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """Computes the sum of `losses.mse` of discs and offsets, the latter compared only inside the discs.

    Args:
      heatmaps: ``[B, h, w, 3 K]`` predictions.
      targets: ``[B, h, w, 3 K]``, see `render_offsets`.
      weights: ``[B, K]`` of the discs. As in the authors' code, they do not weigh the offsets.

    Returns:
      ``[B, K]``.
    """
    predicted, expected = (_apart(maps) for maps in (heatmaps, targets))
    disc, one = expected[..., 0], jnp.ones_like(weights)
    offsets = [losses.mse(disc * predicted[..., i], disc * expected[..., i], one) for i in (1, 2)]
    return losses.mse(predicted[..., 0], disc, weights) + offsets[0] + offsets[1]


def _apart(heatmaps: jax.Array) -> jax.Array:
    """Returns the three heatmaps of each joint, ``[B, h, w, K, 3]``."""
    return heatmaps.reshape(*heatmaps.shape[:3], -1, MAPS)


def turn(heatmaps: jax.Array, matrix: np.ndarray) -> jax.Array:
    """Multiplies the offsets in heatmaps ``[B, h, w, 3 K]`` by a matrix ``[2, 2]``."""
    (a, b), (c, d) = matrix.astype(heatmaps.dtype)
    near, x, y = jnp.moveaxis(_apart(heatmaps), -1, 0)
    return jnp.stack([near, a * x + b * y, c * x + d * y], -1).reshape(heatmaps.shape)


def _smoothed(heatmaps: jax.Array, taps: np.ndarray) -> jax.Array:
    """Convolves rows and columns with symmetric taps, mirrored about the outermost pixels, as OpenCV does."""
    radius = len(taps) // 2

    def band(side: int) -> jax.Array:
        mirrored = np.pad(np.eye(side), ((radius, radius), (0, 0)), mode="reflect")
        rows = sum(tap * mirrored[k : k + side] for k, tap in enumerate(taps))
        return jnp.asarray(rows).astype(heatmaps.dtype)

    rows, columns = (band(side) for side in heatmaps.shape[1:3])
    return jnp.einsum("bhwk,ih,jw->bijk", heatmaps, rows, columns, precision="highest")


def decode(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes a Newton step from the peak on the logarithm of the smoothed heatmap, with the authors' differences.

    Unlike `heatmap.decode_dark`, it steps from peaks at the border, too. Arguments and results are those of a
    `heatmap.Decoder`.
    """
    pixel, score = heatmap.peaks(heatmaps)
    smooth = _smoothed(heatmaps, _SMOOTH)
    low, high, highest = (extremum((1, 2), keepdims=True) for extremum in (smooth.min, smooth.max, heatmaps.max))
    scaled = (smooth - low) / jnp.where(high > low, high - low, 1) * highest
    log = jnp.log(jnp.clip(scaled, _LOWEST, _HIGHEST))

    def at(x: int, y: int) -> jax.Array:
        return heatmap.values(log, pixel, x, y)

    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx, dyy = at(1, 0) - 2 * at(0, 0) + at(-1, 0), at(0, 1) - 2 * at(0, 0) + at(0, -1)
    around = at(1, 0) + at(-1, 0) + at(0, 1) + at(0, -1)
    dxy = 0.5 * (at(1, 1) + at(-1, -1) + 2 * at(0, 0) - around)
    return pixel + heatmap.newton_step(dx, dy, dxx, dyy, dxy), score


def decode_offsets(heatmaps: jax.Array, radius: float = RADIUS) -> tuple[jax.Array, jax.Array]:
    """Adds the offset at the middle of the disc, the highest pixel of the smoothed disc, all smoothed.

    Args:
      heatmaps: ``[B, h, w, 3 K]``.
      radius: of the disc in heatmap pixels, see `render_offsets`.

    Returns:
      ``[B, K, 2]`` joints in heatmap pixels and ``[B, K]`` scores, the maximum of each smoothed disc.
    """
    near, x, y = jnp.moveaxis(_apart(heatmaps), -1, 0)
    pixel, score = heatmap.peaks(_smoothed(near, _SMOOTHER))
    offset = [heatmap.values(_smoothed(maps, _SMOOTH), pixel, 0, 0) for maps in (x, y)]
    return pixel + radius * jnp.stack(offset, -1), score
