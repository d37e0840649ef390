"""Writes videos of made-up walking people: ``python -m hrnet_jax.datasets.made_up.videos --out DIR``.

The directory is laid out like PoseTrack18. It gets photos, annotations with track ids, a detector's boxes and, on
request, videos. A sequence depends only on the seed, its split and its number. The files are identical for any
number of worker processes.
"""

import argparse
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import tqdm

from hrnet_jax import console
from hrnet_jax.datasets.made_up import clip, dataset, detector, streets, video_labels

SPLITS = {"train": "train", "val": "test"}  # with the ends of their sequences' names, as published
FIRST = {"train": 1, "val": 10_001}  # number of the first sequence
MPII = 10**10  # in ids of frames, for sequences of that origin
MAX_COUNT = 9999  # frames of a sequence, and sequences of a split: ids of frames have four digits for each
QUALITY = 92  # of JPEGs


@dataclasses.dataclass(frozen=True)
class Settings:
    """What sequences are like.

    Attributes:
      frames: in each sequence.
      size: height and width in pixels.
      people: in each frame, roughly.
      sparse: whether frames of val are labelled as those of PoseTrack, instead of all.
      detectors: shares of misses and false alarms, a file of detected boxes for each pair.
      with_videos: also write each sequence as .mp4.
      seed: not negative; other seeds give other people.
    """

    frames: int = 60
    size: tuple[int, int] = (240, 320)
    people: int = 6
    sparse: bool = False
    detectors: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.1, 0.1), (0.3, 0.3))
    with_videos: bool = False
    seed: int = 0


def write(
    root: str | os.PathLike,
    *,
    train: int = 10,
    val: int = 10,
    settings: Settings = Settings(),
    workers: int | None = None,
) -> pathlib.Path:
    """Writes sequences of two splits, laid out like PoseTrack18.

    Args:
      root: output directory. Files of an earlier call are replaced; other data sets are not.
      train: number of training sequences.
      val: number of validation sequences.
      settings: of all sequences.
      workers: number of processes. Default: one per core. `multiprocessing` needs a calling script that is
        importable without side effects.

    Returns:
      `root`. It holds ``annotations/SPLIT/SEQUENCE.json``, ``images/SPLIT/SEQUENCE/*.jpg``, on request
      ``videos/SPLIT/SEQUENCE.mp4``, and detected boxes in the files named by `detections_file`.

    Raises:
      ValueError: a number is out of range, or `root` holds annotations of another data set.
    """
    root, counts = pathlib.Path(root), {"train": train, "val": val}
    _check(counts, settings)
    files = [file for split in SPLITS for file in (root / "annotations" / split).glob("*.json")]
    dataset.check_ours(files)
    for file in files:
        file.unlink()
    for split, count in counts.items():
        processes = min(count, os.cpu_count() or 1 if workers is None else workers)
        with dataset.process_map(processes, 1) as map_sequences:
            made = map_sequences(functools.partial(_make_sequence, root, split, settings), range(count))
            boxes = [*tqdm.tqdm(made, f"made-up {split}", total=count, unit="sequence", mininterval=0.5)]
        for shares, found in zip(settings.detectors, zip(*boxes, strict=True), strict=False):
            dataset.write_json(detections_file(root, split, shares), [*itertools.chain(*found)])
    return root


def detections_file(root: pathlib.Path, split: str, shares: tuple[float, float]) -> pathlib.Path:
    """Returns the path of boxes with these shares of misses and false alarms. Without errors, it is mmpose's."""
    percents = "".join(f"_{100 * share:g}" for share in shares) if any(shares) else ""
    return root / "annotations" / f"posetrack18_{split}_human_detections{percents}.json"


