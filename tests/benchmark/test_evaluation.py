import numpy as np
import pytest

from hrnet_jax import heatmap, skeletons
from hrnet_jax.benchmark import evaluation, plain, race
from hrnet_jax.evaluation import coco, oks

SIGMAS = np.array(skeletons.COCO.sigmas)


@pytest.fixture(scope="module")
def predictions():
    return evaluation.made_up(0, photos=60, detections=900)


@pytest.fixture(scope="module")
def rescored(predictions):
    people, joints, scores = predictions.people, predictions.joints, predictions.joint_scores
    areas = coco.padded_areas(people.box, evaluation.IMAGE_SIZE)
    return plain.rescore(joints, scores, people.photo_id, people.score, areas)


def test_made_up_annotations_have_the_counts_of_val2017():
    predictions = evaluation.made_up(1)
    entries = predictions.annotations["annotations"]
    assert len(predictions.annotations["images"]) == 5000 and len(predictions.people) == 104_125
    assert sum(not entry["iscrowd"] for entry in entries) == 10_777
    assert sum(entry["num_keypoints"] > 0 for entry in entries) == 6352
    assert len({entry["image_id"] for entry in entries}) == 2693
    assert len({entry["id"] for entry in entries}) == len(entries) == 10_777 + 227
    labelled = np.array([entry["area"] for entry in entries if entry["num_keypoints"]])
    assert np.histogram(labelled, [0, 32**2, 96**2, 1e10])[0].min() > 100  # people of every size range
    assert np.median(predictions.people.score) < 0.2


def test_made_up_predictions_depend_on_the_seed_only(predictions):
    again = evaluation.made_up(0, photos=60, detections=900)
    np.testing.assert_array_equal(again.joints, predictions.joints)
    assert again.annotations == predictions.annotations
    assert not np.array_equal(evaluation.made_up(1, photos=60, detections=900).joints, predictions.joints)


def test_suppression_removes_some_people_and_keeps_most(predictions, rescored):
    kept = sum(len(plain.suppress(people, SIGMAS)) for people in rescored.values())
    assert 0.6 * len(predictions.people) < kept < 0.95 * len(predictions.people)


def test_the_reference_keeps_the_same_people(predictions, rescored):
    kept = [person for people in rescored.values() for person in plain.suppress(people, SIGMAS)]
    found = coco.results(
        predictions.joints, predictions.joint_scores, predictions.people, evaluation.IMAGE_SIZE, skeletons.COCO
    )
    assert [result["score"] for result in found] == [person["score"] for person in kept]
    assert [result["image_id"] for result in found] == [person["image"] for person in kept]
    expected = [person["keypoints"].ravel() for person in kept]
    np.testing.assert_array_equal([result["keypoints"] for result in found], expected)


def test_the_reference_oks_agrees(predictions):
    joints, areas = predictions.joints[:20], np.linspace(1e3, 1e5, 20)
    flat = np.dstack([joints, predictions.joint_scores[:20]]).reshape(20, -1)
    found = plain.oks(flat[0], flat[1:], areas[0], areas[1:], SIGMAS)
    np.testing.assert_allclose(found, oks.oks(joints[0], joints[1:], areas[0], areas[1:], SIGMAS), rtol=1e-14)


def test_a_race_ends_with_identical_metrics(predictions):
    result = evaluation.run(predictions, rounds=2)
    assert list(result.rates) == [race.OURS, evaluation.ORIGINAL]
    assert result.reference == evaluation.ORIGINAL
    assert all(len(rates) == 2 and min(rates) > 0 for rates in result.rates.values())


def test_different_metrics_are_an_error(predictions, monkeypatch):
    metrics = plain.average_precision
    monkeypatch.setattr(plain, "average_precision", lambda *given: [value + 1e-12 for value in metrics(*given)])
    with pytest.raises(RuntimeError, match="the metrics differ"):
        evaluation.run(predictions, rounds=1)


def test_shares_add_up_to_one(predictions):
    shares = evaluation.shares(predictions)
    assert set(shares) == {*evaluation.STAGES, "bookkeeping"}
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0 and max(shares.values()) < 1


def test_the_reference_decoding_agrees():
    heatmaps = np.random.default_rng(5).random((3, 16, 12, 4), np.float32)
    heatmaps[0, :, :, 0] = 0  # no maximum
    ours, scores = heatmap.decode(heatmaps, "quarter")
    heatmap_to_photo = np.tile(np.array([[2.0, 0, 5], [0, 2, 7]]), (3, 1, 1))
    found, maxima = plain.decode(heatmaps.transpose(0, 3, 1, 2), heatmap_to_photo)
    np.testing.assert_allclose(found, 2 * np.asarray(ours) + (5, 7), atol=1e-6)
    np.testing.assert_array_equal(maxima, scores)
