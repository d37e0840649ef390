"""Which colour a place on a made-up person has: cloth patterns, collar and buttons, hair line and face.

Places are in standing heights on a part (side, along, front), colours BGR in 0..1. Fronts differ from backs,
because nothing else tells a picture's left arm from its right one.
"""

import numpy as np

from hrnet_jax.datasets.made_up import bodies, outfits

SKIN, SHIRT, TROUSERS, SHOES, HAIR, EXTRA = range(6)
TORSO = ("pelvis", "waist", "chest", "yoke")
FACE = ("head", "jaw", "nose", "neck")


def lookup(noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns the values of a square tile (its side a power of two), 16 grains to one unit of u or v."""
    mask = len(noise) - 1
    return noise[(v * 16).astype(np.int32) & mask, (u * 16).astype(np.int32) & mask]


def weave(cloth: outfits.Cloth, u: np.ndarray, v: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Returns the [N, 3] colours of a cloth at places u around and v along the body; noise [n, n] in 0..1."""
    turns = np.float32(2 * np.pi / cloth.period)
    first, second = cloth.colours.astype(np.float32)
    if cloth.pattern == "plain":
        return np.broadcast_to(first, (len(u), 3))
    if cloth.pattern == "stripes":
        mix = np.sin(v * turns)
    elif cloth.pattern == "bars":
        mix = np.sin(u * turns)
    elif cloth.pattern == "checks":
        mix = 2 * np.sin(u * turns) * np.sin(v * turns)
    elif cloth.pattern == "plaid":
        mix = np.maximum(np.sin(u * turns), np.sin(v * turns)) + 0.4 * np.sin(3 * v * turns) - 0.5
    elif cloth.pattern == "dots":
        mix = 3 * np.sin(u * turns) * np.sin(v * turns) - 1.3
    elif cloth.pattern == "mottled":
        mix = 2 * (lookup(noise, u / cloth.period, v / cloth.period) - 0.5)
    elif cloth.pattern == "fade":
        mix = 8 * v - 0.5
    else:  # blocks
        mix = np.where(v > 0.07, np.float32(1), np.float32(-1))
    mix = np.clip(0.5 + 1.5 * mix, 0, 1).astype(np.float32)[:, None]
    return first * (1 - mix) + second * mix


def colour(
    parts: list[bodies.Part],
    owner: np.ndarray,
    place: np.ndarray,
    points: np.ndarray,
    outfit: outfits.Outfit,
    height: float,
    noise: np.ndarray,
) -> np.ndarray:
    """Returns the colours [N, 3] float32 of surface points.

    Args:
      parts: of the body, in view space.
      owner: [N] number of the part that each point lies on.
      place: [N, 3] where on it, in heights (`figures.surface`).
      points: [N, 3] the same places in view space, in pixels.
      outfit: what is worn.
      height: of the person standing, in pixels.
      noise: [n, n] tile in 0..1.
    """
    material = _material(parts, owner, place[:, 1], outfit)
    palette = np.stack([outfit.skin, outfit.skin, outfit.skin, outfit.shoes, outfit.hair, outfit.extra])
    colours = palette.astype(np.float32)[material]
    around = np.arctan2(place[:, 0], place[:, 2]) * np.float32(0.07)
    for what, cloth in ((SHIRT, outfit.shirt), (TROUSERS, outfit.trousers)):
        worn = material == what
        colours[worn] = weave(cloth, around[worn], place[worn, 1], noise)
    hairy = material == HAIR
    colours[hairy] *= (0.7 + 0.6 * lookup(noise, around[hairy] * 60, place[hairy, 1] * 4))[:, None]
    _trim(colours, parts, owner, points, outfit, height, noise)
    _face(colours, parts, owner, points, outfit)
    return colours


def _material(
    parts: list[bodies.Part], owner: np.ndarray, along: np.ndarray, outfit: outfits.Outfit
) -> np.ndarray:
    """Returns the material [N]: on every part one up to a certain length, and another from there on."""
    skirt_cloth = SHIRT if outfit.hem < -0.03 else TROUSERS
    table = {
        "pelvis": (TROUSERS, outfit.hem, SHIRT), "waist": (TROUSERS, outfit.hem, SHIRT),
        "chest": (SHIRT, 9.0, SHIRT), "yoke": (SHIRT, 9.0, SHIRT), "skirt": (skirt_cloth, 9.0, skirt_cloth),
        "upper_arm": (SHIRT, outfit.sleeve, SKIN), "forearm": (SHIRT, outfit.sleeve - 0.168, SKIN),
        "thigh": (skirt_cloth if outfit.skirt else TROUSERS, outfit.trouser, SKIN),
        "shin": (TROUSERS, outfit.trouser - 0.245, SKIN),
        "shoe": (SHOES, 9.0, SHOES), "hair": (HAIR, 9.0, HAIR),
        "hat": (EXTRA, 9.0, EXTRA), "bag": (EXTRA, 9.0, EXTRA),
    }  # fmt: skip
    rows = [table.get(part.name, (SKIN, 9.0, SKIN)) for part in parts]
    before, reach, after = (np.array(column) for column in zip(*rows, strict=True))
    material = np.where(along < reach[owner], before[owner], after[owner])
    if outfit.hem == 0:
        belt = np.isin([part.name for part in parts], ("pelvis", "waist"))[owner] & (np.abs(along) < 0.008)
        material[belt] = EXTRA
    return material


def _own_space(
    parts: list[bodies.Part], owner: np.ndarray, points: np.ndarray, names: tuple[str, ...], origin: np.ndarray,
    frame: np.ndarray, size: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Returns which points [M] lie on the named parts, and their left, up and front about an origin."""
    rows = np.flatnonzero(np.isin([part.name for part in parts], names)[owner])
    x, y, z = ((points[rows] - origin.astype(np.float32)) @ (frame / size).astype(np.float32)).T
    return rows, x, y, z


def _trim(
    colours: np.ndarray,
    parts: list[bodies.Part],
    owner: np.ndarray,
    points: np.ndarray,
    outfit: outfits.Outfit,
    height: float,
    noise: np.ndarray,
) -> None:
    """Adds collar, buttons, logo, straps and back number to the colours of the torso."""
    found = {part.name: part for part in parts}
    frame, origin = found["chest"].frame, found["neck"].start
    rows, x, y, z = _own_space(parts, owner, points, TORSO, origin, frame, height)
    front, down, out = z > 0, -y, np.abs(x)
    shirt = down < 0.24 - outfit.hem
    contrast = outfit.shirt.colours[0] * 0.35 if outfit.shirt.colours[0].mean() > 0.45 else np.ones(3) * 0.92
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
        colours[rows[front & shirt & where]] = paint
    if outfit.back == "number":
        stroke = (np.abs(out - 0.030) < 0.008) | ((np.abs(np.abs(down - 0.10) - 0.035) < 0.008) & (x > 0))
        colours[rows[~front & stroke & (np.abs(down - 0.10) < 0.043) & (out < 0.038)]] = contrast
    if outfit.backpack:
        colours[rows[front & (np.abs(out - 0.058) < 0.011) & (down < 0.17)]] = outfit.extra
    opening = np.where(front, 0.026 + 0.018 * outfit.neckline - outfit.neckline * out, 0.016)
    colours[rows[(down < opening + 0.009) & (out < 0.047)]] = contrast * 0.5 + outfit.shirt.colours[0] * 0.5
    colours[rows[(down < opening) & (out < 0.041)]] = outfit.skin


def _face(
    colours: np.ndarray, parts: list[bodies.Part], owner: np.ndarray, points: np.ndarray, outfit: outfits.Outfit
) -> None:
    """Adds eyes, brows, mouth, beard and hair line to the colours of the head."""
    head = next(part for part in parts if part.name == "head")
    rows, x, y, z = _own_space(parts, owner, points, FACE, head.start, head.frame, head.radii[0] / 0.045)
    front, out = z > 0.012, np.abs(x)

    def oval(centre_x: float, centre_y: float, wide: float, high: float) -> np.ndarray:
        return front & (((out - centre_x) / wide) ** 2 + ((y - centre_y) / high) ** 2 < 1)

    skin, hair = outfit.skin, outfit.hair
    if outfit.beard:
        colours[rows[(y < -0.022 + 6 * np.maximum(out - 0.02, 0) ** 1.5) & (z > 0.0) & (y > -0.068)]] = (
            0.45 * skin + 0.5 * hair
        )
    smile = y + 0.035 - 9.0 * out**2  # the corners of the mouth go up
    colours[rows[front & (np.abs(smile) < 0.0045 - 0.26 * out)]] = skin * np.array([0.50, 0.45, 0.82])
    colours[rows[front & (np.abs(smile) < 0.0009) & (out < 0.015)]] = skin * 0.35
    colours[
        rows[front & (np.abs(y - 0.0235 + 45.0 * (out - 0.019) ** 2) < 0.0024) & (np.abs(out - 0.019) < 0.0105)]
    ] = 0.6 * hair
    colours[rows[oval(0.0185, 0.0075, 0.0100, 0.0062)]] = skin * 0.55
    colours[rows[oval(0.0185, 0.0070, 0.0085, 0.0048)]] = 0.93
    colours[rows[oval(0.0185, 0.0070, 0.0042, 0.0046)]] = np.array([0.16, 0.13, 0.12])
    colours[rows[oval(0.006, -0.018, 0.0026, 0.0018)]] = skin * 0.5
    line = 0.036 - 5.0 * np.maximum(0.030 - z, 0) ** 1.2 if outfit.hair_style != "bald" else np.full_like(y, 9.0)
    line = np.maximum(line, np.where(z > -0.01, -0.012, -0.045))
    colours[rows[y > line]] = hair
