import numpy as np
import pytest
from made_posetrack import HEAD, K, person, video, walk

from hrnet_jax.evaluation import clear_mot, joint_pairs


def count(truth, results) -> dict[str, list]:
    """Counts the events, of which all joints have the same."""
    counts = clear_mot.count(joint_pairs.pair(video(truth), video(results)))._asdict()
    assert all(np.ptp(values) < 1e-9 for values in counts.values())
    return {name: float(values[0]) for name, values in counts.items()}


def expect(found: dict, **wanted: float) -> None:
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_the_last_frame_is_left_out():
    frames = [[person(0), person(1, 700)]] * 4
    expect(
        count(frames, [*frames[:3], [person(5, 3000)]]),
        objects=6,
        matches=6,
        misses=0,
        switches=0,
        false_positives=0,
    )


def test_misses_and_false_positives():
    truth = [[person(0), person(1, 700)]] * 4
    results = [[person(0)], [person(0), person(1, 700), person(2, 1500)], *truth[2:]]
    expect(count(truth, results), objects=6, matches=5, misses=1, false_positives=1, switches=0)


def test_the_distance_is_in_heads_and_the_threshold_is_included():
    truth = [[person(0)]] * 3
    expect(count(truth, [[person(0, 100 + HEAD / 2)]] * 3), matches=2, distance=1.0)
    expect(count(truth, [[person(0, 100.001 + HEAD / 2)]] * 3), matches=0, misses=2, false_positives=2)


def test_an_exchange_of_identities_is_two_switches_and_back_two_more():
    a, b = [person(0), person(1, 700)], [person(1), person(0, 700)]
    expect(count([a] * 5, [a, b, b, b, b]), switches=2, matches=8)
    expect(count([a] * 5, [a, b, a, a, a]), switches=4, matches=8)


def test_a_new_identity_is_a_switch_across_any_gap():
    one, other = [person(0), person(1, 700)], [person(7), person(1, 700)]
    expect(count([one] * 5, [one, one[1:], one[1:], other, other]), switches=1, misses=2)
    absent = [one, one[1:], one[1:], one, one]
    expect(count(absent, [one, one[1:], one[1:], other, other]), switches=1, misses=0)


def test_a_person_keeps_the_track_though_another_is_nearer():
    truth = [[person(0)]] * 3
    results = [[person(3, 110)], [person(3, 110), person(4, 100)], []]
    expect(count(truth, results), switches=0, matches=2, false_positives=1, distance=2 * 10 / HEAD)


def test_of_two_people_with_the_same_track_the_first_keeps_it():
    a, b, apart = person(0, 100), person(1, 108), person(1, 700)
    results = [
        [person(5, 100)],
        [person(5, 108)],
        [person(5, 104), person(6, 104)],
        [person(5), person(6, 700)],
        [],
    ]
    expect(count([[a], [b], [a, b], [a, apart], [a]], results), matches=6, switches=1)
    expect(count([[a], [b], [b, a], [a, apart], [a]], results), matches=6, switches=3)


def test_as_many_as_possible_are_assigned_with_the_least_distance():
    truth = [[person(0, 100), person(1, 112)], []]
    results = [
        [person(0, 110), person(1, 126)],
        [],
    ]  # the nearest pair, 2 apart, would leave nothing for the others
    expect(count([truth[0]] * 2, [results[0]] * 2), matches=2, distance=24 / HEAD)


@pytest.mark.parametrize("people", [1, 5])
def test_a_frame_without_predictions_or_people_counts_as_one_of_each(people):
    crowd = [person(i, 100 + 300 * i) for i in range(people)]
    wanted = {"objects": 1, "misses": 1, "false_positives": 1, "matches": 0}
    expect(count([crowd] * 2, [[], crowd]), **wanted)
    beside = [[(90, 90), (2000, 90), (2000, 2000), (90, 2000)]]
    pairs = joint_pairs.pair(video([crowd] * 2, regions=beside), video([[person(0, 5000)]] * 2))
    assert clear_mot.count(pairs).objects[0] == clear_mot.count(pairs).false_positives[0] == 1


def test_a_video_needs_two_frames():
    with pytest.raises(ValueError, match="1 frames with people"):
        count([[person(0)]], [[person(0)]])


def test_metrics_of_counts():
    values = {"objects": 10, "matches": 8, "misses": 2, "switches": 1, "false_positives": 2, "distance": 2.0}
    counts = clear_mot.Counts(**{n: np.array([v]) for n, v in values.items()}, logged_distance=np.array([4.0]))
    found = {name: float(value[0]) for name, value in clear_mot.metrics(counts).items()}
    assert found == pytest.approx({"MOTA": 50, "MOTP": 75, "MOTP_motmetrics": 50, "precision": 80, "recall": 80})
    twice = clear_mot.metrics(clear_mot.total([counts, counts]))
    assert {name: float(value[0]) for name, value in twice.items()} == pytest.approx(found)


def test_metrics_without_joints_are_undefined_and_motp_is_zero():
    nothing = clear_mot.metrics(clear_mot.Counts(*np.zeros((7, 1))))
    assert nothing.pop("MOTP") == nothing.pop("MOTP_motmetrics") == 0
    assert all(np.isnan(values).all() for values in nothing.values())


def test_matches_misses_and_false_positives_add_up():
    truth, results = walk(np.random.default_rng(3), people=6, frames=12)
    counts = clear_mot.count(joint_pairs.pair(video(truth), video(results)))
    kept = [i for i in range(11) if truth[i] and results[i]]
    empty = 11 - len(kept)
    objects = sum(p.exists for i in kept for p in truth[i]) + empty
    predicted = sum(p.exists for i in kept for p in results[i]) + empty
    np.testing.assert_array_equal(counts.matches + counts.misses, objects)
    np.testing.assert_array_equal(counts.matches + counts.false_positives, predicted)
    assert counts.objects.shape == (K,) and (counts.switches <= counts.matches).all() and counts.switches.any()
