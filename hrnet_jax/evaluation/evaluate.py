"""Evaluates a network on a prepared split: predicts the joints in every box, and computes metrics by source.

AP on ground-truth boxes is two to three points above AP on a detector's boxes. All metrics are therefore named
``split/source/metric``, for example ``val2017/detector_boxes/AP`` or ``valid/gt_boxes/PCKh@0.5/Mean``. See
`protocols` for the metrics of each data set.
"""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tqdm
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import codecs, inference, pipeline, skeletons, views
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import protocols
from hrnet_jax.evaluation.protocols import Outcome

LOOKED_AT_ONCE = 8  # people whose heatmaps leave the device together
GT_BOXES, DETECTOR_BOXES = "gt_boxes", "detector_boxes"


def build_step(model: nn.Module, config: ConfigDict) -> inference.PredictStep:
    """Returns the compiled prediction step for ``config.eval``."""
    return inference.compile_step(model, decoder=config.eval.decoder, **heatmap_options(config))


def heatmap_options(config: ConfigDict) -> dict[str, Any]:
    """Returns the options of `inference.predict_heatmaps` for a configuration. Raises ValueError."""
    return {
        "flip_order": skeletons.load(config.skeleton).flip_order if config.eval.flip_test else None,
        "shift": config.eval.flip_shift,
        "codec": config.codec,
        "views": views.make(config.eval.scales, config.eval.rotations),
    }


def _crop_options(config: ConfigDict) -> dict[str, Any]:
    """Returns the options of `pipeline.eval_batches` for a configuration."""
    return {
        "image_size": tuple(config.image_size),
        "threads": config.loader.threads,
        "by_corners": codecs.find(config.codec).by_corners,
        "views": views.make(config.eval.scales, config.eval.rotations),
    }


def look(
    model: nn.Module,
    variables: Mapping[str, Any],
    split: records.Split,
    config: ConfigDict,
    people: records.People,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the crop of each person ``[H, W, 3]`` and the heatmaps that `build_step` decodes ``[h, w, K]``.

    Of a joint with several heatmaps, it is the first.

    `variables` are on the host or on one device, which computes alone.
    """
    predict = jax.jit(functools.partial(inference.predict_heatmaps, model, **heatmap_options(config)))
    batches = pipeline.eval_batches(split, people, batch_size=LOOKED_AT_ONCE, **_crop_options(config))
    maps = codecs.find(config.codec).maps
    with contextlib.closing(batches):
        for batch in batches:
            heatmaps = np.asarray(predict(variables, batch["image"]), np.float32)[..., ::maps]
            crops = batch["image"] if batch["image"].ndim == 4 else batch["image"][:, 0]
            for row in np.flatnonzero(batch["valid"]):
                yield crops[row], heatmaps[row]


def box_sources(split: records.Split) -> dict[str, records.People]:
    """Returns the boxes of a split by source. Raises ValueError if it has none."""
    tables = {GT_BOXES: split.people, DETECTOR_BOXES: split.detections}
    sources = {name: people for name, people in tables.items() if people is not None and len(people.box)}
    if not sources:
        raise ValueError(
            f"split {split.name!r} has no annotated people and no detections: prepare it with `--detections FILE`"
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
    head: str = "",
    progress: bool = False,
) -> list[Outcome]:
    """Predicts the joints in all boxes of a split and computes the metrics of each source.

    `step` is from `build_step`. `place` puts a batch on the devices, where the network's `variables` are. The
    configuration provides ``image_size``, ``eval``, ``loader`` and ``skeleton``. Missing `sources` are skipped.
    `head` is the name of the network's heatmaps, unless they are its own prediction (see `Network.alternatives`);
    it is added to the source.
    Raises ValueError if the split has none of them, or another skeleton than the network.
    """
    check_skeleton(split, config)
    tables = {name: people for name, people in box_sources(split).items() if name in sources}
    if not tables:
        raise ValueError(f"split {split.name!r} has no {' or '.join(sources)}; it has {set(box_sources(split))}")
    outcomes = []
    for source, people in tables.items():
        source = f"{source}_{head}" if head else source
        joints, scores = _predict(step, variables, split, people, config, place, source if progress else None)
        outcomes.append(_outcome(split, protocols.Predictions(source, people, joints, scores), config))
    return outcomes


def check_skeleton(split: records.Split, config: ConfigDict) -> None:
    """Raises ValueError unless the configuration's skeleton has the joints of the split."""
    expected = skeletons.load(config.skeleton)
    if expected.joints != split.skeleton.joints:
        raise ValueError(
            f"`skeleton` (={config.skeleton!r}, {expected.num_joints} joints) is not the one that split"
            f" {split.name!r} was prepared with: {split.skeleton.name!r}, {split.skeleton.num_joints} joints"
        )


def _predict(step, variables, split, people, config, place, title) -> tuple[np.ndarray, np.ndarray]:
    """Runs the network on a table of boxes, with a progress bar if there is a title."""
    batches = pipeline.eval_batches(
        split,
        people,
        batch_size=config.eval.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        **_crop_options(config),
    )
    steps = -(-len(people.box) // config.eval.batch_size)
    with contextlib.closing(batches):
        bar = tqdm.tqdm(batches, desc=title, total=steps, unit="batch", disable=title is None)
        return inference.predict(step, variables, bar, len(people.box), place)


def _outcome(split: records.Split, predictions: protocols.Predictions, config: ConfigDict) -> Outcome:
    protocol = protocols.find(config, split)
    results = protocol.results(split, predictions, config)
    metrics = protocol.metrics(split, predictions, results) if protocols.is_scored(split) else {}
    metrics = {f"{split.name}/{predictions.source}/{name}": value for name, value in metrics.items()}
    return Outcome(**vars(predictions), split=split.name, results=results, metrics=metrics)


def metrics(outcomes: Collection[Outcome]) -> dict[str, float]:
    """Returns the metrics of all sources in one dictionary."""
    return {name: value for outcome in outcomes for name, value in outcome.metrics.items()}
