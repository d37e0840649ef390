"""Errors planted in perfect predictions are named, and mending them gives the average precision back."""

import dataclasses

import made_errors
import numpy as np
import pytest
from made_errors import COCO, distance, moved

from hrnet_jax.evaluation import breakdown, error_analysis, error_costs, examples, matching, oks
from hrnet_jax.evaluation.error_analysis import KINDS

NOSE, WRISTS = 0, (COCO.joints.index("left_wrist"), COCO.joints.index("right_wrist"))
TRUTH = made_errors.people()
PERFECT = made_errors.perfect(TRUTH)


def right(pixels: float) -> np.ndarray:
    return np.array([pixels, 0])


def nudge(detections, row, similarity, joints=range(COCO.num_joints)):
    for joint in joints:
        place = TRUTH.joints[row, joint] + right(distance(similarity, joint))
        detections = moved(detections, row, joint, place)
    return detections


def outranked():
    """The first person is found twice, the worse detection with the higher score."""
    return made_errors.added(nudge(PERFECT, 0, 0.8), 1, TRUTH.joints[0], 0.1)


PLANTED = {
    "jitter": nudge(PERFECT, 0, 0.6, joints=range(5)),
    "inversion": moved(PERFECT, 0, WRISTS[0], TRUTH.joints[0, WRISTS[1]]),
    "swap": moved(PERFECT, 0, WRISTS[0], TRUTH.joints[1, WRISTS[0]]),
    "miss": moved(PERFECT, 0, WRISTS[0], [70.0, 5000.0]),
    "score": outranked(),
    "false_positive": made_errors.added(PERFECT, 2, TRUTH.joints[0] + 9000, 0.99),
    "false_negative": PERFECT.select(np.arange(len(TRUTH)) != 3),
}


def test_perfect_predictions_have_no_errors():
    errors = made_errors.find(PERFECT)
    assert (errors.kind == KINDS.index("good")).all()
    summary = error_costs.summary(errors)
    assert list(summary) == list(error_costs.MENDED)
    for row in summary.values():
        assert row["count"] == row["share"] == row["gain"] == 0
        assert row["mended_AP"] == pytest.approx(1)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_error_is_named_and_mending_it_restores_average_precision(planted):
    errors = made_errors.find(PLANTED[planted])
    summary = error_costs.summary(errors)
    before = error_costs.precision_without(errors, ())
    counts = {kind: row["count"] for kind, row in summary.items() if row["count"]}
    expected = {planted: 5 if planted == "jitter" else 1}
    if planted == "score":  # the better detection has no match, and the worse one is not exact
        expected |= {"false_positive": 1, "jitter": COCO.num_joints}
    assert counts == expected
    assert before < 0.999
    assert before + summary[planted]["gain"] == pytest.approx(1)
    assert summary["false_negative"]["mended_AP"] == pytest.approx(1)
    for kind in set(error_costs.MENDED) - set(counts) - {"score"}:
        assert summary[kind]["gain"] == 0


def test_the_joints_with_errors_are_known():
    for planted in ("inversion", "swap", "miss"):
        errors = made_errors.find(PLANTED[planted])
        (at,) = np.argwhere(errors.kind != KINDS.index("good"))
        assert at.tolist() == [0, WRISTS[0]] and KINDS[errors.kind[0, WRISTS[0]]] == planted
    assert np.flatnonzero(made_errors.find(PLANTED["false_negative"]).false_negative).tolist() == [3]
    errors = made_errors.find(PLANTED["false_positive"])
    assert errors.detections.score[errors.false_positive].tolist() == [0.99]
    assert errors.person[errors.false_positive].tolist() == [-1]
    ((matched, better),) = made_errors.find(PLANTED["score"]).outranked()
    assert (errors.person[matched], PLANTED["score"].score.argmin()) == (0, len(TRUTH))
    np.testing.assert_array_equal(made_errors.find(PLANTED["score"]).detections.joints[better], TRUTH.joints[0])


