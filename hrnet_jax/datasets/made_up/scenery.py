"""Backgrounds of made-up photos, shadows on the ground and the imperfections of a camera.

Photos are [h, w, 3] uint8 BGR. Colours are BGR in 0..1.
"""

import cv2
import numpy as np

from hrnet_jax.datasets.made_up import props
from hrnet_jax.datasets.made_up.outfits import sample_colour


def noise(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Draws [height, width] float32 smooth noise in 0..1 with spots `grain` pixels wide."""
    coarse = rng.random((int(height / grain) + 2, int(width / grain) + 2), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def clouds(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Draws [height, width] float32 noise in 0..1 with spots of three sizes, the largest `grain` pixels wide."""
    coarse, middle, fine = (noise(rng, height, width, max(grain / part, 1.5)) for part in (1, 3, 9))
    return 0.55 * coarse + 0.28 * middle + 0.17 * fine


def _pattern(rng: np.random.Generator, kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns brightness factors at positions u and v in units of a brick, plank or tile."""
    row = np.floor(v)
    u = u + {"bricks": 0.5 * (row % 2), "planks": 0.37 * row}.get(kind, 0)
    column = np.floor(u)
    tints = rng.uniform(0.86, 1.08, 256).astype(np.float32)
    tint = tints[(row * 31 + column * 19).astype(np.int32) & 255]
    if kind == "chequers":
        tint = np.where((row + column) % 2 == 0, np.float32(0.72), tint)
    if kind == "stripes":
        return np.broadcast_to(np.where(column % 2 == 0, np.float32(0.86), np.float32(1.0)), tint.shape)
    seam = ((u - column) < 0.05) | ((v - row) < (0.14 if kind == "bricks" else 0.05))
    return np.where(seam, np.float32(0.74), tint)


def _wall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draws a wall, [height, width, 3] float32 in 0..1."""
    colour = sample_colour(rng, (0.45, 0.95), 0.4)
    across = np.linspace(rng.uniform(0.75, 1), rng.uniform(0.75, 1), width)[None, :, None]
    wall = np.broadcast_to(colour * across, (height, width, 3)).astype(np.float32)
    kind = str(rng.choice(["plain", "bricks", "planks", "tiles", "stripes", "plaster"]))
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    size = rng.uniform(12, 34)
    if kind == "plain":
        return wall
    if kind == "plaster":
        return wall * (0.8 + 0.4 * clouds(rng, height, width, 60))[..., None]
    if kind == "planks":  # upright panels
        return wall * _pattern(rng, kind, y / (6 * size), x / size)[..., None]
    return wall * _pattern(rng, kind, x / (2 * size if kind == "bricks" else size), y / size)[..., None]


def _floor(rng: np.random.Generator, height: int, width: int, distance: float, indoors: bool) -> np.ndarray:
    """Draws ground in perspective, [height, width, 3] float32; the horizon is `distance` pixels above its top."""
    kinds = ["planks", "chequers", "tiles", "plain"] if indoors else ["grass", "grass", "tiles", "plain"]
    kind = str(rng.choice(kinds))
    if kind == "grass":
        colour = np.array([0.22, 0.50, 0.36]) * rng.uniform(0.7, 1.3)
    else:
        colour = sample_colour(rng, (0.35, 0.8), 0.3 if indoors else 0.15)
    if kind == "planks":
        colour = np.array([0.36, 0.52, 0.68]) * rng.uniform(0.6, 1.2)
    y = np.arange(height, dtype=np.float32)[:, None]
    away = 60.0 / (y + distance)
    across = (np.arange(width, dtype=np.float32)[None] - rng.uniform(0, width)) / 40 * away
    floor = np.broadcast_to(colour, (height, width, 3)).astype(np.float32)
    if kind in ("planks", "chequers", "tiles"):
        floor = floor * _pattern(rng, kind, across, np.broadcast_to(away * 4, across.shape))[..., None]
    grain, contrast = (14, 1.3) if kind == "grass" else (50, 1.0)
    return floor * (0.72 + 0.5 * clouds(rng, height, width, grain) * contrast)[..., None]


def _sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draws a cloudy sky above hills or trees, [height, width, 3] float32 in 0..1."""
    top, bottom = np.array([0.85, 0.62, 0.42]) * rng.uniform(0.7, 1.1), np.array([0.92, 0.86, 0.80])
    mix = np.linspace(0, 1, height)[:, None, None]
    white = np.clip(2.5 * clouds(rng, height, width, 70) - 1.2, 0, 1)[..., None]
    sky = np.clip((top * (1 - mix) + bottom * mix) * (1 - 0.8 * white) + 0.8 * white, 0, 1).astype(np.float32)
    trees = rng.random() < 0.5
    line = noise(rng, 1, width, 20 if trees else 70)[0] + (0.4 * noise(rng, 1, width, 5)[0] if trees else 0)
    below = np.arange(height)[:, None] > height * (1 - rng.uniform(0.2, 0.7) * line)[None]
    leaves = (0.45 + 0.8 * clouds(rng, height, width, 12 if trees else 40))[..., None]
    green = np.array([0.26, 0.45, 0.32]) * rng.uniform(0.6, 1.2)
    return np.where(below[..., None], (green * leaves).astype(np.float32), sky)


def backdrop(rng: np.random.Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """Draws a scene without people, [height, width, 3] uint8: a room or an outdoor place.

    Args:
      rng: source of randomness.
      height: of the photo in pixels.
      width: of the photo in pixels.
      horizon: row of the horizon, the height of the camera's eye.
    """
    indoors = rng.random() < 0.55
    edge = int(horizon + (rng.uniform(0.1, 0.4) * (height - horizon) if indoors else 2))
    far = _wall(rng, edge, width) if indoors else _sky(rng, edge, width)
    near = _floor(rng, height - edge, width, edge - horizon + 2.0, indoors)
    scene = (np.concatenate([far, near]).clip(0, 1) * 255).astype(np.uint8)
    prop: props.Prop = [] if indoors or rng.random() < 0.5 else props.houses(rng, edge, width)
    if indoors:
        prop.append((props.rectangle(0, edge - 4, width, 5), sample_colour(rng, (0.3, 0.95), 0.3)))
        for _ in range(rng.integers(0, 4)):
            x, y, size = rng.uniform(0, width), rng.uniform(0, 0.6) * edge, rng.uniform(25, 90)
            prop += props.wall_decoration(rng, x, y, size)
    for _ in range(rng.integers(0, 5)):
        foot = rng.uniform(edge, edge + 0.5 * (height - edge))
        x, size = rng.uniform(0, width), rng.uniform(0.35, 1.0) * (foot - horizon + 25)
        prop += props.standing(rng, x, foot, size)
    props.draw(scene, prop)
    return scene


def shadow(photo: np.ndarray, x: float, foot: float, wide: float) -> None:
    """Darkens the ground around (x, foot) in place, with soft edges."""
    height, width = photo.shape[:2]
    y0, y1 = max(0, int(foot - 0.4 * wide)), min(height, int(foot + 0.4 * wide))
    x0, x1 = max(0, int(x - 1.2 * wide)), min(width, int(x + 1.2 * wide))
    if y0 < y1 and x0 < x1:
        v = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(foot)) / np.float32(0.25 * wide)
        u = (np.arange(x0, x1, dtype=np.float32)[None] - np.float32(x)) / np.float32(0.8 * wide)
        dark = 1 - 0.5 * np.exp(-2 * (u * u + v * v))
        photo[y0:y1, x0:x1] = (photo[y0:y1, x0:x1] * dark[..., None]).astype(np.uint8)


def expose(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Adds the tint, contrast, blur and grain of a camera."""
    if rng.random() < 0.5:
        photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.3, 0.8))
    contrast, middle = rng.uniform(0.75, 1.15), rng.uniform(100, 140)
    tint = rng.normal(1.0, 0.05, 3)
    table = np.clip((np.arange(256)[:, None] - 128) * contrast * tint + middle * tint, 0, 255)
    photo = cv2.LUT(photo, np.round(table).astype(np.uint8)[None])
    strength = rng.uniform(0.0, 0.05)
    grain = rng.integers(0, 256, photo.shape[:2], dtype=np.uint8).astype(np.int16) - 128
    grain = (grain * np.float32(strength)).astype(np.int16)[..., None]
    return np.clip(photo + grain, 0, 255).astype(np.uint8)
