import math

import pytest

from hrnet_jax.datasets import plain_values

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (448.0, 448), ("448", 448), (" 12 ", 12), ("000123", 123), ("3.0", 3), (-1.0, -1), (2**62, 2**62)],
)
def test_whole_numbers_may_be_floats_or_text(value, number):
    found = plain_values.whole({"id": value}, "id", "it")
    assert found == number and type(found) is int


@pytest.mark.parametrize("value", [0.5, "a", "", True, None, [1], 1e300, "1e400", 2**70, "0x10", "१"])
def test_other_values_are_no_whole_numbers(value):
    with pytest.raises(ValueError, match=r"^it: `id` "):
        plain_values.whole({"id": value}, "id", "it")


@pytest.mark.parametrize(
    ("entry", "number"),
    [
        ({}, 0),
        ({"f": None}, 0),
        ({"f": False}, 0),
        ({"f": True}, 1),
        ({"f": 1.0}, 1),
        ({"f": "0"}, 0),
        ({"f": 1}, 1),
        ({"f": "False"}, 0),
        ({"f": "true"}, 1),
    ],
)
def test_flags_may_be_booleans_or_missing(entry, number):
    assert plain_values.flag(entry, "f", "it") == number


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (None, [0] * 6),
        ([], [0] * 6),
        ([None, None, 0, 3, 4, 2], [0, 0, 0, 3, 4, 2]),
        ([None] * 6, [0] * 6),
        ([1, 2, True, 3, 4, False], [1, 2, 2, 3, 4, 0]),
        ([NAN, NAN, 2, 3, 4, 2], [0, 0, 0, 3, 4, 2]),
        ([1, NAN, 2, 3, 4, NAN], [0, 0, 0, 3, 4, 0]),
        ([1, None, 2, 3, 4, None], [0, 0, 0, 3, 4, 0]),
        (["1.5", "2", "2", 3, 4, 1], [1.5, 2, 2, 3, 4, 1]),
        ([[1, 2, 2], [3, 4, 1]], [1, 2, 2, 3, 4, 1]),
        ([1, 2, 2, 3, 4, 1], [1, 2, 2, 3, 4, 1]),
    ],
)
def test_keypoints_may_lack_joints(value, numbers):
    assert plain_values.keypoints(value, 2, "it") == numbers


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 2],
        [1, 2, 2, 3, 4, "far"],
        [1, 2, 2, True, 4, 2],
        [1, 2, 2, math.inf, 4, 2],
        "none",
        [[1, 2], [3, 4]],
    ],
)
def test_other_keypoints_are_refused(value):
    with pytest.raises(ValueError, match=r"^it (\(x, y, flag of each joint\) )?must be 6 finite numbers"):
        plain_values.keypoints(value, 2, "it")


def test_real_numbers_may_be_text():
    assert plain_values.real({"score": "0.9"}, "score", "it") == 0.9
    with pytest.raises(ValueError, match=r"`score` .* must be a number, not bool"):
        plain_values.real({"score": True}, "score", "it")
