import json

import numpy as np
import pytest
import scipy.io

from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import pckh
from hrnet_jax.skeletons import MPII

K = MPII.num_joints


def made_truth(people: int = 4) -> mpii.Truth:
    """Returns heads of 6 pixels, and joints at integers for exact distances."""
    joints = np.random.default_rng(0).integers(20, 80, (people, K, 2)).astype(float)
    boxes = np.tile([[10.0, 10.0], [16.0, 18.0]], (people, 1, 1))
    return mpii.Truth(joints, np.zeros((people, K)), boxes)


def exact(truth: mpii.Truth) -> np.ndarray:
    """Returns predictions without error, in pixels counted from 0."""
    return truth.joints - 1


def test_the_table_equals_the_original(shared):
    folder = shared / "conformance"
    truth = mpii.read_truth(folder / "mpii_made_up" / "annot" / "gt_valid.mat", MPII)
    joints = np.load(folder / "mpii_pckh.npz")["preds_zero_based"][..., :2]
    reference = json.loads((folder / "mpii_pckh.json").read_text())
    table = pckh.metrics(joints, truth, MPII)
    names = {"Mean@0.1": "PCKh@0.11/Mean"}  # the original's name for it
    for name, value in reference.items():
        assert table[names.get(name, f"PCKh@0.5/{name}")] == pytest.approx(value, abs=1e-9), name
    assert table["PCKh@0.1/Mean"] < table["PCKh@0.11/Mean"]
    assert len(table) == len(reference) + 1


@pytest.mark.parametrize(
    ("pixels", "mean", "at_011", "at_010"),
    [
        (0.0, 100, 100, 100),
        (0.6, 100, 100, 100),
        (0.65, 100, 100, 0),
        (0.67, 100, 0, 0),
        (3, 100, 0, 0),
        (3.1, 0, 0, 0),
    ],
)
def test_a_joint_at_the_threshold_counts(pixels, mean, at_011, at_010):
    truth = made_truth()
    joints = exact(truth)
    joints[..., 0] += np.where(pixels == 0.6, 0.6 - 1e-12, pixels)
    table = pckh.metrics(joints, truth, MPII)
    found = [table[name] for name in ("PCKh@0.5/Mean", "PCKh@0.11/Mean", "PCKh@0.1/Mean")]
    assert found == [mean, at_011, at_010]


def test_the_mean_excludes_pelvis_and_thorax_but_not_the_neck():
    truth = made_truth()
    for name, mean in {"pelvis": 100, "thorax": 100, "upper_neck": 1300 / 14, "head_top": 1300 / 14}.items():
        joints = exact(truth)
        joints[:, MPII.joints.index(name)] += 50
        assert pckh.metrics(joints, truth, MPII)["PCKh@0.5/Mean"] == pytest.approx(mean), name


def test_a_group_weights_sides_equally_and_the_mean_joints():
    truth = made_truth(4)
    missing, joints = truth.missing.copy(), exact(truth)
    left = MPII.joints.index("left_wrist")
    missing[1:, left] = 1  # one left wrist with an error, four right ones without
    joints[0, left] += 50
    table = pckh.metrics(joints, mpii.Truth(truth.joints, missing, truth.head_boxes), MPII)
    assert table["PCKh@0.5/Wrist"] == 50
    assert table["PCKh@0.5/Mean"] == pytest.approx(100 * (14 * 4 - 4) / (14 * 4 - 3))


def test_metrics_without_joints_are_undefined():
    truth = made_truth()
    missing = truth.missing.copy()
    missing[:, [MPII.joints.index(name) for name in ("head_top", "left_hip", "left_knee", "right_knee")]] = 1
    table = pckh.metrics(exact(truth), mpii.Truth(truth.joints, missing, truth.head_boxes), MPII)
    found = [table[f"PCKh@0.5/{group}"] for group in ("Head", "Hip", "Knee", "Mean")]
    assert found == [pckh.UNDEFINED, 100, pckh.UNDEFINED, 100]
    nobody = pckh.metrics(exact(truth), mpii.Truth(truth.joints, np.ones((4, K)), truth.head_boxes), MPII)
    assert set(nobody.values()) == {pckh.UNDEFINED}


def test_missing_joints_and_nan_are_no_hits():
    truth = made_truth(2)
    positions, missing = truth.joints.copy(), truth.missing.copy()
    positions[0, 0], missing[0, 0] = np.nan, 1
    joints = positions - 1
    joints[1, 1] = np.nan
    table = pckh.metrics(joints, mpii.Truth(positions, missing, truth.head_boxes), MPII)
    assert (table["PCKh@0.5/Ankle"], table["PCKh@0.5/Knee"]) == (100, 75)


def test_no_joint_is_correct_with_an_empty_head_box():
    truth = made_truth(2)
    boxes = truth.head_boxes.copy()
    boxes[0] = 7
    table = pckh.metrics(exact(truth), mpii.Truth(truth.joints, truth.missing, boxes), MPII)
    assert table["PCKh@0.5/Mean"] == 50


def test_predictions_keep_the_rows_of_the_annotation_file(tmp_path):
    rows = np.array([1, 2, 5])
    people = records.People(rows, rows, rows, np.zeros((3, 4)), np.zeros((3, K, 2)), np.ones((3, K)), np.ones(3))
    joints = np.random.default_rng(0).uniform(0, 9, (3, K, 2)).astype(np.float32)
    pckh.write(pckh.predictions(joints, people, 5), tmp_path / "pred.mat")
    found = scipy.io.loadmat(tmp_path / "pred.mat")["preds"]
    assert found.shape == (5, K, 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[[0, 1, 4]], joints + 1)
    assert np.isnan(found[[2, 3]]).all()


def test_curves_end_at_the_values_of_the_table():
    truth, rng = made_truth(60), np.random.default_rng(1)
    truth.missing[rng.random(truth.missing.shape) < 0.3] = 1
    truth.missing[:, MPII.joints.index("head_top")] = 1
    joints = exact(truth) + rng.normal(0, 2, truth.joints.shape)
    found = pckh.breakdown(joints, np.full(truth.missing.shape, 0.75), truth, MPII)
    table = pckh.metrics(joints, truth, MPII)
    assert found["curves"].keys() == {*pckh.GROUPS, "Mean"} - {"Head"}
    for group, curve in found["curves"].items():
        assert curve[-1] == pytest.approx(table[f"PCKh@0.5/{group}"])
        assert curve == sorted(curve)
    assert found["curves"]["Mean"][5] == pytest.approx(table["PCKh@0.1/Mean"])
    knees = [found["joints"][f"{side}_knee"] for side in ("left", "right")]
    assert np.mean([knee["PCKh"] for knee in knees]) == pytest.approx(table["PCKh@0.5/Knee"])
    assert found["joints"]["head_top"] == {"count": 0, "PCKh": pckh.UNDEFINED, "heads": None}
    calibration = found["calibration"]["joints"]
    assert calibration["count"][7] == (truth.missing == 0).sum() == sum(calibration["count"])
    within = pckh.errors_in_heads(joints, truth)[truth.missing == 0] <= 0.5
    assert calibration["hits"][7] == pytest.approx(within.mean())
