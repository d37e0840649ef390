"""Speed of the input pipeline on one thread, in people per second, against the original's.

Contenders draw the augmentations of the same people independently. To compare crops, both get the same draws.
Files are read repeatedly, so all contenders find them in the system's page cache.
"""

import collections
import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import augment, geometry, pipeline
from hrnet_jax.benchmark import plain, race, workload
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets import records

ORIGINAL = "the original's way"
MAX_PEOPLE = 512  # a random sample bounds the number of photos written to files
MIN_CROPS = 258  # compared pixel by pixel


def measure(config: ConfigDict, split: records.Split, rounds: int, batches: int = 4) -> dict[str, Any]:
    """Measures our pipeline, from encoded and from decoded photos, against the original's.

    Returns the ``race``, the ``stages`` of our two pipelines in seconds per person, and ``pixels``: a comparison
    of our crops with the original's by the numbers of pixels ``compared`` and ``different``, and the
    ``max_difference`` in grey levels. Raises ValueError if the split has no decoded photos.
    """
    if split.decoded is None:
        raise ValueError(
            f"split {split.name!r} has no decoded photos to compare with: prepare it with `--decoded`"
        )
    split = _sample(split)
    splits = {"decoded photos": split, "JPEG records": dataclasses.replace(split, decoded=None)}
    height, width = config.image_size
    title = f"input, one thread, batch {config.batch_size}, {height}x{width}, augmented"
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        original = plain.OriginalLoader(config, split, directory)
        contenders = {f"ours, {name}": _ours(stack, config, one, batches) for name, one in splits.items()}
        contenders[ORIGINAL] = lambda: sum(len(original.batch()["image"]) for _ in range(batches))
        result = race.run(title, "people", contenders, reference=ORIGINAL, rounds=rounds)
        pixels = _compare_crops(original)
    stages = {name: _stages(config, one) for name, one in splits.items()}
    return {"race": result, "stages": stages, "pixels": pixels}


def _sample(split: records.Split) -> records.Split:
    """Returns a split with a random sample of at most `MAX_PEOPLE` people."""
    rows = np.sort(np.random.default_rng(0).permutation(len(split.people))[:MAX_PEOPLE])
    columns = {name: column[rows] for name, column in vars(split.people).items()}
    return dataclasses.replace(split, people=records.People(**columns))


def _ours(stack: contextlib.ExitStack, config: ConfigDict, split: records.Split, batches: int) -> race.Contender:
    """Returns a contender that loads batches as in training, in the calling thread."""
    loader = workload.train_loader(config, split, seed=0, policy=augment.Policy(**config.augment), threads=0)
    stack.enter_context(contextlib.closing(loader))
    return lambda: sum(len(next(loader)["image"]) for _ in range(batches))


def _compare_crops(original: plain.OriginalLoader) -> dict[str, int]:
    """Compares our augmented crops of all people with the original's, pixel by pixel."""
    split = original.split
    source = records.PersonSource(split.photos, split.people, split.decoded)
    rng, cutter = np.random.default_rng(1), pipeline.cutter(split, tuple(original.config.image_size))
    compared, different, largest = 0, 0, 0
    for number in range(max(len(source), MIN_CROPS)):
        index = number % len(source)
        person = source[index]
        draw = augment.sample(rng, person["visible"], original.policy, split.skeleton)
        ours = cutter(person | {"draw": draw, "valid": 1})["image"].astype(int)
        difference = np.abs(ours - original.crop(index, draw)[0]).max(axis=-1)
        compared, different = compared + difference.size, different + int((difference > 0).sum())
        largest = max(largest, int(difference.max()))
    return {"compared": compared, "different": different, "max_difference": largest}


def _stages(config: ConfigDict, split: records.Split) -> dict[str, float]:
    """Returns the seconds per person of each stage of our pipeline, and of the ``whole`` as run by the loader."""
    count = 2 * len(split.people)
    spent: dict[str, float] = collections.defaultdict(float)
    rng, crops = np.random.default_rng(2), []

    def timed(stage: str, function: Callable, *args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **options)
        spent[stage] += time.perf_counter() - start
        return result

    for number in range(count):
        crops.append(_timed_crop(config, split, number % len(split.people), rng, timed))
        if len(crops) == config.batch_size:
            timed("put together", np.stack, crops)
            crops.clear()
    parts = {stage: seconds / count for stage, seconds in spent.items()}
    with contextlib.ExitStack() as stack:
        load = _ours(stack, config, split, batches=1)
        load()
        people = timed("whole", lambda: sum(load() for _ in range(-(-count // config.batch_size))))
    whole = spent["whole"] / people
    return parts | {"grain and the rest": whole - sum(parts.values()), "whole": whole}


def _timed_crop(
    config: ConfigDict, split: records.Split, index: int, rng: np.random.Generator, timed: Callable
) -> np.ndarray:
    """Cuts out the augmented crop of one person and times the stages."""
    policy, size = augment.Policy(**config.augment), tuple(config.image_size)
    row = int(split.people.photo_index[index])
    if split.decoded is not None:
        photo = timed("read", split.decoded.__getitem__, row)
    else:
        record = timed("read", split.photos.__getitem__, row)
        photo = timed("decode", photo_records.decode, record["image"], photo_id=int(record["photo_id"]))
    person = {name: getattr(split.people, name)[index] for name in ("joints", "visible", "box")}
    draw = timed("draw", augment.sample, rng, person["visible"], policy, split.skeleton)
    options = {"photo_width": photo.shape[1], "aspect_ratio": size[1] / size[0], "skeleton": split.skeleton}
    view = timed("joints and box", augment.apply, draw, **person, **options)
    matrix = timed("matrix", geometry.photo_to_crop, view.center, view.scale, view.rotation, size)
    return timed("mirror and warp", geometry.warp, photo, matrix, size, mirrored=view.flip)


def summary(measured: dict[str, Any]) -> str:
    """Formats the result of `measure` for the terminal."""
    pixels = measured["pixels"]
    comparison = f"  crops against {ORIGINAL}: {pixels['different']:,} of {pixels['compared']:,} pixels differ"
    if pixels["different"]:
        comparison += f", by up to {pixels['max_difference']} grey levels"
    lines = [race.table(measured["race"]), comparison]
    for name, stages in measured["stages"].items():
        parts = [f"{stage} {value / stages['whole']:.0%}" for stage, value in stages.items() if stage != "whole"]
        lines.append(f"  {name}, {1e6 * stages['whole']:,.0f} us a person: {', '.join(parts)}")
    return "\n".join(lines)