def _check(counts: dict[str, int], settings: Settings) -> None:
    """Raises ValueError for numbers out of range."""
    height, width = settings.size
    limits = {name: (count, 0, MAX_COUNT) for name, count in counts.items()}
    limits |= {"frames": (settings.frames, 1, MAX_COUNT), "people": (settings.people, 1, 100)}
    limits |= {"height": (height, 64, 4096), "width": (width, 64, 4096), "seed": (settings.seed, 0, 2**63)}
    limits |= {
        f"detector {pair}": (share, 0, 1) for pair in settings.detectors for share in (min(pair), max(pair))
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"`{name}` (={value}) must be between {low} and {high}")


def _make_sequence(root: pathlib.Path, split: str, settings: Settings, number: int) -> list[list[dict[str, Any]]]:
    """Writes a sequence. Returns its detected boxes, a list for each of `settings.detectors`."""
    seeds, sequence = (settings.seed, [*SPLITS].index(split), number), FIRST[split] + number
    rng, name = np.random.default_rng(seeds), f"{sequence:06d}_mpii_{SPLITS[split]}"
    street = streets.sample(rng, settings.frames, settings.size, settings.people)
    is_labelled = video_labels.labelled_frames(settings.frames, settings.sparse and split == "val").tolist()
    images, annotations, detected = [], [], [[] for _ in settings.detectors]
    for row, frame in enumerate(streets.render(rng, street)):
        path, image_id = pathlib.PurePath("images", split, name, f"{row:06d}.jpg"), MPII + sequence * 10**4 + row
        _write_photo(root / path, frame.scene.photo)
        images.append(video_labels.image(path, image_id, settings.frames, is_labelled[row], frame.regions))
        annotations += video_labels.annotate(frame, image_id) if is_labelled[row] else []
        boxes = video_labels.boxes(frame.scene)
        for shares, found in zip(settings.detectors, detected, strict=True):
            found += detector.detect(boxes, image_id, settings.size, *shares, np.random.default_rng((*seeds, row)))
    if settings.with_videos:
        photos = [root / image["file_name"] for image in images]
        video = root / "videos" / split / f"{name}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        clip.save(video, (np.asarray(cv2.imread(os.fspath(photo))) for photo in photos), settings.size)
    content = video_labels.content(images, annotations, dataset.DESCRIPTION)
    dataset.write_json(root / "annotations" / split / f"{name}.json", content)
    return detected


def _write_photo(path: pathlib.Path, photo: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    path.write_bytes(jpeg.tobytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.datasets.made_up.videos",
        description="Videos of made-up walking people, laid out like PoseTrack18.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    usual = Settings()
    parser.add_argument("--out", required=True, help="output directory, laid out like PoseTrack18")
    parser.add_argument("--train", type=int, default=10, help="number of training sequences")
    parser.add_argument("--val", type=int, default=10, help="number of validation sequences")
    parser.add_argument("--frames", type=int, default=usual.frames, help="frames of each sequence")
    parser.add_argument(
        "--size", type=int, nargs=2, default=usual.size, metavar=("HEIGHT", "WIDTH"), help="in pixels"
    )
    parser.add_argument("--people", type=int, default=usual.people, help="in each frame, roughly")
    parser.add_argument(
        "--sparse", action="store_true", help="label frames of val as PoseTrack does, instead of all"
    )
    detectors_help = "a file of boxes with these shares of misses and false alarms; may be repeated"
    parser.add_argument(
        *("--detector",),
        type=float,
        nargs=2,
        action="append",
        metavar=("MISSES", "FALSE_ALARMS"),
        help=detectors_help,
    )
    parser.add_argument("--videos", action="store_true", help="also write each sequence as .mp4")
    parser.add_argument("--seed", type=int, default=usual.seed, help="other seeds give other people")
    args = parser.parse_args(arguments)
    detectors = tuple((misses, alarms) for misses, alarms in args.detector or usual.detectors)
    settings = Settings(args.frames, tuple(args.size), args.people, args.sparse, detectors, args.videos, args.seed)
    root = write(args.out, train=args.train, val=args.val, settings=settings)
    print(f"made-up videos: {args.train} + {args.val} sequences of {args.frames} frames in {root}")


if __name__ == "__main__":
    console.run(main)
