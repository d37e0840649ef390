"""Data augmentation with the original's distributions: half body, scale, rotation and flip.

`sample` draws random parameters. `apply` is deterministic and returns the view of the photo. The pipeline warps
the pixels.
"""

import dataclasses
from typing import Literal

import numpy as np

from hrnet_jax import geometry
from hrnet_jax.skeletons import Skeleton

HALF_BODY_PADDING = 1.5
_UPPER_BODY_QUANTILE = 0.5  # the original compares a normal variate with 0.5: probability 0.6915 of the upper body
_MIN_HALF_BODY_JOINTS = 2  # a half needs more visible joints than this


@dataclasses.dataclass(frozen=True)
class Policy:
    """Distribution of augmentations. Defaults are the settings of the models published for COCO.

    Attributes:
      scale: s in the size of the crop, ``clip(1 + s N(0, 1), 1 - s, 1 + s)``; in [0, 1).
      rotation: r in the angle, ``clip(r N(0, 1), -2 r, 2 r)``, in degrees.
      rotation_probability: probability of any rotation.
      flip: probability of mirroring.
      half_body: probability of showing only the upper or lower body.
      half_body_min_joints: people need more visible joints than this for `half_body`.
    """

    scale: float = 0.35
    rotation: float = 45.0
    rotation_probability: float = 0.6
    flip: float = 0.5
    half_body: float = 0.3
    half_body_min_joints: int = 8

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
    """Parameters of one person's augmentation. The default is the identity.

    Attributes:
      half_body: half of the body to show, or None for all of it.
      scale_factor: of the size of the crop. Values above 1 show more of the photo.
      rotation: degrees, see `geometry.photo_to_crop`.
      flip: whether to mirror the photo.
    """

    half_body: Literal["upper", "lower"] | None = None
    scale_factor: float = 1.0
    rotation: float = 0.0
    flip: bool = False


@dataclasses.dataclass(frozen=True)
class View:
    """Position of the crop and the joints in the photo, or in the mirrored photo if `flip`.

    Attributes:
      joints: ``[K, 2]`` float64 in photo pixels.
      visible: ``[K]`` float64, 1 for labelled joints and 0 for others.
      center: ``[2]`` centre of the crop in photo pixels.
      scale: ``[2]`` size of the crop in units of 200 photo pixels.
      rotation: degrees.
      flip: whether to mirror the photo.
    """

    joints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    rotation: float
    flip: bool


def sample(rng: np.random.Generator, visible: np.ndarray, policy: Policy, skeleton: Skeleton) -> Draw:
    """Draws the augmentation of a person from the original's distributions.

    Args:
      rng: source of randomness.
      visible: ``[K]``, above 0 for labelled joints.
      policy: distributions.
      skeleton: defines the upper body.
    """
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


def _sample_half(
    rng: np.random.Generator, visible: np.ndarray, skeleton: Skeleton
) -> Literal["upper", "lower"] | None:
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


def half_joints(half: Literal["upper", "lower"], visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
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

    Args:
      draw: augmentation; ``Draw()`` for none.
      joints: ``[K, 2]`` in photo pixels.
      visible: ``[K]``, above 0 for labelled joints.
      box: ``[4]`` x, y, width, height in photo pixels.
      photo_width: in pixels.
      aspect_ratio: width / height of the crop.
      skeleton: defines mirror joints and the upper body.
      precision: of centre and scale, see `geometry`.

    Returns:
      View of the photo. As in the original, unlabelled joints are unchanged without a flip and 0 with one.
    """
    if draw.half_body:
        selected = joints[half_joints(draw.half_body, visible, skeleton)]
        center, scale = _around(selected.astype(np.float32), aspect_ratio)
    else:
        center, scale = geometry.box_to_center_scale(box, aspect_ratio, precision)
    scale = scale * scale.dtype.type(draw.scale_factor)
    if draw.flip:
        joints, visible = flip(joints, visible, photo_width, skeleton)
        center = np.array([photo_width - center[0] - 1, center[1]], center.dtype)
    return View(joints, visible, center, scale, draw.rotation, draw.flip)


def _around(joints: np.ndarray, aspect_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns centre and scale of a crop around the mean of ``[n, 2]`` float32 joints."""
    width, height = joints.max(axis=0) - joints.min(axis=0)
    return joints.mean(axis=0), geometry.padded_scale(width, height, aspect_ratio, HALF_BODY_PADDING)


def flip(
    joints: np.ndarray, visible: np.ndarray, photo_width: int, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Mirrors joints ``[K, 2]`` and visibility ``[K]`` and swaps left and right. Unlabelled joints become 0."""
    order = skeleton.flip_order
    mirrored = geometry.apply(geometry.mirror(photo_width), joints)[order]
    visible = visible[order]
    return np.where(visible[:, None] > 0, mirrored, 0.0), visible
