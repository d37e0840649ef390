import math

import numpy as np
import pytest

from hrnet_jax.tracking import smoothing


class OneEuro:
    """The filter of one number, as Casiez et al. write it."""

    def __init__(self, min_cutoff: float, beta: float, speed_cutoff: float):
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.time = None

    def __call__(self, time: float, value: float, speed: float | None = None) -> float:
        if self.time is None:
            self.time, self.raw, self.value, self.speed = time, value, value, 0.0
            return value
        step, self.time = time - self.time, time
        self.speed = self._low(self.speed, (value - self.raw) / step, self.speed_cutoff, step)
        cutoff = self.min_cutoff + self.beta * abs(self.speed)
        self.raw, self.value = value, self._low(self.value, value, cutoff, step)
        return self.value

    @staticmethod
    def _low(before: float, value: float, cutoff: float, step: float) -> float:
        alpha = 1 / (1 + 1 / (2 * math.pi * cutoff) / step)
        return alpha * value + (1 - alpha) * before


def run(times, ids, poses, settings=smoothing.DEFAULT, height=100.0) -> list[np.ndarray]:
    state, found = smoothing.start(poses[0].shape[1]), []
    for time, numbers, of_frame in zip(times, ids, poses, strict=True):
        numbers = np.array(numbers, int)
        state, smoothed = smoothing.smooth(state, time, numbers, of_frame, np.full(len(numbers), height), settings)
        found.append(smoothed)
    return found


def points(*places: float, score: float = 1.0) -> np.ndarray:
    """Returns people of one joint at (x, 0)."""
    return np.array([[[x, 0, score]] for x in places], float).reshape(-1, 1, 3)


def test_it_is_the_one_euro_filter_at_irregular_times():
    rng, settings = np.random.default_rng(0), smoothing.Settings(1.5, 4.0, 0.8)
    times, values = np.cumsum(rng.uniform(0.01, 0.1, 50)), np.cumsum(rng.normal(0, 5, (50, 2)), axis=0)
    reference = [OneEuro(1.5, 4.0 / 80, 0.8) for _ in range(2)]
    expected = [
        [one(time, x) for one, x in zip(reference, pair, strict=True)]
        for time, pair in zip(times, values, strict=True)
    ]
    found = run(times, [[4, 9]] * 50, [points(*pair) for pair in values], settings, height=80)
    np.testing.assert_allclose([each[:, 0, 0] for each in found], expected, atol=1e-9)


def test_a_trembling_joint_is_steadied_and_a_quick_one_kept():
    rng, times = np.random.default_rng(1), np.arange(200) / 25
    noise = rng.normal(0, 1, 200)
    still = np.array([each[0, 0, 0] for each in run(times, [[0]] * 200, [points(x) for x in noise])])
    assert still[50:].std() < 0.5 * noise[50:].std()
    quick = 300 * times
    lag = quick - [each[0, 0, 0] for each in run(times, [[0]] * 200, [points(x) for x in quick])]
    assert abs(lag[50:]).max() < 12  # of 100 pixels' height; 12 pixels a frame


def test_tracks_are_found_by_id_in_any_order_and_new_ones_begin_where_they_are():
    found = run([0, 0.1, 0.2], [[3, 5], [5, 3], [8]], [points(0, 100), points(101, 1), points(1)])
    assert 100 < found[1][0, 0, 0] < 101 and 0 < found[1][1, 0, 0] < 1
    assert found[2][0, 0, 0] == 1


def test_a_track_begins_anew_after_a_gap():
    times = [0, 0.1, 0.2, 0.3]
    assert run(times, [[0], [], [], [0]], [points(0), points(), points(), points(9)])[3][0, 0, 0] < 9
    assert run([0, 1, 2, 3], [[0], [], [], [0]], [points(0), points(), points(), points(9)])[3][0, 0, 0] == 9


def test_uncertain_joints_are_left_and_not_remembered():
    poses = [points(0), points(50, score=0.1), points(1)]
    found = run([0, 0.1, 0.2], [[0]] * 3, poses)
    assert found[1][0, 0].tolist() == [50, 0, 0.1] and 0 < found[2][0, 0, 0] < 1
    assert found[2][0, 0, 0] == pytest.approx(run([0, 0.2], [[0]] * 2, [poses[0], poses[2]])[1][0, 0, 0])


def test_the_state_holds_people_seen_lately():
    state = smoothing.start(1)
    for number in range(100):
        state, _ = smoothing.smooth(state, number / 10, np.array([number]), points(0), np.ones(1))
    assert len(state.ids) <= 7
