"""Time of following twenty people through a video, by stage."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import geometry
from hrnet_jax.benchmark import workload
from hrnet_jax.datasets.made_up import scenes
from hrnet_jax.track.sequences import SIGMAS
from hrnet_jax.tracking import candidates, flow, memory, shots, tracker
from hrnet_jax.tracking.candidates import Candidates
from hrnet_jax.tracking.settings import PRESETS, Settings

PEOPLE = 20
SIZE = 720, 1280  # height and width of the photos
TALL = 150  # pixels
RATE = 25  # frames per second
REPEATS = 10  # of stages that take a few milliseconds, in each round
FRAMES = 40  # before the measured one: the memory is full
NETWORK = "network"
WHOLE = "whole step"


def measure(config: ConfigDict, rounds: int) -> dict[str, Any]:
    """Returns milliseconds of processor time a frame by stage: of the tracker by settings, and of what all share.

    The network is that of the configuration, with random weights and its flip test.
    """
    photo = cv2.resize(scenes.compose(np.random.default_rng(0)).photo, SIZE[::-1])
    later = np.roll(photo, (2, 5), axis=(0, 1))
    boxes = walk(FRAMES)[0]
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    size = tuple(config.image_size)
    shared = {
        "cut and camera": lambda: shots.compare(photo, later),
        "optical flow": lambda: flow.dis(photo, later),
        "crops": lambda: [geometry.crop(photo, box, size) for box in sides],
        NETWORK: workload.predict(workload.with_batch_size(config, PEOPLE)),
    }
    stages = {name: _stages(PRESETS[name]) for name in ("paper", "ours")}
    return {
        "network": workload.title(config, f"{PEOPLE} people"),
        "shared": {name: _milliseconds(stage, rounds) for name, stage in shared.items()},
        **{
            name: {stage: _milliseconds(run, REPEATS * rounds) for stage, run in of.items()}
            for name, of in stages.items()
        },
    }


def walk(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes [N, 4] and poses [N, K, 3] of people who walk slowly, in a frame."""
    rng = np.random.default_rng(1)
    column, row = np.arange(PEOPLE) % 5, np.arange(PEOPLE) // 5
    places = np.stack([130 + 250 * column, 90 + 175 * row], axis=1)
    speeds = rng.uniform(-1, 1, (PEOPLE, 2)) * (1, 0.1)
    shape = rng.uniform(-0.5, 0.5, (PEOPLE, len(SIGMAS), 2)) * (0.4 * TALL, TALL)
    joints = (places + number * speeds)[:, None] + shape + np.random.default_rng(number).normal(0, 2, shape.shape)
    poses = np.concatenate([joints, np.full((*shape.shape[:2], 1), 0.8)], axis=-1)
    return np.concatenate([joints.min(axis=1) - 10, joints.max(axis=1) + 10], axis=1), poses


def _frame(number: int, still: np.ndarray) -> tuple[tracker.Frame, np.ndarray]:
    boxes, poses = walk(number)
    return tracker.Frame(number / RATE, SIZE, boxes, np.full(PEOPLE, 0.9), flow=still), poses


def _stages(settings: Settings) -> dict[str, Callable[[], Any]]:
    """Returns what a step of the tracker does, by stage, and the whole step."""
    state, still = memory.start(len(SIGMAS)), np.zeros((*SIZE, 2), np.float32)
    for number in range(FRAMES):
        frame, poses = _frame(number, still)
        state, _ = tracker.step(state, frame, _known(poses), settings, SIGMAS)
    frame, poses = _frame(FRAMES, still)
    shift = np.zeros(2)
    found = Candidates(frame.boxes, frame.scores, np.full(PEOPLE, FRAMES), frame.scores)
    table = tracker.compare(state.poses, poses, settings, SIGMAS)
    link = tracker.LINKS[settings.assignment]

    def propose() -> Candidates:
        proposed = candidates.propose(state, frame.time, SIZE, shift, still, settings)
        return candidates.unify(found, proposed, settings)

    return {
        "boxes": propose,
        "duplicate poses": lambda: tracker.select_poses(poses, found, settings, SIGMAS),
        "moving the remembered": lambda: memory.moved_poses(state, settings.motion, frame.time, shift, still),
        "similarity": lambda: tracker.compare(state.poses, poses, settings, SIGMAS),
        "linking": lambda: link([table], [state.ids], PEOPLE, settings.min_similarity),
        WHOLE: lambda: tracker.step(state, frame, _known(poses), settings, SIGMAS),
    }


def _known(poses: np.ndarray) -> tracker.Estimate:
    """Returns an estimator that takes no time: the pose in the first box is the first one, and so on."""
    return lambda boxes: np.resize(poses, (len(boxes), *poses.shape[1:]))


def _milliseconds(run: Callable[[], Any], rounds: int) -> float:
    """Returns the median processor time of a call, of all threads together, after one that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return 1e3 * float(np.median(seconds[1:]))


def table(measured: Mapping[str, Any]) -> str:
    """Formats the result of `measure` for the terminal."""
    lines = [
        f"{PEOPLE} people in {SIZE[1]}x{SIZE[0]}, milliseconds of processor time a frame;"
        f" network: {measured['network']}"
    ]
    for part in ("shared", "paper", "ours"):
        lines += [f"  {part}"] + [f"    {stage:<24}{value:10.2f}" for stage, value in measured[part].items()]
    return "\n".join(lines)
