import json

import numpy as np
import pytest
import scipy.io

from hrnet_jax.datasets import mpii, records
from hrnet_jax.evaluation import pckh
from hrnet_jax.skeletons import MPII

K = MPII.num_joints


def made_truth(people: int = 4) -> mpii.Truth:
    """Heads whose size is 6 pixels; joints at whole numbers, so that distances are exact."""
    joints = np.random.default_rng(0).integers(20, 80, (people, K, 2)).astype(float)
    boxes = np.tile([[10.0, 10.0], [16.0, 18.0]], (people, 1, 1))
    return mpii.Truth(joints, np.zeros((people, K)), boxes)


def right(truth: mpii.Truth) -> np.ndarray:
    return truth.joints - 1


def test_the_table_is_the_originals(shared):
    folder = shared / "conformance"
    truth = mpii.read_truth(folder / "mpii_made_up" / "annot" / "gt_valid.mat", MPII)
    joints = np.load(folder / "mpii_pckh.npz")["preds_zero_based"][..., :2]
    reference = json.loads((folder / "mpii_pckh.json").read_text())
    table = pckh.figures(joints, truth, MPII)
    names = {"Mean@0.1": "PCKh@0.11/Mean"}  # what the original calls so
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
def test_a_joint_on_the_threshold_counts(pixels, mean, at_011, at_010):
    truth = made_truth()
    joints = right(truth)
    joints[..., 0] += np.where(pixels == 0.6, 0.6 - 1e-12, pixels)
    table = pckh.figures(joints, truth, MPII)
    found = [table[name] for name in ("PCKh@0.5/Mean", "PCKh@0.11/Mean", "PCKh@0.1/Mean")]
    assert found == [mean, at_011, at_010]


def test_pelvis_and_thorax_do_not_count_in_the_mean_and_the_neck_does():
    truth = made_truth()
    for name, mean in {"pelvis": 100, "thorax": 100, "upper_neck": 1300 / 14, "head_top": 1300 / 14}.items():
        joints = right(truth)
        joints[:, MPII.joints.index(name)] += 50
        assert pckh.figures(joints, truth, MPII)["PCKh@0.5/Mean"] == pytest.approx(mean), name


def test_sides_weigh_the_same_in_a_group_and_joints_in_the_mean():
    truth = made_truth(4)
    missing, joints = truth.missing.copy(), right(truth)
    left = MPII.joints.index("left_wrist")
    missing[1:, left] = 1  # one left wrist, and it is wrong; four right ones, all right
    joints[0, left] += 50
    table = pckh.figures(joints, mpii.Truth(truth.joints, missing, truth.head_boxes), MPII)
    assert table["PCKh@0.5/Wrist"] == 50
    assert table["PCKh@0.5/Mean"] == pytest.approx(100 * (14 * 4 - 4) / (14 * 4 - 3))


def test_where_there_is_nothing_to_count_the_figure_says_so():
    truth = made_truth()
    missing = truth.missing.copy()
    missing[:, [MPII.joints.index(name) for name in ("head_top", "left_hip", "left_knee", "right_knee")]] = 1
    table = pckh.figures(right(truth), mpii.Truth(truth.joints, missing, truth.head_boxes), MPII)
    found = [table[f"PCKh@0.5/{group}"] for group in ("Head", "Hip", "Knee", "Mean")]
    assert found == [pckh.NOBODY, 100, pckh.NOBODY, 100]
    nobody = pckh.figures(right(truth), mpii.Truth(truth.joints, np.ones((4, K)), truth.head_boxes), MPII)
    assert set(nobody.values()) == {pckh.NOBODY}


def test_missing_joints_and_what_is_not_a_number_are_no_hits():
    truth = made_truth(2)
    positions, missing = truth.joints.copy(), truth.missing.copy()
    positions[0, 0], missing[0, 0] = np.nan, 1
    joints = positions - 1
    joints[1, 1] = np.nan
    table = pckh.figures(joints, mpii.Truth(positions, missing, truth.head_boxes), MPII)
    assert (table["PCKh@0.5/Ankle"], table["PCKh@0.5/Knee"]) == (100, 75)


def test_in_a_head_of_no_size_nothing_is_right():
    truth = made_truth(2)
    boxes = truth.head_boxes.copy()
    boxes[0] = 7
    table = pckh.figures(right(truth), mpii.Truth(truth.joints, truth.missing, boxes), MPII)
    assert table["PCKh@0.5/Mean"] == 50


def test_predictions_for_the_server_stand_in_the_rows_of_the_file(tmp_path):
    rows = np.array([1, 2, 5])
    people = records.People(rows, rows, rows, np.zeros((3, 4)), np.zeros((3, K, 2)), np.ones((3, K)), np.ones(3))
    joints = np.random.default_rng(0).uniform(0, 9, (3, K, 2)).astype(np.float32)
    pckh.write(pckh.predictions(joints, people, 5), tmp_path / "pred.mat")
    found = scipy.io.loadmat(tmp_path / "pred.mat")["preds"]
    assert found.shape == (5, K, 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[[0, 1, 4]], joints + 1)
    assert np.isnan(found[[2, 3]]).all()
