"""What stands round made-up people: rooms and streets behind them, things before them, and the camera's faults.

Photos are [height, width, 3] uint8 BGR; a thing is a list of filled polygons, so that what it covers is known.
"""

import cv2
import numpy as np

from hrnet_jax.datasets.made_up import outfits

Thing = list[tuple[np.ndarray, np.ndarray]]  # polygons [n, 2] in pixels and their colours [3] in 0..1
FRACTION_BITS = 3  # of a pixel, in OpenCV's drawing


def noise(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Returns [height, width] float32 smooth noise in about 0..1 whose spots are `grain` pixels wide."""
    rows, columns = int(height / grain) + 2, int(width / grain) + 2
    return cv2.resize(
        rng.random((rows, columns), dtype=np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )


def clouds(rng: np.random.Generator, height: int, width: int, grain: float) -> np.ndarray:
    """Returns [height, width] float32 noise of three sizes, halved twice, about 0..1."""
    coarse, middle, fine = (noise(rng, height, width, max(grain / part, 1.5)) for part in (1, 3, 9))
    return 0.55 * coarse + 0.28 * middle + 0.17 * fine


def _pattern(rng: np.random.Generator, kind: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns a brightness factor at places u, v, in units of one brick, plank or tile."""
    row = np.floor(v)
    u = u + 0.5 * (row % 2) if kind == "bricks" else u + 0.37 * row if kind == "planks" else u
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
    """A papered, panelled or brick wall, [height, width, 3] float32 in 0..1."""
    colour = outfits.sample_colour(rng, (0.45, 0.95), 0.4)
    across = np.linspace(rng.uniform(0.75, 1), rng.uniform(0.75, 1), width)[None, :, None]
    wall = np.broadcast_to(colour * across, (height, width, 3)).astype(np.float32)
    kind = str(rng.choice(["plain", "bricks", "planks", "tiles", "stripes", "plaster"]))
    x, y = np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
    size = rng.uniform(12, 34)
    if kind == "plaster":
        wall = wall * (0.8 + 0.4 * clouds(rng, height, width, 60))[..., None]
    elif kind == "planks":  # upright panels
        wall = wall * _pattern(rng, kind, y / (6 * size), x / size)[..., None]
    elif kind != "plain":
        wall = wall * _pattern(rng, kind, x / (2 * size if kind == "bricks" else size), y / size)[..., None]
    return wall


def _floor(rng: np.random.Generator, height: int, width: int, distance: float, indoors: bool) -> np.ndarray:
    """Ground running away to a horizon `distance` pixels above its top, [height, width, 3] float32 in 0..1."""
    kind = str(
        rng.choice(["planks", "chequers", "tiles", "plain"] if indoors else ["grass", "grass", "tiles", "plain"])
    )
    green = np.array([0.22, 0.50, 0.36])
    colour = (
        green * rng.uniform(0.7, 1.3)
        if kind == "grass"
        else outfits.sample_colour(rng, (0.35, 0.8), 0.3 if indoors else 0.15)
    )
    if kind == "planks":
        colour = np.array([0.36, 0.52, 0.68]) * rng.uniform(0.6, 1.2)
    y = np.arange(height, dtype=np.float32)[:, None]
    away = 60.0 / (y + distance)
    across = (np.arange(width, dtype=np.float32)[None] - rng.uniform(0, width)) / 40 * away
    floor = np.broadcast_to(colour, (height, width, 3)).astype(np.float32)
    if kind in ("planks", "chequers", "tiles"):
        floor = floor * _pattern(rng, kind, across, np.broadcast_to(away * 4, across.shape))[..., None]
    grain = clouds(rng, height, width, 14 if kind == "grass" else 50)
    return floor * (0.72 + 0.5 * grain * (1.3 if kind == "grass" else 1.0))[..., None]


def _sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Sky with clouds and, at its foot, hills or trees, [height, width, 3] float32 in 0..1."""
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


def _houses(rng: np.random.Generator, height: int, width: int) -> Thing:
    """A row of houses with windows, standing on the picture's lower edge."""
    things: Thing = []
    x = -10.0
    while x < width:
        wide, tall = rng.uniform(35, 90), rng.uniform(0.3, 1.0) * height
        colour = outfits.sample_colour(rng, (0.4, 0.85), 0.45)
        things.append((_rectangle(x, height - tall, wide, tall + 1), colour))
        step = rng.uniform(12, 18)
        pane = colour * 0.5 if rng.random() < 0.7 else np.array([0.65, 0.9, 0.95])
        things += [
            (_rectangle(x + a, height - tall + b, 0.5 * step, 0.6 * step), pane)
            for a in np.arange(0.4 * step, wide - 0.5 * step, step)
            for b in np.arange(0.5 * step, min(tall, 6 * step) - 0.5 * step, 1.3 * step)
        ]
        x += wide
    return things


def _rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _oval(middle: np.ndarray, radii: np.ndarray, turned: float = 0.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    a, b = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    x, y = middle
    cosine, sine = np.cos(turned), np.sin(turned)
    return np.stack([x + a * cosine - b * sine, y + a * sine + b * cosine], axis=1)


def backdrop(rng: np.random.Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """Returns a scene without people, [height, width, 3] uint8: a room, or a place outdoors.

    Args:
      rng: where chance comes from.
      height: of the photo in pixels.
      width: likewise.
      horizon: row of the horizon, on which the camera's eye is level with the things in the picture.
    """
    indoors = rng.random() < 0.55
    edge = int(horizon + (rng.uniform(0.1, 0.4) * (height - horizon) if indoors else 2))
    far = _wall(rng, edge, width) if indoors else _sky(rng, edge, width)
    near = _floor(rng, height - edge, width, edge - horizon + 2.0, indoors)
    scene = (np.concatenate([far, near]).clip(0, 1) * 255).astype(np.uint8)
    things: Thing = [] if indoors or rng.random() < 0.5 else _houses(rng, edge, width)
    if indoors:
        board = _rectangle(0, edge - 4, width, 5)
        things.append((board, outfits.sample_colour(rng, (0.3, 0.95), 0.3)))
        for _ in range(rng.integers(0, 4)):
            things += _hanging(rng, rng.uniform(0, width), rng.uniform(0, 0.6) * edge, rng.uniform(25, 90))
    for _ in range(rng.integers(0, 5)):
        foot = rng.uniform(edge, edge + 0.5 * (height - edge))
        things += standing(rng, rng.uniform(0, width), foot, rng.uniform(0.35, 1.0) * (foot - horizon + 25))
    draw(scene, things)
    return scene


def _hanging(rng: np.random.Generator, x: float, y: float, size: float) -> Thing:
    """A picture, a window or a shelf of books on the wall."""
    kind, frame = rng.choice(["picture", "window", "shelf"]), outfits.sample_colour(rng, (0.2, 0.95), 0.5)
    tall = size * rng.uniform(0.6, 1.3)
    if kind == "shelf":
        widths = rng.uniform(3, 8, 12)
        edges = np.cumsum(widths)
        books = [
            (_rectangle(x + b - w, y - h, w, h), outfits.sample_colour(rng, (0.25, 0.9)))
            for b, w, h in zip(edges, widths, rng.uniform(12, 24, 12), strict=True)
        ]
        return [*books, (_rectangle(x - 5, y, edges[-1] + 10, 4), frame)]
    inner = _rectangle(x + 4, y + 4, size - 8, tall - 8)
    if kind == "window":
        cross = [(_rectangle(x + size / 2 - 2, y, 4, tall), frame), (_rectangle(x, y + tall / 2, size, 4), frame)]
        return [(_rectangle(x, y, size, tall), frame), (inner, np.array([0.95, 0.88, 0.78])), *cross]
    blots = [
        (
            _oval(inner.mean(axis=0) + rng.normal(0, 0.12 * size, 2), rng.uniform(0.05, 0.2, 2) * size),
            outfits.sample_colour(rng, (0.3, 1)),
        )
        for _ in range(3)
    ]
    return [(_rectangle(x, y, size, tall), frame), (inner, outfits.sample_colour(rng, (0.4, 1), 0.6)), *blots]


def standing(rng: np.random.Generator, x: float, foot: float, size: float) -> Thing:
    """Returns a crate, table, post, bush, ball or bin about `size` high, standing on the ground at (x, foot)."""
    kind = str(rng.choice(["crate", "table", "post", "bush", "ball", "bin"]))
    colour = outfits.sample_colour(rng, (0.3, 0.9), 0.8)
    wide = size * rng.uniform(0.5, 1.0)
    if kind == "crate":
        front = _rectangle(x, foot - 0.6 * size, wide, 0.6 * size)
        slant = np.array([[0, 0], [wide, 0], [0.8 * wide, -0.12 * size], [0.2 * wide, -0.12 * size]]) + front[0]
        gap = _rectangle(x, foot - 0.32 * size, wide, 0.03 * size)
        return [(front, colour), (slant, np.minimum(colour * 1.25, 1)), (gap, colour * 0.6)]
    if kind == "table":
        legs = [
            (_rectangle(x + a * wide, foot - 0.5 * size, 0.06 * size, 0.5 * size), colour * 0.7)
            for a in (0.05, 0.9)
        ]
        return [*legs, (_rectangle(x - 0.05 * wide, foot - 0.55 * size, 1.1 * wide, 0.07 * size), colour)]
    if kind == "post":
        thick = 0.05 * size
        return [
            (_rectangle(x, foot - size, thick, size), colour),
            (_rectangle(x, foot - size, 0.35 * thick, size), np.minimum(colour * 1.3, 1)),
        ]
    if kind == "bush":
        green = np.array([0.2, 0.45, 0.25]) * rng.uniform(0.6, 1.3)
        places = rng.normal(0, 1, (12, 2)) * [0.16 * size, 0.12 * size] + [x, foot - 0.3 * size]
        return [
            (
                _oval(place, rng.uniform(0.05, 0.14, 2) * size, rng.uniform(0, 3)),
                np.clip(green * rng.uniform(0.6, 1.4), 0, 1),
            )
            for place in places
        ]
    if kind == "ball":
        radius = 0.15 * size
        shades = ((0.0, 1.0, 0.8), (0.12, 0.82, 1.0), (0.35, 0.4, 1.25))
        return [
            (
                _oval(np.array([x, foot - radius]) - slip * radius, np.full(2, part * radius)),
                np.minimum(colour * gain, 1),
            )
            for slip, part, gain in shades
        ]
    taper = np.array([[0, -0.55], [0.4, -0.55], [0.34, 0], [0.06, 0]]) * size + np.array([x, foot])
    rim = _rectangle(x - 0.02 * size, foot - 0.58 * size, 0.44 * size, 0.06 * size)
    return [(taper, colour), (rim, colour * 0.65)]


def block(rng: np.random.Generator, x: float, y: float, width: float, height: float) -> Thing:
    """Returns a stool: its top left corner and size."""
    colour = outfits.sample_colour(rng, (0.3, 0.85), 0.6)
    return [(_rectangle(x, y, width, height), colour * 0.8), (_rectangle(x, y, width, 0.15 * height), colour)]


def draw(photo: np.ndarray, things: Thing, mask: np.ndarray | None = None) -> None:
    """Fills the polygons in a uint8 photo, and marks them with 255 in a mask [height, width] uint8."""
    for polygon, colour in things:
        points = np.round(polygon * 2**FRACTION_BITS).astype(np.int32)
        tone = tuple(float(channel) * 255 for channel in colour)
        cv2.fillPoly(photo, [points], tone, cv2.LINE_AA, FRACTION_BITS)
        if mask is not None:
            cv2.fillPoly(mask, [points], 255.0, cv2.LINE_8, FRACTION_BITS)


def shadow(photo: np.ndarray, x: float, foot: float, wide: float) -> None:
    """Darkens the ground softly about (x, foot)."""
    height, width = photo.shape[:2]
    y0, y1 = max(0, int(foot - 0.4 * wide)), min(height, int(foot + 0.4 * wide))
    x0, x1 = max(0, int(x - 1.2 * wide)), min(width, int(x + 1.2 * wide))
    if y0 < y1 and x0 < x1:
        v = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(foot)) / np.float32(0.25 * wide)
        u = (np.arange(x0, x1, dtype=np.float32)[None] - np.float32(x)) / np.float32(0.8 * wide)
        dark = 1 - 0.5 * np.exp(-2 * (u * u + v * v))
        photo[y0:y1, x0:x1] = (photo[y0:y1, x0:x1] * dark[..., None]).astype(np.uint8)


def expose(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """Returns the photo as a camera gives it: tinted light, contrast, a little blur and grain."""
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
