"""Videos of made-up people who walk on a street, seen by a camera that pans: frame by frame.

The ground has x to the right and z away from the camera, in standing heights. Walkers go straight on, each at its
speed. The camera stands still and turns, so its turning moves the whole picture, and it shakes.
"""

import dataclasses
from collections.abc import Iterator

import cv2
import numpy as np

from hrnet_jax.datasets.made_up import bodies, figures, gait, outfits, poses, scenery, scenes

HORIZON, EYE = 0.28, 0.92  # of the picture's height; height of the camera in standing heights
FOCAL = 1.0  # focal length in picture widths
NEAREST = 1.2  # distance at which people pass out of sight
MARGIN = 0.45, 0.08  # of the backdrop beside and above the picture, in its widths and heights
SPEED = 0.018, 0.055  # heights in a frame
STANDING = 0.12  # share of the people who stay where they are
LIFETIME = 60  # frames that a person is in sight, roughly
DISTANCE = 2.0, 4.5  # of walkers; people far off are behind them
FAR_OFF = 5.5  # distance of people who are not annotated
WITH_CROWD = 0.4  # share of streets with people far off


@dataclasses.dataclass(frozen=True)
class Walker:
    """A person, and its way."""

    shape: bodies.Shape
    outfit: outfits.Outfit
    style: gait.Angles
    place: tuple[float, float]  # x and z at frame `middle`
    middle: float
    speed: float  # heights in a frame
    direction: float  # degrees: 0 to the right, 90 towards the camera
    phase: float  # of the steps at frame `middle`

    def at(self, frame: int) -> tuple[float, float, float]:
        """Returns x, z and the phase of the steps."""
        way, angle = self.speed * (frame - self.middle), np.radians(self.direction)
        x, z = self.place
        return x + way * np.cos(angle), z - way * np.sin(angle), self.phase + 2 * np.pi * way / gait.CYCLE


@dataclasses.dataclass(frozen=True)
class Street:
    """What a video shows. Positions on the backdrop are of the picture's corner, [F, 2] for F frames."""

    size: tuple[int, int]  # height and width of the picture
    backdrop: np.ndarray  # [h, w, 3] uint8, larger than the picture
    crowd: np.ndarray  # [P, 2] outline on the backdrop of people who are not annotated, or [0, 2]
    light: figures.Light
    exposure: scenery.Exposure
    walkers: list[Walker]
    camera: np.ndarray  # [F, 2]


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame with its people, from far to near."""

    scene: scenes.Scene
    numbers: list[int]  # of the people, the same in all frames
    regions: list[np.ndarray]  # polygons [P, 2] of people who are not annotated


def sample(rng: np.random.Generator, frames: int, size: tuple[int, int], people: int) -> Street:
    """Draws a street with about as many people in each frame."""
    height, width = size
    beside, above = round(MARGIN[0] * width), round(MARGIN[1] * height)
    horizon = above + HORIZON * height
    backdrop = scenery.backdrop(rng, height + 2 * above, width + 2 * beside, horizon)
    light, exposure = scenes.sample_light(rng), scenery.sample_exposure(rng)
    count = max(people, round(people * frames / LIFETIME))
    walkers = [_sample_walker(rng, (number + rng.random()) * frames / count) for number in range(count)]
    crowd = np.zeros((0, 2))
    if rng.random() < WITH_CROWD:
        crowd = _draw_crowd(rng, backdrop, light, horizon, FOCAL * width / FAR_OFF)
    return Street(size, backdrop, crowd, light, exposure, walkers, _sample_camera(rng, frames, size))


def _sample_walker(rng: np.random.Generator, middle: float) -> Walker:
    """Draws a person who is near the middle of the backdrop at a frame."""
    speed = 0.0 if rng.random() < STANDING else rng.uniform(*SPEED)
    direction = rng.choice([0.0, 180.0]) + rng.normal(0, 14)
    z = rng.uniform(*DISTANCE)
    place = float(rng.uniform(-0.35, 0.35) * z / FOCAL), float(z)
    phase = rng.uniform(0, 2 * np.pi)
    person = bodies.sample_shape(rng), outfits.sample(rng), gait.sample_style(rng)
    return Walker(*person, place, middle, float(speed), float(direction), float(phase))


def _sample_camera(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Draws the position [F, 2] of the picture on the backdrop: a slow turn to and fro, and a hand that shakes."""
    room = np.array([MARGIN[0] * size[1], MARGIN[1] * size[0]])
    reach, period = rng.uniform(0.2, 0.8) * room[0], rng.uniform(80, 200)
    turn = reach * np.sin(2 * np.pi * (np.arange(frames) / period + rng.random()))
    shake = rng.normal(0, rng.uniform(0.2, 2.5), (frames + 4, 2))
    shake = np.stack([np.convolve(axis, np.ones(5) / 5, "valid") for axis in shake.T], axis=1)
    return np.clip(room + np.stack([turn, np.zeros(frames)], axis=1) + shake, 0, 2 * room)


