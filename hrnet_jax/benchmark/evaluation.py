"""COCO's evaluation side by side with the original's Python: from a network's predictions to the ten figures."""

import concurrent.futures
import cProfile
import json
import multiprocessing
import pathlib
import pstats
import tempfile
from collections.abc import Callable

import numpy as np

from hrnet_jax.benchmark import plain_evaluation, race
from hrnet_jax.datasets.made_up import detections as made_up_detections
from hrnet_jax.datasets.made_up.detections import Problem
from hrnet_jax.evaluation import average_precision, coco, ground_truth, matching, oks

IMAGE_SIZE = (256, 192)
SKELETON = made_up_detections.SKELETON
ORIGINAL = "the original's Python"
# Functions that do a stage alone, in the order of their turn; what they leave of the time is bookkeeping.
STAGES: dict[str, Callable] = {
    "annotations": ground_truth.load,
    "rescoring": oks.rescore,
    "areas of the boxes": coco.padded_areas,
    "suppression": oks.suppress,
    "list of results": coco.to_results,
    "results as arrays": coco.by_category,
    "OKS with the annotations": matching.similarities,
    "matching": matching.match,
    "precision and recall": average_precision.curves,
}


def made_up(seed: int, photos: int = 5000, detections: int = 104_125) -> Problem:
    """Makes up what is to be judged, as many people as COCO's val2017 has; see `made_up_people.make`."""
    return made_up_detections.make(seed, photos, detections)


def ours(problem: Problem, annotations: pathlib.Path) -> list[float]:
    """Returns the ten figures, `annotations` read anew."""
    ground_truth.forget()
    found = coco.results(
        problem.joints,
        problem.joint_scores,
        problem.people,
        IMAGE_SIZE,
        SKELETON,
        category_id=coco.person_category(annotations),
    )
    return list(coco.average_precision(found, annotations, SKELETON).values())


def originals(problem: Problem, annotations: pathlib.Path, areas: np.ndarray) -> list[float]:
    """Returns the ten figures as the original gets them.

    Args:
      problem: what is to be judged.
      annotations: COCO annotation file.
      areas: [N] of the crops in square pixels, which the original knows from loading them.
    """
    people, sigmas = problem.people, np.array(SKELETON.sigmas)
    photos = plain_evaluation.rescored(problem.joints, problem.joint_scores, people.photo_id, people.score, areas)
    kept = [person for of_photo in photos.values() for person in plain_evaluation.suppressed(of_photo, sigmas)]
    return plain_evaluation.judged(plain_evaluation.listed(kept), annotations, sigmas)


def run(problem: Problem, *, rounds: int, warm_up: int = 1) -> race.Race:
    """Lets ours and the original's evaluate the same predictions.

    Raises:
      RuntimeError: they do not come to the same figures, bit for bit.
    """
    areas = coco.padded_areas(problem.people.box, IMAGE_SIZE)
    figures: dict[str, list[float]] = {}

    def contender(name: str, evaluate: Callable[[], list[float]]) -> Callable[[], int]:
        def turn() -> int:
            figures[name] = evaluate()
            return len(problem.people)

        return turn

    with tempfile.TemporaryDirectory() as directory:
        annotations = _write(problem, directory)
        result = race.run(
            f"rescoring, OKS-NMS and AP of {len(problem.people):,} detections on"
            f" {len(problem.annotations['images']):,} photos",
            "detections",
            {
                race.OURS: contender(race.OURS, lambda: ours(problem, annotations)),
                ORIGINAL: contender(ORIGINAL, lambda: originals(problem, annotations, areas)),
            },
            reference=ORIGINAL,
            rounds=rounds,
            warm_up=warm_up,
        )
    if figures[race.OURS] != figures[ORIGINAL]:
        raise RuntimeError(
            f"the figures differ: {figures[race.OURS]} are ours, {figures[ORIGINAL]} the original's"
        )
    return result


def shares(problem: Problem) -> dict[str, float]:
    """Returns the share of our time that each of the `STAGES` takes, and the rest, by name; their sum is 1.

    Measured in a process of its own: from Python 3.12 on, the profiler counts what other threads do, too.
    """
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_shares, problem).result()


def _shares(problem: Problem) -> dict[str, float]:
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as directory:
        annotations = _write(problem, directory)
        ours(problem, annotations)  # what a process does but once
        profile.runcall(ours, problem, annotations)
    spent = pstats.Stats(profile).stats  # pyright: ignore[reportAttributeAccessIssue]

    def seconds(function: Callable) -> float:
        code = function.__code__
        return spent[code.co_filename, code.co_firstlineno, code.co_name][3]  # with all that it calls

    total = seconds(ours)
    found = {name: seconds(function) / total for name, function in STAGES.items()}
    return found | {"bookkeeping": 1 - sum(found.values())}


def _write(problem: Problem, directory: str) -> pathlib.Path:
    path = pathlib.Path(directory) / "annotations.json"
    path.write_text(json.dumps(problem.annotations))
    return path
