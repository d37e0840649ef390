"""Augmentation of whole photos with HigherHRNet's distributions: scale, rotation, shift and flip.

`sample` draws random parameters. The other functions are deterministic. A photo is seen at several sizes: those of
the heatmaps, and that of the image. Each size S has a matrix of its own that maps the window, whose side is the
photo's shorter side times the scale factor, to S x S pixels. All are exact multiples of each other, without
terms of half a pixel.
"""

import dataclasses

import cv2
import numpy as np

from hrnet_jax import geometry

MOST_SHIFT = 40
"""Bound of the shift in photo pixels per unit of scale, which is 200 pixels of the window: a fifth of it."""

THRESHOLD = 0.5
"""Share of a pixel that must count for the pixel of a warped mask to count."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Distribution of augmentations. Defaults are the settings of the published models."""

    scale: tuple[float, float] = (0.75, 1.5)  # range of the window relative to the photo's shorter side
    rotation: float = 30.0  # bound in degrees
    shift: int = MOST_SHIFT  # bound in photo pixels per 200 pixels of the window
    flip: float = 0.5  # probability of mirroring

    def __post_init__(self) -> None:
        """Raises ValueError for a value out of range."""
        low, high = self.scale
        if not 0 < low <= high < np.inf:
            raise ValueError(f"augment: `scale` (={self.scale}) must be two sizes above 0, the lower first")
        for name in ("rotation", "shift"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"augment: `{name}` (={getattr(self, name)}) must not be negative")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"augment: `flip` (={self.flip}) must be a probability from 0 to 1")


@dataclasses.dataclass(frozen=True)
class Draw:
    """Parameters of one photo's augmentation. The default is the identity."""

    scale_factor: float = 1.0  # of the window; values above 1 show more of the photo
    rotation: float = 0.0  # degrees; positive values turn the photo counter-clockwise
    shift: tuple[int, int] = (0, 0)  # of the window's centre (x, y) in photo pixels
    flip: bool = False  # whether to mirror the result


def sample(rng: np.random.Generator, photo_size: tuple[int, int], policy: Policy) -> Draw:
    """Draws a photo's augmentation; `photo_size` is (height, width). No draw depends on another's outcome."""
    factor = rng.uniform(*policy.scale)
    angle = rng.uniform(-policy.rotation, policy.rotation)
    bound = int(policy.shift * scale(photo_size, factor))
    dx, dy = rng.integers(-bound, max(bound, 1 - bound), 2).tolist()  # the upper end is excluded
    return Draw(factor, angle, (dx, dy), bool(rng.random() < policy.flip))


def scale(photo_size: tuple[int, int], scale_factor: float) -> float:
    """Returns the side of the window in units of 200 photo pixels."""
    return min(photo_size) / geometry.PIXELS_PER_SCALE * scale_factor


def photo_to_image(draw: Draw, photo_size: tuple[int, int], size: int) -> np.ndarray:
    """Returns the map ``[2, 3]`` float64 from the photo to S x S pixels, without the flip.

    The order of operations is the original's, so that joints on the border of two pixels round as there.
    """
    height, width = photo_size
    side = geometry.PIXELS_PER_SCALE * scale(photo_size, draw.scale_factor)
    center = width / 2 + draw.shift[0], height / 2 + draw.shift[1]
    matrix = np.diag([size / side, size / side, 1.0])
    matrix[:2, 2] = [size * (-middle / side + 0.5) for middle in center]
    if draw.rotation != 0:
        angle = -draw.rotation * np.pi / 180
        turn = np.eye(3)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        to_middle, back = np.eye(3), np.eye(3)
        to_middle[:2, 2], back[:2, 2] = -size / 2, size / 2
        matrix = back @ (turn @ (to_middle @ matrix))
    return matrix[:2]


def map_joints(draw: Draw, matrix: np.ndarray, joints: np.ndarray, size: int) -> np.ndarray:
    """Maps joints ``[P, K, 2]`` in photo pixels by the matrix of a size; mirrored, x becomes S - 1 - x.

    Joints keep their order; see ``Skeleton.flip_order``.
    """
    mapped = geometry.apply(matrix, joints)
    return geometry.apply(geometry.mirror(size), mapped) if draw.flip else mapped


def warp_image(draw: Draw, matrix: np.ndarray, photo: np.ndarray, size: int) -> np.ndarray:
    """Warps a photo ``[h, w, 3]`` uint8 to ``[S, S, 3]``. Pixels outside the photo are black."""
    image = geometry.warp(photo, matrix, (size, size))
    return cv2.flip(image, 1) if draw.flip else image


def warp_mask(draw: Draw, matrix: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Warps a mask ``[h, w]`` uint8, 255 where pixels count, to ``[S, S]`` bool. Nothing outside counts."""
    warped = geometry.warp(mask, matrix, (size, size)) / 255 > THRESHOLD
    return warped[:, ::-1] if draw.flip else warped
