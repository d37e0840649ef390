import numpy as np
import pytest
from made_posetrack import HEAD, K, person, video

from hrnet_jax.evaluation import hota, joint_pairs


def metrics(truth, results, **options) -> dict[str, float]:
    """Returns the totals, which are those of every joint."""
    pairs = joint_pairs.pair(video(truth), video(results))
    table = hota.metrics([hota.count(pairs.select(pairs.truth.labelled), **options)])
    assert all(np.ptp(values) < 1e-9 for values in table.values())
    return {name: float(values[-1]) for name, values in table.items()}


def identity_f1(truth, results) -> float:
    pairs = joint_pairs.pair(video(truth), video(results))
    values = hota.identity_f1(hota.identity_counts(pairs))
    assert np.ptp(values) < 1e-9
    return float(values[0])


ONE = [[person(0)]] * 4


def test_a_track_in_two_halves():
    results = [[person(1)], [person(1)], [person(2)], [person(2)]]
    found = metrics(ONE, results)
    assert found == pytest.approx({"HOTA": 100 * 0.5**0.5, "DetA": 100, "AssA": 50, "LocA": 100})
    assert identity_f1(ONE, results) == 50  # 2 of 4 joints with one track: 2 * 2 / (4 + 4)


def test_misses_and_false_positives_lower_detection_and_association():
    results = [[person(1), person(9, 3000)], [person(1)], [person(9, 3000)], [person(1)]]
    found = metrics(ONE, results)
    detection, association = 3 / (3 + 1 + 2), 3 / 4  # the false alarms have a track of their own
    wanted = {"HOTA": (detection * association) ** 0.5, "DetA": detection, "AssA": association, "LocA": 1}
    assert found == pytest.approx({name: 100 * value for name, value in wanted.items()})
    assert identity_f1(ONE, results) == pytest.approx(100 * 2 * 3 / (4 + 5))


def test_the_similarity_falls_to_zero_at_half_a_head():
    similarity = 1 - 0.2 / hota.ZERO  # 0.6001: found at twelve of nineteen thresholds
    found = metrics(ONE, [[person(1, 100 + 0.2 * HEAD)]] * 4)
    share = np.mean(similarity >= hota.THRESHOLDS)
    assert share == 12 / 19
    located = 100 * (share * similarity + 1 - share)
    assert found == pytest.approx({"HOTA": 100 * share, "DetA": 100 * share, "AssA": 100 * share, "LocA": located})
    assert metrics(ONE, [[person(1, 100.1 + HEAD / 2)]] * 4)["HOTA"] == 0
    assert identity_f1(ONE, [[person(1, 100 + HEAD / 2)]] * 4) == 100


def test_posetrack21_counts_the_whole_video_at_an_empty_frame():
    results = [[person(1)], [], [person(1)], [person(1)]]
    assert metrics(ONE, results)["DetA"] == pytest.approx(100 * 3 / 4)
    assert metrics(ONE, results, as_posetrack21=True)["DetA"] == pytest.approx(100 * 3 / (3 + 4))
    truth = video([[person(0)], []], labelled=[True, True])
    pairs = joint_pairs.pair(truth, video([[person(1)], [person(2, 900)]]))
    found = [hota.metrics([hota.count(pairs, as_posetrack21=way)])["DetA"][0] for way in (False, True)]
    assert found == pytest.approx([100 / 2, 100 / 3])


def test_nothing_predicted_and_joints_outside_the_photo():
    assert metrics(ONE, [[]] * 4)["HOTA"] == metrics(ONE, [[]] * 4, as_posetrack21=True)["HOTA"] == 0
    left = [[person(0, -500)]] * 4
    pairs = joint_pairs.pair(video(left), video(left))
    assert not hota.count(pairs).matches.any() and not hota.count(pairs).misses.any()


def test_videos_are_pooled_by_their_matches():
    halves = [[person(1)], [person(1)], [person(2)], [person(2)]]
    counts = [
        hota.count(joint_pairs.pair(video(ONE * n), video(results))) for n, results in ((1, halves), (2, ONE * 2))
    ]
    table = hota.metrics(counts)
    np.testing.assert_allclose(table["AssA"], np.full(K + 1, 100 * (4 * 0.5 + 8) / 12))
    both = sum(hota.identity_counts(joint_pairs.pair(video(ONE), video(results))) for results in (halves, ONE))
    np.testing.assert_allclose(hota.identity_f1(both), np.full(K, 100 * 2 * 6 / 16))


def test_identity_is_by_whole_tracks():
    truth = [[person(0), person(1, 700)]] * 4
    swapped = [[person(0), person(1, 700)]] * 3 + [[person(1), person(0, 700)]]
    assert identity_f1(truth, swapped) == 75
    assert np.isnan(hota.identity_f1(np.zeros((3, K)))).all()
