"""Targets of bottom-up networks, made on the device: heatmaps with the joints of all people, and masks.

Functions are for one photo. A photo has P people, of whom some are padding without labelled joints. Joints are in
heatmap pixels ``(x, y)`` and so differ between resolutions. As in the original, the pixel of a joint is found by
truncation toward zero: ``(-0.9, 3.9)`` is in pixel ``(0, 3)``. `heatmap.render` rounds instead. Coordinates that
are themselves truncated to float32 toward zero keep their pixel.
"""

import jax
import jax.numpy as jnp

SIGMA = 2.0
"""Standard deviation of the Gaussians in pixels, as published: the same at every resolution."""

SIGMAS_PER_SIDE = 64
"""Length of a heatmap's side in standard deviations, for `proportional_sigma`."""


def proportional_sigma(heatmap_size: tuple[int, ...]) -> float:
    """Returns a standard deviation of a 64th of the shorter side: 2 pixels at 128x128, 4 at 256x256.

    That of associative embedding (Newell et al., NIPS 2017), and the original's ``SIGMA: -1``.
    """
    return min(heatmap_size) / SIGMAS_PER_SIDE


def locate(joints: jax.Array, visible: jax.Array, heatmap_size: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Finds the pixels of joints.

    Args:
      joints: ``[P, K, 2]`` in heatmap pixels. Those without label may have any value.
      visible: ``[P, K]``, positive for labelled joints.
      heatmap_size: (h, w) of the heatmaps.

    Returns:
      ``[P, K, 2]`` int32 pixels (x, y), and ``[P, K]`` whether a joint is usable: labelled, and its pixel in the
      heatmap. Pixels of other joints are (0, 0).
    """
    pixel, limit = jnp.trunc(joints), jnp.asarray(heatmap_size[::-1], joints.dtype)
    usable = (visible > 0) & ((pixel >= 0) & (pixel < limit[None, None])).all(-1)
    return jnp.where(usable[..., None], pixel, 0).astype(jnp.int32), usable


def render(
    joints: jax.Array,
    visible: jax.Array,
    *,
    heatmap_size: tuple[int, ...],
    sigma: float | jax.Array = SIGMA,
) -> jax.Array:
    """Renders target heatmaps: the maximum over people of a Gaussian of height 1 at each usable joint.

    As in the original, Gaussians are cut to squares of ``6 * sigma + 3`` pixels. Values equal the original's to
    1e-7, and to the last bit for joints in float64.

    Args:
      joints: ``[P, K, 2]`` in heatmap pixels.
      visible: ``[P, K]``, positive for labelled joints.
      heatmap_size: (h, w) of the heatmaps.
      sigma: standard deviation in heatmap pixels, of all Gaussians or ``[P]`` of those of each person, the
        original's ``SCALE_AWARE_SIGMA``.

    Returns:
      ``[h, w, K]`` float32.
    """
    pixel, usable = locate(joints, visible, heatmap_size)
    center = jnp.where(usable[..., None], pixel.astype(joints.dtype), jnp.inf)
    sigmas = jnp.broadcast_to(jnp.asarray(sigma, joints.dtype), len(joints))
    x, y = (_exponents(center[..., axis], sigmas, heatmap_size[1 - axis]) for axis in (0, 1))

    def add_person(least: jax.Array, person: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        across, down = person
        return jnp.minimum(least, down[:, None] + across[None]), None

    # The highest Gaussian has the least exponent, and `unroll` lets XLA compute all people in one pass over the
    # heatmaps. Scattering patches of 15x15 pixels is faster on CPUs, but TPUs scatter them one after another.
    start = jnp.full((*heatmap_size, joints.shape[1]), jnp.inf, joints.dtype)
    least, _ = jax.lax.scan(add_person, start, (x, y), unroll=True)
    return jnp.exp(-least).astype(jnp.float32)


def _exponents(center: jax.Array, sigma: jax.Array, side: int) -> jax.Array:
    """Returns the negative exponents ``[P, side, K]`` of Gaussians along an axis, infinite outside their windows.

    As in the original, a window starts at ``center - reach``, rounded to a pixel, and the peak is `reach` pixels
    after the start. It is up to half a pixel off the centre if `reach` is not a whole number.

    Args:
      center: ``[P, K]``, infinite for joints that are not rendered.
      sigma: ``[P]``.
      side: of the heatmaps, in pixels.
    """
    reach, sigma = 3 * sigma[:, None, None] + 1, sigma[:, None, None]
    center, pixel = center[:, None], jnp.arange(side, dtype=center.dtype)[None, :, None]
    start, end = jnp.round(center - reach), jnp.round(center + reach + 1)
    exponent = jnp.square(pixel - start - reach) / (2 * jnp.square(sigma))
    return jnp.where((pixel >= start) & (pixel < end), exponent, jnp.inf)


def unpack_mask(bits: jax.Array) -> jax.Array:
    """Unpacks a mask ``[h, w / 8]`` uint8 of ``numpy.packbits`` to ``[h, w]`` bool: whether a pixel counts."""
    return jnp.unpackbits(bits, axis=-1).astype(bool)
