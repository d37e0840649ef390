"""Backgrounds and objects of made-up photos, shadows on the ground and the imperfections of a camera.

Photos are [h, w, 3] uint8 BGR. Positions and sizes are in pixels, colours BGR in 0..1.
"""

import dataclasses

import cv2
import numpy as np

from hrnet_jax.datasets.made_up.outfits import sample_colour

Prop = list[tuple[np.ndarray, np.ndarray]]  # polygons [n, 2] with their colours [3], from back to front
FRACTION_BITS = 3  # for OpenCV, which draws at eighths of a pixel


def rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Returns the [4, 2] corners of a rectangle with its top left corner at (x, y)."""
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _ellipse(center: np.ndarray, radii: np.ndarray, angle: float = 0.0) -> np.ndarray:
    """Returns the [24, 2] corners of a polygon close to an ellipse; `angle` is in radians."""
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    (x, y), a, b = center, radii[0] * np.cos(around), radii[1] * np.sin(around)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([x + a * cosine - b * sine, y + a * sine + b * cosine], axis=1)


def draw(photo: np.ndarray, prop: Prop, mask: np.ndarray | None = None) -> None:
    """Fills polygons in place, and sets the [h, w] uint8 `mask` to 255 there."""
    for polygon, colour in prop:
        points = np.round(polygon * 2**FRACTION_BITS).astype(np.int32)
        cv2.fillPoly(photo, [points], (colour * 255).tolist(), cv2.LINE_AA, FRACTION_BITS)
        if mask is not None:
            cv2.fillPoly(mask, [points], 255.0, cv2.LINE_8, FRACTION_BITS)


def houses(rng: np.random.Generator, height: int, width: int) -> Prop:
    """Draws a row of houses with windows along the lower edge of an area."""
    prop: Prop = []
    x = -10.0
    while x < width:
        wide, tall = rng.uniform(35, 90), rng.uniform(0.3, 1.0) * height
        colour = sample_colour(rng, (0.4, 0.85), 0.45)
        prop.append((rectangle(x, height - tall, wide, tall + 1), colour))
        step = rng.uniform(12, 18)
        pane = colour * 0.5 if rng.random() < 0.7 else np.array([0.65, 0.9, 0.95])
        prop += [
            (rectangle(x + a, height - tall + b, 0.5 * step, 0.6 * step), pane)
            for a in np.arange(0.4 * step, wide - 0.5 * step, step)
            for b in np.arange(0.5 * step, min(tall, 6 * step) - 0.5 * step, 1.3 * step)
        ]
        x += wide
    return prop


def wall_decoration(rng: np.random.Generator, x: float, y: float, size: float) -> Prop:
    """Draws a picture or window or bookshelf with its top left corner at (x, y)."""
    kind, frame = rng.choice(["picture", "window", "shelf"]), sample_colour(rng, (0.2, 0.95), 0.5)
    tall = size * rng.uniform(0.6, 1.3)
    if kind == "shelf":
        return _shelf(rng, x, y, frame)
    outer, inner = rectangle(x, y, size, tall), rectangle(x + 4, y + 4, size - 8, tall - 8)
    if kind == "window":
        bars = rectangle(x + size / 2 - 2, y, 4, tall), rectangle(x, y + tall / 2, size, 4)
        return [(outer, frame), (inner, np.array([0.95, 0.88, 0.78])), *((bar, frame) for bar in bars)]
    blots = []
    for _ in range(3):
        center = inner.mean(axis=0) + rng.normal(0, 0.12 * size, 2)
        blots.append((_ellipse(center, rng.uniform(0.05, 0.2, 2) * size), sample_colour(rng, (0.3, 1))))
    return [(outer, frame), (inner, sample_colour(rng, (0.4, 1), 0.6)), *blots]


def _shelf(rng: np.random.Generator, x: float, y: float, colour: np.ndarray) -> Prop:
    widths = rng.uniform(3, 8, 12)
    ends = np.cumsum(widths)
    books = [
        (rectangle(x + end - width, y - height, width, height), sample_colour(rng, (0.25, 0.9)))
        for end, width, height in zip(ends, widths, rng.uniform(12, 24, 12), strict=True)
    ]
    return [*books, (rectangle(x - 5, y, ends[-1] + 10, 4), colour)]


def standing(rng: np.random.Generator, x: float, foot: float, size: float) -> Prop:
    """Draws an object about `size` high on the ground at (x, foot)."""
    kind = str(rng.choice(["crate", "table", "post", "bush", "ball", "bin"]))
    colour = sample_colour(rng, (0.3, 0.9), 0.8)
    wide, thick, radius = size * rng.uniform(0.5, 1.0), 0.05 * size, 0.15 * size
    if kind == "bush":
        return _bush(rng, x, foot, size)

    def block(left: float, top: float, width: float, height: float) -> np.ndarray:
        return rectangle(x + left, foot - top * size, width, height * size)

    front = block(0, 0.6, wide, 0.6)
    top = np.array([[0, 0], [wide, 0], [0.8 * wide, -0.12 * size], [0.2 * wide, -0.12 * size]]) + front[0]
    bin_ = np.array([[0, -0.55], [0.4, -0.55], [0.34, 0], [0.06, 0]]) * size + np.array([x, foot])
    discs = ((0.0, 1.0, 0.8), (0.12, 0.82, 1.0), (0.35, 0.4, 1.25))  # shifted to the light, radius, brightness
    shapes = {  # polygons with their brightness
        "crate": [(front, 1.0), (top, 1.25), (block(0, 0.32, wide, 0.03), 0.6)],
        "table": [
            (block(0.05 * wide, 0.5, 0.06 * size, 0.5), 0.7), (block(0.9 * wide, 0.5, 0.06 * size, 0.5), 0.7),
            (block(-0.05 * wide, 0.55, 1.1 * wide, 0.07), 1.0),
        ],
        "post": [(block(0, 1.0, thick, 1.0), 1.0), (block(0, 1.0, 0.35 * thick, 1.0), 1.3)],
        "ball": [
            (_ellipse(np.array([x, foot - radius]) - shift * radius, np.full(2, part * radius)), bright)
            for shift, part, bright in discs
        ],
        "bin": [(bin_, 1.0), (block(-0.02 * size, 0.58, 0.44 * size, 0.06), 0.65)],
    }  # fmt: skip
    return [(polygon, np.minimum(colour * bright, 1)) for polygon, bright in shapes[kind]]


def _bush(rng: np.random.Generator, x: float, foot: float, size: float) -> Prop:
    green = np.array([0.2, 0.45, 0.25]) * rng.uniform(0.6, 1.3)
    leaves = []
    for center in rng.normal(0, 1, (12, 2)) * [0.16 * size, 0.12 * size] + [x, foot - 0.3 * size]:
        leaf = _ellipse(center, rng.uniform(0.05, 0.14, 2) * size, rng.uniform(0, 3))
        leaves.append((leaf, np.clip(green * rng.uniform(0.6, 1.4), 0, 1)))
    return leaves


def stool(rng: np.random.Generator, x: float, y: float, width: float, height: float) -> Prop:
    """Draws a stool with its top left corner at (x, y)."""
    colour = sample_colour(rng, (0.3, 0.85), 0.6)
    return [(rectangle(x, y, width, height), colour * 0.8), (rectangle(x, y, width, 0.15 * height), colour)]


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
    """Draws a room or an outdoor place, [height, width, 3] uint8; `horizon` is the row of the camera's eye."""
    indoors = rng.random() < 0.55
    edge = int(horizon + (rng.uniform(0.1, 0.4) * (height - horizon) if indoors else 2))
    far = _wall(rng, edge, width) if indoors else _sky(rng, edge, width)
    near = _floor(rng, height - edge, width, edge - horizon + 2.0, indoors)
    scene = (np.concatenate([far, near]).clip(0, 1) * 255).astype(np.uint8)
    prop: Prop = [] if indoors or rng.random() < 0.5 else houses(rng, edge, width)
    if indoors:
        prop.append((rectangle(0, edge - 4, width, 5), sample_colour(rng, (0.3, 0.95), 0.3)))
        for _ in range(rng.integers(0, 4)):
            x, y, size = rng.uniform(0, width), rng.uniform(0, 0.6) * edge, rng.uniform(25, 90)
            prop += wall_decoration(rng, x, y, size)
    for _ in range(rng.integers(0, 5)):
        foot = rng.uniform(edge, edge + 0.5 * (height - edge))
        x, size = rng.uniform(0, width), rng.uniform(0.35, 1.0) * (foot - horizon + 25)
        prop += standing(rng, x, foot, size)
    draw(scene, prop)
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


