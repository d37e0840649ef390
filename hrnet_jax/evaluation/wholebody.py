"""COCO-WholeBody's average precision: of all joints, and of body, feet, face and each hand.

The values are those of the authors' tool (xtcocotools). A part's OKS is the mean over its labelled joints. People
without a labelled joint of the part are ignored, and the score of a person is the same for all parts.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hrnet_jax.evaluation import average_precision as ap
from hrnet_jax.evaluation import coco, ground_truth, matching
from hrnet_jax.skeleton_tables import WHOLEBODY_PARTS
from hrnet_jax.skeletons import Skeleton

KINDS = ("AP", "AR")
METRICS = (*ap.METRICS, *(f"{kind}_{part}" for part in WHOLEBODY_PARTS for kind in KINDS))


def metrics(found: Sequence[coco.Result], annotations: str | os.PathLike, skeleton: Skeleton) -> dict[str, float]:
    """Returns COCO's metrics of all joints, and AP and AR of each part; all are 0 if `found` is empty.

    Raises ValueError if a result is of an unknown photo or another skeleton.
    """
    if not found:
        return dict.fromkeys(METRICS, 0.0)
    truth, detections = ground_truth.load(annotations), coco.detections(found, annotations, skeleton)
    table = ap.metrics(truth, detections, skeleton.sigmas)
    for part, names in WHOLEBODY_PARTS.items():
        joints = np.array([skeleton.joints.index(name) for name in names])
        people = {kind: _people(of, joints) for kind, of in truth.people.items()}
        of_part = {kind: _detections(of, joints) for kind, of in detections.items()}
        sigmas = np.array(skeleton.sigmas)[joints]
        values = ap.metrics(dataclasses.replace(truth, people=people), of_part, sigmas)
        table |= {f"{kind}_{part}": values[kind] for kind in KINDS}
    return table


def _people(people: ground_truth.People, joints: np.ndarray) -> ground_truth.People:
    visible = people.visible[:, joints]
    ignored = people.crowd | ~visible.any(axis=1)
    return dataclasses.replace(people, joints=people.joints[:, joints], visible=visible, ignored=ignored)


def _detections(found: matching.Detections, joints: np.ndarray) -> matching.Detections:
    return dataclasses.replace(found, joints=found.joints[:, joints], joint_score=found.joint_score[:, joints])
