"""The speed of the input: people per second that one thread of one process turns into training batches.

The reference does what the original does for each person: read and decode the photo's file, mirror it, warp,
normalise in float32, draw the heatmaps, joint by joint. Both draw the same people's augmentations by chance, each
for itself; when crops are compared, both are given the same draws. Files are read again and again and so come out
of the system's memory, for both.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from hrnet_jax import augment, geometry, pipeline
from hrnet_jax.benchmark import race
from hrnet_jax.datasets import photo_stores, records
from hrnet_jax.models import layers

ORIGINAL = "the original's way"
MOST_PEOPLE = 512  # of a split, drawn by chance, and their photos only


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be done: crops of the people of a split.

    Attributes:
      split: with its photos decoded.
      policy: how to augment.
      image_size: (height, width) of the crops.
      sigma: of the heatmaps' Gaussians, heatmap pixels.
      batch_size: people.
    """

    split: records.Split
    policy: augment.Policy
    image_size: tuple[int, int]
    sigma: float
    batch_size: int


def measure(task: Task, rounds: int, batches: int = 4) -> dict[str, Any]:
    """Measures ours, from encoded and from decoded photos, against the original's way.

    Args:
      task: what to do; its split must have decoded photos.
      rounds: of each contender.
      batches: in a round.

    Returns:
      ``race``; ``stages``, seconds a person of each of ours; and ``pixels``, how many of the crops' pixels differ
      between ours and the original's way (``different``, ``by`` how many grey levels) and how many were compared.

    Raises:
      ValueError: the split's photos are not decoded.
    """
    if task.split.decoded is None:
        raise ValueError(
            f"split {task.split.name!r} has no decoded photos to compare with: prepare it with `--decoded`"
        )
    task = dataclasses.replace(task, split=_sampled(task.split))
    with contextlib.ExitStack() as stack:
        original = stack.enter_context(Original.opened(task))
        encoded = dataclasses.replace(task.split, decoded=None)
        contenders = {
            f"ours, {name}": _loader(stack, dataclasses.replace(task, split=split), batches)
            for name, split in (("decoded photos", task.split), ("JPEG records", encoded))
        }
        contenders[ORIGINAL] = lambda: sum(len(original.batch()["image"]) for _ in range(batches))
        title = f"input, one thread, batch {task.batch_size}, {task.image_size[0]}x{task.image_size[1]}, augmented"
        result = race.run(title, "people", contenders, reference=ORIGINAL, rounds=rounds)
        pixels = _differences(task, original)
    stages = {name: _stages(dataclasses.replace(task, split=split)) for name, split in
              (("decoded photos", task.split), ("JPEG records", encoded))}  # fmt: skip
    return {"race": result, "stages": stages, "pixels": pixels}


def _sampled(split: records.Split) -> records.Split:
    """Returns a split with no more than `MOST_PEOPLE`."""
    rows = np.sort(np.random.default_rng(0).permutation(len(split.people))[:MOST_PEOPLE])
    chosen = {name: column[rows] for name, column in vars(split.people).items()}
    return dataclasses.replace(split, people=records.People(**chosen))


def _loader(stack: contextlib.ExitStack, task: Task, batches: int) -> Callable[[], int]:
    """Returns what loads some batches as training does, in the caller's thread."""
    loader = pipeline.train_batches(
        task.split,
        image_size=task.image_size,
        batch_size=task.batch_size,
        seed=0,
        policy=task.policy,
        threads=0,
    )
    stack.enter_context(contextlib.closing(loader))
    return lambda: sum(len(next(loader)["image"]) for _ in range(batches))


