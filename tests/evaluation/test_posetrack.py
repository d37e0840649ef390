import dataclasses
import json

import numpy as np
import pytest
from made_posetrack import K, person, video, walk

from hrnet_jax import posetrack as program
from hrnet_jax.datasets.posetrack import JOINTS
from hrnet_jax.evaluation import posetrack

COLUMNS = (*JOINTS, posetrack.TOTAL)
COUNTS = {
    "num_misses": "misses",
    "num_switches": "switches",
    "num_false_positives": "false_positives",
    "num_objects": "objects",
    "num_detections": "matches",
    "sum_d_matches": "distance",
}
MOT = {"mota": "MOTA", "motp": "MOTP", "precision": "precision", "recall": "recall"}
MOT |= {"motp_with_motmetrics_1_4": "MOTP_motmetrics"}
AP = {"ap": "AP", "precision": "AP_precision", "recall": "AP_recall"}
OF_SEQUENCE = {"ap": {"ap": "AP", "pre": "AP_precision", "rec": "AP_recall"}}
OF_SEQUENCE |= {"mot": {"mota": "MOTA", "motp": "MOTP", "pre": "precision", "rec": "recall"}}


@pytest.fixture(scope="module")
def expected(shared) -> dict:
    return json.loads((shared / "conformance" / "posetrack" / "expected.json").read_text())


def check(found: dict, wanted: dict, names: dict, columns: tuple, where: str) -> None:
    for theirs, ours in names.items():
        values = np.array([np.nan if value is None else value for value in wanted[theirs]], float)
        np.testing.assert_allclose(
            [found[ours][c] for c in columns], values, rtol=0, atol=1e-8, err_msg=f"{where} {ours}"
        )


def read(shared, name: str):
    folder = shared / "conformance" / "posetrack" / "cases" / name
    return program.read(folder / "gt", folder / "pred")[0]


def test_all_cases_equal_the_official_evaluation(shared, expected):
    cases = {name: case for name, case in expected.items() if "error" not in case}
    assert len(cases) >= 37
    for name, case in cases.items():
        videos = read(shared, name)
        found = posetrack.summarize(videos)
        assert found.frames == case["frames_evaluated"], name
        check(found.metrics, case["ap"], AP, COLUMNS, name)
        groups = [found.metrics["AP"][column] for column in (*posetrack.GROUPS, posetrack.TOTAL)]
        np.testing.assert_allclose(groups, np.array(case["ap"]["groups"], float), rtol=0, atol=1e-8, err_msg=name)
        if "mot_error" in case:
            assert found.untracked, name
        else:
            check(found.metrics, case["mot"], MOT, COLUMNS, name)
            check(found.counts, case["mot"]["counts"], COUNTS, JOINTS, name)
            groups = [found.metrics["MOTA"][column] for column in (*posetrack.GROUPS, posetrack.TOTAL)]
            wanted = np.array(case["mot"]["groups"][: len(groups)], float)
            np.testing.assert_allclose(groups, wanted, rtol=0, atol=1e-8, err_msg=name)
        for own in videos if "sequences" in case else ():
            for kind, wanted in case["sequences"][own.name].items():
                check(posetrack.summarize([own]).metrics, wanted, OF_SEQUENCE[kind], COLUMNS, f"{name} {own.name}")


def test_what_the_official_evaluation_refuses_is_refused_by_name(shared, expected):
    words = {
        "prediction_misses_an_image": "list all frames",
        "duplicate_track_id": "have the `track_id` 0",
        "track_id_too_large": r"`track_id` \(=10000\)",
        "head_box_missing": "has no head box",
        "ignore_region_two_points": "has 2 corners",
    }
    assert set(words) == {name for name, case in expected.items() if "error" in case}
    for name, word in words.items():
        with pytest.raises(ValueError, match=word):
            read(shared, name)


def evaluate(truth, results, **options) -> posetrack.Evaluation:
    return posetrack.evaluate([video(truth, **options)], [video(results)])


def totals(evaluation: posetrack.Evaluation) -> dict[str, float]:
    return {metric: values[posetrack.TOTAL] for metric, values in evaluation.metrics.items()}


