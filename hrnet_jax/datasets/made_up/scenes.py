"""Composition of one made-up photo from background, people and objects."""

import dataclasses

import numpy as np

from hrnet_jax.datasets.made_up import bodies, figures, outfits, poses, scenery


@dataclasses.dataclass(frozen=True)
class Person:
    """One person in a photo. Body and picture are in view space."""

    body: bodies.Body
    picture: figures.Picture
    origin: tuple[int, int]  # (x, y) of the origin of view space in the photo
    height: float  # of the standing person in pixels

    @property
    def corner(self) -> tuple[int, int]:
        """(x, y) of the picture's top left pixel in the photo."""
        return self.picture.corner[0] + self.origin[0], self.picture.corner[1] + self.origin[1]

    def joint(self, name: str) -> np.ndarray:
        """Returns the [3] position of a joint: x and y in photo pixels, z towards the viewer."""
        x, y, z = self.body.joints[name]
        return np.array([x + self.origin[0], self.origin[1] - y, z])

    def surface(self, column: int, row: int) -> float:
        """Returns z of the surface at a photo pixel. Beside the outline: the lowest z among its neighbours."""
        x, y = column - self.corner[0], row - self.corner[1]
        near = self.picture.depth[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        here = self.picture.depth[y : y + 1, x : x + 1]
        solid = here if (here > figures.BACKGROUND).any() else near[near > figures.BACKGROUND]
        return float(solid.min(initial=1e9))


@dataclasses.dataclass(frozen=True)
class Scene:
    """A photo with its people."""

    photo: np.ndarray  # [h, w, 3] uint8 BGR
    people: list[Person]  # from far to near
    owner: np.ndarray  # [h, w] int8: n for person n - 1, 0 for background, -1 for an object before the people


def compose(rng: np.random.Generator) -> Scene:
    """Draws a photo with one to four people."""
    width = int(rng.integers(20, 31)) * 16
    height = int(width * rng.uniform(0.66, 0.8))
    if rng.random() < 0.25:
        width, height = height, width
    horizon, eye = rng.uniform(0.15, 0.4) * height, rng.uniform(0.75, 1.05)
    photo, light = scenery.backdrop(rng, height, width, horizon), sample_light(rng)
    owner = np.zeros((height, width), np.int8)
    people: list[Person] = []
    x, pitch = rng.uniform(0.1, 0.9) * width, rng.uniform(-3, 14)
    for tall in _sample_heights(rng, (height - horizon) / eye):
        person = _make_person(rng, tall, pitch, light)
        foot = horizon + eye * tall + rng.normal(0, 0.02) * height
        lowest = min(part.end[1] - max(part.radii) for part in person.body.parts)
        people.append(dataclasses.replace(person, origin=(round(x), round(foot + lowest))))
        draw_person(rng, photo, owner, people[-1], foot, len(people))
        near = rng.random() < 0.6
        x = x + rng.choice([-1, 1]) * tall * rng.uniform(0.25, 0.55) if near else rng.uniform(0.05, 0.95) * width
        x = float(np.clip(x, 0.0, width))
    if rng.random() < 0.15:
        _occlude(rng, photo, owner, people)
    return Scene(scenery.expose(rng, photo, scenery.sample_exposure(rng)), people, owner)


def sample_light(rng: np.random.Generator) -> figures.Light:
    """Draws where the light comes from, and its shadows of clouds."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(0.2, 1.0), rng.uniform(0.3, 1.0)])
    direction /= np.linalg.norm(direction)
    return figures.Light(direction, rng.uniform(0.35, 0.7), scenery.clouds(rng, 128, 128, 24))


def _sample_heights(rng: np.random.Generator, room: float) -> np.ndarray:
    """Draws the heights of one to four people in pixels, sorted; a person of height `room` just fits."""
    count = rng.choice(4, p=[0.68, 0.23, 0.07, 0.02]) + 1
    tallest = room if rng.random() < 0.9 else 400.0
    middle = 60.0 * (tallest / 60.0) ** (rng.random() ** 0.4)
    return np.sort(np.clip(middle * rng.uniform(0.75, 1.25, count), 60.0, 400.0))


def _make_person(rng: np.random.Generator, height: float, pitch: float, light: figures.Light) -> Person:
    """Draws and renders a person `height` pixels tall, seen by a camera that looks `pitch` degrees down."""
    pose, angles = poses.sample(rng)
    outfit = outfits.sample(rng)
    body = outfits.dress(bodies.build(bodies.sample_shape(rng), angles, pose), outfit)
    yaw = rng.normal(0, 25) if rng.random() < 0.88 else rng.uniform(-180, 180)
    distance = np.inf if rng.random() < 0.3 else rng.uniform(2.5, 7.0)
    body = bodies.place(body, bodies.turn(0, pitch) @ bodies.turn(1, yaw), distance, height)
    picture = figures.paint(body, outfit, height, light, samples=2 if height < 130 else 1)
    return Person(body, picture, (0, 0), height)


def draw_person(
    rng: np.random.Generator, photo: np.ndarray, owner: np.ndarray, person: Person, foot: float, number: int
) -> None:
    """Draws a person in place, with a shadow, and with a stool under a sitting person."""
    height, width = owner.shape
    x, size = person.origin[0], person.height
    scenery.shadow(photo, x, foot - 0.02 * size, 0.35 * size)
    if person.body.pose == "sitting":
        seat = person.joint("left_hip")[1] + 0.045 * size
        scenery.draw(photo, scenery.stool(rng, x - 0.14 * size, seat, 0.28 * size, foot - seat))
    left, top = person.corner
    rows, columns = person.picture.alpha.shape
    y0, y1, x0, x1 = max(0, top), min(height, top + rows), max(0, left), min(width, left + columns)
    if y0 >= y1 or x0 >= x1:
        return
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = person.picture.alpha[inside]
    ground = photo[y0:y1, x0:x1]
    ground[:] = ground + alpha[..., None] * (person.picture.colour[inside] * 255 - ground) + 0.5
    owner[y0:y1, x0:x1][alpha > 0.5] = number


def _occlude(rng: np.random.Generator, photo: np.ndarray, owner: np.ndarray, people: list[Person]) -> None:
    """Draws an object before the lower body of one of the people, in place."""
    person = people[rng.integers(len(people))]
    x = person.origin[0] + rng.normal(0, 0.2) * person.height
    foot = person.origin[1] + rng.uniform(0.5, 0.7) * person.height
    mask = np.zeros(owner.shape, np.uint8)
    scenery.draw(photo, scenery.standing(rng, x, foot, person.height * rng.uniform(0.4, 0.9)), mask)
    owner[mask > 0] = -1
