"""AP-10K's average precision: the mean over species, as COCO's is over categories."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hrnet_jax.evaluation import average_precision as ap
from hrnet_jax.evaluation import coco, ground_truth, matching
from hrnet_jax.skeletons import Skeleton


def names(annotations: str | os.PathLike, annotation_ids: np.ndarray) -> np.ndarray:
    """Returns [N] str: the species of annotated animals. Raises ValueError if one is unknown."""
    species = ground_truth.load(annotations).species
    missing = [number for number in annotation_ids.tolist() if number not in species]
    if missing:
        raise ValueError(
            f"{annotations}: annotation {missing[0]} has no `species`: prepare the authors' file with"
            " `python -m hrnet_jax.prepare ap10k`, and evaluate on ground-truth boxes"
        )
    return np.array([species[number] for number in annotation_ids.tolist()], str)


def metrics(found: Sequence[coco.Result], annotations: str | os.PathLike, skeleton: Skeleton) -> dict[str, float]:
    """Returns COCO's ten metrics, each the mean over the species of annotated animals; all are 0 without results.

    Raises ValueError if a result is of an unknown photo or another skeleton.
    """
    if not found:
        return dict.fromkeys(ap.METRICS, 0.0)
    truth = ground_truth.load(annotations)
    (animals,), (detections,) = truth.people.values(), coco.detections(found, annotations, skeleton).values()
    annotated = names(annotations, animals.annotation_id)
    detected = np.array([result.get("species") for result in found])
    kinds = {number: name for number, name in enumerate(np.unique(annotated).tolist(), start=1)}
    people = {number: animals.select(annotated == name) for number, name in kinds.items()}
    of_kinds: dict[int, matching.Detections] = {
        number: detections.select(detected == name) for number, name in kinds.items()
    }
    return ap.metrics(dataclasses.replace(truth, people=people), of_kinds, skeleton.sigmas)
