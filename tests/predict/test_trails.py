"""Trails of people."""

import dataclasses

import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.predict import trails
from hrnet_jax.predict.poses import Poses

COCO = skeletons.COCO


def frame(time, places):
    """The poses of people by track id, each with all joints at one place but an uncertain one."""
    joints = np.array([np.full((COCO.num_joints, 2), place) for place in places.values()], np.float32)
    joints = joints.reshape(-1, COCO.num_joints, 2)
    joints[:, 0] = 999
    scores = np.full(joints.shape[:2], 0.9, np.float32)
    scores[:, 0] = 0.1
    ids = np.array(list(places), int)
    return Poses("", 0, time, (9, 9), np.zeros((len(ids), 4)), np.ones(len(ids)), joints, scores, COCO, ids=ids)


def test_a_trail_is_where_a_person_has_been_lately():
    found = trails.Trails()
    for n in range(50):
        now = found.add(frame(n / 8, {3: n, 5: -n} if n < 30 else {3: n}))
    assert list(now) == [3]  # the other was last seen 2.5 seconds ago
    np.testing.assert_allclose(now[3], [[n, n] for n in range(49 - 12, 50)], atol=1e-4)


def test_trails_are_of_the_joints_that_are_shown():
    poses = frame(0.0, {1: 4})
    shown = dataclasses.replace(poses, smoothed=poses.joints + 1)
    np.testing.assert_allclose(trails.Trails().add(shown)[1], [[5, 5]])


def test_nobody_leaves_no_trail():
    assert trails.Trails().add(frame(0.0, {})) == {}
