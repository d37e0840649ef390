import json

import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.evaluation import oks

SIGMAS = skeletons.COCO.sigmas


@pytest.fixture(scope="module")
def photos(shared):
    """People of five photos with what the original makes of them."""
    found = json.loads((shared / "conformance" / "nms.json").read_text())
    for photo in found:
        photo["joints"] = np.array(photo["keypoints"])[..., :2]
        photo["area"], photo["score"] = np.array(photo["area"]), np.array(photo["score"])
    return found


def test_oks_is_the_originals(photos):
    for photo in photos:
        joints, areas = photo["joints"], photo["area"]
        ours = oks.oks(joints[0], joints[1:], areas[0], areas[1:], SIGMAS)
        np.testing.assert_allclose(ours, photo["oks_first_vs_rest"], rtol=1e-14, atol=0)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
@pytest.mark.parametrize("suppress", [oks.nms, oks.soft_nms])
def test_suppression_keeps_whom_the_original_keeps(photos, suppress, threshold):
    name = {oks.nms: "oks_nms", oks.soft_nms: "soft_oks_nms"}[suppress]
    for photo in photos:
        kept = suppress(photo["joints"], photo["score"], photo["area"], SIGMAS, threshold)
        assert kept == photo[f"{name}_{threshold}"]


def people(count, num_joints=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 500, (count, num_joints, 2)), np.full(count, 5000.0)


def test_of_two_people_in_one_place_the_better_stays():
    joints, areas = people(2)
    joints = np.concatenate([joints, joints])
    kept = oks.nms(joints, np.array([0.2, 0.6, 0.5, 0.1]), np.tile(areas, 2), [0.05] * 3, 0.9)
    assert kept == [1, 2]


def test_soft_suppression_keeps_at_most_twenty_and_hard_all():
    joints, areas = people(30)
    joints += 1e4 * np.arange(30)[:, None, None]  # far apart
    scores = np.linspace(1, 0.1, 30)
    assert oks.soft_nms(joints, scores, areas, [0.05] * 3, 0.9) == list(range(20))
    assert oks.nms(joints, scores, areas, [0.05] * 3, 0.9) == list(range(30))


def test_nobody_is_nobody():
    joints, areas = people(0)
    assert oks.nms(joints, np.zeros(0), areas, [0.05] * 3, 0.9) == []
    assert oks.soft_nms(joints, np.zeros(0), areas, [0.05] * 3, 0.9) == []


def test_oks_follows_its_formula():
    """Two sigmas of the person's size away is exp(-1/2)."""
    sigmas, area = np.array([0.1, 0.05]), 400.0
    there = np.array([[10.0, 10.0], [50.0, 60.0]])
    away = there + np.array([[2 * 0.1 * 20, 0], [0, -2 * 0.05 * 20]])
    np.testing.assert_allclose(oks.oks(there, away[None], area, np.array([area]), sigmas), np.exp(-0.5))
    np.testing.assert_allclose(oks.oks(there, there[None], area, np.array([area]), sigmas), 1.0)


def test_against_truth_counts_only_labelled_joints():
    joints = np.array([[[10.0, 10], [20, 20]], [[10, 10], [20, 20]], [[10, 10], [20, 20]]])
    predicted = joints + np.array([[0, 0], [1e4, 1e4]])
    visible = np.array([[1, 0], [2, 1], [0, 0]])
    found = oks.against_truth(predicted, joints, visible, np.full(3, 900.0), [0.1, 0.1])
    np.testing.assert_allclose(found, [1.0, 0.5, 0.0])


def test_rescoring_multiplies_by_the_mean_of_the_joints_that_are_sure():
    joint_scores = np.array([[0.9, 0.5, 0.2], [0.1, 0.2, 0.0], [0.3, 0.2000001, -1]])
    found = oks.rescore(np.array([0.5, 1.0, 1.0]), joint_scores)
    np.testing.assert_allclose(found, [0.5 * 0.7, 0.0, 0.25000005])


def test_equal_scores_come_in_the_reverse_of_numpys_order():
    joints, areas = people(6)
    joints += 1e4 * np.arange(6)[:, None, None]  # far apart
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.9, 0.5])
    assert oks.nms(joints, scores, areas, [0.05] * 3, 0.9) == np.argsort(scores)[::-1].tolist()
