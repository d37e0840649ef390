"""Average precision by group, errors in sigmas, and calibration, on cases with known answers."""

import dataclasses
import json

import made_errors
import numpy as np
import pytest
from made_errors import COCO

from hrnet_jax.datasets.made_up import detections as made_up
from hrnet_jax.evaluation import (
    average_precision,
    breakdown,
    coco,
    error_analysis,
    error_costs,
    ground_truth,
    matching,
)

TRUTH = made_errors.people()
PERFECT = made_errors.perfect(TRUTH)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Annotations, detections and COCO's metrics of 60 made-up photos."""
    problem = made_up.make(seed=3, photos=60, detections=400)
    path = tmp_path_factory.mktemp("truth") / "annotations.json"
    path.write_text(json.dumps(problem.annotations))
    results = coco.results(problem.joints, problem.joint_scores, problem.people, (256, 192), COCO)
    people = ground_truth.load(path).people[1]
    return people, coco.by_category(results, COCO)[1], coco.average_precision(results, path, COCO)


def test_average_precisions_equal_those_of_coco(photos, monkeypatch):
    people, detections, metrics = photos
    errors = error_analysis.find(people, detections, COCO)
    assert error_costs.precision_without(errors, ()) == metrics["AP"]
    curves = breakdown.precision_recall(people, errors.detections, COCO.sigmas)
    assert (curves["0.50"]["AP"], curves["0.75"]["AP"]) == (metrics["AP50"], metrics["AP75"])
    assert len(curves) == 10 and len(curves["0.95"]["precision"]) == len(average_precision.RECALLS)
    monkeypatch.setattr(breakdown, "SIZES", (32, 96, 1e5))
    sizes = breakdown.average_precisions(people, errors.detections, COCO.sigmas)["size"]
    assert [row["AP"] for row in sizes.values()] == [metrics["AP_M"], metrics["AP_L"]]


def test_groups_share_out_all_people(photos):
    people, detections, _ = photos
    for groups in breakdown.average_precisions(people, matching.best(detections), COCO.sigmas).values():
        assert sum(row["people"] for row in groups.values()) == (~people.ignored).sum()
        assert len(groups) > 1 and all(0 <= row["AP"] <= 1 for row in groups.values())


def by(people, detections, name):
    table = breakdown.average_precisions(people, matching.best(detections), COCO.sigmas)[name]
    return {label: (round(row["AP"], 3), row["people"]) for label, row in table.items()}


def test_groups_are_by_photo_overlap_and_labelled_joints():
    box, visible = TRUTH.box.copy(), TRUTH.visible.copy()
    box[1] = box[0] + [700, 0, 0, 0]  # IoU 1 / 15
    box[3] = box[2] + [600, 0, 0, 0]  # IoU 1 / 7
    visible[5, 4:] = False
    people = dataclasses.replace(TRUTH, box=box, visible=visible)
    assert by(people, PERFECT, "people") == {"2": (1, 8)}
    assert by(people, PERFECT, "overlap") == {"0": (1, 6), "1 to 2": (1, 2)}
    assert by(people, PERFECT, "joints") == {"1 to 5": (1, 1), "16 to 17": (1, 7)}
    crowd = dataclasses.replace(people, crowd=np.arange(8) == 3, ignored=np.arange(8) == 3)
    assert by(crowd, PERFECT, "people") == {"1": (1, 1), "2": (1, 6)}
    assert by(crowd, PERFECT, "overlap") == {"0": (1, 7)}


def test_a_false_positive_counts_in_the_group_of_the_most_similar_person():
    visible = TRUTH.visible.copy()
    visible[0, 4:] = False
    people = dataclasses.replace(TRUTH, visible=visible)
    near_first = made_errors.added(PERFECT, 1, TRUTH.joints[0] + 30, 0.99)
    assert by(people, near_first, "joints") == {"1 to 5": (0.5, 1), "16 to 17": (1, 7)}
    near_second = made_errors.added(PERFECT, 1, TRUTH.joints[1] + 30, 0.99)
    few, many = by(people, near_second, "joints").values()
    assert few == (1, 1) and many[0] < 1
    elsewhere = made_errors.added(PERFECT, 77, TRUTH.joints[1], 0.99)
    assert by(people, elsewhere, "joints") == {"1 to 5": (1, 1), "16 to 17": (1, 7)}
    assert by(people, elsewhere, "people") == {"2": (1, 8)}


def test_errors_are_in_sigmas():
    joints = TRUTH.joints.copy()
    joints[:, 0, 0] += 3 * COCO.sigmas[0] * made_errors.SIZE
    visible = TRUTH.visible.copy()
    visible[:, 1] = False
    errors = made_errors.find(
        dataclasses.replace(PERFECT, joints=joints), dataclasses.replace(TRUTH, visible=visible)
    )
    table = breakdown.joint_errors(errors)
    nose, eye, ear = (table[name] for name in ("nose", "left_eye", "left_ear"))
    np.testing.assert_allclose(nose["sigmas"], [3] * 5)
    assert (nose["count"], nose["miss"], ear["good"], ear["sigmas"]) == (8, 1, 1, [0] * 5)
    assert eye == {"count": 0, "sigmas": None, **dict.fromkeys(error_analysis.KINDS)}


def test_reliability():
    score, hit = np.array([0.05, 0.15, 0.15, 1.0, 0.95]), np.array([0, 1, 0, 1, 1], bool)
    found = breakdown.reliability(score, hit)
    assert found["count"] == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found["hits"] == [0, 0.5, *[None] * 7, 1]
    assert found["score"][1] == pytest.approx(0.15) and found["score"][9] == pytest.approx(0.975)
    assert found["error"] == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)
    assert breakdown.reliability(score[:0], hit[:0])["error"] is None


def test_calibration_counts_people_from_half_oks_and_joints_from_half_similarity():
    lost = made_errors.added(PERFECT, 1, TRUTH.joints[0] + 5000, 0.25)
    wrist = COCO.joints.index("left_wrist")
    found = breakdown.calibration(made_errors.find(made_errors.moved(lost, 0, wrist, [0, 9000.0])))
    assert sum(found["people"]["count"]) == 9 and found["people"]["hits"][2] == 0
    assert found["people"]["hits"][6:9] == [1, 1, 1]
    shifts = [[made_errors.distance(0.4, joint), 0] for joint in range(COCO.num_joints)]
    far = dataclasses.replace(PERFECT, joints=PERFECT.joints + np.array(shifts))
    assert breakdown.calibration(made_errors.find(far))["people"]["hits"][6:9] == [0, 0, 0]
    assert found["joints"]["count"] == [0] * 8 + [8 * COCO.num_joints, 0]
    assert found["joints"]["hits"][8] == pytest.approx(1 - 1 / (8 * COCO.num_joints))
