"""Tracks compared with ground truth, person by person."""

import dataclasses

import made_posetrack as made
import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.datasets.posetrack import JOINTS
from hrnet_jax.predict import track_truth

COCO = skeletons.COCO
PLACES = {1: 100, 2: 500, 3: 900}  # x of people of the ground truth


def line(frame, tracks):
    """The line of a frame, given where each track's person is."""
    people = []
    for track, x in tracks.items():
        joints = np.zeros((COCO.num_joints, 3))
        for row, name in enumerate(COCO.joints):
            if name in JOINTS:
                joints[row, :2] = made.POSE[JOINTS.index(name)] + [x, 100]
        people.append({"id": track, "joints": joints.tolist()})
    return {"frame": frame, "people": people}


def compare(truth, tracks, **options):
    video = made.video([[made.person(i, PLACES[i]) for i in people] for people in truth], **options)
    comparison = track_truth.Comparison(video, COCO)
    for place, found in enumerate(tracks):
        comparison.add(place, line(place, found))
    return comparison.to_json()


def test_people_are_matched_with_tracks():
    found = compare([[1, 2]] * 3, [{7: 103, 8: 500}] * 3)
    assert found["people"] == [{"id": 1, "runs": [[0, 2, 7]]}, {"id": 2, "runs": [[0, 2, 8]]}]
    assert (found["switches"], found["missed"], found["labelled"]) == ([], 0, 6)


def test_switches_and_misses_are_marked_where_they_are():
    found = compare([[1, 2]] * 4, [{7: 100, 8: 500}, {8: 500}, {7: 500, 8: 100}, {7: 500, 9: 100}])
    assert found["people"][0]["runs"] == [[0, 0, 7], [1, 1, None], [2, 2, 8], [3, 3, 9]]
    assert found["people"][1]["runs"] == [[0, 1, 8], [2, 3, 7]]
    assert found["switches"] == [(2, 1, 7, 8), (2, 2, 8, 7), (3, 1, 8, 9)] and found["missed"] == 1


def test_a_person_keeps_its_track_where_another_is_as_near():
    found = compare([[1]] * 2, [{7: 100}, {8: 100, 7: 106}])
    assert found["people"][0]["runs"] == [[0, 1, 7]] and not found["switches"]


def test_a_track_is_of_one_person():
    found = compare([[1], [1, 3]], [{7: 100}, {7: 900}])
    assert found["people"] == [{"id": 1, "runs": [[0, 0, 7], [1, 1, None]]}, {"id": 3, "runs": [[1, 1, 7]]}]


def test_frames_without_labels_do_not_count():
    found = compare([[1], [], [1]], [{7: 100}, {}, {7: 100}], labelled=[True, False, True])
    assert found["people"][0]["runs"] == [[0, 2, 7]] and found["labelled"] == 2
    assert compare([[1]], [{}, {7: 100}])["people"] == [{"id": 1, "runs": [[0, 0, None]]}]


def test_frames_of_2017_count_from_one():
    video = made.video([[made.person(1, 100)]] * 2, year=2017)
    assert track_truth.Comparison(video, COCO)._rows == {-1: 0, 0: 1}


def test_other_skeletons_and_missing_heads_are_told():
    names = [f"mark_{k}" for k in range(COCO.num_joints)]
    other = dataclasses.replace(COCO, joints=tuple(names))
    with pytest.raises(ValueError, match="has no joint of PoseTrack's"):
        track_truth.Comparison(made.video([[]]), other)
    headless = made.Person(1, made.POSE, np.ones(made.K, bool), np.ones(made.K), np.nan)
    comparison = track_truth.Comparison(made.video([[headless]]), COCO)
    with pytest.raises(ValueError, match=r"000001_mpii_test: a person in .*000000.jpg has no head box"):
        comparison.add(0, line(0, {7: 100}))
