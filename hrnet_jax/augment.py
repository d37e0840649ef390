"""Data augmentation with the original's distributions: half body, scale, rotation and flip.

`sample` draws random parameters. `apply` is deterministic and returns the view of the photo. The pipeline warps
the pixels.
"""

import dataclasses
from typing import Literal

import numpy as np

from hrnet_jax import geometry
from hrnet_jax.skeletons import Skeleton

Half = Literal["upper", "lower"]
HALF_BODY_PADDING = 1.5
_UPPER_BODY_QUANTILE = 0.5  # the original compares a normal variate with 0.5: probability 0.6915 of the upper body
_MIN_HALF_BODY_JOINTS = 2  # a half needs more visible joints than this


@dataclasses.dataclass(frozen=True)
class Policy:
    """Distribution of augmentations. Defaults are the settings of the models published for COCO."""

    scale: float = 0.35  # s in the size of the crop, clip(1 + s N(0, 1), 1 - s, 1 + s); in [0, 1)
    rotation: float = 45.0  # r in the angle, clip(r N(0, 1), -2 r, 2 r), in degrees
    rotation_probability: float = 0.6  # of any rotation
    flip: float = 0.5  # probability of mirroring
    half_body: float = 0.3  # probability of showing only the upper or lower body
    half_body_min_joints: int = 8  # people need more visible joints than this for `half_body`

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        for name in ("rotation_probability", "flip", "half_body"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment: `{name}` (={getattr(self, name)}) must be a probability from 0 to 1")
        if not 0 <= self.scale < 1:
            raise ValueError(f"augment: `scale` (={self.scale}) must be at least 0 and below 1")
        if self.rotation < 0:
            raise ValueError(f"augment: `rotation` (={self.rotation}) must not be negative")


@dataclasses.dataclass(frozen=True)
class Draw:
    """Parameters of one person's augmentation. The default is the identity."""

    half_body: Half | None = None  # half of the body to show, or None for all of it
    scale_factor: float = 1.0  # of the size of the crop; values above 1 show more of the photo
    rotation: float = 0.0  # degrees, see `geometry.photo_to_crop`
    flip: bool = False  # whether to mirror the photo


@dataclasses.dataclass(frozen=True)
class View:
    """Position of the crop and the joints in the photo, or in the mirrored photo if `flip`."""

    joints: np.ndarray  # [K, 2] float64 in photo pixels
    visible: np.ndarray  # [K] float64, 1 for labelled joints and 0 for others
    center: np.ndarray  # [2] centre of the crop in photo pixels
    scale: np.ndarray  # [2] size of the crop in units of 200 photo pixels
    rotation: float  # degrees
    flip: bool  # whether to mirror the photo


def sample(rng: np.random.Generator, visible: np.ndarray, policy: Policy, skeleton: Skeleton) -> Draw:
    """Draws a person's augmentation from the original's distributions. Labelled joints are `visible` above 0."""
    half_body = None
    if np.sum(visible > 0) > policy.half_body_min_joints and rng.random() < policy.half_body:
        half_body = _sample_half(rng, visible, skeleton)
    factor = 1 + policy.scale * rng.standard_normal()
    angle = policy.rotation * rng.standard_normal() if rng.random() < policy.rotation_probability else 0.0
    return Draw(
        half_body=half_body,
        scale_factor=float(np.clip(factor, 1 - policy.scale, 1 + policy.scale)),
        rotation=float(np.clip(angle, -2 * policy.rotation, 2 * policy.rotation)),
        flip=bool(rng.random() < policy.flip),
    )


def _sample_half(rng: np.random.Generator, visible: np.ndarray, skeleton: Skeleton) -> Half | None:
    """Draws a half with more than two joints, preferably the upper. Falls back to an upper body of two joints.

    Returns None for people with too few joints, and for skeletons with an empty half.
    """
    if len(set(skeleton.upper_body)) in (0, skeleton.num_joints):
        return None
    upper = np.sum(half_joints("upper", visible, skeleton))
    lower = np.sum(half_joints("lower", visible, skeleton))
    if rng.standard_normal() < _UPPER_BODY_QUANTILE and upper > _MIN_HALF_BODY_JOINTS:
        return "upper"
    if lower > _MIN_HALF_BODY_JOINTS:
        return "lower"
    return "upper" if upper >= _MIN_HALF_BODY_JOINTS else None


def half_joints(half: Half, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Returns ``[K]`` bool: the labelled joints of one half of the body."""
    is_upper = np.isin(np.arange(skeleton.num_joints), skeleton.upper_body)
    return (visible > 0) & (is_upper if half == "upper" else ~is_upper)


def apply(
    draw: Draw,
    joints: np.ndarray,
    visible: np.ndarray,
    box: np.ndarray,
    *,
    photo_width: int,
    aspect_ratio: float,
    skeleton: Skeleton,
    precision: type[np.floating] = np.float32,
) -> View:
    """Applies an augmentation in the original's order: half body, scale, rotation, flip.

    As in the original, unlabelled joints are unchanged without a flip and 0 with one.

    Args:
      draw: augmentation; ``Draw()`` for none.
      joints: ``[K, 2]`` in photo pixels.
      visible: ``[K]``, above 0 for labelled joints.
      box: ``[4]`` x, y, width, height in photo pixels.
      photo_width: in pixels.
      aspect_ratio: width / height of the crop.
      skeleton: defines mirror joints and the upper body.
      precision: of centre and scale, see `geometry`.
    """
    if draw.half_body:
        selected = joints[half_joints(draw.half_body, visible, skeleton)].astype(np.float32)
        width, height = np.ptp(selected, axis=0)
        center = selected.mean(axis=0)
        scale = geometry.padded_scale(width, height, aspect_ratio, HALF_BODY_PADDING)
    else:
        center, scale = geometry.box_to_center_scale(box, aspect_ratio, precision)
    scale = scale * scale.dtype.type(draw.scale_factor)
    if draw.flip:
        joints, visible = flip(joints, visible, photo_width, skeleton)
        center = np.array([photo_width - center[0] - 1, center[1]], center.dtype)
    return View(joints, visible, center, scale, draw.rotation, draw.flip)


def flip(
    joints: np.ndarray, visible: np.ndarray, photo_width: int, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors joints ``[K, 2]`` and visibility ``[K]`` and swaps left and right. Unlabelled joints become 0."""
    order = skeleton.flip_order
    mirrored = geometry.apply(geometry.mirror(photo_width), joints)[order]
    visible = visible[order]
    return np.where(visible[:, None] > 0, mirrored, 0.0), visible
