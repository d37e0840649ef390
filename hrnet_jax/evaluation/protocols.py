"""How predictions on a data set are judged: by COCO's average precision, or by MPII's PCKh.

This is the one place that asks which data set a split is of.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import coco, errors, oks, pckh


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the network found in one source of boxes of a split.

    Attributes:
      source: the name of the source.
      people: the N boxes.
      joints: [N, K, 2] in photo pixels.
      scores: [N, K] their scores.
    """

    source: str
    people: records.People
    joints: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class ErrorReport:
    """How far off predictions on ground-truth boxes are.

    Attributes:
      per_joint: figures by the joint's name.
      goodness: [N] of each person, higher is better; NaN for people without labelled joints.
      captions: [N] the same in words.
    """

    per_joint: Mapping[str, Mapping[str, float | None]]
    goodness: np.ndarray
    captions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How predictions on a data set are judged.

    Attributes:
      score: the figure that ranks networks.
      columns: the figures of the table on the terminal, their headings by their names.
      results: (split, predictions, config) -> what the data set's server takes.
      figures: (split, predictions, results) -> figures by name; of a split that is `scored`.
      write: (results, split's name, source, whether scored, directory) -> the file written.
      review: (split, predictions) -> errors of joints and people.
    """

    score: str
    columns: Mapping[str, str]
    results: Callable[[records.Split, Predictions, ConfigDict], Any]
    figures: Callable[[records.Split, Predictions, Any], dict[str, float]]
    write: Callable[[Any, str, str, bool, pathlib.Path], pathlib.Path]
    review: Callable[[records.Split, Predictions], ErrorReport]


def of_split(split: records.Split) -> Protocol:
    """Returns how predictions on a split are judged."""
    return PROTOCOLS[records.dataset(split.summary)]


def is_scored(split: records.Split) -> bool:
    """Whether figures can be computed on a split: its joints are known, and MPII's heads."""
    return split.annotations.is_file() and bool(split.people.visible.any())


def _coco_results(split: records.Split, found: Predictions, config: ConfigDict) -> list[coco.Result]:
    return coco.results(
        found.joints,
        found.scores,
        found.people,
        tuple(config.image_size),
        split.skeleton,
        nms_threshold=config.eval.nms_threshold,
        soft_nms=config.eval.soft_nms,
        joint_score_threshold=config.eval.joint_score_threshold,
        category_id=coco.person_category(split.annotations),
    )


def _coco_figures(split: records.Split, found: Predictions, results: list[coco.Result]) -> dict[str, float]:
    del found
    return coco.average_precision(results, split.annotations, split.skeleton)


def _write_coco(
    results: list[coco.Result], split: str, source: str, scored: bool, directory: pathlib.Path
) -> pathlib.Path:
    """Writes a COCO result file, for a test split under the name that COCO's server asks for."""
    name = f"results_{split}_{source}.json" if scored else f"person_keypoints_{split}_hrnet_results.json"
    path = directory / name
    path.write_text(json.dumps(results, separators=(",", ":")))
    return path


def _review_coco(split: records.Split, found: Predictions) -> ErrorReport:
    people, sigmas = found.people, split.skeleton.sigmas
    areas = coco.annotated_areas(split.annotations, people.annotation_id)
    similarity = oks.against_truth(found.joints, people.joints, people.visible, areas, sigmas)
    per_joint = coco.per_joint_errors(found.joints, people, areas, split.skeleton)
    return ErrorReport(per_joint, similarity, [f"OKS {value:.3f}" for value in similarity])


def _mpii_results(split: records.Split, found: Predictions, config: ConfigDict) -> np.ndarray:
    del config
    rows = split.summary["people"] + sum(split.summary["people_dropped"].values())
    return pckh.predictions(found.joints, found.people, rows)


def _mpii_figures(split: records.Split, found: Predictions, results: np.ndarray) -> dict[str, float]:
    del results
    truth, rows = mpii.load_truth(split.annotations), found.people.annotation_id - 1
    of_these = mpii.Truth(**{name: array[rows] for name, array in vars(truth).items()})
    return pckh.figures(found.joints, of_these, split.skeleton)


def _write_mpii(
    results: np.ndarray, split: str, source: str, scored: bool, directory: pathlib.Path
) -> pathlib.Path:
    """Writes ``pred.mat``, in a directory of the split's, since it is called so for every split."""
    del source, scored
    path = directory / split / "pred.mat"
    path.parent.mkdir(exist_ok=True)
    pckh.write(results, path)
    return path


def _review_mpii(split: records.Split, found: Predictions) -> ErrorReport:
    heights = found.people.box[:, 3]  # MPII's scale is the person's height
    error = errors.per_person(found.joints, found.people, heights)
    captions = [f"{100 * value:.1f}% of the height off" for value in error]
    return ErrorReport(errors.per_joint(found.joints, found.people, heights, split.skeleton), -error, captions)


COCO = Protocol(
    score="AP",
    columns={name: name.replace("_", "-") for name in ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")},
    results=_coco_results,
    figures=_coco_figures,
    write=_write_coco,
    review=_review_coco,
)
MPII = Protocol(
    score=f"PCKh@{pckh.THRESHOLD}/Mean",
    columns={
        **{f"PCKh@{pckh.THRESHOLD}/{group}": group for group in (*pckh.GROUPS, "Mean")},
        **{name: f"Mean@{threshold}" for name, threshold in pckh.STRICT.items()},
    },
    results=_mpii_results,
    figures=_mpii_figures,
    write=_write_mpii,
    review=_review_mpii,
)
PROTOCOLS = {"coco": COCO, "mpii": MPII}
