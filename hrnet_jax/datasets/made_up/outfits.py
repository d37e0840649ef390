"""Clothes of made-up people: patterns, hair, hats and bags.

The front looks different from the back, because that is what tells left from right. Colours are BGR in 0..1.
Lengths are in standing heights as in `bodies`.
"""

import colorsys
import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import bodies

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


def _sample_cloth(rng: np.random.Generator, value: tuple[float, float], saturation: float, patterns=PATTERNS):
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
