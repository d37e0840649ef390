"""Smoothing with a look ahead."""

import numpy as np

from hrnet_jax.tracking import savitzky_golay

TIMES = np.arange(40) / 25


def track(places, scores=0.9):
    """Poses [F, 1, 3] of one joint at these places."""
    return np.concatenate([places, np.broadcast_to(scores, len(places))[:, None]], axis=1)[:, None]


def parabola():
    return np.stack([3 + 40 * TIMES - 9 * TIMES**2, 100 * TIMES], axis=-1)


def test_a_parabola_stays_as_it_is():
    smoothed = savitzky_golay.smooth(TIMES, track(parabola()))
    np.testing.assert_allclose(smoothed[:, 0], parabola(), atol=1e-9)


def test_noise_is_reduced_without_lag():
    noise = np.random.default_rng(0).normal(0, 2, (40, 2))
    error = savitzky_golay.smooth(TIMES, track(parabola() + noise))[:, 0] - parabola()
    assert error[4:-4].std() < 0.62 * noise.std() and abs(error.mean()) < 0.7


def test_a_track_begins_anew_after_a_gap():
    later = np.where(np.arange(40) < 20, TIMES, TIMES + 1)
    places = np.where(np.arange(40)[:, None] < 20, 0.0, 100.0) * np.ones(2)
    np.testing.assert_allclose(savitzky_golay.smooth(later, track(places))[:, 0], places, atol=1e-9)
    assert np.abs(savitzky_golay.smooth(TIMES, track(places))[:, 0] - places).max() > 10


def test_joints_of_low_score_are_left_out():
    places, scores = parabola(), np.where(np.arange(40) == 20, 0.1, 0.9)
    places[20] = 1000
    smoothed = savitzky_golay.smooth(TIMES, track(places, scores))[:, 0]
    np.testing.assert_allclose(smoothed, places, atol=1e-9)


def test_short_runs_are_left_as_they_are():
    places = np.random.default_rng(0).normal(size=(8, 2))
    np.testing.assert_array_equal(savitzky_golay.smooth(TIMES[:8], track(places))[:, 0], places)
    np.testing.assert_array_equal(savitzky_golay.smooth(TIMES[:1], track(places[:1]))[:, 0], places[:1])


def test_runs_are_cut_where_frames_are_unseen_or_begin_anew():
    seen = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1], bool)
    begins = np.array([1, 0, 0, 0, 0, 1, 0, 0, 0], bool)
    assert savitzky_golay.runs(seen, begins) == [(0, 2), (3, 5), (5, 6), (8, 9)]
