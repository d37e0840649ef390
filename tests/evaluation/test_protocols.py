"""Tests the protocol of MPII. That of COCO is in test_evaluate.py."""

import dataclasses
import json

import jax.numpy as jnp
import made_mpii
import numpy as np
import pytest
import scipy.io

from configs import default
from hrnet_jax import prepare
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import coco, evaluate, protocols, report
from hrnet_jax.skeletons import MPII


@pytest.fixture()
def config():
    fields = default.get_config()
    fields.skeleton = "mpii"
    fields.image_size = (64, 64)
    fields.eval.batch_size = 2
    fields.loader.threads = 1
    return fields


def prepared(tmp_path, entries, *, with_truth: bool, split: str = "valid") -> records.Split:
    root = made_mpii.write(tmp_path / "root", entries, split)
    if with_truth:
        made_mpii.write_truth(root, entries, split)
    prepare.prepare_mpii(root, tmp_path / "out", [split])
    return records.open_split(tmp_path / "out" / split)


def evaluate_shifted(split: records.Split, config, monkeypatch, shift: float = 0.0) -> evaluate.Outcome:
    """Evaluates predictions that are `shift` pixels to the right of the ground truth."""
    joints = (split.people.joints + np.array([shift, 0])).astype(np.float32)
    found = joints, np.full(joints.shape[:2], 0.5, np.float32)
    monkeypatch.setattr(evaluate, "_predict", lambda *_: found)
    (outcome,) = evaluate.evaluate(lambda *_: (jnp.zeros(0), jnp.zeros(0)), {}, split, config, dict)
    return outcome


def test_metrics_count_the_people_that_are_not_dropped(tmp_path, config, monkeypatch):
    entries = made_mpii.people(5)
    entries[0]["center"] = [-1, -1]
    split = prepared(tmp_path, entries, with_truth=True)
    outcome = evaluate_shifted(split, config, monkeypatch)
    assert outcome.metrics["valid/gt_boxes/PCKh@0.5/Mean"] == 100
    assert {name.removeprefix("valid/gt_boxes/") for name in outcome.metrics} == set(protocols.MPII.columns)
    assert f"valid/gt_boxes/{protocols.of_split(split).main_metric}" in outcome.metrics
    header, line = report.metric_table([outcome], protocols.of_split(split).columns).splitlines()
    assert header.split() == [
        *("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean", "Mean@0.1", "Mean@0.11")
    ]
    assert line.split() == ["valid/gt_boxes", *["100.000"] * 10]


def test_prints_a_dash_for_a_group_without_joints(tmp_path, config, monkeypatch):
    entries = made_mpii.people(2)
    for entry in entries:
        entry["joints_vis"][MPII.joints.index("head_top")] = 0
    outcome = evaluate_shifted(prepared(tmp_path, entries, with_truth=True), config, monkeypatch)
    line = report.metric_table([outcome], protocols.MPII.columns).splitlines()[1]
    assert line.split()[:3] == ["valid/gt_boxes", "-", "100.000"]


def test_without_the_matlab_file_there_are_predictions_but_no_metrics(tmp_path, config, monkeypatch):
    split = prepared(tmp_path, made_mpii.people(3), with_truth=False)
    outcome = evaluate_shifted(split, config, monkeypatch)
    assert outcome.metrics == {} and not protocols.is_scored(split)
    path = protocols.of_split(split).write(outcome, tmp_path)
    assert path == tmp_path / "valid" / "pred.mat"
    preds = scipy.io.loadmat(path)["preds"]
    np.testing.assert_allclose(preds, [entry["joints"] for entry in made_mpii.people(3)], rtol=1e-5)
    assert protocols.of_split(split).error_report(split, outcome).per_joint["left_knee"]["count"] == 3


def test_a_test_split_has_predictions_only(tmp_path, config, monkeypatch):
    entries = [{name: entry[name] for name in ("image", "center", "scale")} for entry in made_mpii.people(3)]
    entries[1]["scale"] = -1
    split = prepared(tmp_path, entries, with_truth=False, split="test")
    outcome = evaluate_shifted(split, config, monkeypatch)
    preds = scipy.io.loadmat(protocols.of_split(split).write(outcome, tmp_path))["preds"]
    assert preds.shape == (3, MPII.num_joints, 2)
    assert np.isnan(preds[1]).all() and (preds[[0, 2]] == 1).all()
    assert outcome.metrics == {}


