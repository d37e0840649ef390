"""Houses, wall decorations and objects in made-up photos, drawn as filled polygons.

Positions and sizes are in pixels, colours BGR in 0..1.
"""

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
    a, b = radii[0] * np.cos(around), radii[1] * np.sin(around)
    x, y = center
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([x + a * cosine - b * sine, y + a * sine + b * cosine], axis=1)


def draw(photo: np.ndarray, prop: Prop, mask: np.ndarray | None = None) -> None:
    """Fills polygons in place.

    Args:
      photo: [h, w, 3] uint8.
      prop: the polygons.
      mask: [h, w] uint8, set to 255 where the prop is.
    """
    for polygon, colour in prop:
        points = np.round(polygon * 2**FRACTION_BITS).astype(np.int32)
        tone = tuple(float(channel) * 255 for channel in colour)
        cv2.fillPoly(photo, [points], tone, cv2.LINE_AA, FRACTION_BITS)
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
    wide = size * rng.uniform(0.5, 1.0)
    if kind == "bush":
        return _bush(rng, x, foot, size)
    if kind == "crate":
        return _crate(x, foot, size, wide, colour)
    if kind == "table":
        legs = [rectangle(x + a * wide, foot - 0.5 * size, 0.06 * size, 0.5 * size) for a in (0.05, 0.9)]
        board = rectangle(x - 0.05 * wide, foot - 0.55 * size, 1.1 * wide, 0.07 * size)
        return [*((leg, colour * 0.7) for leg in legs), (board, colour)]
    if kind == "post":
        thick = 0.05 * size
        post, lit_side = (rectangle(x, foot - size, part, size) for part in (thick, 0.35 * thick))
        return [(post, colour), (lit_side, np.minimum(colour * 1.3, 1))]
    if kind == "ball":
        return _ball(x, foot, 0.15 * size, colour)
    bin_ = np.array([[0, -0.55], [0.4, -0.55], [0.34, 0], [0.06, 0]]) * size + np.array([x, foot])
    rim = rectangle(x - 0.02 * size, foot - 0.58 * size, 0.44 * size, 0.06 * size)
    return [(bin_, colour), (rim, colour * 0.65)]


def _crate(x: float, foot: float, size: float, wide: float, colour: np.ndarray) -> Prop:
    front = rectangle(x, foot - 0.6 * size, wide, 0.6 * size)
    top = np.array([[0, 0], [wide, 0], [0.8 * wide, -0.12 * size], [0.2 * wide, -0.12 * size]]) + front[0]
    gap = rectangle(x, foot - 0.32 * size, wide, 0.03 * size)
    return [(front, colour), (top, np.minimum(colour * 1.25, 1)), (gap, colour * 0.6)]


def _bush(rng: np.random.Generator, x: float, foot: float, size: float) -> Prop:
    green = np.array([0.2, 0.45, 0.25]) * rng.uniform(0.6, 1.3)
    leaves = []
    for center in rng.normal(0, 1, (12, 2)) * [0.16 * size, 0.12 * size] + [x, foot - 0.3 * size]:
        leaf = _ellipse(center, rng.uniform(0.05, 0.14, 2) * size, rng.uniform(0, 3))
        leaves.append((leaf, np.clip(green * rng.uniform(0.6, 1.4), 0, 1)))
    return leaves


def _ball(x: float, foot: float, radius: float, colour: np.ndarray) -> Prop:
    """Returns three discs. The smaller ones are brighter and shifted to the light."""
    discs = ((0.0, 1.0, 0.8), (0.12, 0.82, 1.0), (0.35, 0.4, 1.25))
    return [
        (
            _ellipse(np.array([x, foot - radius]) - shift * radius, np.full(2, part * radius)),
            np.minimum(colour * gain, 1),
        )
        for shift, part, gain in discs
    ]


def stool(rng: np.random.Generator, x: float, y: float, width: float, height: float) -> Prop:
    """Draws a stool with its top left corner at (x, y)."""
    colour = sample_colour(rng, (0.3, 0.85), 0.6)
    return [(rectangle(x, y, width, height), colour * 0.8), (rectangle(x, y, width, 0.15 * height), colour)]
