"""Speed of COCO's evaluation, from predictions to the ten metrics, against the original's Python."""

import concurrent.futures
import cProfile
import functools
import json
import multiprocessing
import pathlib
import pstats
import tempfile
from collections.abc import Callable

import numpy as np

from hrnet_jax.benchmark import plain, race
from hrnet_jax.datasets.made_up import detections as made_up_detections
from hrnet_jax.evaluation import average_precision, coco, ground_truth, matching, oks

Predictions = made_up_detections.Problem
IMAGE_SIZE = (256, 192)
SKELETON = made_up_detections.SKELETON
ORIGINAL = "the original's Python"
# Predictions and annotations, by default as many as for COCO's val2017.
made_up = functools.partial(made_up_detections.make, photos=5000, detections=104_125)
# One function per stage, in the order of execution. The remaining time is bookkeeping.
STAGES: dict[str, Callable] = {
    "annotations": ground_truth.load,
    "rescoring": oks.rescore,
    "areas of the boxes": coco.padded_areas,
    "suppression": oks.suppress,
    "list of results": coco.listed,
    "results as arrays": coco.by_category,
    "OKS with the annotations": matching.similarities,
    "matching": matching.match,
    "precision and recall": average_precision.curves,
}


def ours(predictions: Predictions, annotations: pathlib.Path) -> list[float]:
    """Returns the ten metrics. Reads the annotation file anew."""
    ground_truth.forget()
    people, joints, scores = predictions.people, predictions.joints, predictions.joint_scores
    person = coco.person_category(annotations)
    results = coco.results(joints, scores, people, IMAGE_SIZE, SKELETON, category_id=person)
    return list(coco.average_precision(results, annotations, SKELETON).values())


def original(predictions: Predictions, annotations: pathlib.Path, areas: np.ndarray) -> list[float]:
    """Returns the ten metrics as the original computes them, given the [N] areas of the crops in square pixels."""
    people, joints, scores = predictions.people, predictions.joints, predictions.joint_scores
    sigmas = np.array(SKELETON.sigmas)
    photos = plain.rescore(joints, scores, people.photo_id, people.score, areas)
    kept = [person for group in photos.values() for person in plain.suppress(group, sigmas)]
    return plain.average_precision(plain.to_results(kept), annotations, sigmas)


def run(predictions: Predictions, *, rounds: int) -> race.Race:
    """Runs a race of our evaluation against the original's. Raises RuntimeError if their metrics differ at all."""
    areas = coco.padded_areas(predictions.people.box, IMAGE_SIZE)  # the original has them from loading the crops
    metrics: dict[str, list[float]] = {}

    def turn(name: str, evaluate: Callable[[], list[float]]) -> int:
        metrics[name] = evaluate()
        return len(predictions.people)

    with tempfile.TemporaryDirectory() as directory:
        annotations = _write(predictions, directory)
        contenders = {
            race.OURS: lambda: turn(race.OURS, lambda: ours(predictions, annotations)),
            ORIGINAL: lambda: turn(ORIGINAL, lambda: original(predictions, annotations, areas)),
        }
        photos = len(predictions.annotations["images"])
        title = f"rescoring, OKS-NMS and AP of {len(predictions.people):,} detections on {photos:,} photos"
        result = race.run(title, "detections", contenders, reference=ORIGINAL, rounds=rounds)
    if metrics[race.OURS] != metrics[ORIGINAL]:
        raise RuntimeError(f"the metrics differ: ours {metrics[race.OURS]}, the original's {metrics[ORIGINAL]}")
    return result


def shares(predictions: Predictions) -> dict[str, float]:
    """Returns the share of our time spent in each of `STAGES` and in bookkeeping. The shares add up to 1.

    Measured in a separate process, because the profiler of Python 3.12 and later also counts other threads.
    """
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_shares, predictions).result()


def _shares(predictions: Predictions) -> dict[str, float]:
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as directory:
        annotations = _write(predictions, directory)
        ours(predictions, annotations)  # warm-up
        profile.runcall(ours, predictions, annotations)
    stats = pstats.Stats(profile).stats  # pyright: ignore[reportAttributeAccessIssue]

    def cumulative_seconds(function: Callable) -> float:
        code = function.__code__
        return stats[code.co_filename, code.co_firstlineno, code.co_name][3]

    total = cumulative_seconds(ours)
    found = {name: cumulative_seconds(function) / total for name, function in STAGES.items()}
    return found | {"bookkeeping": 1 - sum(found.values())}


def _write(predictions: Predictions, directory: str) -> pathlib.Path:
    path = pathlib.Path(directory) / "annotations.json"
    path.write_text(json.dumps(predictions.annotations))
    return path
