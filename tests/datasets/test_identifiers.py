"""Ids that are text are numbered inside and given back outside."""

import json

import made_coco
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import coco, detections, identifiers, records
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.evaluation import coco as coco_metrics
from hrnet_jax.evaluation import protocols
from hrnet_jax.skeletons import COCO

UUID = "550e8400-e29b-41d4-a716-44665544"


def entries(*ids):
    return [{"id": value} for value in ids]


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        ((7, "8", 9.0, "10.0"), [7, 8, 9, 10]),  # all are integers
        (("a", "b"), [1, 2]),
        (("12", "12a"), [13, 14]),  # one is not, so that none is
        (("007", "7"), [8, 9]),
        (("1e2", "100"), [101, 102]),
        ((5, "a", 3, "b"), [5, 6, 3, 7]),
        ((-5, "a"), [-5, 1]),
        ((2**63 - 1, "a"), [2**63 - 1, 1]),
        ((3, "1e99"), [3, 4]),  # no integer
    ],
)
def test_texts_are_numbered_above_the_integers(ids, numbers):
    numbering = identifiers.Numbering(entries(*ids))
    assert [numbering.number(entry, "id", "it") for entry in entries(*ids)] == numbers
    assert numbering.known == {*numbers} and numbering.next() not in numbers


def test_only_the_listed_ids_are_known_among_texts():
    numbering = identifiers.Numbering(entries("a", "12", 40))
    assert numbering.number({"image_id": 12}, "image_id", "it") == numbering.texts["12"]
    assert numbering.number({"image_id": 40}, "image_id", "it") == 40
    for value in ("z", 41, 42, 1.0):  # 41 and 42 are the numbers of the texts
        with pytest.raises(ValueError, match=r"it: `image_id` \(=.*\) is not the `id` of any entry"):
            numbering.number({"image_id": value}, "image_id", "it")


@pytest.mark.parametrize("value", [True, None, 1.5])
def test_values_of_other_types_are_not_the_texts_that_look_like_them(value):
    numbering = identifiers.Numbering(entries("a", str(value)))
    with pytest.raises(ValueError, match=r"^it"):
        numbering.number({"image_id": value}, "image_id", "it")


def with_texts() -> dict:
    content = made_coco.content()
    for image in content["images"]:
        image["id"] = f"{UUID}{image['id']}"
    for entry in content["annotations"]:
        entry.update(id=f"person {entry['id']}", image_id=f"{UUID}{entry['image_id']}", category_id="human")
    content["categories"][0]["id"] = "human"
    return content


def test_a_data_set_with_texts_is_that_with_integers(tmp_path, capsys):
    content = with_texts()
    del content["annotations"][2]["id"]
    root = made_coco.write(tmp_path / "root", made_coco.content())
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    boxes = [made_coco.box(UUID + "10", category_id="human"), made_coco.box("000000000020", category_id="human")]
    prepare.prepare_coco(root, tmp_path / "out", detections=made_coco.boxes(tmp_path, boxes))
    assert "ids_numbered: 6 ids are text or missing" in capsys.readouterr().out
    split = records.open_split(tmp_path / "out" / "val2017")
    made_coco.write(root)
    prepare.prepare_coco(root, tmp_path / "other", detections=made_coco.boxes(tmp_path, [made_coco.box(10)]))
    plain = records.open_split(tmp_path / "other" / "val2017")
    order = np.argsort([20, 30, 10])[[2, 0, 1]]  # of the integers, in the texts' order 30, 10, 20
    assert split.people.photo_id.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(split.people.box, plain.people.box[order])
    assert split.detections is not None and split.detections.photo_id.tolist() == [2, 3]
    written = json.loads(split.annotations.read_text())
    assert [image["source_id"] for image in written["images"]] == [f"{UUID}{number}" for number in (30, 10, 20)]
    assert [entry["source_id"] for entry in written["annotations"]] == ["person 31", "person 11", "annotations[2]"]
    assert "source_id" not in plain.annotations.read_text()


def test_results_have_the_texts_and_are_scored(tmp_path):
    root = made_coco.write(tmp_path / "root", made_coco.content())
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(with_texts()))
    prepare.prepare_coco(root, tmp_path / "out")
    split = records.open_split(tmp_path / "out" / "val2017")
    people = split.people
    numbers = np.concatenate([people.joints, np.ones((*people.joints.shape[:2], 1))], axis=2)
    found = coco_metrics.listed(people.photo_id, numbers, np.ones(len(people)), 1)
    given = protocols.with_texts(found, split.annotations)
    assert [result["image_id"] for result in given] == [f"{UUID}{number}" for number in (30, 10, 20)]
    for results in (found, given):
        assert round(coco_metrics.average_precision(results, split.annotations, COCO)["AP"], 6) == 1


def test_the_doctor_examines_texts(tmp_path):
    root = made_coco.write(tmp_path / "root", made_coco.content())
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(with_texts()))
    boxes = made_coco.boxes(tmp_path, [made_coco.box(UUID + "10", category_id="human")])
    _, (part,) = doctor.examine(root, boxes)
    kinds = {finding.kind: finding for finding in part.findings}
    assert kinds["ids_numbered"].examples[:2] == (UUID + "30", UUID + "10")
    assert not {"people_malformed", "detections_malformed", "detections_unknown_photos"} & {*kinds}
    _, (part,) = doctor.examine(tmp_path / "root", made_coco.boxes(tmp_path, [made_coco.box(1)]))
    (finding,) = [each for each in part.findings if each.kind == "detections_malformed"]
    assert "entry 0: `image_id` (=1) is neither the `id` nor the name of a photo" in finding.what


def test_unknown_texts_are_refused_by_name(tmp_path):
    content = with_texts()
    content["annotations"][0]["image_id"] = "gone"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations\[0\]: `image_id` \(='gone'\) is not the `id` of any entry"):
        coco.load(path, COCO)
    path.write_text(json.dumps(with_texts()))
    annotations = coco.load(path, COCO)
    with pytest.raises(ValueError, match=r"entry 0: `category_id` \(='dog'\) is not the `id` of any entry"):
        detections.load(
            made_coco.boxes(tmp_path, [made_coco.box(UUID + "10", category_id="dog")]), annotations, COCO
        )
