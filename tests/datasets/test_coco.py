import json

import made_coco
import numpy as np
import pytest

from hrnet_jax import geometry, validation
from hrnet_jax.datasets import coco
from hrnet_jax.skeletons import COCO


def load(tmp_path, content, **options):
    path = tmp_path / "annotations.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return coco.load(path, COCO, **options)


def select(tmp_path, content):
    return coco.select_people(load(tmp_path, content), COCO)


def test_people_boxes_and_order_are_those_of_the_original(shared):
    path = shared / "real" / "coco_four" / "annotations" / "person_keypoints_val2017.json"
    people, dropped = coco.select_people(coco.load(path, COCO), COCO)
    reference = np.load(shared / "conformance" / "coco_four" / "real.npz")
    np.testing.assert_array_equal(people.photo_id, reference["gt/image_id"])
    found = [geometry.box_to_center_scale(box, 192 / 256) for box in people.box]
    np.testing.assert_array_equal([center for center, _ in found], reference["gt/center"])
    np.testing.assert_array_equal([scale for _, scale in found], reference["gt/scale"])
    np.testing.assert_array_equal(people.visible, reference["gt/vis"])
    assert dropped == {"without joints": 2}


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("coco_mini", "train2017", 86), ("coco_mini", "val2017", 68), ("coco_four", "val2017", 12)],
)
def test_the_number_of_people_is_the_published_one(shared, name, split, count):
    path = shared / "real" / name / "annotations" / f"person_keypoints_{split}.json"
    assert len(coco.select_people(coco.load(path, COCO), COCO)[0]) == count


def test_people_come_in_the_files_order_with_every_field(tmp_path):
    people, dropped = select(tmp_path, made_coco.content([30, 10]))
    assert people.photo_id.tolist() == [30, 10]
    assert people.annotation_id.tolist() == [31, 11]
    np.testing.assert_array_equal(people.joints[0, 3], [23, 13])
    np.testing.assert_array_equal(people.visible[0, :4], [0, 1, 1, 0])
    np.testing.assert_array_equal(people.box[0], [10, 5, 29, 39])
    assert people.score.tolist() == [1, 1]
    assert dropped == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iscrowd": 1}, "crowd"),
        ({"area": 0}, "without area"),
        ({"bbox": [100, 5, 10, 10]}, "box outside the photo"),
        ({"keypoints": [0] * 51}, "without joints"),
        ({"category_id": 2}, "other category"),
        ({"keypoints": []}, "without joints"),
        ({"keypoints": None}, "without joints"),
    ],
)
def test_people_who_cannot_be_used_are_dropped_and_counted(tmp_path, changes, reason):
    content = made_coco.content([10])
    content["annotations"].append(made_coco.person(99, 10, **changes))
    people, dropped = select(tmp_path, content)
    assert people.annotation_id.tolist() == [11]
    assert dropped == {reason: 1}


def test_boxes_are_clipped_to_the_width_and_the_height_of_the_photo(tmp_path):
    content = made_coco.content([10])
    content["annotations"][0]["bbox"] = [10, 5, 100, 100]
    people, _ = select(tmp_path, content)
    np.testing.assert_array_equal(people.box, [[10, 5, made_coco.WIDTH - 11, made_coco.HEIGHT - 6]])


def test_ground_truth_keeps_what_scoring_needs_and_no_outlines(tmp_path):
    content = made_coco.content([20, 10])
    content["annotations"].append(made_coco.person(99, 10, iscrowd=1, category_id=1))
    content["annotations"].append(made_coco.person(100, 10, category_id=2))
    truth = coco.ground_truth(load(tmp_path, content), [10])
    assert [image["id"] for image in truth["images"]] == [10]
    assert [(entry["id"], entry["iscrowd"]) for entry in truth["annotations"]] == [(11, 0), (99, 1)]
    assert truth["annotations"][0]["num_keypoints"] == 11
    assert "segmentation" not in truth["annotations"][0]
    assert [category["name"] for category in truth["categories"]] == ["person"]


def test_files_of_test_servers_have_photos_only(tmp_path):
    content = made_coco.content()
    del content["annotations"], content["categories"][0]["keypoints"]
    annotations = load(tmp_path, content, with_people=False)
    people, dropped = coco.select_people(annotations, COCO)
    assert len(annotations.photos) == 3
    assert people.joints.shape == (0, COCO.num_joints, 2)
    assert people.box.shape == (0, 4)
    assert dropped == {}


def set_in(*path_and_value):
    """Returns a function that puts a value into an annotation file."""
    *path, name, value = path_and_value

    def change(content):
        for step in path:
            content = content[step]
        content[name] = value

    return change


