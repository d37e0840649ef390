import dataclasses
import json

import made_predictor as made
import numpy as np
import pytest

import hrnet_jax
from hrnet_jax import skeletons, visualize
from hrnet_jax.evaluation import oks
from hrnet_jax.predict import poses as poses_module
from hrnet_jax.predict.poses import Poses

COUNT = skeletons.COCO.num_joints


def make_poses(people: int = 2, size=(400, 300), seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    joints = rng.uniform(0, 1, (people, COUNT, 2)) * size[::-1]
    scores = rng.uniform(-0.1, 1, (people, COUNT))
    numbers = (rng.uniform(0, 99, (people, 4)), rng.uniform(0, 1, people), joints, scores)
    return Poses("a/photo.jpg", None, None, size, *(array.astype(np.float32) for array in numbers), skeletons.COCO)


@pytest.mark.parametrize("people", [0, 3])
def test_json_keeps_every_bit(people):
    poses = make_poses(people)
    text = json.dumps(poses.to_json())
    read = poses_module.from_json(json.loads(text), skeletons.COCO)
    for name in ("boxes", "box_scores", "joints", "scores"):
        found, expected = getattr(read, name), getattr(poses, name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    assert (read.source, read.frame, read.time, read.size) == ("a/photo.jpg", None, None, (400, 300))
    assert len(read) == people


def test_json_has_the_documented_form():
    content = make_poses(1).to_json()
    assert list(content) == ["source", "frame", "time", "height", "width", "people"]
    (person,) = content["people"]
    assert list(person) == ["box", "box_score", "score", "joints"]
    assert len(person["box"]) == 4 and len(person["joints"]) == COUNT and len(person["joints"][0]) == 3


def test_a_persons_score_is_that_of_the_evaluation():
    poses = make_poses(4)
    np.testing.assert_array_equal(poses.person_scores, oks.rescore(poses.box_scores, poses.scores, 0.2))
    scores = [person["score"] for person in poses.to_json()["people"]]
    np.testing.assert_allclose(scores, poses.person_scores, rtol=1e-6)


def test_coco_results_hold_x_y_and_score_of_each_joint():
    poses = make_poses(2)
    first, second = poses.to_coco(image_id=7)
    assert first["image_id"] == second["image_id"] == 7 and first["category_id"] == 1
    keypoints = np.array(second["keypoints"], np.float32).reshape(COUNT, 3)
    np.testing.assert_array_equal(keypoints[:, :2], poses.joints[1])
    np.testing.assert_array_equal(keypoints[:, 2], poses.scores[1])
    assert second["score"] == poses.person_scores[1]


def one_joint(score: float, at=(150.0, 200.0), size=(400, 300)) -> Poses:
    """Poses of one person whose nose alone is on the photo."""
    joints = np.full((1, COUNT, 2), np.nan, np.float32)
    joints[0, 0] = at
    scores = np.full((1, COUNT), score, np.float32)
    return Poses("", None, None, size, np.zeros((1, 4)), np.ones(1), joints, scores, skeletons.COCO)


def test_uncertain_joints_are_rings():
    photo = np.full((400, 300, 3), 128, np.uint8)
    certain, uncertain = (one_joint(score).draw(photo, joint_score=0.5) for score in (0.6, 0.4))
    assert tuple(certain[200, 150]) == visualize.MIDDLE
    assert tuple(uncertain[200, 150]) != visualize.MIDDLE
    assert (certain != photo).any() and (uncertain != photo).any()
    assert np.all(photo == 128)


def test_drawing_grows_with_the_photo():
    def share(factor: int) -> float:
        size = (400 * factor, 300 * factor)
        joints = np.random.default_rng(1).uniform(0.2, 0.8, (1, COUNT, 2)) * size[::-1]
        poses = Poses("", None, None, size, np.zeros((1, 4)), np.ones(1), joints.astype(np.float32),
                      np.ones((1, COUNT), np.float32), skeletons.COCO)  # fmt: skip
        return float(np.mean(poses.draw(np.zeros((*size, 3), np.uint8)).any(axis=2)))

    assert share(8) == pytest.approx(share(4), rel=0.15)


def test_joints_are_drawn_on_a_smaller_photo_in_their_place():
    half = one_joint(1.0).draw(np.zeros((200, 150, 3), np.uint8))
    rows, columns = np.nonzero((half == visualize.MIDDLE).all(axis=2))
    assert rows.mean() == pytest.approx(99.75, abs=0.5) and columns.mean() == pytest.approx(74.75, abs=0.5)


def test_a_photo_without_people_stays_as_it_is():
    photo = made.noise(0, 50, 40)
    np.testing.assert_array_equal(make_poses(0, (50, 40)).draw(photo), photo)


def test_the_package_exposes_what_predicts():
    assert hrnet_jax.Poses is Poses and callable(hrnet_jax.load) and hrnet_jax.Predictor.__name__ == "Predictor"
    with pytest.raises(AttributeError, match="no attribute 'predictor_of_doom'"):
        hrnet_jax.predictor_of_doom  # noqa: B018


def make_filled(people: int = 2) -> Poses:
    """Poses found without boxes: joint 1 is filled, joint 2 is missing."""
    poses = make_poses(people, seed=4)
    filled, scores = np.zeros((people, COUNT), bool), np.maximum(poses.scores, 0.3)
    filled[:, 1], scores[:, 2] = True, 0
    return dataclasses.replace(poses, filled=filled, scores=scores)


@pytest.mark.parametrize("people", [0, 2])
def test_filled_joints_are_kept_in_json(people):
    poses = make_filled(people)
    read = poses_module.from_json(json.loads(json.dumps(poses.to_json())), skeletons.COCO)
    assert read.to_json() == poses.to_json()
    if people:
        np.testing.assert_array_equal(read.filled, poses.filled)
        np.testing.assert_array_equal(read.person_scores, poses.box_scores)
        np.testing.assert_array_equal(read.to_coco(1)[0]["score"], poses.box_scores[0])


def test_joints_that_were_not_found_are_not_shown():
    poses = make_filled()
    assert (poses.found_scores[:, 1:3] == 0).all() and (poses.found_scores[:, 3:] > 0).all()
    assert np.isnan(poses.shown_joints[:, 1:3]).all() and np.isfinite(poses.shown_joints[:, 3:]).all()
    person = poses.to_json()["people"][0]
    shown = poses_module.shown_joints(person)
    assert shown[1] == shown[2] == [None, None, 0.0] and shown[3:] == person["joints"][3:]
    photo = np.zeros((*poses.size, 3), np.uint8)
    joints = np.where(poses.found_scores[..., None] > 0, poses.joints, np.nan)
    expected = visualize.draw_people(photo, joints, skeletons.COCO, certain=poses.scores >= 0.5)
    np.testing.assert_array_equal(poses.draw(photo, 0.5), expected)
