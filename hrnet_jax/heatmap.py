"""Encoding of joints as heatmaps, and decoding of heatmaps to joints, on the device.

Heatmaps are ``[B, h, w, K]`` float32. Heatmap pixel ``(x, y)`` is crop pixel ``(4 x, 4 y)``. Pixel centres are at
integers in both, as in the original. `udp` differs.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from hrnet_jax import cpn_codec, fields

DARK_KERNEL = 11
"""Side in pixels of the Gaussian kernel that smooths heatmaps before DARK decoding, as chosen by its authors."""


def render(
    joints: jax.Array,
    visible: jax.Array,
    *,
    image_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
    unbiased: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Renders target heatmaps: a Gaussian of height 1 at each visible joint.

    As in the original, the centre is rounded to ``trunc(x + 0.5)`` heatmap pixels and the Gaussian is cut to a
    square of ``6 * sigma + 1`` pixels. Negative coordinates are thus rounded up. `unbiased` targets are neither
    rounded nor cut (DARK, Zhang et al., CVPR 2020, section 3.3).

    Args:
      joints: ``[B, K, 2]`` in crop pixels.
      visible: ``[B, K]``, 1 for labelled joints and 0 for others.
      image_size: (H, W) of the crop.
      heatmap_size: (h, w) of the heatmaps.
      sigma: standard deviation of the Gaussian in heatmap pixels.
      unbiased: whether to keep the fraction of a pixel and the whole Gaussian.

    Returns:
      ``[B, h, w, K]`` heatmaps and ``[B, K]`` weights for the loss. Weights equal `visible`, but are 0 if the
      Gaussian's square does not touch the heatmap.
    """
    stride = np.divide(image_size, heatmap_size)[::-1].astype(joints.dtype)
    center = joints / stride[None, None]
    mean = center if unbiased else jnp.trunc(center + 0.5)
    weights = jnp.where(touches(mean, 3 * sigma, heatmap_size), visible, 0)
    x, y = offsets(mean, heatmap_size)
    gaussian = _gaussian(x, y, sigma) if unbiased else _rounded_gaussian(x, y, sigma)
    return jnp.where((weights > 0.5)[:, None, None], gaussian, 0), weights


TARGETS: dict[str, Callable[..., tuple[jax.Array, jax.Array]]] = {"gaussian": render}
"""Target heatmaps by name: functions with the arguments and results of `render`."""


def touches(center: jax.Array, radius: float, heatmap_size: tuple[int, int]) -> jax.Array:
    """Returns whether the squares around centres ``[B, K, 2]`` touch the heatmap, as the original decides it."""
    size = jnp.asarray(heatmap_size[::-1], center.dtype)[None, None]
    return ((jnp.trunc(center - radius) < size) & (jnp.trunc(center + radius + 1) >= 0)).all(-1)


