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


def one_by_one(photos, joints, scores, areas, sigmas, threshold, soft):
    """Suppression as it is defined: photo by photo, best by best."""
    kept = []
    for photo in dict.fromkeys(photos.tolist()):
        rows = np.flatnonzero(photos == photo)
        order, lowered, taken = np.argsort(scores[rows])[::-1], np.sort(scores[rows])[::-1], []
        while order.size and not (soft and len(taken) == 20):
            best, rest, lowered = rows[order[0]], rows[order[1:]], lowered[1:]
            taken.append(best)
            alike = oks.oks(joints[best], joints[rest], areas[best], areas[rest], sigmas)
            if soft:
                lowered = lowered * np.exp(-(alike**2) / threshold)
                again = np.argsort(lowered)[::-1]
                order, lowered = order[1:][again], lowered[again]
            else:
                order, lowered = order[1:][alike <= threshold], lowered[alike <= threshold]
        kept += taken
    return kept


@pytest.mark.parametrize("digits", [1, 9])  # with one, many scores are equal
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_photos_at_once_are_as_one_by_one(dtype, soft, digits):
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 25, 300) ** 2 // 20  # from one person to many, in any order
    doubles = rng.uniform(0, 500, (20, 11, 2))[rng.integers(0, 20, 300)]
    joints = (doubles + rng.normal(0, 1, (300, 11, 2)) * rng.choice([0, 1, 5], (300, 1, 1))).astype(dtype)
    scores, areas = np.round(rng.random(300), digits), rng.choice([1e3, 1e4, 5e4], 300)
    for threshold in (0.5, 0.9):
        found = oks.suppress(photos, joints, scores, areas, SIGMAS[:11], threshold, soft=soft)
        assert found.tolist() == one_by_one(photos, joints, scores, areas, SIGMAS[:11], threshold, soft)


def test_suppression_loses_doubles_only_within_a_photo():
    joints, areas = np.zeros((3, 3, 2)), np.full(3, 100.0)
    found = oks.suppress(np.array([7, 1, 7]), joints, np.array([0.1, 0.2, 0.3]), areas, [0.05] * 3, 0.9)
    assert found.tolist() == [2, 1]


def test_rescoring_adds_joint_by_joint_as_the_original_does():
    rng = np.random.default_rng(0)
    boxes, joint_scores = rng.random(500), rng.random((500, len(SIGMAS)), np.float32)
    for box, scores, found in zip(boxes, joint_scores, oks.rescore(boxes, joint_scores), strict=True):
        total, count = 0.0, 0
        for score in scores:
            if score > 0.2:
                total, count = total + float(score), count + 1
        assert found == total / max(count, 1) * box
