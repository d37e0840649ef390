"""A short video of a made-up person who moves from pose to pose."""

import os
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from hrnet_jax.datasets.made_up import bodies, figures, outfits, poses, scenery, scenes

RATE = 25  # frames per second
SIZE = 384, 288  # height and width of a frame: the person fills it
TALL = 260  # height of the standing person in pixels
FRAMES_PER_POSE = 20


def write(path: str | os.PathLike, *, num_poses: int = 4, seed: int = 0) -> None:
    """Writes a video in which a person goes through a number of poses, back to the first. Raises as `save`."""
    save(path, render(num_poses, seed), SIZE)


def save(path: str | os.PathLike, frames: Iterable[np.ndarray], size: tuple[int, int]) -> None:
    """Writes frames, [H, W, 3] uint8 BGR, as a video without sound. `size` is height and width.

    Raises ValueError if OpenCV cannot write it.
    """
    writer = cv2.VideoWriter(os.fspath(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, size[::-1])
    if not writer.isOpened():
        raise ValueError(f"{os.fspath(path)} cannot be written: is its directory there, is it named .mp4?")
    for frame in frames:
        writer.write(frame)
    writer.release()


def render(num_poses: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the frames, ``[H, W, 3]`` uint8 BGR."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    backdrop, light = scenery.backdrop(rng, height, width, 0.3 * height), scenes.sample_light(rng)
    shape, outfit, yaw = bodies.sample_shape(rng), outfits.sample(rng), rng.normal(0, 20)
    drawn = [poses.sample(rng)[1] for _ in range(num_poses)]
    for before, after in zip(drawn, [*drawn[1:], drawn[0]], strict=True):
        for part in (1 - np.cos(np.linspace(0, np.pi, FRAMES_PER_POSE, endpoint=False))) / 2:
            angles = {name: (1 - part) * before[name] + part * after[name] for name in before}
            body = outfits.dress(bodies.build(shape, angles), outfit)
            body = bodies.place(body, bodies.turn(1, yaw), np.inf, TALL)
            yield _draw(backdrop, figures.paint(body, outfit, TALL, light), body)


def _draw(backdrop: np.ndarray, picture: figures.Picture, body: bodies.Body) -> np.ndarray:
    """Draws a person on the ground of a backdrop."""
    lowest = min(part.end[1] - max(part.radii) for part in body.parts)
    person = scenes.Person(body, picture, (SIZE[1] // 2, round(0.92 * SIZE[0] + lowest)), TALL)
    photo, owner = backdrop.copy(), np.zeros(SIZE, np.int8)
    scenes.draw_person(np.random.default_rng(0), photo, owner, person, 0.92 * SIZE[0], 1)
    return photo
