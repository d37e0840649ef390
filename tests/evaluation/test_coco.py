import dataclasses
import json

import numpy as np
import pytest

from hrnet_jax import geometry, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import coco

IMAGE_SIZE = (256, 192)
ORIGINAL_NAMES = dict(
    zip(
        coco.METRICS,
        ["AP", "Ap .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)"],
        strict=True,
    )
)
TRIANGLE = skeletons.Skeleton(
    name="triangle",
    joints=("top", "left", "right"),
    flip_pairs=((1, 2),),
    limbs=((0, 1), (1, 2), (2, 0)),
    sigmas=(0.05, 0.1, 0.1),
    upper_body=(0,),
)


def make_people(joints, boxes, photo_id, score=None, visible=None, annotation_id=None):
    count = len(boxes)
    return records.People(
        photo_index=np.zeros(count, np.int64),
        photo_id=np.asarray(photo_id, np.int64),
        annotation_id=np.zeros(count, np.int64) if annotation_id is None else np.asarray(annotation_id),
        box=np.asarray(boxes, np.float64),
        joints=np.asarray(joints, np.float64),
        visible=np.ones(np.shape(joints)[:2]) if visible is None else np.asarray(visible, np.float64),
        score=np.ones(count) if score is None else np.asarray(score, np.float64),
    )


@pytest.fixture(scope="module")
def four(shared):
    """Predictions on four COCO photos, and the original's AP tables."""
    with np.load(shared / "conformance" / "coco_four" / "real.npz") as file:
        numbers = {name: file[name] for name in file.files if "crops" not in name}
    return numbers, json.loads((shared / "conformance" / "coco_four" / "ap.json").read_text())


@pytest.mark.parametrize(
    "table, source, predictions",
    [
        ("noisy_gt_boxes", "people", "eval/noisy_gt_preds"),
        ("noisy_detections", "detections", "eval/detection_preds"),
        ("e2e_gt_boxes_random_weights", "people", "e2e/gt_boxes_preds"),
    ],
)
def test_ap_equals_the_original_exactly(four, coco_data, table, source, predictions):
    numbers, tables = four
    split = records.open_split(coco_data / "val2017")
    joints, scores = numbers[predictions][..., :2], numbers[predictions][..., 2]
    found = coco.results(joints, scores, getattr(split, source), IMAGE_SIZE, split.skeleton)
    ours = coco.average_precision(found, split.annotations, split.skeleton)
    assert ours == {name: tables[table][original] for name, original in ORIGINAL_NAMES.items()}


def test_areas_equal_the_original(four, coco_data):
    numbers, _ = four
    split = records.open_split(coco_data / "val2017")
    assert split.detections is not None
    areas = coco.padded_areas(split.detections.box, IMAGE_SIZE)
    np.testing.assert_array_equal(areas, numbers["eval/detection_center_scale_area_score"][:, 4])
    areas = coco.padded_areas(split.people.box, IMAGE_SIZE)
    np.testing.assert_array_equal(areas, np.prod(numbers["gt/scale"] * 200, axis=1))


def test_areas_equal_those_of_the_crops():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 500, (300, 4))
    boxes[::7, 2], boxes[::11, 3], boxes[::5] = 0, 0, np.round(boxes[::5])
    for image_size in ((256, 192), (64, 64), (250, 190)):
        scales = [geometry.box_to_center_scale(box, image_size[1] / image_size[0])[1] for box in boxes]
        areas = [float(np.prod(scale * 200)) for scale in scales]
        np.testing.assert_array_equal(coco.padded_areas(boxes, image_size), areas)
    assert coco.padded_areas(np.zeros((0, 4)), (64, 64)).shape == (0,)


def test_results_have_the_fields_of_the_server_only():
    joints = np.array([[[1, 2], [3, 4], [5, 6]]] * 2, np.float32)
    scores = np.array([[0.5, 0.7, 0.1], [0.9, 0.9, 0.9]], np.float32)
    people = make_people(joints, [[0, 0, 10, 10]] * 2, photo_id=[7, 7], score=[1.0, 0.5])
    found = coco.results(joints, scores, people, (64, 64), TRIANGLE, category_id=3)
    (result,) = json.loads(json.dumps(found))  # the second is suppressed
    assert set(result) == {"image_id", "category_id", "keypoints", "score"}
    assert (result["image_id"], result["category_id"]) == (7, 3)
    np.testing.assert_allclose(result["keypoints"], [1, 2, 0.5, 3, 4, 0.7, 5, 6, 0.1], rtol=1e-6)
    assert result["score"] == pytest.approx(0.6)