def test_errors_are_relative_to_the_height(tmp_path, config, monkeypatch):
    entries = made_mpii.people(3)
    entries[2]["joints_vis"] = [0] * MPII.num_joints
    split = prepared(tmp_path, entries, with_truth=False)
    outcome = evaluate_shifted(split, config, monkeypatch, shift=4.0)
    errors = protocols.MPII.error_report(split, outcome)
    np.testing.assert_allclose(errors.score, [-4 / 40, -4 / 42, np.nan], rtol=1e-5)
    assert errors.captions[0] == "10.0% of the height off"
    assert errors.per_joint["right_ankle"] == {
        "count": 0, "mean_error": None, "median_error": None, "swapped": None,
    }  # fmt: skip
    knee = errors.per_joint["left_knee"]
    assert knee["count"] == 2 and knee["mean_error"] == pytest.approx((4 / 40 + 4 / 42) / 2, rel=1e-5)
    assert report.joint_table(errors.per_joint).splitlines()[0].split()[1:] == [
        *("count", "mean_error", "median_error", "swapped")
    ]
    sheets = report.best_and_worst(split, outcome, errors)
    assert sheets["best"].shape == sheets["worst"].shape  # of the two people with labelled joints


def test_analyses_the_people_that_are_not_dropped(tmp_path, config, monkeypatch):
    entries = made_mpii.people(5)
    entries[0]["center"] = [-1, -1]
    split = prepared(tmp_path, entries, with_truth=True)
    outcome = evaluate_shifted(split, config, monkeypatch, shift=4.0)  # 0.47 heads
    lost = dataclasses.replace(outcome, joints=np.where(np.arange(4)[:, None, None] == 3, np.nan, outcome.joints))
    analysis = protocols.MPII.analyse(split, lost)
    assert analysis.numbers["joints"]["left_knee"]["count"] == 4
    assert analysis.numbers["curves"]["Mean"][-1] == 75 and analysis.numbers["curves"]["Mean"][23] == 0
    (worst,) = analysis.examples["worst"]
    assert worst.photo_id == split.people.photo_id[3] and worst.marked.sum() == MPII.num_joints - 1


def test_predicts_five_real_people_without_metrics(shared, tmp_path, config):
    prepare.prepare_mpii(shared / "real" / "mpii_five", tmp_path / "out")
    split = records.open_split(tmp_path / "out" / "valid")

    def predict_center(variables, image, crop):
        center = jnp.linalg.solve(crop[..., :2], 32.0 - crop[..., 2:])[..., 0]
        return jnp.tile(center[:, None], (1, MPII.num_joints, 1)), jnp.full((len(crop), MPII.num_joints), 0.5)

    def place(batch):
        return {name: jnp.asarray(array) for name, array in batch.items()}

    (outcome,) = evaluate.evaluate(predict_center, {}, split, config, place)
    preds = scipy.io.loadmat(protocols.of_split(split).write(outcome, tmp_path))["preds"]
    annotations = json.loads((shared / "real" / "mpii_five" / "annot" / "valid.json").read_text())
    centers = [[x, y + 15 * entry["scale"]] for entry in annotations for x, y in [entry["center"]]]
    np.testing.assert_allclose(preds[:, 3], centers, atol=0.02)  # counted from 1, as the file counts
    assert outcome.metrics == {}


@pytest.mark.parametrize(
    "changes",
    [{}, {"joint_score_threshold": 0.6}, {"nms_threshold": 0.1}, {"nms_threshold": 0.1, "soft_nms": True}],
    ids=str,
)
def test_results_follow_the_configuration(made_up_records, config, changes):
    split, random = records.open_split(made_up_records / "val2017"), np.random.default_rng(0)
    config.eval.update(changes)
    people = split.people.select(np.repeat(np.arange(len(split.people)), 3))  # each is found three times
    joints = people.joints + random.normal(0, 5, people.joints.shape)
    scores = random.random(joints.shape[:2])
    predictions = protocols.Predictions("gt_boxes", people, joints, scores)
    expected = coco.results(joints, scores, people, (64, 64), split.skeleton, **changes)
    assert protocols.COCO.results(split, predictions, config) == expected
    assert (expected == coco.results(joints, scores, people, (64, 64), split.skeleton)) == (not changes)


def test_a_split_without_a_data_set_in_its_summary_is_of_coco():
    people = records.People(*[np.zeros(0)] * 7)
    split = records.Split("old", [], people, None, __file__, MPII, {})  # pyright: ignore
    assert protocols.of_split(split) is protocols.COCO
    assert protocols.of_split(dataclasses.replace(split, summary={"dataset": "mpii"})) is protocols.MPII
