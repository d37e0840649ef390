import dataclasses

import numpy as np
import pytest
from made_posetrack import HEAD, K, person, video

from hrnet_jax.evaluation import joint_pairs


def test_distances_are_in_heads_and_infinite_unless_both_exist():
    pairs = joint_pairs.pair(
        video([[person(0), person(1, 700, missing=[3])]]), video([[person(0, 106, 108, missing=[2])]])
    )
    wanted = np.full(K, 10 / HEAD)
    wanted[2] = np.inf
    np.testing.assert_allclose(pairs.distance[0, 0, 0], wanted)
    assert np.isinf(pairs.distance[0, 0, 1, 3]) and pairs.distance[0, 0, 1, 4] > 10
    assert pairs.within[0, 0, 0].sum() == K - 1


def test_frames_without_people_and_labels_are_left_out():
    truth = video([[person(0)], [], [], [person(0)]], labelled=[True, False, True, True])
    pairs = joint_pairs.pair(truth, video([[person(0)]] * 4))
    assert pairs.truth.frames == tuple(truth.frames[row] for row in (0, 2, 3))
    assert len(pairs.select(pairs.truth.listed).distance) == 2


def test_joints_in_ignore_regions_are_removed_from_both():
    over_one = [[(90, 90), (190, 90), (190, 2000), (90, 2000)]]  # all joints of the first person
    people = [person(0), person(1, 700)]
    pairs = joint_pairs.pair(video([people], regions=over_one), video([[*people, person(2, 90, 95)]]))
    assert pairs.truth.present.tolist() == [[False, True]]
    assert pairs.results.present.tolist() == [[False, True, True]]
    outside = pairs.results.exists[0, 2]
    assert not outside[1] and outside[0] and pairs.truth.exists[0, 1].all()  # the column at x = 90 is on the edge


def test_a_person_without_joints_leaves_only_frames_with_regions():
    nobody = person(1, missing=range(K))
    far = [[(5000, 5000), (5001, 5000), (5001, 5001)]]
    for regions, present in (((), True), (far, False)):
        pairs = joint_pairs.pair(video([[nobody]], regions=regions), video([[person(0)]]))
        assert bool(pairs.truth.present[0, 0]) is present


def test_a_head_of_size_zero_matches_nothing_and_a_missing_one_is_told():
    def truth(size: float):
        return video([[dataclasses.replace(person(4), head_size=size)]])

    assert np.isinf(joint_pairs.pair(truth(0.0), video([[person(0)]])).distance).all()
    with pytest.raises(
        ValueError, match=r"`track_id` 4 in images/.*000000.jpg of the ground truth has no head box"
    ):
        joint_pairs.pair(truth(np.nan), video([[person(0)]]))


def test_videos_of_different_length_are_refused():
    with pytest.raises(ValueError, match="the results list 2 frames and the ground truth 3: list all frames"):
        joint_pairs.pair(video([[person(0)]] * 3), video([[person(0)]] * 2))


def test_other_frames_and_formats_are_described():
    truth = video([[person(0)]] * 3)
    assert joint_pairs.frame_differences(truth, truth) == []
    rotated = dataclasses.replace(truth, frames=(*truth.frames[1:], truth.frames[0]))
    (note,) = joint_pairs.frame_differences(truth, rotated)
    assert "3 frames of the results have other names" in note and "position 0, 000001.jpg for 000000.jpg" in note
    (note,) = joint_pairs.frame_differences(truth, dataclasses.replace(truth, image_ids=(0, 7, 8)))
    assert "2 frames of the results have other ids" in note and "position 1, 7 for 1" in note
    assert note.endswith("list them in the ground truth's order")
    (note,) = joint_pairs.frame_differences(truth, dataclasses.replace(truth, image_ids=(6, 7, 8)))
    assert note.endswith("are they of another video?")
    (note,) = joint_pairs.frame_differences(truth, dataclasses.replace(truth, year=2017))
    assert "format of 2018 and the results in that of 2017" in note
