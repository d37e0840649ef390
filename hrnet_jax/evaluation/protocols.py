"""Evaluation protocols: average precision, PCKh and PCK. All differences between data sets are here."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import fields, skeletons
from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import (
    breakdown,
    coco,
    crowdpose,
    error_analysis,
    error_costs,
    errors,
    examples,
    frame_ap,
    ground_truth,
    matching,
    oks,
    pck,
    pckh,
    species,
    wholebody,
)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions for one source of boxes of a split."""

    source: str  # the name of the source
    people: records.People  # the N boxes
    joints: np.ndarray  # [N, K, 2] in photo pixels
    scores: np.ndarray  # [N, K] scores of the joints


@dataclasses.dataclass(frozen=True)
class Outcome(Predictions):
    """Predictions and metrics for one source of boxes."""

    split: str  # name of the split
    results: Any  # content of the file for the data set's server; for COCO after rescoring and NMS
    metrics: dict[str, float]  # ``split/source/metric`` -> value; empty unless `is_scored` holds for the split


@dataclasses.dataclass(frozen=True)
class ErrorReport:
    """Errors of predictions on ground-truth boxes."""

    per_joint: Mapping[str, Mapping[str, float | None]]  # metrics by joint name
    score: np.ndarray  # [N] of each person, higher is better; NaN for people without labelled joints
    captions: Sequence[str]  # [N] the scores in words


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What ``report.html`` shows of one source of boxes."""

    numbers: Mapping[str, Any]  # nested, of numbers and lists
    examples: Mapping[str, Sequence[examples.Example]]  # people to look at, by kind of error


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The evaluation of predictions on a data set."""

    main_metric: str  # the metric by which checkpoints are ranked
    columns: Mapping[str, str]  # headings of the table on the terminal by metric
    results: Callable[[records.Split, Predictions, ConfigDict], Any]  # content of the file for the server
    metrics: Callable[[records.Split, Predictions, Any], dict[str, float]]  # from the results, if `is_scored`
    write: Callable[[Outcome, pathlib.Path], pathlib.Path]  # writes the results to a directory
    error_report: Callable[[records.Split, Predictions], ErrorReport]
    analyse: Callable[[records.Split, Outcome], Analysis] | None = None  # if `is_scored`


def of_split(split: records.Split) -> Protocol:
    """Returns the protocol of a split's data set."""
    return PROTOCOLS.get(records.published(split.summary), PROTOCOLS[records.dataset(split.summary)])


def find(config: ConfigDict, split: records.Split) -> Protocol:
    """Returns the protocol that ``config.eval.protocol`` names, or else that of the split's data set.

    Raises ValueError if there is none of that name.
    """
    name = config.eval.protocol
    return fields.find("eval.protocol", name, PROTOCOLS) if name else of_split(split)


def is_scored(split: records.Split) -> bool:
    """Returns whether a split has the ground truth for metrics: joints, and for MPII heads."""
    return split.annotations.is_file() and bool(split.people.visible.any())


def is_pck(split: records.Split) -> bool:
    """Returns whether a split's data set is evaluated by the share of joints near enough, whoever is found."""
    return of_split(split).metrics is _pck_metrics


def _coco_results(split: records.Split, predictions: Predictions, config: ConfigDict) -> list[coco.Result]:
    names = ("nms_threshold", "soft_nms", "joint_score_threshold")
    options = {name: config.eval[name] for name in names}
    person, image_size = coco.person_category(split.annotations), tuple(config.image_size)
    joints, scores, people = predictions.joints, predictions.scores, predictions.people
    found = coco.results(joints, scores, people, image_size, split.skeleton, category_id=person, **options)
    return with_texts(found, split.annotations)


def with_texts(found: list[coco.Result], annotations: pathlib.Path) -> list[coco.Result]:
    """Gives photos in COCO results the ids that they have outside, see `datasets.identifiers`."""
    texts = ground_truth.load(annotations).texts
    return [{**result, "image_id": texts.get(result["image_id"], result["image_id"])} for result in found]