def _draw_crowd(
    rng: np.random.Generator, backdrop: np.ndarray, light: figures.Light, horizon: float, tall: float
) -> np.ndarray:
    """Draws people far off on a backdrop, in place. Returns their outline [P, 2]."""
    owner = np.zeros(backdrop.shape[:2], np.int8)
    x, foot = rng.uniform(0.25, 0.75) * backdrop.shape[1], horizon + EYE * tall
    for _ in range(rng.integers(3, 7)):
        outfit, (pose, angles) = outfits.sample(rng), poses.sample(rng)
        body = outfits.dress(bodies.build(bodies.sample_shape(rng), angles, pose), outfit)
        body = bodies.place(body, bodies.turn(1, rng.normal(0, 40)), FAR_OFF, tall)
        picture = figures.paint(body, outfit, tall, light)
        person = scenes.Person(body, picture, (round(x), round(foot + _lowest(body))), tall)
        scenes.draw_person(rng, backdrop, owner, person, foot, 1)
        x += rng.uniform(0.15, 0.35) * tall
    return cv2.convexHull(cv2.findNonZero(owner.astype(np.uint8))).reshape(-1, 2).astype(np.float64)


def _lowest(body: bodies.Body) -> float:
    """Returns the height of the soles above the pelvis in pixels; it is negative."""
    return min(part.end[1] - max(part.radii) for part in body.parts)


def render(rng: np.random.Generator, street: Street) -> Iterator[Frame]:
    """Yields the frames of a video. Randomness is only in the grain of the photos."""
    height, width = street.size
    for number, corner in enumerate(street.camera):
        shift = np.array([[1, 0, corner[0]], [0, 1, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        photo = cv2.warpAffine(
            street.backdrop, shift, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        owner, people, numbers = np.zeros(street.size, np.int8), [], []
        for walker in sorted(range(len(street.walkers)), key=lambda each: -street.walkers[each].at(number)[1]):
            person = _person(street, walker, number)
            if person is not None:
                people.append(person)
                numbers.append(walker)
                foot = person.origin[1] - _lowest(person.body)
                scenes.draw_person(rng, photo, owner, person, foot, len(people))
        photo = scenery.expose(rng, photo, street.exposure)
        yield Frame(scenes.Scene(photo, people, owner), numbers, _regions(street, corner))


def _person(street: Street, number: int, frame: int) -> scenes.Person | None:
    """Returns a person as seen in a frame, or None for one out of sight."""
    walker, (height, width) = street.walkers[number], street.size
    x, z, phase = walker.at(frame)
    if z < NEAREST:
        return None
    tall = FOCAL * width / z
    corner = street.camera[frame]
    column = street.backdrop.shape[1] / 2 + x * tall - corner[0]
    if not -0.6 * tall < column < width + 0.6 * tall:
        return None
    row = street.backdrop.shape[0] / 2 + (HORIZON - 0.5) * height + EYE * tall - corner[1]
    body = outfits.dress(bodies.build(walker.shape, gait.walk(walker.style, phase)), walker.outfit)
    body = bodies.place(body, bodies.turn(1, 90 - walker.direction), z, tall)
    exact = np.array([column, row + _lowest(body)])
    origin = np.floor(exact)
    body = _shift(body, (exact - origin) * [1, -1])
    picture = figures.paint(body, walker.outfit, tall, street.light)
    return scenes.Person(body, picture, (int(origin[0]), int(origin[1])), tall)


def _shift(body: bodies.Body, by: np.ndarray) -> bodies.Body:
    """Returns a body in view space moved by [2] pixels, upwards and to the right."""
    offset = np.array([*by, 0.0])
    parts = [dataclasses.replace(part, start=part.start + offset, end=part.end + offset) for part in body.parts]
    return dataclasses.replace(body, joints={name: at + offset for name, at in body.joints.items()}, parts=parts)


def _regions(street: Street, corner: np.ndarray) -> list[np.ndarray]:
    """Returns the polygons of a frame, cut at its edges."""
    height, width = street.size
    if not len(street.crowd):
        return []
    edges = scenery.rectangle(0, 0, width - 1, height - 1)
    area, inside = cv2.intersectConvexConvex((street.crowd - corner).astype(np.float32), edges.astype(np.float32))
    return [inside.reshape(-1, 2)] if area > 1 else []
