"""Both ways of evaluating agree; how long they take is nobody's business here."""

import numpy as np
import pytest

from hrnet_jax import heatmap, skeletons
from hrnet_jax.benchmark import evaluation, plain_evaluation, race
from hrnet_jax.evaluation import coco, oks

SIGMAS = np.array(skeletons.COCO.sigmas)


@pytest.fixture(scope="module")
def problem():
    return evaluation.made_up(0, photos=60, detections=900)


@pytest.fixture(scope="module")
def rescored(problem):
    areas = coco.padded_areas(problem.people.box, evaluation.IMAGE_SIZE)
    people = problem.people
    return plain_evaluation.rescored(problem.joints, problem.joint_scores, people.photo_id, people.score, areas)


def test_as_many_people_are_made_up_as_coco_has():
    problem = evaluation.made_up(1)
    entries = problem.annotations["annotations"]
    assert len(problem.annotations["images"]) == 5000 and len(problem.people) == 104_125
    assert sum(not entry["iscrowd"] for entry in entries) == 10_777
    assert sum(entry["num_keypoints"] > 0 for entry in entries) == 6352
    assert len({entry["image_id"] for entry in entries}) == 2693
    assert len({entry["id"] for entry in entries}) == len(entries) == 10_777 + 227
    labelled = np.array([entry["area"] for entry in entries if entry["num_keypoints"]])
    assert np.histogram(labelled, [0, 32**2, 96**2, 1e10])[0].min() > 100  # of every size
    assert np.median(problem.people.score) < 0.2


def test_the_same_seed_makes_up_the_same(problem):
    again = evaluation.made_up(0, photos=60, detections=900)
    np.testing.assert_array_equal(again.joints, problem.joints)
    assert again.annotations == problem.annotations
    assert not np.array_equal(evaluation.made_up(1, photos=60, detections=900).joints, problem.joints)


def test_suppression_has_work_and_leaves_some(problem, rescored):
    kept = sum(len(plain_evaluation.suppressed(people, SIGMAS)) for people in rescored.values())
    assert 0.6 * len(problem.people) < kept < 0.95 * len(problem.people)


def test_the_originals_way_keeps_whom_we_keep(problem, rescored):
    kept = [person for people in rescored.values() for person in plain_evaluation.suppressed(people, SIGMAS)]
    found = coco.results(
        problem.joints, problem.joint_scores, problem.people, evaluation.IMAGE_SIZE, skeletons.COCO
    )
    assert [result["score"] for result in found] == [person["score"] for person in kept]
    assert [result["image_id"] for result in found] == [person["image"] for person in kept]
    expected = [person["keypoints"].ravel() for person in kept]
    np.testing.assert_array_equal([result["keypoints"] for result in found], expected)


def test_likeness_is_the_oks(problem):
    joints, areas = problem.joints[:20], np.linspace(1e3, 1e5, 20)
    flat = np.dstack([joints, problem.joint_scores[:20]]).reshape(20, -1)
    found = plain_evaluation.likeness(flat[0], flat[1:], areas[0], areas[1:], SIGMAS)
    np.testing.assert_allclose(found, oks.oks(joints[0], joints[1:], areas[0], areas[1:], SIGMAS), rtol=1e-14)


def test_a_race_is_run_to_the_same_figures(problem):
    result = evaluation.run(problem, rounds=2)
    assert list(result.rates) == [race.OURS, evaluation.ORIGINAL]
    assert result.reference == evaluation.ORIGINAL
    assert all(len(rates) == 2 and min(rates) > 0 for rates in result.rates.values())


def test_other_figures_are_an_error(problem, monkeypatch):
    figures = plain_evaluation.judged
    monkeypatch.setattr(plain_evaluation, "judged", lambda *given: [value + 1e-12 for value in figures(*given)])
    with pytest.raises(RuntimeError, match="the figures differ"):
        evaluation.run(problem, rounds=1)


def test_shares_are_of_the_whole(problem):
    shares = evaluation.shares(problem)
    assert set(shares) == {*evaluation.STAGES, "bookkeeping"}
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0 and max(shares.values()) < 1


def test_joints_are_found_where_ours_finds_them():
    heatmaps = np.random.default_rng(5).random((3, 16, 12, 4), np.float32)
    heatmaps[0, :, :, 0] = 0  # nothing to be found
    ours, scores = heatmap.decode(heatmaps, "quarter")
    to_photo = np.tile(np.array([[2.0, 0, 5], [0, 2, 7]]), (3, 1, 1))
    found, heights = plain_evaluation.decoded(heatmaps.transpose(0, 3, 1, 2), to_photo)
    np.testing.assert_allclose(found, 2 * np.asarray(ours) + (5, 7), atol=1e-6)
    np.testing.assert_array_equal(heights, scores)
