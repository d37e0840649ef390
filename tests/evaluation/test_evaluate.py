import dataclasses
import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_weights import small_config

from configs import default
from hrnet_jax import inference, models, pipeline, skeletons, training
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import coco, evaluate, ground_truth, protocols, report


@pytest.fixture()
def config():
    fields = default.get_config()
    fields.image_size = (64, 64)
    fields.eval.batch_size = 5
    fields.loader.threads = 1
    return fields


@pytest.fixture(scope="module")
def split(coco_data):
    return records.open_split(coco_data / "val2017")


@pytest.mark.parametrize(
    "changes", [{}, {"flip_test": False}, {"flip_shift": 0.0}, {"decoder": "dark"}, {"decoder": "argmax"}], ids=str
)
def test_the_step_follows_the_configuration(changes):
    config = small_config()
    config.eval.update(changes)
    model = models.build(config)
    variables = training.init_variables(model, config.image_size, 0)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (2, *config.image_size, 3), np.uint8)
    crop = np.tile(np.eye(2, 3, dtype=np.float32), (2, 1, 1))
    options = {"flip_order": skeletons.COCO.flip_order, "shift": 1.0, "decoder": "quarter"}
    options |= {"flip_order": None} if "flip_test" in changes else {}
    options |= {name: changes[key] for name, key in (("shift", "flip_shift"), ("decoder",) * 2) if key in changes}
    expected = jax.jit(functools.partial(inference.predict_step, model, **options))(variables, image, crop)
    for found, array in zip(evaluate.build_step(model, config)(variables, image, crop), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("flip_test", [True, False])
def test_the_heatmaps_to_look_at_are_those_that_are_decoded(made_up_records, flip_test):
    split, config = records.open_split(made_up_records / "val2017"), small_config()
    config.eval.batch_size, config.eval.flip_test = 5, flip_test
    model = models.build(config)
    variables = training.init_variables(model, config.image_size, 0)
    sources = {"sources": [evaluate.GT_BOXES]}
    (outcome,) = evaluate.evaluate(evaluate.build_step(model, config), variables, split, config, place, **sources)
    rows = np.random.default_rng(0).permutation(len(split.people))[: evaluate.LOOKED_AT_ONCE + 3]
    looked = list(evaluate.look(model, variables, split, config, split.people.select(rows)))
    assert len(looked) == len(rows)
    for row, (crop, heatmaps) in zip(rows, looked, strict=True):
        assert crop.shape == (*config.image_size, 3) and crop.dtype == np.uint8
        np.testing.assert_allclose(heatmaps.max(axis=(0, 1)), outcome.scores[row], rtol=1e-4, atol=1e-6)


def test_every_process_predicts_its_own_share(made_up_records, config, monkeypatch):
    split, asked = records.open_split(made_up_records / "val2017"), {}
    monkeypatch.setattr(pipeline, "eval_batches", lambda *_, **options: asked.update(options) or io.StringIO())
    monkeypatch.setattr(inference, "predict", lambda *_: (np.zeros((len(split.people), 17, 2)), np.ones(())))
    monkeypatch.setattr(evaluate, "_outcome", lambda *_: None)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    evaluate.evaluate(predict_center, {}, split, config, place, sources=["gt_boxes"])
    assert (asked["process_index"], asked["process_count"], asked["batch_size"]) == (1, 3, 5)


def test_the_name_of_a_head_is_added_to_the_boxes(made_up_records, config):
    split = records.open_split(made_up_records / "val2017")
    (outcome,) = evaluate.evaluate(predict_center, {}, split, config, place, sources=["gt_boxes"], head="4x")
    assert outcome.source == "gt_boxes_4x" and "val2017/gt_boxes_4x/AP" in outcome.metrics


def predict_center(variables, image, crop):
    """Predicts every joint at the center of the crop, in photo pixels."""
    del variables, image
    center = jnp.linalg.solve(crop[..., :2], 32.0 - crop[..., 2:])[..., 0]
    return jnp.tile(center[:, None], (1, 17, 1)), jnp.full((len(crop), 17), 0.5)


def place(batch):
    return {name: jnp.asarray(array) for name, array in batch.items()}


def test_evaluates_both_sources_of_boxes(split, config):
    outcomes = evaluate.evaluate(predict_center, {}, split, config, place)
    assert [(outcome.source, len(outcome.joints)) for outcome in outcomes] == [
        ("gt_boxes", 12),
        ("detector_boxes", 118),
    ]
    expected = {f"val2017/{source}/{name}" for source in ("gt_boxes", "detector_boxes") for name in coco.METRICS}
    assert set(evaluate.metrics(outcomes)) == expected
    truth, box = outcomes[0], split.people.box
    np.testing.assert_allclose(truth.joints[:, 3], box[:, :2] + box[:, 2:] / 2, atol=1e-2)
    assert [result["score"] for result in truth.results] == [0.5] * 12


def test_boxes_are_those_of_the_annotations_and_of_the_detector(made_up_records):
    split = records.open_split(made_up_records / "val2017")
    found = evaluate.box_sources(split)
    assert list(found) == ["gt_boxes", "detector_boxes"]
    assert found["gt_boxes"] is split.people and found["detector_boxes"] is split.detections


def test_refuses_as_many_joints_in_another_order(made_up_records, config, tmp_path):
    split, joints = records.open_split(made_up_records / "val2017"), list(skeletons.COCO.joints)
    joints[0], joints[1] = joints[1], joints[0]
    skeletons.save(
        dataclasses.replace(skeletons.COCO, name="other", joints=tuple(joints)), tmp_path / "other.json"
    )
    config.skeleton = str(tmp_path / "other.json")
    with pytest.raises(
        ValueError, match=r"17 joints\) is not the one that split 'val2017' was prepared with: 'coco'"
    ):
        evaluate.check_skeleton(split, config)


def test_reads_annotations_once(split, config):
    ground_truth.forget()
    truth, _ = evaluate.evaluate(predict_center, {}, split, config, place)
    protocols.COCO.error_report(split, truth)
    assert ground_truth._read.cache_info().misses == 1


def test_evaluates_only_the_given_sources(split, config):
    (outcome,) = evaluate.evaluate(predict_center, {}, split, config, place, sources=["gt_boxes"])
    assert outcome.source == "gt_boxes"
    with pytest.raises(ValueError, match="detector_boxes"):
        alone = dataclasses.replace(split, detections=None)
        evaluate.evaluate(predict_center, {}, alone, config, place, sources=["detector_boxes"])


@pytest.fixture(scope="module")
def unannotated(split):
    """A split like COCO's test photos, with detections only."""
    nobody = records.People(**{name: column[:0] for name, column in vars(split.people).items()})
    return dataclasses.replace(split, name="test-dev2017", people=nobody)


def test_a_split_without_annotations_has_results_but_no_metrics(unannotated, config, tmp_path):
    (outcome,) = evaluate.evaluate(predict_center, {}, unannotated, config, place)
    assert outcome.metrics == {}
    path = protocols.COCO.write(outcome, tmp_path)
    assert path.name == "person_keypoints_test-dev2017_hrnet_results.json"
    assert json.loads(path.read_text()) == outcome.results


def test_refuses_a_split_without_boxes(unannotated, config):
    with pytest.raises(ValueError, match=r"test-dev2017.*--detections"):
        evaluate.evaluate(predict_center, {}, dataclasses.replace(unannotated, detections=None), config, place)


def test_refuses_another_skeleton(split, config, tmp_path):
    fewer = dataclasses.replace(
        skeletons.COCO,
        name="head",
        joint_weights={},
        joints=skeletons.COCO.joints[:3],
        flip_pairs=((1, 2),),
        limbs=(),
        sigmas=skeletons.COCO.sigmas[:3],
        upper_body=(0,),
    )
    skeletons.save(fewer, tmp_path / "head.json")
    config.skeleton = str(tmp_path / "head.json")
    with pytest.raises(ValueError, match=r"3 joints.*17 joints"):
        evaluate.evaluate(predict_center, {}, split, config, place)


def test_aligns_the_table_and_prints_dashes_for_undefined_metrics(split, config):
    outcomes = evaluate.evaluate(predict_center, {}, split, config, place)
    outcomes[0].metrics["val2017/gt_boxes/AP_L"] = -1.0
    header, first, second = report.metric_table(outcomes, protocols.COCO.columns).splitlines()
    assert header.split() == ["AP", "AP50", "AP75", "AP-M", "AP-L", "AR"]
    assert first.split()[0] == "val2017/gt_boxes" and first.split()[5] == "-"
    assert len(header) == len(first) == len(second)


def test_sorts_the_best_and_the_worst_people(split, config, monkeypatch):
    monkeypatch.setattr(report, "PEOPLE_PER_SHEET", 3)
    (outcome,) = evaluate.evaluate(predict_center, {}, split, config, place, sources=["gt_boxes"])
    joints = outcome.joints.copy()
    joints[[7, 2]] = split.people.joints[[7, 2]]
    order = []
    monkeypatch.setattr(report, "_sheet", lambda split, outcome, rows, captions: order.append(list(rows)))
    outcome = dataclasses.replace(outcome, joints=joints)
    report.best_and_worst(split, outcome, protocols.COCO.error_report(split, outcome))
    best, worst = order
    assert set(best[:2]) == {2, 7} and not {2, 7} & set(worst) and len(best) == len(worst) == 3


def test_draws_ground_truth_and_prediction_alike(split, config):
    (outcome,) = evaluate.evaluate(predict_center, {}, split, config, place, sources=["gt_boxes"])
    outcome = dataclasses.replace(outcome, joints=split.people.joints)
    truth, prediction = report._truth_and_prediction(split, outcome, 0)  # all its joints are labelled
    assert truth.shape == (*report.PICTURE_SIZE, 3)
    np.testing.assert_array_equal(truth, prediction)
