import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import pck

SKELETON = skeletons.load("jhmdb")
SHOULDER, HIP = (SKELETON.joints.index(name) for name in pck.TORSO)


def people(visible=1.0):
    """Two people: boxes of 100 x 50, torsos of 40."""
    joints, ids = np.zeros((2, SKELETON.num_joints, 2)), np.arange(2)
    joints[:, HIP, 1] = 40
    boxes = np.array([[0.0, 0, 100, 50]] * 2)
    return records.People(ids, ids, ids, boxes, joints, np.broadcast_to(visible, joints.shape[:2]), np.ones(2))


def moved(truth, person, joint, distance):
    joints = truth.joints.copy()
    joints[person, SKELETON.joints.index(joint), 0] += distance
    return joints


def test_joints_within_a_fifth_of_the_size_are_right():
    truth = people()
    metrics = pck.metrics(truth.joints, truth, truth.box, SKELETON)
    assert set(metrics.values()) == {100.0} and len(metrics) == 2 * 8
    near = pck.metrics(moved(truth, 0, "left_wrist", 19.99), truth, truth.box, SKELETON)
    assert (near["PCK@0.2/Wrist"], near["tPCK@0.2/Wrist"]) == (100, 75)
    at = pck.metrics(moved(truth, 0, "left_wrist", 20), truth, truth.box, SKELETON)
    assert (at["PCK@0.2/Wrist"], at["PCK@0.2/Ankle"]) == (75, 100)
    assert at["PCK@0.2/Mean"] == pytest.approx(100 - 50 / 15)
    torso = pck.metrics(moved(truth, 1, "head", 8), truth, truth.box, SKELETON)
    assert (torso["tPCK@0.2/Head"], torso["PCK@0.2/Head"]) == (50, 100)


def test_only_labelled_joints_of_people_with_a_size_count():
    visible = np.ones((2, SKELETON.num_joints))
    visible[0, SHOULDER] = visible[:, SKELETON.joints.index("head")] = 0
    truth = people(visible=visible)
    found = pck.metrics(moved(truth, 0, "belly", 999), truth, truth.box, SKELETON)
    assert (found["tPCK@0.2/Mean"], found["PCK@0.2/Mean"]) == (100, pytest.approx(100 - 50 / 14))
    assert found["PCK@0.2/Head"] == pck.UNDEFINED
    nobody = pck.metrics(truth.joints, truth, np.zeros((2, 4)), SKELETON)
    assert nobody["PCK@0.2/Mean"] == pck.UNDEFINED
