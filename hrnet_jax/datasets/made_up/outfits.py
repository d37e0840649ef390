"""Clothes of made-up people: patterns, hair, hats and bags, and the colours of the dressed body.

The front looks different from the back: nothing else tells a picture's left arm from its right one. Colours are
BGR in 0..1. Lengths are in standing heights as in `bodies`. Coordinates on a part are (side, along, front).
"""

import colorsys
import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import bodies

SKIN, SHIRT, TROUSERS, SHOES, HAIR, EXTRA = range(6)
TORSO = ("pelvis", "waist", "chest", "yoke")
FACE = ("head", "jaw", "nose", "neck")
# Drawn uniformly, so repeated entries are more frequent.
PATTERNS = ("plain", "plain", "plain", "stripes", "bars", "checks", "plaid", "dots", "mottled", "fade", "blocks")
TROUSER_PATTERNS = ("plain", "plain", "plain", "plain", "mottled", "bars", "plaid")
HAIR_STYLES = ("short", "short", "short", "full", "full", "long", "long", "ponytail", "bun", "bald", "curly")
# RGB in 0..255
SKIN_TONES = np.array([
    [246, 214, 190], [236, 196, 168], [222, 176, 142], [204, 154, 118], [176, 124, 90], [140, 94, 66],
    [104, 68, 48],
])  # fmt: skip
HAIR_TONES = np.array([
    [28, 22, 20], [46, 32, 24], [78, 52, 34], [112, 76, 44], [168, 124, 72], [206, 172, 116], [140, 62, 34],
    [150, 148, 146],
])  # fmt: skip
# Solids of hair styles and hats relative to the skull: centres and radii of the end balls, depth.
CROWN = ((0, 0.014, -0.012), (0, 0.024, -0.012), (0.0475, 0.0465), 1.15)
BEANIE = ((0, 0.026, -0.005), (0, 0.038, -0.006), (0.0485, 0.046), 1.18)
HEADWEAR = {
    "full": [CROWN],
    "long": [
        CROWN, ((0, 0.0, -0.026), (0, -0.115, -0.040), (0.044, 0.050), 0.62),
        ((-0.044, 0.005, -0.008), (-0.048, -0.095, -0.004), (0.014, 0.017), 1.0),
        ((0.044, 0.005, -0.008), (0.048, -0.095, -0.004), (0.014, 0.017), 1.0),
    ],
    "ponytail": [CROWN, ((0, 0.026, -0.060), (0, -0.075, -0.082), (0.016, 0.011), 1.0)],
    "bun": [CROWN, ((0, 0.052, -0.046), (0, 0.058, -0.050), (0.026, 0.024), 1.0)],
    "curly": [((0, 0.022, -0.018), (0, 0.034, -0.018), (0.060, 0.058), 1.05)],
    "beanie": [BEANIE], "cap": [BEANIE, ((0, 0.036, 0.030), (0, 0.030, 0.082), (0.040, 0.032), 0.2)],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Cloth:
    """A pattern of two colours, [2, 3], that repeats every `period` heights."""

    pattern: str
    colours: np.ndarray
    period: float


@dataclasses.dataclass(frozen=True)
class Outfit:
    """Clothes, colours and hair of one person."""

    skin: np.ndarray  # [3] colour
    shoes: np.ndarray  # [3] colour
    hair: np.ndarray  # [3] colour
    extra: np.ndarray  # [3] colour of belt, hat and bag
    shirt: Cloth
    trousers: Cloth
    sleeve: float  # length from the shoulder
    trouser: float  # length from the hip
    hem: float  # height of the shirt's end above the belt line; 0: tucked in, negative: hanging
    neckline: float  # depth over half width of the collar's opening
    front: str  # fastening or print on the front of the shirt
    back: str  # print on the back of the shirt
    hair_style: str
    hat: str
    skirt: bool
    backpack: bool
    beard: bool


def sample_colour(rng: np.random.Generator, value: tuple[float, float], saturation: float = 1.0) -> np.ndarray:
    """Draws a [3] colour: any hue, HSV value within the range `value`, saturation mostly low."""
    hue, strength = rng.random(), saturation * rng.beta(1.6, 1.8)
    return np.array(colorsys.hsv_to_rgb(hue, strength, rng.uniform(*value))[::-1])


def _sample_cloth(rng: np.random.Generator, value: tuple, saturation: float, patterns=PATTERNS) -> Cloth:
    first = sample_colour(rng, value, saturation)
    two_colours = rng.random() < 0.5
    second = sample_colour(rng, (0.15, 0.98), saturation) if two_colours else first * rng.uniform(0.45, 0.75)
    return Cloth(str(rng.choice(patterns)), np.stack([first, second]), float(rng.uniform(0.025, 0.07)))


def sample(rng: np.random.Generator) -> Outfit:
    """Draws the outfit of one person."""

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    def tone(table: np.ndarray) -> np.ndarray:
        return np.clip(table[rng.integers(len(table)), ::-1] / 255.0 * rng.uniform(0.92, 1.05), 0, 1)

    jeans = Cloth("mottled", np.array([[0.45, 0.32, 0.24], [0.36, 0.25, 0.18]]) * rng.uniform(0.6, 1.5), 0.05)
    skirt = chance(0.14)
    short_legs = chance(0.22)
    return Outfit(
        skin=tone(SKIN_TONES),
        shoes=sample_colour(rng, (0.08, 0.95), 0.7),
        hair=tone(HAIR_TONES),
        extra=sample_colour(rng, (0.1, 0.9)),
        shirt=_sample_cloth(rng, (0.25, 1.0), 1.0),
        trousers=jeans if chance(0.35) else _sample_cloth(rng, (0.12, 0.8), 0.6, TROUSER_PATTERNS),
        sleeve=float(rng.uniform(0.05, 0.12) if chance(0.5) else rng.uniform(0.29, 0.31)),
        trouser=0.05 if skirt else float(rng.uniform(0.10, 0.24) if short_legs else rng.uniform(0.44, 0.475)),
        hem=0.0 if chance(0.5) else float(rng.uniform(-0.045, -0.01)),
        neckline=float(rng.uniform(0.5, 1.5)),
        front=str(rng.choice(["none", "buttons", "logo", "letters", "zip", "jacket"])),
        back=str(rng.choice(["none", "none", "number"])),
        hair_style=str(rng.choice(HAIR_STYLES)),
        hat=str(rng.choice(["none", "cap", "beanie"], p=[0.8, 0.13, 0.07])),
        skirt=skirt,
        backpack=chance(0.1),
        beard=not skirt and chance(0.2),
    )


def dress(body: bodies.Body, outfit: Outfit) -> bodies.Body:
    """Returns the body with the solids of the outfit added: hair, hat, skirt and backpack."""
    worn = _headwear(body.part("head"), outfit)
    if outfit.skirt:
        worn += _skirt(body.part("pelvis"), [part for part in body.parts if part.name == "thigh"])
    if outfit.backpack:
        chest = body.part("chest")
        back = chest.frame @ np.array([0.0, 0.0, -0.085])
        bottom = chest.start + back + 0.35 * (chest.start - chest.end)
        worn.append(bodies.Part("bag", bottom, chest.end + back, (0.066, 0.058), chest.frame, 0.65))
    return dataclasses.replace(body, parts=body.parts + worn)


def _headwear(head: bodies.Part, outfit: Outfit) -> list[bodies.Part]:
    """Returns hair and hat, placed relative to the skull."""
    size = head.radii[0] / 0.045
    pieces = []
    for name, style in (("hair", outfit.hair_style), ("hat", outfit.hat)):
        for start, end, radii, depth in HEADWEAR.get(style, ()):
            first, second = (head.start + head.frame @ (size * np.array(point)) for point in (start, end))
            scaled = radii[0] * size, radii[1] * size
            pieces.append(bodies.Part(name, first, second, scaled, head.frame, depth))
    return pieces


def _skirt(pelvis: bodies.Part, thighs: list[bodies.Part]) -> list[bodies.Part]:
    """Returns a skirt over both thighs, or nothing if the thighs are too far apart or too far from vertical."""
    spans = [part.end - part.start for part in thighs]
    first, second = (span / np.linalg.norm(span) for span in spans)
    if first @ second < 0.8 or min(-first[1], -second[1]) < 0.7:
        return []
    bottom = pelvis.start + 0.62 * np.mean(spans, axis=0)
    apart = float(np.linalg.norm(first - second)) * 0.075
    hips = float(np.linalg.norm(thighs[0].start - thighs[1].start)) / 2 + thighs[0].radii[0]
    radii = (max(1.1 * pelvis.radii[0], hips + 0.004), max(0.118, hips + 0.008) + apart)
    return [bodies.Part("skirt", pelvis.start, bottom, radii, pelvis.frame, 0.78, -0.062, flat=True)]


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

    def region(self, names: tuple[str, ...], origin: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the rows [M] of the points on some parts, and their x, y and z [3, M]: left, up and front."""
        rows = np.flatnonzero(self.is_on(names))
        return rows, ((self.points[rows] - origin.astype(np.float32)) @ axes.astype(np.float32)).T


def lookup(noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns values of a periodic tile at 16 pixels per unit of u and v. Its side is a power of two."""
    mask = len(noise) - 1
    return noise[(v * 16).astype(np.int32) & mask, (u * 16).astype(np.int32) & mask]


def weave(cloth: Cloth, u: np.ndarray, v: np.ndarray, noise: np.ndarray) -> np.ndarray:
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


def colour(surface: Surface, outfit: Outfit, height: float, noise: np.ndarray) -> np.ndarray:
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


def _material(surface: Surface, outfit: Outfit) -> np.ndarray:
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


def _paint_torso(colours: np.ndarray, surface: Surface, outfit: Outfit, height: float, noise: np.ndarray) -> None:
    """Adds collar, buttons, logo, straps and back number to the colours."""
    part = surface.body.part
    rows, (x, y, z) = surface.region(TORSO, part("neck").start, part("chest").frame / height)
    front, down, out = z > 0, -y, np.abs(x)
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
        colours[rows[front & shirt & where]] = paint
    if outfit.back == "number":
        stroke = (np.abs(out - 0.030) < 0.008) | ((np.abs(np.abs(down - 0.10) - 0.035) < 0.008) & (x > 0))
        colours[rows[~front & stroke & (np.abs(down - 0.10) < 0.043) & (out < 0.038)]] = contrast
    if outfit.backpack:
        colours[rows[front & (np.abs(out - 0.058) < 0.011) & (down < 0.17)]] = outfit.extra
    opening = np.where(front, 0.026 + 0.018 * outfit.neckline - outfit.neckline * out, 0.016)
    colours[rows[(down < opening + 0.009) & (out < 0.047)]] = contrast * 0.5 + base * 0.5
    colours[rows[(down < opening) & (out < 0.041)]] = outfit.skin


def _paint_face(colours: np.ndarray, surface: Surface, outfit: Outfit) -> None:
    """Adds eyes, brows, mouth, beard and hair line to the colours."""
    head = surface.body.part("head")
    rows, (x, y, z) = surface.region(FACE, head.start, head.frame / (head.radii[0] / 0.045))
    out, front = np.abs(x), z > 0.012
    skin, hair = outfit.skin, outfit.hair
    if outfit.beard:
        below_cheeks = y < -0.022 + 6 * np.maximum(out - 0.02, 0) ** 1.5
        colours[rows[below_cheeks & (z > 0.0) & (y > -0.068)]] = 0.45 * skin + 0.5 * hair
    smile = y + 0.035 - 9.0 * out**2  # the corners of the mouth go up
    colours[rows[front & (np.abs(smile) < 0.0045 - 0.26 * out)]] = skin * np.array([0.50, 0.45, 0.82])
    colours[rows[front & (np.abs(smile) < 0.0009) & (out < 0.015)]] = skin * 0.35
    brow = np.abs(y - 0.0235 + 45.0 * (out - 0.019) ** 2) < 0.0024
    colours[rows[front & brow & (np.abs(out - 0.019) < 0.0105)]] = 0.6 * hair
    for side, middle, wide, high, paint in (  # lids, whites, pupils and nostrils: ovals on both sides
        (0.0185, 0.0075, 0.0100, 0.0062, skin * 0.55),
        (0.0185, 0.0070, 0.0085, 0.0048, 0.93),
        (0.0185, 0.0070, 0.0042, 0.0046, np.array([0.16, 0.13, 0.12])),
        (0.006, -0.018, 0.0026, 0.0018, skin * 0.5),
    ):
        oval = ((out - side) / wide) ** 2 + ((y - middle) / high) ** 2 < 1
        colours[rows[front & oval]] = paint
    line = 9.0 if outfit.hair_style == "bald" else 0.036 - 5.0 * np.maximum(0.030 - z, 0) ** 1.2
    colours[rows[y > np.maximum(line, np.where(z > -0.01, -0.012, -0.045))]] = hair