def test_perfect_results_have_100_percent_of_everything():
    frames = [[person(0), person(1, 700)]] * 4
    found = totals(evaluate(frames, frames))
    twice = found.pop("MOTP_motmetrics")
    assert found == pytest.approx(dict.fromkeys(found, 100)) and twice == 100
    assert {"AP", "MOTA", "MOTP", "precision", "recall", "HOTA", "HOTA_posetrack21", "IDF1"} <= set(found)


def test_results_without_people_have_none():
    frames = [[person(0)]] * 4
    found = totals(evaluate(frames, [[]] * 4))
    assert found["AP"] == found["HOTA"] == found["IDF1"] == found["recall"] == 0
    assert found["MOTA"] == -100  # a frame without predictions counts as one miss and one false positive


def test_metrics_do_not_depend_on_the_order_of_people_or_videos_nor_on_the_names_of_tracks():
    rng = np.random.default_rng(0)
    made = [walk(rng) for _ in range(3)]
    truth, results = [video(frames) for frames, _ in made], [video(frames) for _, frames in made]
    known = totals(posetrack.evaluate(truth, results))
    assert 0 < known["MOTA"] < 100 and 0 < known["AP"] < 100 and 0 < known["IDF1"] < 100

    def shuffle(frames):
        return video([[frame[i] for i in rng.permutation(len(frame))] for frame in frames])

    def relabel(frames):
        numbers = rng.permutation(200)
        return video(
            [[dataclasses.replace(p, track_id=int(numbers[p.track_id])) for p in frame] for frame in frames]
        )

    for change in (shuffle, relabel):
        changed = [[change(frames) for frames in column] for column in zip(*made, strict=True)]
        assert totals(posetrack.evaluate(*changed)) == pytest.approx(known, abs=1e-9), change
    assert totals(posetrack.evaluate(truth[::-1], results[::-1])) == pytest.approx(known, abs=1e-9)


def test_a_group_is_the_mean_of_its_joints_and_nan_spreads_in_it():
    wrists = [JOINTS.index("left_wrist")]
    truth, results = [[person(0, missing=wrists)]] * 3, [[person(0)]] * 3
    found = evaluate(truth, results).metrics
    assert np.isnan(found["MOTA"]["Wri"]) and np.isnan(found["AP"]["left_wrist"])
    assert found["MOTA"]["Elb"] == found["MOTA"][posetrack.TOTAL] == found["AP"][posetrack.TOTAL] == 100
    unseen = evaluate(truth, truth).metrics
    assert unseen["AP"]["left_wrist"] == 0 and unseen["AP"]["Wri"] == 50
    assert unseen["AP"][posetrack.TOTAL] == pytest.approx(100 * (K - 1) / K)


def test_a_video_of_one_frame_has_ap_but_is_not_tracked():
    found = evaluate([[person(0)]], [[person(0)]])
    assert found.untracked == ("000001_mpii_test",) and "MOTA" not in found.metrics and found.counts == {}
    assert found.metrics["AP"][posetrack.TOTAL] == 100


def test_a_video_without_labels_changes_nothing():
    rng = np.random.default_rng(5)
    truth, results = walk(rng)
    known = evaluate(truth, results)
    empty = video([[]] * 3, labelled=[False] * 3), video([[person(0)]] * 3)
    both = posetrack.evaluate([video(truth), empty[0]], [video(results), empty[1]])
    assert both.metrics == known.metrics and both.counts == known.counts and both.frames == known.frames
    assert both.untracked == ("000001_mpii_test",)
    assert totals(posetrack.evaluate(*[[part] for part in empty]))["AP"] == 0


def test_predictions_in_a_labelled_frame_without_people_are_free_except_in_hota_and_idf1():
    truth, results = [[person(0)]] * 3 + [[]], [[person(0)]] * 4
    free = totals(evaluate(truth, results, labelled=[True] * 3 + [False]))
    counted = totals(evaluate(truth, results, labelled=[True] * 4))
    assert free["HOTA"] == free["IDF1"] == free["MOTA"] == free["AP"] == 100
    assert counted["MOTA"] == counted["AP"] == 100
    assert counted["IDF1"] == pytest.approx(100 * 2 * 3 / 7) and counted["DetA"] == pytest.approx(75)