def delete(name):
    return lambda content: content.pop(name)


CATEGORY = ("categories", 0)
PERSON = ("annotations", 0)
WRONG = [
    (delete("images"), r"has no `images`; its fields are annotations, categories"),
    (delete("annotations"), r"has no `annotations`"),
    (delete("categories"), r"has no `categories`"),
    (set_in("images", []), r"`images` is empty"),
    (set_in("images", 3), r"`images` \(=3\) must be a list, not int"),
    (
        lambda content: content["categories"][0].update(name="dog", keypoints=["nose"]),
        r"`categories` \(dog\) must have one named 'person', or just one with the 17 `keypoints` .*: 0 have",
    ),
    (lambda content: content["categories"][0].pop("keypoints"), r"category 'person'.* has no `keypoints`"),
    (set_in(*CATEGORY, "keypoints", ["nose"]), r"has 1 keypoints \(nose\), but .* has 17 joints.*--skeleton"),
    (set_in(*CATEGORY, "keypoints", [*COCO.joints[1:], "nose"]), r"in another order .*--skeleton"),
    (set_in("images", 1, "id", 30), r"images\[1\]: `id` \(=30\) is used twice"),
    (set_in("images", 1, "id", "x"), r"annotations\[1\]: `image_id` \(=10\) is not the `id` of any entry"),
    (set_in("images", 1, "id", 30.5), r"images\[1\]: `id` \(=30.5\) must be an integer, not float"),
    (set_in("images", 1, "id", True), r"images\[1\]: `id` \(=True\) must be an integer, not bool"),
    (set_in("images", 1, "file_name", 30), r"images\[1\]: `file_name` \(=30\) must be a string, not int"),
    (set_in("images", 1, "width", 0), r"images\[1\]: `width` and `height` \(=0, 48\) must be positive"),
    (set_in("images", 0, "file_name", "../../a.jpg"), r"`file_name` \(='../../a.jpg'\) must be a path inside"),
    (set_in("images", 0, "file_name", "/etc/a.jpg"), r"`file_name` \(='/etc/a.jpg'\) must be a path inside"),
    (set_in("annotations", 1, "id", 31), r"annotations\[1\] \(id 31\): `id` \(=31\) is used twice"),
    (set_in(*PERSON, "image_id", 5), r"annotations\[0\] \(id 31\): `image_id` \(=5\) is not the id of any"),
    (set_in(*PERSON, "keypoints", [1] * 48), r"\(id 31\): `keypoints` must be 51 finite numbers.*, but is 48: "),
    (set_in(*PERSON, "bbox", [1, 2, 3]), r"`bbox` must be 4 finite numbers.*, but is 3: \[1, 2, 3\]"),
    (set_in(*PERSON, "bbox", [1, 2, 3, float("nan")]), r"it\['annotations'\]\[0\]\['bbox'\]\[3\] is nan"),
    (set_in(*PERSON, "area", "large"), r"`area` must be a finite number"),
    (set_in(*PERSON, "iscrowd", "no"), r"`iscrowd` \(='no'\) must be an integer"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_errors_name_file_entry_and_value(tmp_path, change, message):
    content = made_coco.content()
    change(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, content)
    assert str(tmp_path / "annotations.json") in str(caught.value)


def test_all_errors_can_be_collected_and_valid_entries_are_kept(tmp_path):
    content = made_coco.content([30, 10, 20])
    content["images"][1]["width"] = content["annotations"][2]["area"] = "x"
    content["categories"].append({"id": "x", "name": "dog"})
    errors = validation.ErrorCollector()
    read = coco.read(tmp_path / "a.json", content, COCO, errors)
    assert errors.entries == {"photos_malformed": [1], "people_malformed": [2]}
    assert errors.first["people_malformed"].startswith("annotations[2] (id 21): `area` must be a finite number")
    assert (list(read.photos), list(read.people), read.category["name"]) == ([30, 20], [30], "person")


@pytest.mark.parametrize("text", ["", '{"images": [', "\x00\xff", "[" * 100_000])
def test_errors_name_broken_json(tmp_path, text):
    with pytest.raises(ValueError, match=r"annotations.json is not valid JSON"):
        load(tmp_path, text)


def test_json_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"annotations.json must be an object with `images`, but is \[1\]"):
        load(tmp_path, [1])


def test_the_error_for_a_missing_file_lists_the_others(tmp_path):
    (tmp_path / "other.json").write_text("")
    with pytest.raises(FileNotFoundError, match=r"none.json does not exist; .* holds other.json"):
        coco.load(tmp_path / "none.json", COCO)
