"""Reports on made-up outcomes. `test_evaluate` and `test_protocols` report on data sets."""

import dataclasses
import json
import re

import numpy as np
import pytest
from etils import epath

from hrnet_jax import configuration
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols, report

METRICS_ONLY = dataclasses.replace(protocols.COCO, analyse=None)


@pytest.fixture
def split(made_up_records):
    return records.open_split(made_up_records / "val2017")


def look(people):
    for _ in range(len(people)):
        yield np.zeros((64, 48, 3), np.uint8), np.zeros((16, 12, people.joints.shape[1]), np.float32)


def outcome_of(split, joints, **metrics) -> evaluate.Outcome:
    scores = np.full(joints.shape[:2], 0.5)
    named = {f"{split.name}/gt_boxes/{name}": value for name, value in metrics.items()}
    return evaluate.Outcome("gt_boxes", split.people, joints, scores, split.name, [], named)


def test_the_best_people_are_those_with_the_highest_scores(split, monkeypatch):
    scores = np.random.default_rng(0).permutation(len(split.people)).astype(float)
    scores[int(np.argmax(scores))] = np.nan
    rows = np.argsort(scores)[:-1].tolist()  # NaN comes last
    monkeypatch.setattr(report, "PEOPLE_PER_SHEET", 2)
    monkeypatch.setattr(report, "_sheet", lambda split, outcome, rows, captions: list(rows))
    errors = protocols.ErrorReport({}, scores, [""] * len(scores))
    shown = report.best_and_worst(split, outcome_of(split, split.people.joints), errors)
    assert shown == {"best": rows[:-3:-1], "worst": rows[:2]}


def test_metrics_of_other_splits_stay(split, tmp_path, capsys):
    nobody = dataclasses.replace(split.people, visible=np.zeros_like(split.people.visible))
    (tmp_path / "metrics.json").write_text('{"other/gt_boxes/AP": 0.25, "val2017/gt_boxes/AP": 0.5}')
    outcome = dataclasses.replace(outcome_of(split, split.people.joints, AP=0.75), people=nobody)
    report.write([outcome], split, METRICS_ONLY, tmp_path, {}, look)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {"other/gt_boxes/AP": 0.25, "val2017/gt_boxes/AP": 0.75}
    assert "0.750" in capsys.readouterr().out


def test_heatmaps_beside_the_prediction_have_metrics_only(split, tmp_path, capsys):
    nobody = dataclasses.replace(split.people, visible=np.zeros_like(split.people.visible))
    outcome = dataclasses.replace(outcome_of(split, split.people.joints, AP=0.75), people=nobody)
    other = dataclasses.replace(outcome, source="gt_boxes_2x", metrics={"val2017/gt_boxes_2x/AP": 0.5})
    report.write([outcome, other], split, METRICS_ONLY, tmp_path, {}, look)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {"val2017/gt_boxes/AP": 0.75, "val2017/gt_boxes_2x/AP": 0.5}
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"metrics.json", "report.html", "results_val2017_gt_boxes.json"}
    assert "val2017/gt_boxes_2x" in capsys.readouterr().out
    assert "0.500 on ground-truth boxes, 2x" in (tmp_path / "report.html").read_text()


def test_truth_and_prediction_are_drawn_alike(split):
    row = int(np.argmax(split.people.visible.sum(axis=1)))
    people = dataclasses.replace(split.people, visible=np.ones_like(split.people.visible))
    outcome = dataclasses.replace(outcome_of(split, people.joints), people=people)
    truth, prediction = report._truth_and_prediction(split, outcome, row)
    np.testing.assert_array_equal(truth, prediction)
    moved = dataclasses.replace(outcome, joints=people.joints + 10)
    truth_again, other = report._truth_and_prediction(split, moved, row)
    np.testing.assert_array_equal(truth_again, truth)
    assert (other != truth).any()


def test_the_page_and_all_its_numbers_are_written(split, tmp_path, capsys):
    config = configuration.default()
    predictions = protocols.Predictions(
        "gt_boxes", split.people, split.people.joints + 3, np.full(split.people.visible.shape, 0.5)
    )
    outcome = evaluate._outcome(split, predictions, config)
    report.write([outcome], split, protocols.COCO, tmp_path / "first", {"Network": "W32"}, look)
    other = report.read_run(epath.Path(tmp_path / "first"), split.name)
    report.write([outcome], split, protocols.COCO, tmp_path / "second", {}, look, other)
    text = (tmp_path / "second/report.html").read_text()
    assert str(tmp_path / "first") in text and "Other run" in text and "data:image/jpeg" in text
    assert len(text) < 5e6
    metrics = json.loads((tmp_path / "second/metrics.json").read_text())
    assert metrics == json.loads((tmp_path / "first/metrics.json").read_text())
    assert outcome.metrics.items() <= metrics.items()
    assert metrics["val2017/gt_boxes/analysis/errors/jitter/share"] > 0
    assert len(metrics["val2017/gt_boxes/analysis/precision_recall/0.50/precision"]) == 101
    assert str(tmp_path / "second/report.html") in capsys.readouterr().out


def test_the_page_says_if_the_other_run_was_evaluated_on_other_people(split, tmp_path):
    people, texts = "val2017/gt_boxes/analysis/AP_by/joints/16 to 17/people", {}
    predictions = protocols.Predictions("gt_boxes", split.people, split.people.joints, split.people.visible)
    outcome = evaluate._outcome(split, predictions, configuration.default())
    report.write([outcome], split, protocols.COCO, tmp_path, {}, look)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    by_detector = {name.replace("gt_boxes", "detector_boxes"): value for name, value in metrics.items()}
    others = {"same": metrics | by_detector, "more": metrics | {people: metrics[people] + 1}}
    others["unknown"] = {"val2017/gt_boxes/AP": 0.5}
    for name, numbers in others.items():
        other = report.OtherRun(name, numbers)
        report.write([outcome], split, protocols.COCO, tmp_path, {}, look, other)
        texts[name] = (tmp_path / "report.html").read_text()
    said = {name: f"{name}; evaluated on other people" in text for name, text in texts.items()}
    assert said == {"same": False, "more": True, "unknown": False}


def test_without_predictions_everyone_is_a_false_negative(split, tmp_path):
    report.write([outcome_of(split, split.people.joints, AP=0.0)], split, protocols.COCO, tmp_path, {}, look)
    errors = "val2017/gt_boxes/analysis/errors"
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics[f"{errors}/false_negative/count"] == len(split.people)
    assert metrics[f"{errors}/false_positive/count"] == metrics[f"{errors}/miss/count"] == 0


def test_a_page_without_analysis_has_the_metrics(split, tmp_path):
    outcome = outcome_of(split, split.people.joints, AP=0.0)
    report.write([outcome], split, METRICS_ONLY, tmp_path, {}, look)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"val2017/gt_boxes/AP": 0.0}
    assert "AP 0.000" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it has no metrics.json; evaluate that run"),
        ('{"val/gt_boxes/AP": 1}', "metrics.json has no metrics of 'val2017'; evaluate that run"),
        ("[1, 2]", "metrics.json does not hold metrics"),
        ("{", "metrics.json does not hold metrics"),
    ],
    ids=str,
)
def test_refuses_a_run_without_metrics(tmp_path, content, said):
    (tmp_path / "eval").mkdir()
    if content is not None:
        (tmp_path / "eval/metrics.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        report.read_run(epath.Path(tmp_path), "val2017")
