import json

import made_coco
import numpy as np
import pytest

from hrnet_jax.datasets import coco, detections
from hrnet_jax.skeletons import COCO


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(made_coco.content()))
    return coco.load(path, COCO)


def test_the_authors_boxes_of_four_photos_stay_in_order(shared):
    root = shared / "real" / "coco_four"
    path = root / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json"
    annotations = coco.load(root / "annotations" / "person_keypoints_val2017.json", COCO)
    people, dropped, _ = detections.load(path, annotations, COCO)
    reference = np.load(shared / "conformance" / "coco_four" / "real.npz")
    np.testing.assert_array_equal(people.photo_id, reference["eval/detection_image_id"])
    np.testing.assert_array_equal(people.score, reference["eval/detection_center_scale_area_score"][:, 5])
    assert dropped == {}


def test_boxes_are_taken_as_they_are(tmp_path, annotations):
    path = made_coco.boxes(tmp_path, [made_coco.box(20, bbox=[-3.5, 1, 200, 300], score=2), made_coco.box(10)])
    people, _, _ = detections.load(path, annotations, COCO)
    assert people.photo_id.tolist() == [20, 10]
    np.testing.assert_array_equal(people.box[0], [-3.5, 1, 200, 300])
    assert people.score.tolist() == [2, 0.5]
    assert people.annotation_id.tolist() == [0, 0]
    assert not people.joints.any()
    assert people.visible.all()
    assert people.visible.shape == (2, COCO.num_joints)


def test_other_categories_and_boxes_without_size_are_dropped(tmp_path, annotations):
    entries = [
        made_coco.box(10),
        made_coco.box(10, category_id=3),
        made_coco.box(10, bbox=[1, 1, -5, 5]),
        made_coco.box(10, bbox=[1, 1, 0, 0]),
    ]
    people, dropped, reordered = detections.load(made_coco.boxes(tmp_path, entries), annotations, COCO)
    assert people.box.tolist() == [[1.5, 2.5, 20, 30], [-4, 1, 5, 5]]  # corners are put in order
    assert dropped == {"other category": 1, "without size": 1} and reordered == [2]


def without(name):
    return {key: value for key, value in made_coco.box(10).items() if key != name}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"boxes": []}, r"must hold a list of boxes, but holds dict"),
        ([], r"must hold a list of boxes, but holds an empty list"),
        ([made_coco.box(10, category_id=2)], r"none of its 1 boxes is a person .*dropped: {'other category': 1}"),
        ([made_coco.box(10), 7], r"entry 1 must be an object with `image_id`, but is 7"),
        (
            [made_coco.box(10), without("bbox")],
            r"entry 1 has no `bbox`; its fields are image_id, category_id, score",
        ),
        ([without("score")], r"entry 0 has no `score`"),
        ([without("image_id")], r"entry 0 has no `image_id`"),
        ([without("category_id")], r"entry 0 has no `category_id`"),
        ([made_coco.box(10, image_id="ten")], r"entry 0: `image_id` \(='ten'\) must be an integer, not str"),
        ([made_coco.box(10, score=True)], r"entry 0: `score` \(=True\) must be a number, not bool"),
        ([made_coco.box(10, score=float("inf"))], r"it\[0\]\['score'\] is inf, not a finite number"),
        (
            [made_coco.box(10, bbox=[1, 2, 3])],
            r"entry 0: `bbox` must be 4 finite numbers.*, but is 3: \[1, 2, 3\]",
        ),
        ([made_coco.box(10, bbox=[1, 2, "wide", 4])], r"entry 0: `bbox` must be 4 finite numbers"),
        ([made_coco.box(10, bbox=[1, 2, float("nan"), 4])], r"it\[0\]\['bbox'\]\[2\] is nan"),
        (
            [made_coco.box(10), *(made_coco.box(number) for number in range(100, 107)), made_coco.box(100)],
            r"`image_id` of 8 of 9 boxes is not in .*json \(7 photos: 100, 101, 102, 103, 104, \.\.\.\)",
        ),
    ],
)
def test_errors_name_file_entry_and_field(tmp_path, annotations, entries, message):
    path = made_coco.boxes(tmp_path, entries)
    with pytest.raises(ValueError, match=message) as caught:
        detections.load(path, annotations, COCO)
    assert str(path) in str(caught.value)


def test_errors_name_broken_json(tmp_path, annotations):
    (tmp_path / "boxes.json").write_text('[{"image_id": 1')
    with pytest.raises(ValueError, match=r"boxes.json is not valid JSON"):
        detections.load(tmp_path / "boxes.json", annotations, COCO)