def _coco_metrics(split: records.Split, predictions: Predictions, results: list[coco.Result]) -> dict[str, float]:
    del predictions
    return coco.average_precision(results, split.annotations, split.skeleton)


def _write_coco(outcome: Outcome, directory: pathlib.Path) -> pathlib.Path:
    """Writes a COCO result file. For a test split it has the name that COCO's server requires."""
    split, is_test = outcome.split, not outcome.metrics
    name = f"person_keypoints_{split}_hrnet_results" if is_test else f"results_{split}_{outcome.source}"
    path = directory / f"{name}.json"
    path.write_text(json.dumps(outcome.results, separators=(",", ":")))
    return path


def _coco_errors(split: records.Split, predictions: Predictions) -> ErrorReport:
    joints, people = predictions.joints, predictions.people
    areas = coco.annotated_areas(split.annotations, people.annotation_id)
    score = oks.oks_of_predictions(joints, people.joints, people.visible, areas, split.skeleton.sigmas)
    per_joint = coco.per_joint_errors(joints, people, areas, split.skeleton)
    return ErrorReport(per_joint, score, [f"OKS {value:.3f}" for value in score])


def _analyse_coco(split: records.Split, outcome: Outcome) -> Analysis:
    """Analyses the results, so after suppression; see `error_analysis` and `breakdown`."""
    truth, number = ground_truth.load(split.annotations), coco.person_category(split.annotations)
    if number not in truth.people:
        return Analysis({}, {})
    found = coco.by_category(outcome.results, split.skeleton, truth)
    detections = found.get(number, _nobody(split.skeleton.num_joints))
    errors = error_analysis.find(truth.people[number], detections, split.skeleton)
    numbers = {"errors": error_costs.summary(errors), **breakdown.summary(errors)}
    return Analysis(numbers, examples.of_errors(errors))


def _nobody(num_joints: int) -> matching.Detections:
    """Returns the detections of a network that finds nobody."""
    return matching.Detections(
        np.zeros(0, np.int64), np.zeros((0, num_joints, 2)), np.zeros(0), np.zeros((0, num_joints))
    )


def _mpii_results(split: records.Split, predictions: Predictions, config: ConfigDict) -> np.ndarray:
    del config
    rows = split.summary["people"] + sum(split.summary["people_dropped"].values())
    return pckh.predictions(predictions.joints, predictions.people, rows)


def _mpii_metrics(split: records.Split, predictions: Predictions, results: np.ndarray) -> dict[str, float]:
    del results
    return pckh.metrics(predictions.joints, _mpii_truth(split, predictions), split.skeleton)


def _mpii_truth(split: records.Split, predictions: Predictions) -> mpii.Truth:
    """Returns the ground truth of the predicted people."""
    return mpii.load_truth(split.annotations).select(predictions.people.annotation_id - 1)


def _analyse_mpii(split: records.Split, outcome: Outcome) -> Analysis:
    truth, skeleton = _mpii_truth(split, outcome), split.skeleton
    joints, scores = map(error_analysis.finite, (outcome.joints, outcome.scores))
    numbers = pckh.breakdown(joints, scores, truth, skeleton)
    return Analysis(numbers, examples.of_heads(joints, outcome.people, truth, skeleton))


def _write_mpii(outcome: Outcome, directory: pathlib.Path) -> pathlib.Path:
    """Writes ``pred.mat``, the name for every split, in a directory of this split."""
    path = directory / outcome.split / "pred.mat"
    path.parent.mkdir(exist_ok=True)
    pckh.write(outcome.results, path)
    return path


