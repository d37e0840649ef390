"""Colours of a made-up person's clothes, hair and face.

Surface coordinates are (side, along, front) on a part in standing heights. Colours are BGR in 0..1. The front
looks different from the back: nothing else tells a picture's left arm from its right one.
"""

import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import bodies, outfits

SKIN, SHIRT, TROUSERS, SHOES, HAIR, EXTRA = range(6)
TORSO = ("pelvis", "waist", "chest", "yoke")
FACE = ("head", "jaw", "nose", "neck")


@dataclasses.dataclass(frozen=True)
class Surface:
    """N points on the surface of a body in view space."""

    body: bodies.Body
    owner: np.ndarray  # [N] index of the part that each point lies on
    place: np.ndarray  # [N, 3] surface coordinates, see `figures.surface`
    points: np.ndarray  # [N, 3] positions in view space, in pixels

    def is_on(self, names: tuple[str, ...]) -> np.ndarray:
        """Returns [N] bool: whether each point lies on a part with one of the names."""
        return np.isin([part.name for part in self.body.parts], names)[self.owner]


class _Region:
    """The M points on some parts, in coordinates x, y and z (left, up and front), with their colours."""

    def __init__(
        self, colours: np.ndarray, surface: Surface, names: tuple[str, ...], origin: np.ndarray, axes: np.ndarray
    ) -> None:
        self.colours = colours
        self.rows = np.flatnonzero(surface.is_on(names))
        offsets = surface.points[self.rows] - origin.astype(np.float32)
        self.x, self.y, self.z = (offsets @ axes.astype(np.float32)).T

    def paint(self, where: np.ndarray, colour: np.ndarray | float) -> None:
        self.colours[self.rows[where]] = colour


