"""People who walk through made-up frames, where a detector finds them by the number of the frame."""

import pathlib
import re

import cv2
import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.predict import boxes, job, sources, video
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.network import Network
from hrnet_jax.predict.options import Options
from hrnet_jax.predict.track_options import TrackOptions

CROP, SIZE = (64, 48), (96, 200)  # height, width
RATE, FRAMES = 10, 16
STARTS = {"left": (10, 20, 2.0), "right": (150, 24, -2.0)}  # x, y, pixels per frame


def walkers(frame: int, absent: tuple[int, ...] = ()) -> boxes.Found:
    """Returns the boxes of two people who walk towards each other at different heights of the photo."""
    found = [[x + speed * frame, y, 18, 48] for x, y, speed in STARTS.values()]
    kept = [row for row in range(len(found)) if row not in absent]
    return np.array(found, np.float64)[kept].reshape(-1, 4), np.array([0.9, 0.8])[kept]


def find(name: str, photo: np.ndarray) -> boxes.Found:
    """Finds the walkers by the number at the end of a frame's name."""
    del photo
    return walkers(number(name))


def number(name: str) -> int:
    return int(re.findall(r"\d+", pathlib.PurePath(name).stem)[-1])


def estimate(images: np.ndarray, photo_to_crop: np.ndarray) -> tuple[np.ndarray, ...]:
    """Predicts joints at fixed places of the bright part of each crop, in the photo; without one, of low score."""
    count, joints = len(images), skeletons.COCO.num_joints
    k = np.arange(joints)
    shares = np.stack([0.1 + 0.4 * (k % 3), 0.05 + 0.9 * k / (joints - 1)], axis=-1)
    bright = images[..., 0] > 160
    places = np.array([low + shares * (high - low) for low, high in map(_extent, bright)])
    scale, shift = photo_to_crop[:, None, [0, 1], [0, 1]], photo_to_crop[:, None, :, 2]
    heatmaps = np.zeros((count, CROP[0] // 4, CROP[1] // 4, joints), np.float32)
    scores = np.where(bright.any(axis=(1, 2)), 0.9, 0.05)[:, None] * np.ones(joints)
    return ((places - shift) / scale).astype(np.float32), scores.astype(np.float32), heatmaps


def _extent(bright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of what is bright in a crop, else of all of it."""
    rows, columns = np.nonzero(bright if bright.any() else np.ones_like(bright))
    return np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()])


def predictor(find_boxes: boxes.Finder = find) -> BoxPredictor:
    network = Network(estimate, CROP, skeletons.COCO)
    return BoxPredictor(network=network, find_boxes=find_boxes, batch_size=4, threads=0)


def photo(frame: int) -> np.ndarray:
    """A frame: a pattern with the walkers as bright boxes."""
    height, width = SIZE
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([across % 64 + 40, down % 64 + 40, (across + down) % 64 + 40], axis=-1).astype(np.uint8)
    for x, y, w, h in walkers(frame)[0].astype(int).tolist():
        cv2.rectangle(picture, (x, y), (x + w, y + h), (220, 200, 180), cv2.FILLED)
    return picture


def write_video(path: pathlib.Path, frames: int = FRAMES) -> pathlib.Path:
    with video.Writer(path, RATE) as writer:
        for frame in range(frames):
            writer.write(photo(frame), frame / RATE)
    return path


def write_folder(folder: pathlib.Path, frames: range | list[int] = range(FRAMES)) -> pathlib.Path:
    folder.mkdir(parents=True)
    for frame in frames:
        cv2.imwrite(str(folder / f"{frame:06d}.jpg"), photo(frame)[..., ::-1])
    return folder


def follow(source: pathlib.Path, out: pathlib.Path, find_boxes: boxes.Finder = find, **options) -> int:
    """Follows people through a video or folder, and returns the exit status."""
    track = options.pop("track", TrackOptions(frame_rate=RATE))
    given = Options(**{"out": out, "write": ("json",), "track": track, **options})
    return job.run(predictor(find_boxes), sources.find([str(source)]), given, {})
