"""The description of a network in an exported file: all that a prediction depends on besides the weights.

It is one JSON object with the fields of `models.describe` and of `Settings`:

    {"name": "hrnet", "width": 32, "stem": 64, "units": [1, 4, 3], "blocks": 4, "colors": "RGB",
     "joints": ["nose", ...], "skeleton": {"name": "coco", "joints": ["nose", ...], ...},
     "image_size": [256, 192], "flip_test": true, "flip_shift": 1.0, "decoder": "quarter", "codec": "original"}

A program, ``.onnx`` or ``.stablehlo``, also has ``"output"``: ``"heatmaps"``, ``"joints"`` or, of a network for
whole photos, ``"heads"``. The skeleton is the content of a skeleton file, see `skeletons.load`. Flax is not
imported, so that programs start quickly.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hrnet_jax import codecs, heatmap, skeletons, validation
from hrnet_jax.skeletons import Skeleton

HEATMAPS, JOINTS, HEADS = "heatmaps", "joints", "heads"
"""Outputs of programs: ``image`` to heatmaps, ``image, photo_to_crop`` to joints and scores, or ``image`` to the
outputs of all heads of a network for whole photos."""

OF_PHOTOS = "full_size", "adjust", "refine", "joint_threshold", "tag_threshold", "most_people"
"""Fields below ``eval`` of a configuration by which a network for whole photos finds people."""

_SKELETON, _SIZE, _FLIP, _SHIFT, _DECODER = "skeleton", "image_size", "flip_test", "flip_shift", "decoder"
_CODEC = "codec"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a prediction that belong to a network.

    Attributes:
      skeleton: the joints of its heatmaps.
      image_size: (height, width) of the crops that it reads.
      flip_test: whether to average with the heatmaps of the mirrored image.
      flip_shift: of the mirrored image's heatmaps, see `heatmap.flip`.
      decoder: a key of `heatmap.DECODERS`.
      codec: a key of `codecs.CODECS`; all but the first have a decoder of their own.
    """

    skeleton: Skeleton
    image_size: tuple[int, int]
    flip_test: bool = True
    flip_shift: float = 1.0
    decoder: str = "quarter"
    codec: str = codecs.ORIGINAL

    @property
    def reading(self) -> str:
        """The name of what finds the joints in heatmaps, in words."""
        decides = codecs.CODECS[self.codec].decoder is not None
        return f"codec {self.codec}" if decides else f"{self.decoder} decoder"

    @property
    def options(self) -> dict[str, Any]:
        """The options of `inference.predict_heatmaps`."""
        return {"flip_order": self.flip_order, "shift": self.flip_shift, "codec": self.codec}

    @property
    def flip_order(self) -> np.ndarray | None:
        """``[K]`` index of the mirror joint of each joint; None without flip test."""
        return self.skeleton.flip_order if self.flip_test else None

    def to_json(self) -> dict[str, Any]:
        """Returns the fields for a description."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, _SKELETON: skeletons.to_json(self.skeleton), _SIZE: list(self.image_size)}


def from_json(content: Mapping[str, Any], where: str) -> Settings:
    """Returns the settings of a description, which may come from anywhere: a file must not name code to run.

    Raises ValueError that begins with `where` if a field is missing or has an impossible value.
    """
    size = validation.numbers(validation.require(content, _SIZE, list, where), 2, f"{where}: `{_SIZE}`")
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"{where}: `{_SIZE}` (={size}) must be height and width in pixels")
    shift = validation.require(content, _SHIFT, (int, float), where)
    if not 0 <= shift <= 1:
        raise ValueError(f"{where}: `{_SHIFT}` (={shift}) must be between 0 and 1")
    if not isinstance(flip := content.get(_FLIP), bool):
        raise ValueError(f"{where}: `{_FLIP}` (={flip!r:.100}) must be true or false")
    decoder = validation.require(content, _DECODER, str, where)
    if decoder not in heatmap.DECODERS:
        raise ValueError(
            f"{where}: `{_DECODER}` (={decoder!r:.100}) is none of {', '.join(heatmap.DECODERS)}: choose one"
        )
    codec = validation.require({_CODEC: codecs.ORIGINAL, **content}, _CODEC, str, where)
    if codec not in codecs.CODECS:
        raise ValueError(
            f"{where}: `{_CODEC}` (={codec!r:.100}) is none of {', '.join(codecs.CODECS)}: give the one that"
            " decodes its heatmaps as --codec, or evaluate with eval.py, which runs codecs of your own"
        )
    if codecs.CODECS[codec].decoder is not None and decoder != Settings.decoder:
        raise ValueError(
            f"{where}: `{_DECODER}` (={decoder!r}) contradicts `{_CODEC}` (={codec!r}), which has its own:"
            " leave it out"
        )
    skeleton = skeletons.from_json(validation.require(content, _SKELETON, dict, where), f"{where}: `{_SKELETON}`")
    return Settings(skeleton, (int(size[0]), int(size[1])), flip, float(shift), decoder, codec)