@dataclasses.dataclass(frozen=True)
class Exposure:
    """The tint, contrast, blur and grain of a camera."""

    blur: float  # standard deviation in pixels; 0: none
    table: np.ndarray  # [1, 256, 3] uint8 values of the pixels
    grain: float  # amplitude of the noise


def sample_exposure(rng: np.random.Generator) -> Exposure:
    """Draws the imperfections of a camera."""
    blur = rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.0
    contrast, middle = rng.uniform(0.75, 1.15), rng.uniform(100, 140)
    tint = rng.normal(1.0, 0.05, 3)
    table = np.clip((np.arange(256)[:, None] - 128) * contrast * tint + middle * tint, 0, 255)
    return Exposure(blur, np.round(table).astype(np.uint8)[None], rng.uniform(0.0, 0.05))


def expose(rng: np.random.Generator, photo: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Returns what a camera makes of a photo. Only the grain is drawn anew."""
    if exposure.blur:
        photo = cv2.GaussianBlur(photo, (0, 0), exposure.blur)
    photo = cv2.LUT(photo, exposure.table)
    grain = rng.integers(0, 256, photo.shape[:2], dtype=np.uint8).astype(np.int16) - 128
    grain = (grain * np.float32(exposure.grain)).astype(np.int16)[..., None]
    return np.clip(photo + grain, 0, 255).astype(np.uint8)
