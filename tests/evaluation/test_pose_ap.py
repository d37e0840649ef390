import dataclasses

import numpy as np
import pytest
from made_posetrack import K, person, video

from hrnet_jax.evaluation import joint_pairs, pose_ap


def correct(truth, results) -> list[list[bool]]:
    """Returns for each predicted person whether the joints are correct."""
    found = pose_ap.joint_results(joint_pairs.pair(video([truth]), video([results])))
    return found.correct.reshape(len(results), K).tolist()


def test_of_two_poses_the_better_belongs_to_the_person():
    half = dataclasses.replace(person(1), joints=person(1).joints + np.where(np.arange(K) % 2, 50.0, 0)[:, None])
    assert correct([person(0)], [half, person(2)]) == [[False] * K, [True] * K]
    assert correct([person(0)], [person(2), person(3)]) == [[True] * K, [False] * K]  # the first of equals


def test_a_pose_has_no_second_choice():
    a, b = person(0, 100), person(1, 110)
    assert correct([a, b], [person(5, 101)]) == [[True] * K]
    between = [person(5, 104), person(6, 103)]  # both are equally good for both, and take the first
    assert correct([a, b], between) == [[True] * K, [False] * K]


def test_the_share_is_of_labelled_joints_and_unlabelled_ones_are_wrong():
    few = person(0, 100, missing=range(5, K))
    shifted = person(1, 110)
    (found,) = correct([shifted, few], [dataclasses.replace(person(5, 90), joints=np.concatenate([
        few.joints[:5], shifted.joints[5:10], shifted.joints[10:] + 900])
    )])  # fmt: skip
    assert found == [True] * 5 + [False] * 10  # 5 of 5 joints, not 10 of 15


@pytest.mark.parametrize(
    ("labels", "positives", "expected"),
    [
        ([1, 1, 1], 3, (100, 100, 100)),
        ([1, 1, 1], 6, (50, 100, 50)),
        ([0, 1, 1], 2, (200 / 3, 200 / 3, 100)),  # precision 0, 1/2, 2/3, made monotone
        ([1, 0, 1], 2, (100 * (0.5 + 0.5 * 2 / 3), 200 / 3, 100)),
        ([0, 0], 4, (0, 0, 0)),
        ([], 4, (0, 0, 0)),
        ([], 0, (0, 0, 0)),
    ],
)
def test_average_precision(labels, positives, expected):
    scores = np.linspace(1, 0.5, len(labels))
    found = pose_ap.average_precision(scores, np.array(labels, bool), positives)
    assert found == pytest.approx(expected)
    assert pose_ap.average_precision(scores[::-1], np.array(labels[::-1], bool), positives) == pytest.approx(
        expected
    )


def test_of_equal_scores_the_later_come_first():
    found, *_ = pose_ap.average_precision(np.full(2, 0.5), np.array([False, True]), 1)
    assert found == 100


def test_average_precision_without_labelled_joints_is_undefined():
    average, precision, recall = pose_ap.average_precision(np.ones(2), np.zeros(2, bool), 0)
    assert np.isnan(average) and np.isnan(recall) and precision == 0


def test_predictions_of_all_videos_are_ranked_together():
    good, bad = [[person(0, score=0.9)]], [[person(0, 5000, score=0.5)]]
    videos = [joint_pairs.pair(video([[person(0)]]), video(results)) for results in (bad, good)]
    table = pose_ap.pooled([pose_ap.joint_results(pairs) for pairs in videos])
    np.testing.assert_allclose(table, np.full((3, K), 50))
