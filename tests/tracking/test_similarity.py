import numpy as np
import pytest

from hrnet_jax.tracking import similarity

SIGMAS = np.array([0.05, 0.1, 0.1])


def pose(*joints: tuple[float, float, float]) -> np.ndarray:
    return np.array([joints], float)


def test_flow_is_read_at_the_joint_between_pixels_and_at_the_border_outside():
    flow = np.zeros((3, 4, 2))
    flow[1, 2] = 10, -4
    points = np.array([[2, 1], [1.5, 1], [2.25, 0.5], [0, 0]], float)
    np.testing.assert_allclose(similarity.sample_flow(flow, points), [[10, -4], [5, -2], [3.75, -1.5], [0, 0]])
    y, x = np.mgrid[:3, :4]
    ramp = np.stack([x, y], axis=-1).astype(float)
    outside = np.array([[-5, 1], [9, 9], [3, 2], [2.5, -1]], float)
    np.testing.assert_allclose(similarity.sample_flow(ramp, outside), [[0, 1], [3, 2], [3, 2], [2.5, 0]])
    np.testing.assert_allclose(similarity.sample_flow(ramp[:1, :1] + 7, outside), np.full((4, 2), 7))


def test_propagation_moves_joints_and_keeps_scores_and_its_argument():
    flow = np.broadcast_to([2.0, -1.0], (20, 20, 2))
    before = pose((5, 5, 0.3), (10, 7, 0.1))
    np.testing.assert_allclose(similarity.propagate(before, flow), pose((7, 4, 0.3), (12, 6, 0.1)))
    assert before[0, 0, 0] == 5


def test_boxes_are_of_valid_joints():
    poses = np.concatenate(
        [pose((5, 5, 0.2), (10, 25, 0.9), (99, 99, 0.19)), pose((1, 1, 0), (2, 2, 0), (3, 3, 0))]
    )
    assert similarity.tight_boxes(poses).tolist() == [[5, 5, 10, 25], [0, 0, 0, 0]]
    assert similarity.tight_boxes(poses, 0.5).tolist()[0] == [10, 25, 10, 25]
    assert similarity.tight_boxes(np.zeros((0, 3, 3))).shape == (0, 4)


def test_boxes_grow_about_their_centre():
    assert similarity.grow(np.array([0.0, 0, 100, 200])) == pytest.approx([-7.5, -15, 107.5, 215])


def test_intersection_over_union():
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [4, 4, 4, 4]])
    found = similarity.iou(boxes, boxes)
    assert found[0].tolist() == [1, pytest.approx(50 / 150), 0, 0] and found[3, 3] == 0
    np.testing.assert_allclose(found, found.T)


def test_suppression_keeps_the_best_and_what_is_apart():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 11, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    assert similarity.suppress_boxes(boxes, np.array([0.5, 0.9, 0.7, 0.1]), 0.5).tolist() == [1, 3]
    assert similarity.suppress_boxes(boxes, np.array([0.5, 0.5, 0.5, 0.5]), 0.75).tolist() == [0, 2, 3]
    half = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5]])  # an IoU of the threshold is no reason to drop
    assert similarity.suppress_boxes(half, np.array([0.5, 0.9]), 0.5).tolist() == [1, 0]
    assert similarity.suppress_boxes(boxes[:0], np.zeros(0), 0.5).tolist() == []


def test_pose_similarity_is_oks_over_joints_valid_in_both():
    a = pose((0, 0, 1), (40, 100, 1), (20, 20, 0.1))
    assert similarity.pose_similarity(a, a, SIGMAS) == 1
    moved = pose((6, 8, 1), (40, 100, 0.1), (20, 20, 1))  # only the first is valid in both
    areas = (40 * 100 + 14 * 12) / 2
    wanted = np.exp(-(10**2) / (2 * areas * (2 * 0.05) ** 2))
    assert similarity.pose_similarity(a, moved, SIGMAS) == pytest.approx(wanted)
    assert similarity.pose_similarity(moved, a, SIGMAS) == pytest.approx(wanted)
    apart = pose((0, 0, 0.1), (40, 100, 0.1), (20, 20, 1))
    assert similarity.pose_similarity(a, apart, SIGMAS) == 0


def test_similarities_of_nobody_are_empty():
    some, nobody = pose((0, 0, 1), (1, 1, 1), (2, 2, 1)), np.zeros((0, 3, 3))
    for metric in (similarity.box_similarity, lambda a, b: similarity.pose_similarity(a, b, SIGMAS)):
        assert metric(some, nobody).shape == (1, 0) and metric(nobody, some).shape == (0, 1)
