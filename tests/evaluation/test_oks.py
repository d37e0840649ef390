import json

import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.evaluation import oks

SIGMAS = skeletons.COCO.sigmas


def nms(joints, scores, areas, sigmas=(0.05,) * 3, threshold=0.9, soft=False):
    """Applies NMS to the people of one photo."""
    return oks.suppress(np.zeros(len(scores)), joints, scores, areas, sigmas, threshold, soft=soft).tolist()


@pytest.fixture(scope="module")
def photos(shared):
    """People of five photos, and the original's OKS and NMS of them."""
    found = json.loads((shared / "conformance" / "nms.json").read_text())
    for photo in found:
        photo["joints"] = np.array(photo["keypoints"])[..., :2]
        photo["area"], photo["score"] = np.array(photo["area"]), np.array(photo["score"])
    return found


def test_oks_equals_the_original(photos):
    for photo in photos:
        joints, areas = photo["joints"], photo["area"]
        ours = oks.oks(joints[0], joints[1:], areas[0], areas[1:], SIGMAS)
        np.testing.assert_allclose(ours, photo["oks_first_vs_rest"], rtol=1e-14, atol=0)


@pytest.mark.parametrize("threshold", [0.5, 0.9])
@pytest.mark.parametrize("soft", [False, True])
def test_nms_keeps_the_same_people_as_the_original(photos, soft, threshold):
    name = "soft_oks_nms" if soft else "oks_nms"
    for photo in photos:
        kept = nms(photo["joints"], photo["score"], photo["area"], SIGMAS, threshold, soft)
        assert kept == photo[f"{name}_{threshold}"]


def people(count, num_joints=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 500, (count, num_joints, 2)), np.full(count, 5000.0)


def test_keeps_the_higher_scored_of_two_people_in_one_place():
    joints, areas = people(2)
    joints = np.concatenate([joints, joints])
    kept = nms(joints, np.array([0.2, 0.6, 0.5, 0.1]), np.tile(areas, 2))
    assert kept == [1, 2]


def test_soft_nms_keeps_at_most_twenty_people_and_hard_nms_all():
    joints, areas = people(30)
    joints += 1e4 * np.arange(30)[:, None, None]  # far apart
    scores = np.linspace(1, 0.1, 30)
    assert nms(joints, scores, areas, soft=True) == list(range(20))
    assert nms(joints, scores, areas) == list(range(30))


def test_accepts_no_people():
    joints, areas = people(0)
    assert nms(joints, np.zeros(0), areas) == []
    assert nms(joints, np.zeros(0), areas, soft=True) == []


def test_oks_is_0_61_at_two_sigmas_and_1_at_the_reference():
    sigmas, area = np.array([0.1, 0.05]), 400.0
    there = np.array([[10.0, 10.0], [50.0, 60.0]])
    away = there + np.array([[2 * 0.1 * 20, 0], [0, -2 * 0.05 * 20]])
    np.testing.assert_allclose(oks.oks(there, away[None], area, np.array([area]), sigmas), np.exp(-0.5))
    np.testing.assert_allclose(oks.oks(there, there[None], area, np.array([area]), sigmas), 1.0)


def test_the_area_is_the_mean_of_both():
    here, there = np.zeros((1, 2)), np.full((1, 1, 2), 3.0)
    found = [oks.oks(here, there, a, np.array([b]), [0.1]) for a, b in ((100, 300), (300, 100), (200, 200))]
    np.testing.assert_allclose(found[:2], found[2:] * 2)


def test_oks_of_predictions_counts_only_labelled_joints():
    joints = np.array([[[10.0, 10], [20, 20]], [[10, 10], [20, 20]], [[10, 10], [20, 20]]])
    predicted = joints + np.array([[0, 0], [1e4, 1e4]])
    visible = np.array([[1, 0], [2, 1], [0, 0]])
    found = oks.oks_of_predictions(predicted, joints, visible, np.full(3, 900.0), [0.1, 0.1])
    np.testing.assert_allclose(found, [1.0, 0.5, 0.0])


def test_rescoring_multiplies_by_the_mean_of_joint_scores_above_the_threshold():
    joint_scores = np.array([[0.9, 0.5, 0.2], [0.1, 0.2, 0.0], [0.3, 0.2000001, -1]])
    found = oks.rescore(np.array([0.5, 1.0, 1.0]), joint_scores)
    np.testing.assert_allclose(found, [0.5 * 0.7, 0.0, 0.25000005])


def test_equal_scores_are_in_the_reverse_order_of_numpy():
    joints, areas = people(6)
    joints += 1e4 * np.arange(6)[:, None, None]  # far apart
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.9, 0.5])
    assert nms(joints, scores, areas) == np.argsort(scores)[::-1].tolist()


def plain_nms(photos, joints, scores, areas, sigmas, threshold, soft):
    """Loops over photos and people as in the definition of NMS."""
    kept = []
    for photo in dict.fromkeys(photos.tolist()):
        rows = np.flatnonzero(photos == photo)
        order, lowered, taken = np.argsort(scores[rows])[::-1], np.sort(scores[rows])[::-1], []
        while order.size and not (soft and len(taken) == 20):
            best, rest, lowered = rows[order[0]], rows[order[1:]], lowered[1:]
            taken.append(best)
            similarity = oks.oks(joints[best], joints[rest], areas[best], areas[rest], sigmas)
            if soft:
                lowered = lowered * np.exp(-(similarity**2) / threshold)
                again = np.argsort(lowered)[::-1]
                order, lowered = order[1:][again], lowered[again]
            else:
                order, lowered = order[1:][similarity <= threshold], lowered[similarity <= threshold]
        kept += taken
    return kept


@pytest.mark.parametrize("digits", [1, 9])  # with one digit many scores are equal
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_photos_at_once_are_as_plain_nms(dtype, soft, digits):
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 25, 300) ** 2 // 20  # one to many people, in any order
    doubles = rng.uniform(0, 500, (20, 11, 2))[rng.integers(0, 20, 300)]
    joints = (doubles + rng.normal(0, 1, (300, 11, 2)) * rng.choice([0, 1, 5], (300, 1, 1))).astype(dtype)
    scores, areas = np.round(rng.random(300), digits), rng.choice([1e3, 1e4, 5e4], 300)
    for threshold in (0.5, 0.9):
        found = oks.suppress(photos, joints, scores, areas, SIGMAS[:11], threshold, soft=soft)
        assert found.tolist() == plain_nms(photos, joints, scores, areas, SIGMAS[:11], threshold, soft)


def test_drops_duplicates_only_within_a_photo():
    joints, areas = np.zeros((3, 3, 2)), np.full(3, 100.0)
    found = oks.suppress(np.array([7, 1, 7]), joints, np.array([0.1, 0.2, 0.3]), areas, [0.05] * 3, 0.9)
    assert found.tolist() == [2, 1]


def test_rescoring_adds_joint_by_joint_like_the_original():
    rng = np.random.default_rng(0)
    boxes, joint_scores = rng.random(500), rng.random((500, len(SIGMAS)), np.float32)
    for box, scores, found in zip(boxes, joint_scores, oks.rescore(boxes, joint_scores), strict=True):
        total, count = 0.0, 0
        for score in scores:
            if score > 0.2:
                total, count = total + float(score), count + 1
        assert found == total / max(count, 1) * box
