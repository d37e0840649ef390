import os

import made_damage
import pytest
from made_damage import SPLIT, Damage, annotations, kinds, labelled, some, write_coco

from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import coco_files


def write_unknown_categories(content, rng):
    for person in some(content["annotations"], rng):
        person["category_id"] = int(rng.integers(2, 90))


def rename_category(content, rng):
    content["categories"][0]["name"] = str(rng.choice(["human", "Person", "pedestrian"]))
    content["categories"][0]["keypoints"].pop()


def reorder_keypoints(content, rng):
    names = content["categories"][0]["keypoints"]
    a, b = rng.choice(len(names), 2, replace=False)
    names[a], names[b] = names[b], names[a]


def repeat_id(content, rng):
    first, second = some(content["annotations"], rng, 0)[0], content["annotations"][-1]
    first["id"] = content["annotations"][0]["id"] if first is second else second["id"]


def write_unknown_photos(content, rng):
    for person in some(content["annotations"], rng):
        person["image_id"] = int(rng.integers(10**7, 10**8))


def write_wrong_counts(content, rng):
    for person in some(labelled(content), rng):
        person["num_keypoints"] = 0


def malform(content, rng):
    for person in some(content["annotations"], rng):
        name = str(rng.choice(["bbox", "keypoints", "area", "image_id"]))
        person[name] = ["much", float("nan"), [1, 2, 3], {}][rng.integers(4)]


def split_into_joints(content, rng):
    joints = content["categories"][0]["keypoints"]
    content["categories"] = [{"id": number, "name": joint} for number, joint in enumerate(joints)]
    for number, person in enumerate(content["annotations"]):
        person["category_id"] = number % len(joints)


def rename_keypoints(content, rng):
    for person in content["annotations"]:
        person["joints"] = person.pop("keypoints")


DAMAGES = [
    Damage("joints as categories", split_into_joints, "categories"),
    Damage("keypoints renamed", rename_keypoints, "people_none"),
    Damage("unknown categories", write_unknown_categories, "categories_unknown"),
    Damage("category renamed", rename_category, "categories"),
    Damage("keypoints reordered", reorder_keypoints, "keypoint_names"),
    Damage("ids twice", repeat_id, "ids_twice"),
    Damage("unknown photos", write_unknown_photos, "photos_unknown"),
    Damage("counts wrong", write_wrong_counts, "num_keypoints"),
    Damage("malformed", malform, "people_malformed", ("numbers_not_finite",)),
]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            split_into_joints,
            "these are joints: write one annotation for each person, with all joints in `keypoints`",
        ),
        (rename_keypoints, "none has the field `keypoints`, but id, image_id, "),
    ],
)
def test_other_forms_of_joints_are_told_apart(made_up, tmp_path, change, what):
    content = annotations(made_up)
    change(content, None)
    root = write_coco(tmp_path / "root", made_up, content)
    _, parts = doctor.examine(root)
    (finding,) = (finding for part in parts for finding in part.findings if finding.severity == "error")
    assert what in finding.what


def test_entries_without_anything_are_no_mistake(made_up, tmp_path):
    content = annotations(made_up)
    nothing = {"keypoints": [], "num_keypoints": 0, "bbox": [0, 0, 0, 0], "area": 0}
    first = content["annotations"][0]
    content["annotations"] += [first | nothing | {"id": 10**9 + number} for number in range(3)]
    assert kinds(write_coco(tmp_path / "root", made_up, content)) == {}


def test_another_name_of_the_category_is_a_note(made_up, tmp_path):
    content = annotations(made_up)
    content["categories"][0]["name"] = "human"
    assert kinds(write_coco(tmp_path / "root", made_up, content)) == {"category_assumed": "note"}


@made_damage.cases(DAMAGES)
def test_finds_damaged_entries(base, tmp_path, damage, seed):
    made_damage.check_annotations(base, tmp_path / "root", damage, seed)


def test_files_that_are_no_annotations_are_a_finding(tmp_path):
    folder = tmp_path / "annotations"
    folder.mkdir()
    for text in ("", "[]", "{", "{}", '{"images": 3, "annotations": []}'):
        (folder / "person_keypoints_train.json").write_text(text)
        assert set(kinds(tmp_path)) == {"annotations_unreadable"}


def test_a_pipe_instead_of_annotations_is_a_finding(tmp_path):
    (tmp_path / "annotations").mkdir()
    os.mkfifo(tmp_path / "annotations" / f"person_keypoints_{SPLIT}.json")
    assert kinds(tmp_path) == {"annotations_unreadable": "error"}


@pytest.mark.parametrize(
    "categories",
    [3, True, "person", [{"id": [1], "name": "x"}], [{"id": 1, "name": ["x"]}], [{"id": 1, "name": {}}], [[1]]],
)
def test_categories_of_any_type_are_a_finding(made_up, tmp_path, categories):
    found = kinds(write_coco(tmp_path / "root", made_up, annotations(made_up) | {"categories": categories}))
    assert "categories" in found and "not_examined" not in found


@pytest.mark.parametrize("names", [[[1]] * 17, [1] * 17, None])
def test_keypoint_names_of_any_type_are_a_finding(made_up, tmp_path, names):
    content = annotations(made_up)
    content["categories"][0]["keypoints"] = names
    assert set(kinds(write_coco(tmp_path / "root", made_up, content))) == {"annotations_refused"}


def test_labelled_joints_are_counted_by_their_flags():
    keypoints = [0, 7, 0, 5, 3, 1, 9, 9, 2]
    people = [{"id": i, "num_keypoints": count, "keypoints": keypoints} for i, count in enumerate((2, 3, None, 0))]
    (finding,) = coco_files._counts(people)
    assert finding.count == 2 and finding.examples == (1, 3)
