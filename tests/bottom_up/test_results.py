import numpy as np

from hrnet_jax import skeletons
from hrnet_jax.bottom_up import inference, results
from hrnet_jax.evaluation import coco

ORIGINAL_NAMES = dict(
    zip(
        coco.METRICS,
        ["AP", "Ap .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"],
        strict=True,
    )
)


def people_of(predictions: np.ndarray, scores: np.ndarray) -> inference.People:
    values = predictions[..., 2]
    return inference.People(predictions[..., :2], values, predictions[..., 3:], scores, values < 0)


def test_average_precision_is_that_of_the_release(shared):
    data = np.load(shared / "conformance" / "higher_hrnet" / "eval.npz")
    ids = np.unique(data["image_id"]).tolist()
    rows = [data["image_id"] == photo_id for photo_id in ids]
    people = [people_of(data["preds"][of_photo], data["scores"][of_photo]) for of_photo in rows]
    annotations = shared / "real" / "coco_mini" / "annotations" / "person_keypoints_val2017.json"
    found = coco.average_precision(results.coco_results(ids, people), annotations, skeletons.COCO)
    expected = dict(zip(data["stat_names"].tolist(), data["stats"].tolist(), strict=True))
    assert found == {name: expected[original] for name, original in ORIGINAL_NAMES.items()}


def test_every_person_and_joint_is_listed():
    predictions = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    predictions[0, 1, 2] = 0
    nobody, two = people_of(predictions[:0], np.zeros(0)), people_of(predictions, np.array([0.25, 0.75]))
    found = results.coco_results([7, 9], [nobody, two], category_id=3)
    assert found == [
        {"image_id": 9, "category_id": 3, "keypoints": [0, 1, 2, 5, 6, 0, 10, 11, 12], "score": 0.25},
        {"image_id": 9, "category_id": 3, "keypoints": [15, 16, 17, 20, 21, 22, 25, 26, 27], "score": 0.75},
    ]
    assert results.coco_results([], []) == []
