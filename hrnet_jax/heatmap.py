"""The codec between joints and heatmaps, on the device: drawing targets, reading predictions.

Heatmaps are ``[B, h, w, K]`` float32. Heatmap pixel ``(x, y)`` is crop pixel ``(4 x, 4 y)``: pixel centres lie at
whole numbers in both, as in the original.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

DARK_KERNEL = 11
"""Side of the Gaussian that smooths heatmaps before DARK decoding, in pixels (its authors' choice)."""


def render(
    joints: jax.Array,
    visible: jax.Array,
    *,
    image_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    sigma: float,
    unbiased: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Draws the target: a Gaussian of height 1 at each visible joint.

    As the original does, the centre is rounded to a heatmap pixel (toward zero after adding a half, so negative
    coordinates round up), and the Gaussian is cut to a square of ``6 sigma + 1`` pixels. `unbiased` does neither
    (DARK, Zhang et al. 2020, section 3.3).

    Args:
      joints: ``[B, K, 2]`` crop pixels.
      visible: ``[B, K]`` 1 for labelled joints, 0 for others.
      image_size: (H, W) of the crop.
      heatmap_size: (h, w).
      sigma: of the Gaussian, in heatmap pixels.
      unbiased: keep the fraction of a pixel.

    Returns:
      ``[B, h, w, K]`` heatmaps, and their ``[B, K]`` weights in the loss: `visible`, but 0 where the Gaussian's
      square does not touch the heatmap.
    """
    stride = np.divide(image_size, heatmap_size)[::-1].astype(joints.dtype)
    center = joints / stride[None, None]
    radius = 3 * sigma
    mean = center if unbiased else jnp.trunc(center + 0.5)
    size = jnp.asarray(heatmap_size[::-1], joints.dtype)[None, None]
    inside = (jnp.trunc(mean - radius) < size) & (jnp.trunc(mean + radius + 1) >= 0)
    weights = jnp.where(inside.all(-1), visible, 0)

    x, y = (
        jnp.arange(side, dtype=joints.dtype)[None, :, None] - mean[:, None, :, axis]
        for axis, side in ((0, heatmap_size[1]), (1, heatmap_size[0]))
    )
    drawn = _gaussian(x, y, sigma) if unbiased else _rounded_gaussian(x, y, sigma)
    return jnp.where((weights > 0.5)[:, None, None], drawn, 0), weights


def _gaussian(x: jax.Array, y: jax.Array, sigma: float) -> jax.Array:
    """Gaussians ``[B, h, w, K]`` of the distances ``[B, w, K]`` and ``[B, h, K]`` from their centres."""
    falloff_x, falloff_y = (jnp.exp(-jnp.square(offset) / (2 * sigma**2)) for offset in (x, y))
    return falloff_y[:, :, None] * falloff_x[:, None]


def _rounded_gaussian(x: jax.Array, y: jax.Array, sigma: float) -> jax.Array:
    """As `_gaussian`, for distances in whole pixels: the original's values in every bit, cut off as they are.

    They are looked up in a table that numpy computes as the original does. A device's own `exp` is off by a bit,
    which two steps of Adam turn into differences of 1e-6 in the weights.
    """
    distance = np.arange(int(3 * sigma) + 1, dtype=np.float32)
    table = np.exp(-(distance**2 + distance[:, None] ** 2) / np.float32(2 * sigma**2))
    of_x, of_y = (
        jax.nn.one_hot(jnp.abs(offset).astype(jnp.int32), len(table), dtype=x.dtype) for offset in (x, y)
    )
    # Sums with one term each, so they are exact if no factor is rounded.
    drawn = jnp.einsum("bykr,rs->byks", of_y, table.astype(x.dtype), precision="highest")
    return jnp.einsum("byks,bxks->byxk", drawn, of_x, precision="highest")


def peaks(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds each heatmap's largest value.

    Returns:
      ``[B, K, 2]`` its pixel (x, y), which is (0, 0) where no value is positive, as in the original; and the
      ``[B, K]`` value, the joint's score.
    """
    batch, _, width, joints = heatmaps.shape
    flat = heatmaps.reshape(batch, -1, joints)
    index, score = flat.argmax(1), flat.max(1)
    pixel = jnp.stack([index % width, index // width], -1).astype(heatmaps.dtype)
    return jnp.where((score > 0)[..., None], pixel, 0), score


def _values(heatmaps: jax.Array, pixel: jax.Array, dx: int, dy: int) -> jax.Array:
    """Returns ``[B, K]`` heatmap values at an offset from ``[B, K, 2]`` pixels, clamped to the heatmap."""
    batch, height, width, joints = heatmaps.shape
    x = jnp.clip(pixel[..., 0].astype(jnp.int32) + dx, 0, width - 1)
    y = jnp.clip(pixel[..., 1].astype(jnp.int32) + dy, 0, height - 1)
    # Indexing by person instead would make the compiler gather the heatmaps of all devices.
    flat = heatmaps.reshape(batch, height * width, joints)
    return jnp.take_along_axis(flat, (y * width + x)[:, None], axis=1)[:, 0]


def _strictly_inside(pixel: jax.Array, size: tuple[int, ...], margin: int) -> jax.Array:
    """Whether ``margin < x < width - margin``, likewise y, for ``[B, K, 2]`` pixels."""
    limit = jnp.asarray(size[::-1], pixel.dtype)[None, None] - margin
    return ((pixel > margin) & (pixel < limit)).all(-1)


def _decode_argmax(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    return peaks(heatmaps)


def _decode_quarter(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A quarter of a pixel from the peak toward the higher neighbour, unless it lies on the border."""
    pixel, score = peaks(heatmaps)
    slope = jnp.stack(
        [
            _values(heatmaps, pixel, 1, 0) - _values(heatmaps, pixel, -1, 0),
            _values(heatmaps, pixel, 0, 1) - _values(heatmaps, pixel, 0, -1),
        ],
        -1,
    )
    inside = _strictly_inside(pixel, heatmaps.shape[1:3], 1)[..., None]
    return pixel + jnp.where(inside, 0.25 * jnp.sign(slope), 0), score


def _smooth(heatmaps: jax.Array) -> jax.Array:
    """Blurs heatmaps with DARK's Gaussian, zeros beyond the border, then restores each one's maximum."""
    sigma = 0.3 * ((DARK_KERNEL - 1) / 2 - 1) + 0.8  # OpenCV's for a kernel of this side
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


def _decode_dark(heatmaps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One Newton step on the logarithm of the smoothed heatmap (Zhang et al. 2020, equation 9)."""
    pixel, score = peaks(heatmaps)
    log = jnp.log(jnp.maximum(_smooth(heatmaps), 1e-10))

    def at(dx: int, dy: int) -> jax.Array:
        return _values(log, pixel, dx, dy)

    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    determinant = dxx * dyy - dxy * dxy
    usable = _strictly_inside(pixel, heatmaps.shape[1:3], 1) & (determinant != 0) & (score > 0)
    usable &= (pixel < jnp.asarray(heatmaps.shape[2:0:-1], pixel.dtype)[None, None] - 2).all(-1)
    safe = jnp.where(usable, determinant, 1)
    step = -jnp.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], -1) / safe[..., None]
    return pixel + jnp.where(usable[..., None], step, 0), score


DECODERS: dict[str, Callable[[jax.Array], tuple[jax.Array, jax.Array]]] = {
    "argmax": _decode_argmax,
    "quarter": _decode_quarter,
    "dark": _decode_dark,
}


def check_decoder(method: str) -> None:
    """Raises ValueError unless there is such a decoder."""
    if method not in DECODERS:
        raise ValueError(f"`decoder` (={method!r}) must be one of {', '.join(DECODERS)}")


def decode(heatmaps: jax.Array, method: str = "quarter") -> tuple[jax.Array, jax.Array]:
    """Reads joints off heatmaps.

    Args:
      heatmaps: ``[B, h, w, K]``.
      method: ``"argmax"``; ``"quarter"``, the original's quarter of a pixel toward the higher neighbour; or
        ``"dark"`` (Zhang et al. 2020), best with targets drawn `unbiased`.

    Returns:
      ``[B, K, 2]`` heatmap pixels (x, y) and ``[B, K]`` scores, the largest value of each heatmap.

    Raises:
      ValueError: there is no such method.
    """
    check_decoder(method)
    return DECODERS[method](heatmaps)


def flip(heatmaps: jax.Array, flip_order: np.ndarray, shift: float) -> jax.Array:
    """Turns the heatmaps of a mirrored image into those of the image.

    Crop pixel x of a mirrored image of width W is W - 1 - x. Turned back, its heatmap therefore lies 3/4 of a
    pixel too far to the left (at stride 4). The original moves it a whole pixel to the right.

    Args:
      heatmaps: ``[B, h, w, K]``.
      flip_order: [K] each joint's mirror (`Skeleton.flip_order`).
      shift: heatmap pixels to move to the right, 0 to 1: between the pixels, linearly; the first column stays.
    """
    mirrored = heatmaps[:, :, ::-1][..., flip_order]
    moved = jnp.concatenate([mirrored[:, :, :1], mirrored[:, :, :-1]], 2)
    return (1 - shift) * mirrored + shift * moved


def pck(heatmaps: jax.Array, targets: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Share of joints predicted near the target: the original's training accuracy, a scalar.

    A peak counts when it is closer to the target's than `threshold` times a tenth of the heatmap. Joints whose
    target peaks in the first two rows or columns are left out (so are joints without a target); each joint's
    share has the same weight. The original divides x by the height and y by the width; so does this.
    """
    predicted, _ = peaks(heatmaps)
    true, _ = peaks(targets)
    tenth = jnp.asarray(heatmaps.shape[1:3], heatmaps.dtype)[None, None] / 10
    near = jnp.linalg.norm((predicted - true) / tenth, axis=-1) < threshold
    counted = (true > 1).all(-1)
    share = jnp.mean(near, 0, where=counted)
    present = counted.any(0)
    return jnp.where(present.any(), jnp.mean(share, where=present), 0)
