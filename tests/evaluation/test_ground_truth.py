import json
import os

import numpy as np
import pytest

from hrnet_jax.evaluation import ground_truth


def person(number, photo_id, **fields):
    return {
        "id": number,
        "image_id": photo_id,
        "category_id": 1,
        "bbox": [1, 2, 3, 4],
        "area": 12,
        "iscrowd": 0,
        "num_keypoints": 1,
        "keypoints": [5, 6, 2, 0, 0, 0],
        **fields,
    }


def write(path, annotations):
    content = {
        "images": [{"id": 8}, {"id": 2}],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return path


def test_sorts_people_by_photo_and_keeps_their_order(tmp_path):
    path = write(tmp_path / "a.json", [person(9, 8), person(4, 2), person(7, 8), person(1, 2), person(6, 5)])
    truth = ground_truth.load(path)
    assert truth.photo_ids.tolist() == [2, 8]
    assert truth.categories == {3: "car", 1: "person"}
    assert truth.people[1].annotation_id.tolist() == [4, 1, 9, 7]  # photo 5 is not listed
    np.testing.assert_array_equal(truth.people[1].joints[0], [[5, 6], [0, 0]])
    assert truth.people[1].visible[0].tolist() == [True, False]


def test_ignores_crowds_and_people_without_labelled_joints(tmp_path):
    bare = {name: value for name, value in person(4, 2).items() if name not in ("iscrowd", "num_keypoints")}
    people = [person(1, 2), person(2, 2, iscrowd=1), person(3, 2, num_keypoints=0), bare]
    found = ground_truth.load(write(tmp_path / "a.json", people)).people[1]
    assert found.ignored.tolist() == [False, True, True, False]
    assert found.crowd.tolist() == [False, True, False, False]


def test_caches_a_file_until_it_changes(tmp_path):
    path = write(tmp_path / "a.json", [person(1, 2)])
    first = ground_truth.load(path)
    assert ground_truth.load(os.fspath(path)) is first
    write(path, [person(1, 2), person(22, 2)])
    assert len(ground_truth.load(path).people[1]) == 2
    ground_truth.forget()
    assert len(ground_truth.load(path).people[1]) == 2


def test_a_category_may_have_no_joints(tmp_path):
    car = {name: value for name, value in person(5, 2, category_id=3).items() if name != "keypoints"}
    truth = ground_truth.load(write(tmp_path / "a.json", [person(1, 2), car]))
    assert truth.people[3].joints.shape == (1, 0, 2) and truth.people[1].joints.shape == (1, 2, 2)


def test_error_messages_name_the_problem(tmp_path):
    with pytest.raises(FileNotFoundError):
        ground_truth.load(tmp_path / "nothing.json")
    lacking = {name: value for name, value in person(1, 2).items() if name != "area"}
    with pytest.raises(ValueError, match=r"an annotation of category 1 has no 'area'"):
        ground_truth.load(write(tmp_path / "a.json", [lacking]))
    with pytest.raises(ValueError, match=r"\[3, 6\] numbers"):
        ground_truth.load(write(tmp_path / "a.json", [person(1, 2), person(2, 2, keypoints=[1, 2, 2])]))
