"""Target heatmaps and decoding of the Cascaded Pyramid Network (Chen et al., CVPR 2018), as in its public code.

A target is a single pixel, blurred by OpenCV's ``GaussianBlur`` and scaled to a given height. Heatmap pixel
``(x, y)`` stands for the crop pixels ``4 x`` to ``4 x + 4``, whose middle the decoder returns.
"""

import jax
import jax.numpy as jnp
import numpy as np

HEIGHT = 255.0
"""Height of the targets in the public code."""

_FIXED = {
    1: np.ones(1),
    3: np.array([1, 2, 1]) / 4,
    5: np.array([1, 4, 6, 4, 1]) / 16,
    7: np.array([1, 3.5, 7, 9, 7, 3.5, 1]) / 32,
    9: np.array([4, 13, 30, 51, 60, 51, 30, 13, 4]) / 256,
}
"""Small kernels, for which OpenCV has numbers of few bits instead; for 9 pixels since a version of 4."""

_BORDER = 10  # pixels of zeros around a heatmap before it is smoothed
_KERNEL = 21  # pixels of the Gaussian that smooths heatmaps
_STEP = 0.25  # pixels from the maximum towards the second one


def kernel(side: int) -> np.ndarray:
    """Returns OpenCV's Gaussian kernel ``[side]`` of sum 1, with the deviation that it derives from the size."""
    if side in _FIXED:
        return _FIXED[side]
    sigma = 0.3 * ((side - 1) / 2 - 1) + 0.8
    taps = np.exp(-np.square(np.arange(side) - side // 2) / (2 * sigma**2))
    return taps / taps.sum()


def blur_matrix(pixels: int, side: int) -> np.ndarray:
    """Returns the matrix ``[pixels, pixels]`` of a Gaussian blur along an axis, mirrored at the border pixels."""
    taps, period, target = kernel(side), max(2 * (pixels - 1), 1), np.arange(pixels)
    matrix = np.zeros((pixels, pixels))
    for offset, tap in enumerate(taps, start=-(side // 2)):
        source = (target + offset) % period
        np.add.at(matrix, (target, np.minimum(source, period - source) % pixels), tap)
    return matrix


def render(
    joints: jax.Array,
    visible: jax.Array,
    *,
    image_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    side: int,
    offset: float = 0.0,
    height: float = HEIGHT,
) -> tuple[jax.Array, jax.Array]:
    """Renders targets of one width. Near a border, the mirrored blur moves their maximum outwards.

    Args:
      joints: ``[B, K, 2]`` in crop pixels.
      visible: ``[B, K]``, 1 for labelled joints and 0 for others.
      image_size: (H, W) of the crop.
      heatmap_size: (h, w) of the heatmaps.
      side: pixels of the kernel, odd.
      offset: crop pixels added to joints before they are rounded down to heatmap pixels: 0 as in the public code,
        or half the stride for the nearest pixel.
      height: of the maximum.

    Returns:
      ``[B, h, w, K]`` heatmaps, and `visible` with 0 for joints outside the heatmap.
    """
    stride = np.divide(image_size, heatmap_size)[::-1].astype(joints.dtype)
    pixel = jnp.floor((joints + offset) / stride[None, None]).astype(jnp.int32)
    size = np.array(heatmap_size[::-1], np.int32)[None, None]
    labelled = jnp.where(((pixel >= 0) & (pixel < size)).all(-1), visible, 0)
    pixel = jnp.clip(pixel, 0, size - 1)
    rows, columns = (_impulses(pixels, side).astype(joints.dtype) for pixels in heatmap_size)
    along_y, along_x = jnp.asarray(rows)[:, pixel[..., 1]], jnp.asarray(columns)[:, pixel[..., 0]]
    heatmaps = jnp.moveaxis(along_y, 0, 1)[:, :, None] * jnp.moveaxis(along_x, 0, 1)[:, None]
    return height * heatmaps * labelled[:, None, None], labelled


def _impulses(pixels: int, side: int) -> np.ndarray:
    """Returns a blurred impulse of height 1 in each column, ``[pixels, pixels]``."""
    matrix = blur_matrix(pixels, side)
    return matrix / matrix.max(0)


def decode(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes the maximum of a smoothed heatmap, moved a quarter of a pixel towards the second one.

    For heatmaps of networks trained on targets of the public code, `HEIGHT` high and rounded down.

    Args:
      heatmaps: ``[B, h, w, K]``.

    Returns:
      ``[B, K, 2]`` joints in heatmap pixels, in the middle of the crop pixels that they stand for, and ``[B, K]``
      scores: values at the nearest pixels as shares of `HEIGHT`, plus 0.5.
    """
    batch, height, width, joints = heatmaps.shape
    peak = heatmaps.max((1, 2), keepdims=True)
    rows, columns = (_smoothing(pixels).astype(heatmaps.dtype) for pixels in (height, width))
    scaled = heatmaps / jnp.where(peak == 0, 1, peak)
    smooth = jnp.einsum("bhwk,ih,jw->bijk", scaled, rows, columns, precision="highest")
    smooth = smooth.reshape(batch, -1, joints)
    first = smooth.argmax(1)
    is_first = jnp.arange(smooth.shape[1])[None, :, None] == first[:, None]
    second = jnp.where(is_first, 0, smooth).argmax(1)
    pixel, other = (_position(index, width, heatmaps.dtype) for index in (first, second))
    direction = other - pixel
    length = jnp.sqrt(jnp.square(direction).sum(-1, keepdims=True))
    moved = pixel + _STEP * direction / jnp.where(length > 0, length, 1)
    moved = jnp.clip(moved, 0, np.array([width - 1, height - 1], heatmaps.dtype)[None, None])
    column, row = (jnp.round(moved[..., axis]).astype(jnp.int32) for axis in (0, 1))
    flat = heatmaps.reshape(batch, height * width, joints)
    raw = jnp.take_along_axis(flat, (row * width + column)[:, None], axis=1)[:, 0]
    return moved + 0.5, raw / HEIGHT + 0.5


def _smoothing(pixels: int) -> np.ndarray:
    """Returns the matrix ``[pixels + 20, pixels]`` that pads an axis with zeros and blurs it."""
    return blur_matrix(pixels + 2 * _BORDER, _KERNEL)[:, _BORDER : _BORDER + pixels]


def _position(index: jax.Array, width: int, dtype: jnp.dtype) -> jax.Array:
    """Returns the heatmap pixel (x, y) of an index into padded pixels; it may be outside the heatmap."""
    padded = width + 2 * _BORDER
    return jnp.stack([index % padded, index // padded], -1).astype(dtype) - _BORDER