@pytest.mark.parametrize(
    ("similarity", "kind"), [(0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss"), (1e-30, "miss")]
)
def test_similarity_to_its_own_place_decides(similarity, kind):
    errors = made_errors.find(nudge(PERFECT, 0, similarity, joints=[NOSE]))
    assert KINDS[errors.kind[0, NOSE]] == kind
    assert errors.similarity[0, NOSE] == pytest.approx(similarity)


def test_the_nearest_joint_decides_and_its_own_comes_first():
    own, joint = TRUTH.joints[0, WRISTS[0]], WRISTS[0]
    other = TRUTH.joints.copy()
    other[1, joint] = own + right(distance(0.6, joint) + distance(0.8, joint))
    truth = dataclasses.replace(TRUTH, joints=other)
    between = moved(PERFECT, 0, joint, own + right(distance(0.6, joint)))
    assert KINDS[made_errors.find(between, truth).kind[0, joint]] == "swap"
    other[1, joint] = own + right(2 * distance(0.6, joint))
    assert KINDS[made_errors.find(between, dataclasses.replace(TRUTH, joints=other)).kind[0, joint]] == "jitter"


def test_a_good_joint_that_is_nearer_to_another_person_is_a_swap():
    place, joint = TRUTH.joints[0, WRISTS[0]], WRISTS[0]
    other = TRUTH.joints.copy()
    other[1, joint] = place + right(distance(0.9, joint) + distance(0.97, joint))
    found = moved(PERFECT, 0, joint, place + right(distance(0.9, joint)))
    assert KINDS[made_errors.find(found, dataclasses.replace(TRUTH, joints=other)).kind[0, joint]] == "swap"


def test_a_detection_belongs_to_a_person_from_a_tenth_of_oks():
    for similarity, is_lost in ((0.11, False), (0.09, True)):
        errors = made_errors.find(nudge(PERFECT, 0, similarity))
        assert (errors.false_positive[0], errors.false_negative[0]) == (is_lost, is_lost)


def test_a_mirror_joint_of_another_person_is_a_swap():
    errors = made_errors.find(moved(PERFECT, 0, WRISTS[0], TRUTH.joints[1, WRISTS[1]]))
    assert KINDS[errors.kind[0, WRISTS[0]]] == "swap"


def test_another_person_is_measured_on_its_own_scale():
    near = moved(PERFECT, 0, WRISTS[0], TRUTH.joints[1, WRISTS[0]] + right(distance(0.4, WRISTS[0])))
    assert KINDS[made_errors.find(near).kind[0, WRISTS[0]]] == "miss"
    area = np.where(np.arange(len(TRUTH)) == 1, 4 * TRUTH.area, TRUTH.area)
    assert KINDS[made_errors.find(near, dataclasses.replace(TRUTH, area=area)).kind[0, WRISTS[0]]] == "swap"


def test_joints_without_label_have_no_kind_and_attract_nobody():
    visible = TRUTH.visible.copy()
    visible[0, WRISTS[1]] = visible[1, WRISTS[0]] = False
    truth = dataclasses.replace(TRUTH, visible=visible)
    assert (made_errors.find(PERFECT, truth).kind[0, WRISTS[1]], len(PERFECT.score)) == (-1, len(TRUTH))
    for planted in ("inversion", "swap"):
        assert KINDS[made_errors.find(PLANTED[planted], truth).kind[0, WRISTS[0]]] == "miss"


def test_mended_joints_end_where_the_paper_puts_them():
    for planted, similarity in (("jitter", 0.85), ("miss", 0.5), ("inversion", 1), ("swap", 1)):
        errors = made_errors.find(PLANTED[planted])
        joints = error_costs.mend(errors, (planted,)).joints
        found = oks.joint_similarity(TRUTH.joints, joints, TRUTH.area, COCO.sigmas)
        wrong = errors.kind != KINDS.index("good")
        np.testing.assert_allclose(found[wrong], similarity, rtol=1e-9)
        np.testing.assert_array_equal(joints[~wrong], errors.detections.joints[~wrong])
        np.testing.assert_array_equal(error_costs.mend(errors, ("score",)).joints, errors.detections.joints)


def random_case(seed):
    """Crowded photos with people of many sizes, some ignored, and detections of any quality."""
    rng = np.random.default_rng(seed)
    count, joints = 30, COCO.num_joints
    photo, size = np.sort(rng.integers(0, 8, count)), np.exp(rng.uniform(3, 5, count))
    visible = rng.random((count, joints)) < 0.7
    places = rng.uniform(0, 60, (count, 1, 2)) + rng.uniform(0, 1, (count, joints, 2)) * size[:, None, None]
    box = np.concatenate([places.min(axis=1), np.ptp(places, axis=1)], axis=1)
    ignored = rng.random(count) < 0.2
    truth = dataclasses.replace(
        TRUTH, photo_id=photo, annotation_id=np.arange(count) + 1, joints=places, visible=visible, box=box,
        area=size**2 / 3, crowd=ignored & (rng.random(count) < 0.5), ignored=ignored,
    )  # fmt: skip
    source = rng.integers(0, count, 80)
    error = size[source, None, None] * rng.choice([0.01, 0.05, 0.2], (80, 1, 1))
    found = places[source] + rng.normal(size=(80, joints, 2)) * error
    return truth, matching.Detections(photo[source], found, rng.random(80), rng.random((80, joints)))


@pytest.mark.parametrize("seed", range(3))
def test_no_other_scores_rank_better_than_the_optimal_ones(seed):
    truth, detections = random_case(seed)
    errors = error_analysis.find(truth, detections, COCO)
    best = error_costs.precision_without(errors, ("score",))
    rng = np.random.default_rng(seed)
    for noise in (0, 0.05, 0.2, 1, 1, 1):
        score = errors.optimal_score + noise * rng.random(len(errors.detections.score))
        rescored = error_analysis.find(truth, dataclasses.replace(errors.detections, score=score), COCO)
        assert error_costs.precision_without(rescored, ()) <= best + 1e-12
    assert error_costs.precision_without(errors, ()) < best


def test_similarities_do_not_depend_on_the_block_size(monkeypatch):
    truth, detections = random_case(7)
    whole = error_analysis.find(truth, detections, COCO)
    monkeypatch.setattr(matching, "BLOCK_PAIRS", 3)
    parts = error_analysis.find(truth, detections, COCO)
    for name in ("kind", "nearest", "similarity", "person", "optimal_score", "false_negative"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert {"swap", "inversion", "miss", "jitter", "good"} == {
        KINDS[i] for i in np.unique(whole.kind[whole.kind >= 0])
    }


def test_nobody_found_has_false_positives_and_negatives_only():
    errors = made_errors.find(dataclasses.replace(PERFECT, joints=PERFECT.joints + 50_000))
    summary = error_costs.summary(errors)
    assert {kind: row["count"] for kind, row in summary.items() if row["count"]} == {
        "false_positive": len(TRUTH), "false_negative": len(TRUTH)
    }  # fmt: skip
    assert [row["gain"] for row in summary.values()] == [0] * len(summary)
    assert breakdown.summary(errors)["joints"]["nose"]["count"] == 0
    assert all(not shown for kind, shown in examples.of_errors(errors).items() if kind in KINDS)


def test_numbers_that_are_not_finite_count_as_zero():
    lost = moved(PERFECT, 0, WRISTS[0], [np.nan, np.inf])
    errors = made_errors.find(dataclasses.replace(lost, score=np.where(np.arange(len(TRUTH)) == 1, np.nan, 0.5)))
    (at,) = np.argwhere(errors.kind == KINDS.index("miss"))
    assert errors.person[at[0]] == 0 and at[1] == WRISTS[0]
    assert all(np.isfinite(list(row.values())).all() for row in error_costs.summary(errors).values())


def test_an_ignored_person_is_neither_found_nor_missed():
    ignored = np.arange(len(TRUTH)) == 0
    errors = made_errors.find(PERFECT, dataclasses.replace(TRUTH, ignored=ignored))
    assert errors.person[0] == -1 and not errors.false_positive[0] and not errors.false_negative[0]
    assert errors.optimal_person[0] == -1