@dataclasses.dataclass(frozen=True)
class Original:
    """The original's way of making batches, over files of its own.

    Attributes:
      task: what to do.
      directory: holds the photos, named by their rows.
      rng: decides order and augmentation.
      people: their rows, without end.
    """

    task: Task
    directory: pathlib.Path
    rng: np.random.Generator
    people: Iterator[int]

    @classmethod
    @contextlib.contextmanager
    def opened(cls, task: Task) -> Iterator["Original"]:
        """Writes the photos as files and shuffles the people."""
        rng, split = np.random.default_rng(0), task.split
        with tempfile.TemporaryDirectory() as folder:
            for row in np.unique(split.people.photo_index).tolist():
                pathlib.Path(folder, str(row)).write_bytes(split.photos[row]["image"])
            yield cls(task, pathlib.Path(folder), rng, _shuffled(len(split.people), rng))

    def batch(self) -> dict[str, np.ndarray]:
        """Returns the next batch: images, targets and their weights, channels first."""
        rows = [self.person(next(self.people)) for _ in range(self.task.batch_size)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def person(self, index: int) -> dict[str, np.ndarray]:
        """Returns a row of a batch, augmented by chance."""
        people, skeleton = self.task.split.people, self.task.split.skeleton
        draw = augment.sample(self.rng, people.visible[index], self.task.policy, skeleton)
        crop, joints, visible = self.crop(index, draw)
        pixels = crop.transpose(2, 0, 1).astype(np.float32) / 255
        mean, deviation = (np.reshape(x, (3, 1, 1)) for x in (layers.IMAGENET_MEAN, layers.IMAGENET_STD))
        targets, weights = self.targets(joints, visible)
        return {"image": (pixels - mean) / deviation, "targets": targets, "weights": weights}

    def crop(self, index: int, draw: augment.Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the crop, and its joints and which of them are visible."""
        people, (height, width) = self.task.split.people, self.task.image_size
        path = self.directory / str(people.photo_index[index])
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.cvtColor(np.asarray(cv2.imread(str(path), flags)), cv2.COLOR_BGR2RGB)
        view = augment.apply(
            draw,
            people.joints[index],
            people.visible[index],
            people.box[index],
            photo_width=photo.shape[1],
            aspect_ratio=width / height,
            skeleton=self.task.split.skeleton,
            precision=records.PRECISION[records.dataset(self.task.split.summary)],
        )
        matrix = geometry.photo_to_crop(view.center, view.scale, view.rotation, self.task.image_size)
        photo = photo[:, ::-1, :] if view.flip else photo
        crop = cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR)
        joints = view.joints.copy()
        for number, seen in enumerate(view.visible):
            if seen > 0:
                joints[number] = (matrix @ np.append(joints[number], 1.0))[:2]
        return crop, joints, view.visible

    def targets(self, joints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draws [K, h, w] heatmaps, a cut-off Gaussian for each joint."""
        height, width = (side // layers.STRIDE for side in self.task.image_size)
        reach = int(3 * self.task.sigma)
        offset = np.arange(2 * reach + 1, dtype=np.float32) - reach
        targets = np.zeros((len(joints), height, width), np.float32)
        weights = visible.astype(np.float32)
        for number, joint in enumerate(joints):
            x, y = (int(value / layers.STRIDE + 0.5) for value in joint)
            left, top, right, bottom = x - reach, y - reach, x + reach + 1, y + reach + 1
            if left >= width or top >= height or right < 0 or bottom < 0:
                weights[number] = 0
            if weights[number] <= 0.5:
                continue
            gaussian = np.exp(-(offset**2 + offset[:, None] ** 2) / (2 * self.task.sigma**2))
            rows, columns = slice(max(0, top), min(bottom, height)), slice(max(0, left), min(right, width))
            targets[number][rows, columns] = gaussian[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
        return targets, weights


def _shuffled(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Yields everyone in an order of its own, epoch after epoch."""
    while True:
        yield from rng.permutation(count).tolist()


def _differences(task: Task, original: Original, least: int = 258) -> dict[str, int]:
    """Compares the crops of everyone, augmented in a few ways, pixel by pixel."""
    source = records.PersonSource(task.split.photos, task.split.people, task.split.decoded)
    rng, cutter = np.random.default_rng(1), pipeline.cutter(task.split, task.image_size)
    compared = different = by = 0
    for index in range(max(len(source), least)):
        index %= len(source)
        person = source[index]
        draw = augment.sample(rng, person["visible"], task.policy, task.split.skeleton)
        ours = cutter(person | {"draw": draw, "valid": 1})["image"].astype(int)
        apart = np.abs(ours - original.crop(index, draw)[0]).max(axis=-1)
        compared, different, by = compared + apart.size, different + int((apart > 0).sum()), max(by, apart.max())
    return {"compared": compared, "different": different, "by": int(by)}


def _stages(task: Task) -> dict[str, float]:
    """Returns seconds a person of each of our stages, and of the whole as the loader runs it."""
    split, rng = task.split, np.random.default_rng(2)
    seconds: dict[str, float] = {}

    def timed(stage: str, function: Callable, *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **options)
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
        return result

    crops, count, aspect_ratio = [], 2 * len(split.people), task.image_size[1] / task.image_size[0]
    for index in range(count):
        index %= len(split.people)
        photo = _read(split, int(split.people.photo_index[index]), timed)
        person = {name: getattr(split.people, name)[index] for name in ("joints", "visible", "box")}
        draw = timed("draw", augment.sample, rng, person["visible"], task.policy, split.skeleton)
        view = timed("joints and box", augment.apply, draw, **person, photo_width=photo.shape[1],
                     aspect_ratio=aspect_ratio, skeleton=split.skeleton)  # fmt: skip
        matrix = timed("matrix", geometry.photo_to_crop, view.center, view.scale, view.rotation, task.image_size)
        crops.append(timed("mirror and warp", geometry.warp, photo, matrix, task.image_size, mirrored=view.flip))
        if len(crops) == task.batch_size:
            timed("put together", np.stack, crops)
            crops.clear()
    with contextlib.ExitStack() as stack:
        load = _loader(stack, task, batches=1)
        load()
        whole = timed("whole", lambda: sum(load() for _ in range(-(-count // task.batch_size))))
    parts = {stage: value / count for stage, value in seconds.items() if stage != "whole"}
    total = seconds["whole"] / whole
    return parts | {"grain and the rest": total - sum(parts.values()), "whole": total}


def _read(split: records.Split, row: int, timed: Callable) -> np.ndarray:
    if split.decoded is not None:
        return timed("read", split.decoded.__getitem__, row)
    record = timed("read", split.photos.__getitem__, row)
    return timed("decode", photo_stores.decode, record["image"], photo_id=int(record["photo_id"]))


def lines(measured: dict[str, Any]) -> str:
    """Returns what `measure` found, for the terminal."""
    pixels = measured["pixels"]
    text = [race.table(measured["race"])]
    text.append(
        f"  crops against {ORIGINAL}: {pixels['different']:,} of {pixels['compared']:,} pixels differ"
        + (f", by up to {pixels['by']} grey levels" if pixels["different"] else "")
    )
    for name, stages in measured["stages"].items():
        parts = [f"{stage} {value / stages['whole']:.0%}" for stage, value in stages.items() if stage != "whole"]
        text.append(f"  {name}, {1e6 * stages['whole']:,.0f} us a person: {', '.join(parts)}")
    return "\n".join(text)