def test_suppresses_within_each_photo_by_hard_or_soft_nms():
    joints = np.zeros((3, 3, 2))
    people = make_people(joints, [[0, 0, 10, 10]] * 3, photo_id=[1, 2, 1])
    scores = np.ones((3, 3))
    hard = coco.results(joints, scores, people, (64, 64), TRIANGLE)
    assert [result["image_id"] for result in hard] == [1, 2]
    soft = coco.results(joints, scores, people, (64, 64), TRIANGLE, soft_nms=True)
    assert [result["image_id"] for result in soft] == [1, 1, 2]


@pytest.fixture()
def triangles(tmp_path):
    """Two people of three joints in COCO's format, in category 5."""
    joints = np.array([[[50, 10], [10, 90], [90, 90]], [[250, 10], [210, 90], [290, 90]]], float)
    people = make_people(joints, [[10, 10, 80, 80], [210, 10, 80, 80]], photo_id=[4, 4], annotation_id=[8, 9])
    annotations = [
        {
            "id": 8 + i,
            "image_id": 4,
            "category_id": 5,
            "bbox": people.box[i].tolist(),
            "area": 6400,
            "iscrowd": 0,
            "num_keypoints": 3,
            "keypoints": np.insert(joints[i], 2, 2, axis=1).ravel().tolist(),
        }
        for i in range(2)
    ]
    content = {
        "images": [{"id": 4, "width": 300, "height": 100}],
        "categories": [{"id": 2, "name": "car"}, {"id": 5, "name": "person"}],
        "annotations": annotations,
    }
    path = tmp_path / "triangles.json"
    path.write_text(json.dumps(content))
    return people, path


def test_evaluates_any_skeleton_with_its_own_sigmas(triangles):
    people, path = triangles
    moved = people.joints + np.array([8.0, 0.0])  # OKS 0.79 with these sigmas: above 6 of 10 thresholds
    category = coco.person_category(path)
    for joints, expected in ((people.joints, 1.0), (moved, 0.6)):
        found = coco.results(joints, np.ones((2, 3)), people, (64, 64), TRIANGLE, category_id=category)
        metrics = coco.average_precision(found, path, TRIANGLE)
        assert metrics["AP"] == pytest.approx(expected)
        assert metrics["AP_M"] == pytest.approx(expected)
        assert metrics["AP_L"] == -1  # nobody is that large


def test_evaluation_prints_nothing_and_does_not_change_the_results(triangles, capsys):
    people, path = triangles
    found = coco.results(people.joints, np.ones((2, 3)), people, (64, 64), TRIANGLE, category_id=5)
    before = json.dumps(found)
    coco.average_precision(found, path, TRIANGLE)
    assert json.dumps(found) == before
    assert capsys.readouterr().out == ""


def test_metrics_are_zero_without_results(triangles):
    _, path = triangles
    assert coco.average_precision([], path, TRIANGLE) == dict.fromkeys(coco.METRICS, 0.0)


def test_refuses_results_of_another_split(triangles):
    people, path = triangles
    people = dataclasses.replace(people, photo_id=np.array([4, 77]))
    found = coco.results(people.joints, np.ones((2, 3)), people, (64, 64), TRIANGLE, category_id=5)
    with pytest.raises(ValueError, match=r"image_id=77.*triangles\.json"):
        coco.average_precision(found, path, TRIANGLE)


def test_finds_areas_by_annotation_id(triangles):
    _, path = triangles
    np.testing.assert_array_equal(coco.annotated_areas(path, np.array([9, 8, 9])), [6400.0] * 3)
    with pytest.raises(ValueError, match="annotation 1"):
        coco.annotated_areas(path, np.array([1]))


def test_reports_errors_of_each_joint(triangles):
    people, _ = triangles
    people = dataclasses.replace(people, visible=np.array([[1, 1, 1], [0, 1, 0]]))
    predicted = people.joints.copy()
    predicted[0, 1:] = predicted[0, [2, 1]]  # left and right swapped
    predicted[1, 1] += [16, 0]  # a fifth of the person's size
    errors = coco.per_joint_errors(predicted, people, np.full(2, 6400.0), TRIANGLE)
    assert list(errors) == list(TRIANGLE.joints)
    assert errors["top"] == {"count": 1, "mean_error": 0, "median_error": 0, "oks": 1, "swapped": None}
    assert errors["left"]["count"] == 2
    assert errors["left"]["mean_error"] == pytest.approx((1.0 + 0.2) / 2)
    assert errors["left"]["oks"] == pytest.approx((np.exp(-12.5) + np.exp(-0.5)) / 2)
    assert errors["left"]["swapped"] == errors["right"]["swapped"] == 1.0  # of the only person with both
    unlabelled = dataclasses.replace(people, visible=np.zeros((2, 3)))
    nothing = coco.per_joint_errors(predicted, unlabelled, np.full(2, 6400.0), TRIANGLE)["left"]
    assert nothing == {"count": 0, "mean_error": None, "median_error": None, "oks": None, "swapped": None}
