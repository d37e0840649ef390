"""Reports on made-up outcomes. `test_evaluate` and `test_protocols` report on data sets."""

import dataclasses
import json

import numpy as np
import pytest

from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols, report


@pytest.fixture
def split(made_up_records):
    return records.open_split(made_up_records / "val2017")


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
    report.write([outcome], split, protocols.COCO, tmp_path, {})
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found == {"other/gt_boxes/AP": 0.25, "val2017/gt_boxes/AP": 0.75}
    assert "0.750" in capsys.readouterr().out


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