def offsets(center: jax.Array, heatmap_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Returns the offsets of columns ``[B, w, K]`` and rows ``[B, h, K]`` from centres ``[B, K, 2]``."""
    x, y = (
        jnp.arange(side, dtype=center.dtype)[None, :, None] - center[:, None, :, axis]
        for axis, side in ((0, heatmap_size[1]), (1, heatmap_size[0]))
    )
    return x, y


def _gaussian(x: jax.Array, y: jax.Array, sigma: float) -> jax.Array:
    """Returns Gaussians ``[B, h, w, K]`` of offsets ``[B, w, K]`` and ``[B, h, K]`` from their centres."""
    along_x, along_y = (jnp.exp(-jnp.square(offset) / (2 * sigma**2)) for offset in (x, y))
    return along_y[:, :, None] * along_x[:, None]


def _rounded_gaussian(x: jax.Array, y: jax.Array, sigma: float) -> jax.Array:
    """Returns `_gaussian` for offsets in whole pixels, cut to the square and equal to the original in every bit.

    Looks values up in a table that numpy computes as the original does. The ``exp`` of a device may differ in the
    last bit. Two steps of Adam amplify that to differences of 1e-6 in the weights.
    """
    distance = np.arange(int(3 * sigma) + 1, dtype=np.float32)
    table = np.exp(-(distance**2 + distance[:, None] ** 2) / np.float32(2 * sigma**2))
    one_hot_x, one_hot_y = (
        jax.nn.one_hot(jnp.abs(offset).astype(jnp.int32), len(table), dtype=x.dtype) for offset in (x, y)
    )
    # Each sum has one term, so it is exact if no factor is rounded.
    rows = jnp.einsum("bykr,rs->byks", one_hot_y, table.astype(x.dtype), precision="highest")
    return jnp.einsum("byks,bxks->byxk", rows, one_hot_x, precision="highest")


def peaks(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the maximum of each heatmap.

    Args:
      heatmaps: ``[B, h, w, K]``.

    Returns:
      ``[B, K, 2]`` pixels (x, y) and ``[B, K]`` values, the scores of the joints. As in the original, the pixel is
      (0, 0) if no value is positive.
    """
    batch, _, width, joints = heatmaps.shape
    flat = heatmaps.reshape(batch, -1, joints)
    index, score = flat.argmax(1), flat.max(1)
    pixel = jnp.stack([index % width, index // width], -1).astype(heatmaps.dtype)
    return jnp.where((score > 0)[..., None], pixel, 0), score


def values(heatmaps: jax.Array, pixel: jax.Array, dx: int, dy: int) -> jax.Array:
    """Returns ``[B, K]`` values at an offset from ``[B, K, 2]`` pixels, clamped to the heatmap."""
    batch, height, width, joints = heatmaps.shape
    x = jnp.clip(pixel[..., 0].astype(jnp.int32) + dx, 0, width - 1)
    y = jnp.clip(pixel[..., 1].astype(jnp.int32) + dy, 0, height - 1)
    # Indexing by person instead would make XLA gather the heatmaps of all devices.
    flat = heatmaps.reshape(batch, height * width, joints)
    return jnp.take_along_axis(flat, (y * width + x)[:, None], axis=1)[:, 0]


def _strictly_inside(pixel: jax.Array, size: tuple[int, ...], margin: int) -> jax.Array:
    """Returns whether ``margin < x < width - margin``, and y likewise, for ``[B, K, 2]`` pixels."""
    limit = jnp.asarray(size[::-1], pixel.dtype)[None, None] - margin
    return ((pixel > margin) & (pixel < limit)).all(-1)


def _decode_argmax(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    return peaks(heatmaps)


def _decode_quarter(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Moves peaks inside the border by a quarter pixel towards the higher neighbour in x and y."""
    pixel, score = peaks(heatmaps)
    slope = jnp.stack(
        [
            values(heatmaps, pixel, 1, 0) - values(heatmaps, pixel, -1, 0),
            values(heatmaps, pixel, 0, 1) - values(heatmaps, pixel, 0, -1),
        ],
        -1,
    )
    inside = _strictly_inside(pixel, heatmaps.shape[1:3], 1)[..., None]
    return pixel + jnp.where(inside, 0.25 * jnp.sign(slope), 0), score


def _smooth(heatmaps: jax.Array) -> jax.Array:
    """Applies DARK's Gaussian blur with zero padding, then rescales each heatmap to its previous maximum."""
    sigma = 0.3 * ((DARK_KERNEL - 1) / 2 - 1) + 0.8  # as in OpenCV for a kernel of this size
    radius = DARK_KERNEL // 2
    taps = np.exp(-np.square(np.arange(-radius, radius + 1)) / (2 * sigma**2))
    taps /= taps.sum()
    rows, columns = (
        jnp.asarray(sum(np.eye(side, k=k) * tap for k, tap in zip(range(-radius, radius + 1), taps, strict=True)))
        .astype(heatmaps.dtype)
        for side in heatmaps.shape[1:3]
    )  # fmt: skip
    blurred = jnp.einsum("bhwk,ih,jw->bijk", heatmaps, rows, columns, precision="highest")
    peak, blurred_peak = (maps.max((1, 2), keepdims=True) for maps in (heatmaps, blurred))
    return blurred * (peak / jnp.where(blurred_peak > 0, blurred_peak, 1))


def decode_dark(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes a Newton step from the peak on the logarithm of the smoothed heatmap (DARK, equation 9)."""
    pixel, score = peaks(heatmaps)
    log = jnp.log(jnp.maximum(_smooth(heatmaps), 1e-10))

    def at(dx: int, dy: int) -> jax.Array:
        return values(log, pixel, dx, dy)

    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    usable = _strictly_inside(pixel, heatmaps.shape[1:3], 1) & (score > 0)
    usable &= (pixel < jnp.asarray(heatmaps.shape[2:0:-1], pixel.dtype)[None, None] - 2).all(-1)
    return pixel + jnp.where(usable[..., None], newton_step(dx, dy, dxx, dyy, dxy), 0), score


def newton_step(dx: jax.Array, dy: jax.Array, dxx: jax.Array, dyy: jax.Array, dxy: jax.Array) -> jax.Array:
    """Returns the steps ``[B, K, 2]`` to the extremum of paraboloids; 0 if there is none."""
    determinant = dxx * dyy - dxy * dxy
    safe = jnp.where(determinant != 0, determinant, 1)
    step = -jnp.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) / safe[..., None]
    return jnp.where((determinant != 0)[..., None], step, 0)


Decoder = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""``[B, h, w, K]`` heatmaps -> ``[B, K, 2]`` joints in heatmap pixels and ``[B, K]`` scores."""

DECODERS: dict[str, Decoder] = {
    "argmax": _decode_argmax,
    "quarter": _decode_quarter,
    "dark": decode_dark,
    "cpn": cpn_codec.decode,
}


def find_decoder(method: str) -> Decoder:
    """Returns a decoder by its name in `DECODERS` or as ``module:name``. Raises ValueError if there is none."""
    return DECODERS.get(method) or fields.find("eval.decoder", method, DECODERS)


def decode(heatmaps: jax.Array, method: str = "quarter") -> tuple[jax.Array, jax.Array]:
    """Decodes heatmaps to joints.

    Args:
      heatmaps: ``[B, h, w, K]``.
      method: ``"argmax"`` for the peak, ``"quarter"`` for the original's shift of a quarter pixel towards the
        higher neighbour, ``"dark"`` for DARK (Zhang et al., CVPR 2020), ``"cpn"`` for `cpn_codec.decode`.
        ``"dark"`` works best with `unbiased` targets. ``module:name`` is a `Decoder` of your own.

    Returns:
      ``[B, K, 2]`` joints in heatmap pixels and ``[B, K]`` scores: the maximum of each heatmap, but for ``"cpn"``.

    Raises:
      ValueError: the method is unknown.
    """
    return find_decoder(method)(heatmaps)


def to_photo(points: jax.Array, photo_to_crop: jax.Array) -> jax.Array:
    """Maps ``[B, K, 2]`` crop pixels to photo pixels by the inverse of ``[B, 2, 3]``.

    Uses Cramer's rule, because matrix products have reduced precision on TPUs and GPUs.
    """
    (a, b, left), (c, d, top) = ([photo_to_crop[:, row, column, None] for column in range(3)] for row in range(2))
    x, y = points[..., 0] - left, points[..., 1] - top
    determinant = a * d - b * c
    return jnp.stack([(d * x - b * y) / determinant, (a * y - c * x) / determinant], axis=-1)


def flip(heatmaps: jax.Array, flip_order: np.ndarray, shift: float) -> jax.Array:
    """Maps the heatmaps of a mirrored image back to the image.

    Mirroring maps column x of an image of width W to W - 1 - x. At stride 4, mirrored heatmaps are therefore
    3/4 of a pixel too far left. The original shifts them by a whole pixel.

    Args:
      heatmaps: ``[B, h, w, K]`` of the mirrored image.
      flip_order: ``[K]`` index of the mirror joint of each joint, see `Skeleton.flip_order`.
      shift: heatmap pixels to the right, from 0 to 1, interpolated linearly. The first column is repeated.

    Returns:
      ``[B, h, w, K]``.
    """
    mirrored = heatmaps[:, :, ::-1][..., flip_order]
    shifted = jnp.concatenate([mirrored[:, :, :1], mirrored[:, :, :-1]], 2)
    return (1 - shift) * mirrored + shift * shifted


def pck(heatmaps: jax.Array, targets: jax.Array, threshold: float = 0.5, *, decoder: Decoder = peaks) -> jax.Array:
    """Percentage of correct keypoints: the original's accuracy during training.

    A prediction is correct if its peak is closer to the target's peak than `threshold` times a tenth of the
    heatmap. As in the original, x is divided by the height and y by the width. Excludes targets with a peak in
    the first two rows or columns, and so those without a peak.

    Args:
      heatmaps: ``[B, h, w, K]`` predictions.
      targets: ``[B, h, w, K]``.
      threshold: largest distance.
      decoder: finds the joints, by their peaks if they have a heatmap each.

    Returns:
      Scalar in 0..1, the mean over joints of each joint's fraction of correct predictions.
    """
    predicted, _ = decoder(heatmaps)
    expected, _ = decoder(targets)
    tenth = jnp.asarray(heatmaps.shape[1:3], heatmaps.dtype)[None, None] / 10
    correct = jnp.linalg.norm((predicted - expected) / tenth, axis=-1) < threshold
    included = (expected > 1).all(-1)
    fraction = jnp.mean(correct, 0, where=included)
    present = included.any(0)
    return jnp.where(present.any(), jnp.mean(fraction, where=present), 0)
