"""Random views of a person for training: half body, scale, rotation, flip, as the original draws them.

Chance and its effect are apart: `sample` draws, `apply` does what was drawn and is deterministic. The drawn
pixels are made by the pipeline from what `apply` returns.
"""

import dataclasses
from typing import Literal

import numpy as np

from hrnet_jax import geometry
from hrnet_jax.skeletons import Skeleton

HALF_BODY_PADDING = 1.5
_UPPER_BODY_QUANTILE = 0.5  # the original compares a normal number with 0.5: upper with probability 0.6915
_ENOUGH_JOINTS = 2  # a half is preferred only with more visible joints than this


@dataclasses.dataclass(frozen=True)
class Policy:
    """How strongly to augment; the defaults are the COCO settings of the published models.

    Attributes:
      scale: s of the factor clip(1 + s N(0, 1), 1 - s, 1 + s) on the size of the crop; below 1.
      rotation: r of the angle clip(r N(0, 1), -2 r, 2 r), degrees.
      rotation_probability: how often to rotate at all.
      flip: how often to mirror the photo.
      half_body: how often to zoom in on the upper or the lower body.
      half_body_min_joints: ... of people with more visible joints than this.
    """

    scale: float = 0.35
    rotation: float = 45.0
    rotation_probability: float = 0.6
    flip: float = 0.5
    half_body: float = 0.3
    half_body_min_joints: int = 8

    def __post_init__(self) -> None:
        """Raises ValueError for a value outside its range."""
        for name in ("rotation_probability", "flip", "half_body"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment: `{name}` (={getattr(self, name)}) is a probability: from 0 to 1")
        if not 0 <= self.scale < 1:
            raise ValueError(f"augment: `scale` (={self.scale}) must be at least 0 and below 1")
        if self.rotation < 0:
            raise ValueError(f"augment: `rotation` (={self.rotation}) must not be negative")


@dataclasses.dataclass(frozen=True)
class Draw:
    """What to do to one person; the default is nothing.

    Attributes:
      half_body: which half to show alone.
      scale_factor: on the size of the crop: above 1 shows more of the photo.
      rotation: degrees, see `geometry.photo_to_crop`.
      flip: whether to mirror the photo.
    """

    half_body: Literal["upper", "lower"] | None = None
    scale_factor: float = 1.0
    rotation: float = 0.0
    flip: bool = False


@dataclasses.dataclass(frozen=True)
class View:
    """Where to look in the photo, and where the joints are; mirrored already if `flip`.

    Attributes:
      joints: [K, 2] float64 in pixels of the (mirrored) photo.
      visible: [K] float64, 1 for labelled joints, else 0.
      center: [2] middle of the crop in the (mirrored) photo.
      scale: [2] size of the crop in photo pixels / 200.
      rotation: degrees.
      flip: whether the photo has to be mirrored.
    """

    joints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    rotation: float
    flip: bool


def sample(rng: np.random.Generator, visible: np.ndarray, policy: Policy, skeleton: Skeleton) -> Draw:
    """Draws what happens to a person whose labelled joints are `visible` [K], with the original's chances."""
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
    """Prefers the upper body; a half needs more than two joints, the upper as the last resort just two.

    A skeleton all of whose joints are on one side has no halves.
    """
    if len(set(skeleton.upper_body)) in (0, skeleton.num_joints):
        return None
    upper = np.sum(half_joints("upper", visible, skeleton))
    lower = np.sum(half_joints("lower", visible, skeleton))
    if rng.standard_normal() < _UPPER_BODY_QUANTILE and upper > _ENOUGH_JOINTS:
        return "upper"
    if lower > _ENOUGH_JOINTS:
        return "lower"
    return "upper" if upper >= _ENOUGH_JOINTS else None


def half_joints(half: Literal["upper", "lower"], visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """[K] bool: the labelled joints of one half of the body."""
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
    """Looks at a person as drawn, in the original's order: half body, scale, rotation, flip.

    Args:
      draw: what to do; ``Draw()`` shows the person as it is.
      joints: [K, 2] photo pixels.
      visible: [K], above 0 for labelled joints.
      box: [4] x, y, width, height, photo pixels.
      photo_width: in pixels, to mirror about.
      aspect_ratio: width / height of the image.
      skeleton: tells which joints change places, and which are the upper body.
      precision: of centre and scale, see `geometry`.

    Returns:
      The view. Unlabelled joints keep their place, or move to 0 if mirrored, as in the original.
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
    """Centre (the mean) and padded scale of a crop around joints [n, 2] float32."""
    width, height = joints.max(axis=0) - joints.min(axis=0)
    return joints.mean(axis=0), geometry.padded_scale(width, height, aspect_ratio, HALF_BODY_PADDING)


def flip(
    joints: np.ndarray, visible: np.ndarray, photo_width: int, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Joints [K, 2] and visible [K] in the mirrored photo: left and right exchanged, unlabelled ones 0."""
    order = skeleton.flip_order
    mirrored = geometry.apply(geometry.mirror(photo_width), joints)[order]
    visible = visible[order]
    return np.where(visible[:, None] > 0, mirrored, 0.0), visible
