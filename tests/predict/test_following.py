"""Boxes from the poses of the frame before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hrnet_jax.predict import following

SIZE = 480, 640


def test_boxes_are_grown_around_their_centres_and_stay_in_the_photo():
    joints = np.array([[[100, 100], [140, 100], [120, 180]], [[0, 0], [639, 0], [0, 479]]], np.float32)
    boxes, scores = following.boxes_from_poses(joints, np.ones((2, 3)), np.array([0.9, 0.5]), SIZE)
    np.testing.assert_allclose(boxes, [[95, 90, 50, 100], [0, 0, 640, 480]])
    np.testing.assert_allclose(scores, [0.9, 0.5])
    assert boxes.dtype == scores.dtype == np.float32


def test_joints_of_low_score_do_not_count():
    joints = np.array([[[100, 100], [140, 180], [600, 0]]], np.float32)
    boxes, _ = following.boxes_from_poses(joints, np.array([[0.2, 0.9, 0.19]]), np.ones(1), SIZE)
    np.testing.assert_allclose(boxes, [[95, 90, 50, 100]])


def test_people_without_a_box_are_lost():
    joints = np.array([[[10, 10], [20, 30]], [[10, 10], [20, 30]], [[10, 10], [10, 30]], [[-50, -50], [-20, -9]]])
    scores = np.array([[0.9, 0.9], [0.9, 0.1], [0.9, 0.9], [0.9, 0.9]])
    boxes, kept = following.boxes_from_poses(joints, scores, np.array([0.1, 0.2, 0.3, 0.4]), SIZE)
    np.testing.assert_allclose(boxes, [[8.75, 7.5, 12.5, 25]])
    np.testing.assert_allclose(kept, [0.1])
    boxes, kept = following.boxes_from_poses(joints[:0], scores[:0], np.zeros(0), SIZE)
    assert boxes.shape == (0, 4) and kept.shape == (0,)


@given(st.integers(0, 2**32 - 1))
def test_every_counted_joint_within_the_photo_is_in_its_box(seed):
    rng = np.random.default_rng(seed)
    joints, scores = rng.uniform(0, SIZE[::-1], (4, 5, 2)), rng.uniform(0.2, 1, (4, 5))
    boxes, _ = following.boxes_from_poses(joints, scores, np.ones(4), SIZE)
    low, high = boxes[:, None, :2], boxes[:, None, :2] + boxes[:, None, 2:]
    assert len(boxes) == 4 and np.all(joints >= low - 1e-3) and np.all(joints <= high + 1e-3)
