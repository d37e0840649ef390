"""Codecs: what lies between joints and heatmaps, and is right only together. ``config.codec`` chooses one.

A codec decides how a crop lies in the photo and a heatmap in the crop, what targets and loss are, how a mirrored
image's heatmaps are mapped back, and how heatmaps are decoded. What a codec does not decide is a field of its own.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from hrnet_jax import fields, heatmap, losses, udp

ORIGINAL = "original"

Render = Callable[..., tuple[jax.Array, jax.Array]]
"""Draws targets, with the arguments and results of `heatmap.render` but for `unbiased`."""

_MIRROR = np.diag([-1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Codec:
    """What lies between joints and heatmaps.

    Attributes:
      render: draws targets. None for those of ``heatmap.target`` and ``heatmap.unbiased``.
      decoder: finds joints. None for ``eval.decoder``.
      loss: between heatmaps and targets. None for ``loss``.
      by_corners: whether photo, crop and heatmap share the centres of their corner pixels, instead of all lengths
        being counts of pixels. Heatmaps of mirrored images are then not shifted.
      maps: heatmaps of each joint, neighbours among the channels. The first one is high near the joint.
      turn: (heatmaps, matrix ``[2, 2]``) -> heatmaps in which vectors are multiplied by a matrix. None if heatmaps
        hold no vectors.
    """

    render: Render | None = None
    decoder: heatmap.Decoder | None = None
    loss: losses.Loss | None = None
    by_corners: bool = False
    maps: int = 1
    turn: Callable[[jax.Array, np.ndarray], jax.Array] | None = None

    @property
    def decides(self) -> tuple[str, ...]:
        """The fields of a configuration that the codec decides instead."""
        return (
            *("heatmap.target", "heatmap.unbiased") * (self.render is not None),
            *("eval.decoder",) * (self.decoder is not None),
            *("loss",) * (self.loss is not None),
            *("eval.flip_shift",) * self.by_corners,
        )

    def stride(self, image_size: Sequence[int], heatmap_size: Sequence[int]) -> np.ndarray:
        """Returns crop pixels per heatmap pixel along (x, y), for sizes (height, width)."""
        if self.by_corners:
            return udp.stride(tuple(image_size), tuple(heatmap_size))
        return np.full(2, image_size[0] / heatmap_size[0])

    def turned(self, heatmaps: jax.Array, matrix: np.ndarray) -> jax.Array:
        """Multiplies the vectors in heatmaps, if there are any, by a matrix ``[2, 2]``."""
        return self.turn(heatmaps, matrix) if self.turn else heatmaps

    def flip(self, heatmaps: jax.Array, flip_order: np.ndarray, shift: float) -> jax.Array:
        """Maps the heatmaps of a mirrored image back, see `heatmap.flip`; `shift` is 0 if `by_corners`."""
        order = (self.maps * flip_order[:, None] + np.arange(self.maps)).ravel()
        return self.turned(heatmap.flip(heatmaps, order, 0.0 if self.by_corners else shift), _MIRROR)

    def decode(self, heatmaps: jax.Array, method: str) -> tuple[jax.Array, jax.Array]:
        """Decodes heatmaps to joints in heatmap pixels, by `method` without `decoder`; see `heatmap.decode`."""
        return self.decoder(heatmaps) if self.decoder else heatmap.decode(heatmaps, method)


def _with_offsets(radius: float) -> Codec:
    return Codec(
        render=functools.partial(udp.render_offsets, radius=radius),
        decoder=functools.partial(udp.decode_offsets, radius=radius),
        loss=udp.offset_loss,
        by_corners=True,
        maps=udp.MAPS,
        turn=udp.turn,
    )


CODECS = {
    ORIGINAL: Codec(),
    "dark": Codec(render=functools.partial(heatmap.render, unbiased=True), decoder=heatmap.decode_dark),
    "udp": Codec(render=udp.render, decoder=udp.decode, by_corners=True),
    "udp_offset": _with_offsets(udp.RADIUS),
    "udp_offset_v1": _with_offsets(udp.RADIUS_V1),
}
"""Codecs by name."""


def find(name: str) -> Codec:
    """Returns a codec by its name in `CODECS`, or as ``module:name``. Raises ValueError if there is none."""
    return CODECS.get(name) or fields.find("codec", name, CODECS)


def decode_in_photo(
    heatmaps: jax.Array,
    photo_to_crop: jax.Array,
    image_size: Sequence[int],
    *,
    decoder: str,
    codec: str = ORIGINAL,
) -> tuple[jax.Array, jax.Array]:
    """Decodes heatmaps to joints in photo pixels.

    Args:
      heatmaps: ``[B, h, w, K]``, with as many for each joint as the codec has.
      photo_to_crop: ``[B, 2, 3]`` map from photo to crop pixels.
      image_size: (height, width) of the crop.
      decoder: as the method of `heatmap.decode`, unless the codec has its own.
      codec: as for `find`.

    Returns:
      ``[B, K, 2]`` joints and ``[B, K]`` scores.
    """
    found = find(codec)
    joints, scores = found.decode(heatmaps, decoder)
    stride = found.stride(image_size, heatmaps.shape[1:3]).astype(joints.dtype)
    return heatmap.to_photo(joints * stride[None, None], photo_to_crop), scores
