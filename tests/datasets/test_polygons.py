from fractions import Fraction

import numpy as np
import pytest

from hrnet_jax.datasets import polygons

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
BOW_TIE = np.array([[0.0, 0], [10, 10], [10, 0], [0, 10]])


def inside(point, *shapes) -> bool:
    return bool(polygons.inside_any(np.array(point, float), shapes))


@pytest.mark.parametrize(
    "shape", [SQUARE, SQUARE[::-1], np.roll(SQUARE, 1, axis=0), np.concatenate([SQUARE, SQUARE[:1]])]
)
def test_edges_and_corners_are_outside(shape):
    assert inside((5, 5), shape) and inside((1e-9, 9.999), shape)
    assert not any(
        inside(point, shape) for point in [(0, 5), (5, 10), (10, 10), (0, 0), (10, 5), (11, 5), (-1, 10)]
    )


def test_rays_through_corners_are_counted_once():
    diamond = np.array([[0.0, 5], [5, 0], [10, 5], [5, 10]])
    assert inside((5, 5), diamond) and not inside((-1, 5), diamond) and not inside((11, 5), diamond)
    notched = np.array([[0.0, 0], [10, 0], [10, 10], [5, 5], [0, 10]])
    assert (
        inside((1, 5), notched)
        and inside((9, 5), notched)
        and not inside((5, 5), notched)
        and not inside((5, 6), notched)
    )


def test_a_polygon_that_crosses_itself_follows_the_even_odd_rule():
    assert inside((2, 5), BOW_TIE) and inside((8, 5), BOW_TIE)
    assert not inside((5, 2), BOW_TIE) and not inside((5, 5), BOW_TIE)
    twice = np.concatenate([SQUARE, SQUARE])  # round it two times
    assert not inside((5, 5), twice)


def test_any_polygon_counts_and_empty_ones_do_not():
    assert inside((5, 5), np.zeros((0, 2)), SQUARE + 100, SQUARE)
    assert not inside((5, 5), np.zeros((0, 2)), SQUARE + 100) and not inside((5, 5))


def test_points_on_a_slanted_edge_are_told_exactly():
    triangle = np.array([[0.1, 0.1], [0.9, 0.7], [0.1, 0.7]])
    shares = np.linspace(0, 1, 400)[1:-1, None]
    points = (
        triangle[0] * (1 - shares) + triangle[1] * shares
    )  # rounded: on the edge, or beside it in the last digit
    (x1, y1), (x2, y2) = (map(Fraction, corner) for corner in triangle[:2].tolist())
    sides = [(x2 - x1) * (Fraction(y) - y1) - (y2 - y1) * (Fraction(x) - x1) for x, y in points.tolist()]
    expected = np.array([side > 0 for side in sides])
    assert 0 < expected.sum() < len(points)
    np.testing.assert_array_equal(polygons.inside_any(points, [triangle]), expected)


def test_shapes_are_kept():
    assert polygons.inside_any(np.zeros((2, 3, 2)) + 5, [SQUARE]).tolist() == [[True] * 3] * 2