def lookup(noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns values of a periodic tile at 16 pixels per unit of u and v. Its side is a power of two."""
    mask = len(noise) - 1
    return noise[(v * 16).astype(np.int32) & mask, (u * 16).astype(np.int32) & mask]


def weave(cloth: outfits.Cloth, u: np.ndarray, v: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Returns the [N, 3] colours of a cloth at [N] positions u around and v along the body."""
    turns = np.float32(2 * np.pi / cloth.period)
    first, second = cloth.colours.astype(np.float32)
    mixes = {
        "stripes": lambda: np.sin(v * turns),
        "bars": lambda: np.sin(u * turns),
        "checks": lambda: 2 * np.sin(u * turns) * np.sin(v * turns),
        "plaid": lambda: np.maximum(np.sin(u * turns), np.sin(v * turns)) + 0.4 * np.sin(3 * v * turns) - 0.5,
        "dots": lambda: 3 * np.sin(u * turns) * np.sin(v * turns) - 1.3,
        "mottled": lambda: 2 * (lookup(noise, u / cloth.period, v / cloth.period) - 0.5),
        "fade": lambda: 8 * v - 0.5,
        "blocks": lambda: np.where(v > 0.07, np.float32(1), np.float32(-1)),
    }
    if cloth.pattern == "plain":
        return np.broadcast_to(first, (len(u), 3))
    mix = np.clip(0.5 + 1.5 * mixes[cloth.pattern](), 0, 1).astype(np.float32)[:, None]
    return first * (1 - mix) + second * mix


def colour(surface: Surface, outfit: outfits.Outfit, height: float, noise: np.ndarray) -> np.ndarray:
    """Returns the [N, 3] float32 colours of points on a person of `height` pixels. `noise` is a tile in 0..1."""
    place = surface.place
    material = _material(surface, outfit)
    palette = np.stack([outfit.skin, outfit.skin, outfit.skin, outfit.shoes, outfit.hair, outfit.extra])
    colours = palette.astype(np.float32)[material]
    around = np.arctan2(place[:, 0], place[:, 2]) * np.float32(0.07)
    for number, cloth in ((SHIRT, outfit.shirt), (TROUSERS, outfit.trousers)):
        worn = material == number
        colours[worn] = weave(cloth, around[worn], place[worn, 1], noise)
    hairy = material == HAIR
    colours[hairy] *= (0.7 + 0.6 * lookup(noise, around[hairy] * 60, place[hairy, 1] * 4))[:, None]
    _paint_torso(colours, surface, outfit, height, noise)
    _paint_face(colours, surface, outfit)
    return colours


def _material(surface: Surface, outfit: outfits.Outfit) -> np.ndarray:
    """Returns [N] materials. Each part changes its material at a certain length."""
    skirt = SHIRT if outfit.hem < -0.03 else TROUSERS
    table = {
        "pelvis": (TROUSERS, outfit.hem, SHIRT), "waist": (TROUSERS, outfit.hem, SHIRT),
        "chest": (SHIRT, 9.0, SHIRT), "yoke": (SHIRT, 9.0, SHIRT), "skirt": (skirt, 9.0, skirt),
        "upper_arm": (SHIRT, outfit.sleeve, SKIN), "forearm": (SHIRT, outfit.sleeve - 0.168, SKIN),
        "thigh": (skirt if outfit.skirt else TROUSERS, outfit.trouser, SKIN),
        "shin": (TROUSERS, outfit.trouser - 0.245, SKIN),
        "shoe": (SHOES, 9.0, SHOES), "hair": (HAIR, 9.0, HAIR),
        "hat": (EXTRA, 9.0, EXTRA), "bag": (EXTRA, 9.0, EXTRA),
    }  # fmt: skip
    rows = [table.get(part.name, (SKIN, 9.0, SKIN)) for part in surface.body.parts]
    before, reach, after = (np.array(column)[surface.owner] for column in zip(*rows, strict=True))
    along = surface.place[:, 1]
    material = np.where(along < reach, before, after)
    if outfit.hem == 0:
        material[surface.is_on(("pelvis", "waist")) & (np.abs(along) < 0.008)] = EXTRA  # belt
    return material


def _paint_torso(
    colours: np.ndarray, surface: Surface, outfit: outfits.Outfit, height: float, noise: np.ndarray
) -> None:
    """Adds collar, buttons, logo, straps and back number to the colours."""
    part = surface.body.part
    torso = _Region(colours, surface, TORSO, part("neck").start, part("chest").frame / height)
    x, front, down, out = torso.x, torso.z > 0, -torso.y, np.abs(torso.x)
    shirt = down < 0.24 - outfit.hem
    base = outfit.shirt.colours[0]
    contrast = base * 0.35 if base.mean() > 0.45 else np.ones(3) * 0.92
    printed = (np.abs(down - 0.08) < 0.018) & (out < 0.05) & (lookup(noise, x * 9 + 5, down * 3) > 0.47)
    lining = np.array([0.9, 0.9, 0.92])
    details = {
        "buttons": [(out < 0.0035, contrast * 0.8), ((out < 0.009) & (np.sin(down * 180) > 0.7), contrast)],
        "zip": [(out < 0.006, contrast)],
        "logo": [((x - 0.042) ** 2 + (down - 0.075) ** 2 < 0.016**2, outfit.extra)],
        "letters": [(printed, contrast)],
        "jacket": [(out < 0.018 + 0.10 * down, lining), (out < 0.006 + 0.02 * down, outfit.extra)],
    }  # fmt: skip
    for where, paint in details.get(outfit.front, []):
        torso.paint(front & shirt & where, paint)
    if outfit.back == "number":
        stroke = (np.abs(out - 0.030) < 0.008) | ((np.abs(np.abs(down - 0.10) - 0.035) < 0.008) & (x > 0))
        torso.paint(~front & stroke & (np.abs(down - 0.10) < 0.043) & (out < 0.038), contrast)
    if outfit.backpack:
        torso.paint(front & (np.abs(out - 0.058) < 0.011) & (down < 0.17), outfit.extra)
    opening = np.where(front, 0.026 + 0.018 * outfit.neckline - outfit.neckline * out, 0.016)
    torso.paint((down < opening + 0.009) & (out < 0.047), contrast * 0.5 + base * 0.5)
    torso.paint((down < opening) & (out < 0.041), outfit.skin)


def _paint_face(colours: np.ndarray, surface: Surface, outfit: outfits.Outfit) -> None:
    """Adds eyes, brows, mouth, beard and hair line to the colours."""
    head = surface.body.part("head")
    face = _Region(colours, surface, FACE, head.start, head.frame / (head.radii[0] / 0.045))
    y, z, out, front = face.y, face.z, np.abs(face.x), face.z > 0.012
    skin, hair = outfit.skin, outfit.hair

    def paint_ovals(x: float, height: float, wide: float, high: float, colour: np.ndarray | float) -> None:
        """Paints an oval on both sides of the face."""
        face.paint(front & (((out - x) / wide) ** 2 + ((y - height) / high) ** 2 < 1), colour)

    if outfit.beard:
        below_cheeks = y < -0.022 + 6 * np.maximum(out - 0.02, 0) ** 1.5
        face.paint(below_cheeks & (z > 0.0) & (y > -0.068), 0.45 * skin + 0.5 * hair)
    smile = y + 0.035 - 9.0 * out**2  # the corners of the mouth go up
    face.paint(front & (np.abs(smile) < 0.0045 - 0.26 * out), skin * np.array([0.50, 0.45, 0.82]))
    face.paint(front & (np.abs(smile) < 0.0009) & (out < 0.015), skin * 0.35)
    brow = np.abs(y - 0.0235 + 45.0 * (out - 0.019) ** 2) < 0.0024
    face.paint(front & brow & (np.abs(out - 0.019) < 0.0105), 0.6 * hair)
    paint_ovals(0.0185, 0.0075, 0.0100, 0.0062, skin * 0.55)
    paint_ovals(0.0185, 0.0070, 0.0085, 0.0048, 0.93)
    paint_ovals(0.0185, 0.0070, 0.0042, 0.0046, np.array([0.16, 0.13, 0.12]))
    paint_ovals(0.006, -0.018, 0.0026, 0.0018, skin * 0.5)
    bald = outfit.hair_style == "bald"
    line = np.full_like(y, 9.0) if bald else 0.036 - 5.0 * np.maximum(0.030 - z, 0) ** 1.2
    face.paint(y > np.maximum(line, np.where(z > -0.01, -0.012, -0.045)), hair)