def _mpii_errors(split: records.Split, predictions: Predictions) -> ErrorReport:
    joints, people = predictions.joints, predictions.people
    heights = people.box[:, 3]  # MPII's scale is the person's height
    error = errors.per_person(joints, people, heights)
    captions = [f"{100 * value:.1f}% of the height off" for value in error]
    return ErrorReport(errors.per_joint(joints, people, heights, split.skeleton), -error, captions)


COCO = Protocol(
    main_metric="AP",
    columns={name: name.replace("_", "-") for name in ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR")},
    results=_coco_results,
    metrics=_coco_metrics,
    write=_write_coco,
    error_report=_coco_errors,
    analyse=_analyse_coco,
)
MPII = Protocol(
    main_metric=f"PCKh@{pckh.THRESHOLD}/Mean",
    columns={
        **{f"PCKh@{pckh.THRESHOLD}/{group}": group for group in (*pckh.GROUPS, "Mean")},
        **{name: f"Mean@{threshold}" for name, threshold in pckh.STRICT.items()},
    },
    results=_mpii_results,
    metrics=_mpii_metrics,
    write=_write_mpii,
    error_report=_mpii_errors,
    analyse=_analyse_mpii,
)


def _average_precision_by(
    metrics: Callable[[Sequence[coco.Result], pathlib.Path, skeletons.Skeleton], dict[str, float]],
) -> Callable[[records.Split, Predictions, list[coco.Result]], dict[str, float]]:
    """Makes the metrics of a protocol from a function of results, annotation file and skeleton."""
    return lambda split, predictions, results: metrics(results, split.annotations, split.skeleton)


def _species_results(split: records.Split, predictions: Predictions, config: ConfigDict) -> list[coco.Result]:
    """Returns COCO's results of each species alone, with its name."""
    people, found = predictions.people, []
    of_people = species.names(split.annotations, people.annotation_id)
    for name in np.unique(of_people).tolist():
        rows = of_people == name
        joints, scores = predictions.joints[rows], predictions.scores[rows]
        some = Predictions(predictions.source, people.select(rows), joints, scores)
        found += [{**result, "species": name} for result in _coco_results(split, some, config)]
    return found


def _pck_metrics(split: records.Split, predictions: Predictions, results: Any) -> dict[str, float]:
    del results
    boxes = coco.annotated(split.annotations, predictions.people.annotation_id, "box")
    return pck.metrics(predictions.joints, predictions.people, boxes, split.skeleton)


CROWDPOSE = dataclasses.replace(
    COCO,
    columns={name: name.replace("_", " ") for name in crowdpose.METRICS if name[-2:] not in ("50", "75")},
    metrics=_average_precision_by(crowdpose.metrics),
)
WHOLEBODY = dataclasses.replace(
    COCO,
    columns={name: name.replace("_", " ") for name in wholebody.METRICS if name.startswith("AP_") or name == "AP"},
    metrics=_average_precision_by(wholebody.metrics),
)
AP10K = dataclasses.replace(COCO, results=_species_results, metrics=_average_precision_by(species.metrics))

POSETRACK = dataclasses.replace(
    COCO,
    main_metric=frame_ap.TOTAL,
    columns=frame_ap.COLUMNS,
    metrics=_average_precision_by(frame_ap.metrics),
)


def _pck_protocol(kind: str) -> Protocol:
    names = [*pck.GROUPS, "Mean"]
    columns = {f"{kind}@{pck.THRESHOLD}/{name}": name for name in names}
    return dataclasses.replace(
        COCO, main_metric=f"{kind}@{pck.THRESHOLD}/Mean", columns=columns, metrics=_pck_metrics
    )


PROTOCOLS = {
    "coco": COCO,
    "mpii": MPII,
    "crowdpose": CROWDPOSE,
    "coco_wholebody": WHOLEBODY,
    "ap10k": AP10K,
    "jhmdb": _pck_protocol("PCK"),
    "lsp": _pck_protocol("tPCK"),
    "posetrack": POSETRACK,
}
"""Protocols by published data set; all others have that of their format, ``coco`` or ``mpii``."""
