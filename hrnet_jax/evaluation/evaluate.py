"""Evaluating a network on a prepared split: predictions for every box, and figures by source of boxes.

AP on ground-truth boxes is two to three points above AP on a detector's boxes, and the two are easily
confused; every figure here is therefore named ``split/source/figure``: ``val2017/detector_boxes/AP``,
``valid/gt_boxes/PCKh@0.5/Mean``. Which figures, `benchmarks` knows.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
import tqdm
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import inference, pipeline, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import protocols

GT_BOXES = "gt_boxes"
DETECTOR_BOXES = "detector_boxes"


@dataclasses.dataclass(frozen=True)
class Outcome(protocols.Predictions):
    """What came of one source of boxes, `GT_BOXES` or `DETECTOR_BOXES`.

    Attributes:
      split: name of the split.
      results: what the data set's server takes: COCO's after rescoring and suppression, or MPII's.
      metrics: ``split/source/figure`` -> value; empty for a split that is not `benchmarks.scored`.
    """

    split: str
    results: Any
    metrics: dict[str, float]


def build_step(model: nn.Module, config: ConfigDict) -> inference.PredictStep:
    """Returns the compiled prediction step that ``config.eval`` describes."""
    skeleton = skeletons.load(config.skeleton)
    return inference.compile_step(
        model,
        flip_order=skeleton.flip_order if config.eval.flip_test else None,
        shift=config.eval.flip_shift,
        decoder=config.eval.decoder,
    )


def box_sources(split: records.Split) -> dict[str, records.People]:
    """Returns the tables of boxes that a split has, by the name of their source.

    Raises:
      ValueError: it has none.
    """
    tables = {GT_BOXES: split.people, DETECTOR_BOXES: split.detections}
    sources = {name: people for name, people in tables.items() if people is not None and len(people.box)}
    if not sources:
        raise ValueError(
            f"split {split.name!r} has neither annotated people nor detections:"
            " prepare it with `--detections FILE`"
        )
    return sources


def evaluate(
    step: inference.PredictStep,
    variables: Mapping[str, Any],
    split: records.Split,
    config: ConfigDict,
    place: Callable[[pipeline.Batch], Mapping[str, jax.Array]],
    *,
    sources: Collection[str] = (GT_BOXES, DETECTOR_BOXES),
    progress: bool = False,
) -> list[Outcome]:
    """Predicts everyone in a split and computes its figures, for each source of boxes that the split has.

    Args:
      step: from `build_step`.
      variables: the network's ``params`` and ``batch_stats``, on the devices.
      split: what to evaluate on.
      config: ``image_size``, ``eval``, ``loader`` and ``skeleton`` are read.
      place: puts a batch on the devices.
      sources: the names of those wanted.
      progress: show a bar.

    Raises:
      ValueError: the split has no boxes of any wanted source, or another skeleton than the network.
    """
    check_skeleton(split, config)
    tables = {name: people for name, people in box_sources(split).items() if name in sources}
    if not tables:
        raise ValueError(f"split {split.name!r} has no {' or '.join(sources)}; it has {set(box_sources(split))}")
    outcomes = []
    for source, people in tables.items():
        joints, scores = _predict(step, variables, split, people, config, place, source if progress else None)
        outcomes.append(_outcome(split, protocols.Predictions(source, people, joints, scores), config))
    return outcomes


def check_skeleton(split: records.Split, config: ConfigDict) -> None:
    """Raises ValueError unless a split was prepared with the joints that the configuration speaks of."""
    wanted = skeletons.load(config.skeleton)
    if wanted.joints != split.skeleton.joints:
        raise ValueError(
            f"`skeleton` (={config.skeleton!r}, {wanted.num_joints} joints) is not the one that split"
            f" {split.name!r} was prepared with: {split.skeleton.name!r}, {split.skeleton.num_joints} joints"
        )


def _predict(step, variables, split, people, config, place, title) -> tuple[np.ndarray, np.ndarray]:
    """Runs the network over one table of boxes, under a progress bar if there is a title."""
    batches = pipeline.eval_batches(
        split,
        people,
        image_size=tuple(config.image_size),
        batch_size=config.eval.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.loader.threads,
    )
    steps = -(-len(people.box) // config.eval.batch_size)
    with contextlib.closing(batches):
        shown = tqdm.tqdm(batches, desc=title, total=steps, unit="batch", disable=title is None)
        return inference.predict(step, variables, shown, len(people.box), place)


def _outcome(split: records.Split, found: protocols.Predictions, config: ConfigDict) -> Outcome:
    benchmark = protocols.of_split(split)
    results = benchmark.results(split, found, config)
    metrics = {}
    if protocols.is_scored(split):
        figures = benchmark.figures(split, found, results)
        metrics = {f"{split.name}/{found.source}/{name}": value for name, value in figures.items()}
    return Outcome(**vars(found), split=split.name, results=results, metrics=metrics)


def metrics(outcomes: Collection[Outcome]) -> dict[str, float]:
    """Returns the figures of all sources in one flat table."""
    return {name: value for outcome in outcomes for name, value in outcome.metrics.items()}


def write_results(split: records.Split, outcome: Outcome, directory: pathlib.Path) -> pathlib.Path:
    """Writes what the data set's server takes, and returns the file."""
    write = protocols.of_split(split).write
    return write(outcome.results, outcome.split, outcome.source, bool(outcome.metrics), directory)
