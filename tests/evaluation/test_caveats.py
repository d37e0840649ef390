"""The AP of the truth, and what prepare, doctor and eval say of it: the same, for every kind of entry."""

import json

import cv2
import made_coco
import made_data_sets
import made_mpii
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import records
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.evaluation import caveats, evaluate, ground_truth, protocols, report
from hrnet_jax.skeletons import COCO

SIDE = 640


def person(annotation_id, photo_id, place=0, **changes):
    """A person of 60 x 80 pixels, at one of 40 places."""
    corner = np.array([20 + 75 * (place % 8), 20 + 110 * (place // 8)], float)
    joints = np.column_stack(
        [corner + np.random.default_rng(abs(int(annotation_id))).uniform(5, 55, (COCO.num_joints, 2))]
    )
    keypoints = np.column_stack([joints, np.full(COCO.num_joints, 2)]).ravel().tolist()
    entry = made_coco.person(annotation_id, photo_id, bbox=[*corner, 60, 80], area=2500.0, keypoints=keypoints)
    return entry | {"num_keypoints": COCO.num_joints} | changes


def write(root, people, photos=(1, 2), split="val"):
    content = made_coco.content(photos) | {"annotations": people}
    for image in content["images"]:
        image.update(width=SIDE, height=SIDE)
    made_coco.write(root, content, split)
    for image in content["images"]:
        pixels = np.random.default_rng(image["id"]).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        cv2.imwrite(str(root / "images" / split / image["file_name"]), pixels)
    return root


def prepared(root, out, split="val"):
    prepare.prepare_coco(root, out)
    return records.open_split(out / split)


@pytest.mark.parametrize("first", [0, 1, -5, 2**40])
def test_ids_are_no_bookkeeping(tmp_path, first):
    root = write(tmp_path / "root", [person(first + row, 1 + row % 2, row) for row in range(6)])
    found = caveats.truth_of_split(prepared(root, tmp_path / "out"))
    assert found
    assert found.score == 1 and found.causes == []


def test_more_people_than_count_on_a_photo_are_told(tmp_path, capsys):
    root = write(tmp_path / "root", [person(1 + row, 1, row) for row in range(30)] + [person(99, 2)])
    split = prepared(root, tmp_path / "out")
    found = caveats.truth_of_split(split)
    assert found
    assert 0.6 < found.score < 0.75 and len(found.annotation_id) == 30
    said = f"AP {found.score:.3f}: 1 photos have more than 20 people, and only 20 of a photo count"
    assert str(found) == said and said in capsys.readouterr().out
    assert doctor.main([str(tmp_path / "out" / "val"), "--truth"]) == doctor.FINDINGS
    assert said in capsys.readouterr().out
    with pytest.raises(ValueError, match="`--truth` is for prepared splits"):
        doctor.main([str(root), "--truth"])


ENTRIES = [
    person(0, 1),
    person(1, 1, 1, area=0),
    person(2, 1, 2, bbox=[SIDE + 100, 0, 10, 10]),
    person(3, 1, 3, iscrowd=True),
    person(4, 1, 4, keypoints=[], num_keypoints=0),
    person(5, 1, 5, keypoints=None, num_keypoints=None),
    person(6, 1, 6, keypoints=[None] * 51, num_keypoints=0),
    person(7, 1, 7, category_id=2),
    person(8, 2, 8, area=None),
    person(9, 2, 9, bbox=None),
    person(10, 2, 10, bbox=[200.0, 240.0, -60, -80]),
    person("11", 2.0, 11, iscrowd=None),
    None,
]
USED = [0, 8, 9, 10, 11]
DROPPED = {
    "without area": 1,
    "box outside the photo": 1,
    "crowd": 1,
    "without joints": 3,
    "other category": 1,
    "null": 1,
}
MISSED = {"without area": 1, "box outside the photo": 1}


def test_prepare_doctor_and_eval_say_the_same_of_every_kind_of_entry(tmp_path, capsys):
    root = write(tmp_path / "root", ENTRIES)
    split = prepared(root, tmp_path / "out")
    told = capsys.readouterr().out
    assert split.people.annotation_id.tolist() == USED
    assert split.summary["people_dropped"] == DROPPED and split.summary["people_missed"] == MISSED
    limit = caveats.truth_of_split(split)
    assert limit
    assert limit.annotation_id.tolist() == [1, 2]  # and nobody else: crowds and people without joints are ignored
    assert limit.causes == [
        "2 people count as missed, since they are dropped (1 without area, 1 box outside the photo)"
    ]

    in_photos = caveats.truth_of_split(split, in_photos=True)
    assert in_photos and in_photos.is_perfect and caveats.of_split(split, in_photos=True) == []

    assert f"the score on this split cannot exceed that of the truth itself, {limit}" in told
    _, (part,) = doctor.examine(root)
    kinds = {finding.kind: finding for finding in part.findings}
    assert part.facts["used"].removeprefix("5 people") in told and "people             5   dropped" in told
    assert kinds["ap_limited"].examples == (1, 2) and str(limit) in kinds["ap_limited"].what
    assert {kind: kinds[kind].examples for kind in ("areas_assumed", "boxes_assumed", "boxes_reordered")} == {
        "areas_assumed": (8,), "boxes_assumed": (9,), "boxes_reordered": (10,),
    }  # fmt: skip
    for kind in ("areas_assumed", "boxes_assumed", "boxes_reordered"):
        assert kinds[kind].what in told
    assert kinds["areas_missing"].examples == (1,)
    _, (part,) = doctor.examine(tmp_path / "out" / "val")
    assert part.facts["truth"] == f"taken as predictions, {limit}"

    outcome = evaluate.Outcome(
        "gt_boxes", split.people, split.people.joints, split.people.visible, "val", [], {"val/gt_boxes/AP": 0.5}
    )

    def look(people):
        yield from (
            (np.zeros((64, 48, 3), np.uint8), np.zeros((16, 12, COCO.num_joints), np.float32)) for _ in people.box
        )

    report.write([outcome], split, protocols.COCO, tmp_path, {}, look)
    assert f"AP cannot exceed that of the truth itself, {limit}" in capsys.readouterr().out
    assert json.loads((tmp_path / "metrics.json").read_text())["val/truth/AP"] == limit.score


BLANK = {"bbox": [0, 0, 0, 0], "area": 0}
ONE_JOINT = [130, 40, 2] + [0] * 48
GONE, WITHOUT_SIZE = 3, 4  # photos: one is missing, one has no size in the file
KINDS = {  # changes; why nobody predicts the person; whether evaluation expects the person; what is told
    "plain": ({}, "", True, ()),
    "id 0": ({"id": 0}, "", True, ()),
    "id below 0": ({"id": -7}, "", True, ()),
    "id in quotes": ({"id": "9", "image_id": "2", "category_id": "1"}, "", True, ()),
    "id of letters": ({"id": "ab"}, "", True, ("ids_numbered",)),
    "no id": ({"id": None}, "", True, ("ids_numbered",)),
    "area 0": ({"area": 0}, "without area", True, ("areas_missing", "ap_limited")),
    "area below 0": ({"area": -5}, "without area", True, ("areas_missing", "ap_limited")),
    "no area": ({"area": None}, "", True, ("areas_assumed",)),
    "area in quotes": ({"area": "2500"}, "", True, ()),
    "box outside": (
        {"bbox": [700, 0, 9, 9], "area": 40},
        "box outside the photo",
        True,
        ("boxes_outside", "joints_outside_box", "ap_limited"),
    ),
    "box of no size": ({"bbox": [120.0, 40.0, 0, 0]}, "", True, ("boxes_without_size",)),
    "box and area of no size": (BLANK, "", True, ("boxes_assumed", "areas_assumed")),
    "no box": ({"bbox": None}, "", True, ("boxes_assumed",)),
    "box below 0": ({"bbox": [155.0, 100.0, -60, -80]}, "", True, ("boxes_reordered",)),
    "one joint": ({"keypoints": ONE_JOINT, "num_keypoints": 1, "bbox": None}, "", True, ("boxes_assumed",)),
    "one joint alone": (
        {"keypoints": ONE_JOINT, "num_keypoints": 1} | BLANK,
        "without area",
        True,
        ("areas_missing", "boxes_without_size", "ap_limited"),
    ),
    "crowd": ({"iscrowd": 1}, "crowd", False, ()),
    "crowd true": ({"iscrowd": True}, "crowd", False, ()),
    "crowd null": ({"iscrowd": None}, "", True, ()),
    "joints empty": ({"keypoints": [], "num_keypoints": 0}, "without joints", False, ()),
    "joints null": ({"keypoints": None, "num_keypoints": None}, "without joints", False, ()),
    "joints of null": ({"keypoints": [None] * 51, "num_keypoints": 0}, "without joints", False, ()),
    "joints not labelled": ({"keypoints": [0] * 51, "num_keypoints": 0}, "without joints", False, ()),
    "joints not counted": ({"num_keypoints": 0}, "", False, ("num_keypoints",)),
    "flags of probabilities": (
        {"keypoints": [130, 40, 0.93, 140, 60, 0.02] + [0] * 45, "num_keypoints": 2},
        "",
        True,
        ("flags",),
    ),
    "other category": ({"category_id": 2}, "other category", None, ()),
    "missing photo": ({"image_id": GONE}, "photo unreadable", None, ("photos_missing",)),
    "photo without size": ({"image_id": WITHOUT_SIZE}, "", True, ("sizes_assumed",)),
}


def write_kind(root, changes):
    changed = person(5, 2, 1) | changes
    write(root, [*(person(row, 1, row) for row in range(20, 23)), changed], (1, 2, GONE, WITHOUT_SIZE))
    path = root / "annotations" / "person_keypoints_val.json"
    content = json.loads(path.read_text())
    del content["images"][-1]["width"], content["images"][-1]["height"]
    content["categories"].append({"id": 2, "name": "dog"})
    path.write_text(json.dumps(content))
    (root / "images" / "val" / f"{GONE:012d}.jpg").unlink()
    return changed


def told_of(part):
    """The findings by kind. The joints are drawn at random, so that their sides mean nothing."""
    return {finding.kind: finding for finding in part.findings if not finding.kind.startswith("sides_")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_entry_is_the_same_to_prepare_doctor_and_eval(tmp_path, capsys, kind):
    changes, reason, is_expected, said = KINDS[kind]
    changed = write_kind(tmp_path / "root", changes)
    number = int(changed["id"]) if str(changed["id"]).strip("-").isdigit() else 23  # after the integers
    split = prepared(tmp_path / "root", tmp_path / "out")
    told = capsys.readouterr().out
    assert (number in split.people.annotation_id) == (not reason) and len(split.people) == 3 + (not reason)
    assert split.summary["people_dropped"] == ({reason: 1} if reason else {})
    assert split.summary["people_missed"] == ({reason: 1} if reason and is_expected else {})

    everyone = ground_truth.load(split.annotations).people[1]
    ignored = dict(zip(everyone.annotation_id.tolist(), everyone.ignored.tolist(), strict=True))
    assert ignored.get(number) == (None if is_expected is None else not is_expected)
    limit = caveats.truth_of_split(split)
    assert limit and limit.is_perfect != bool(reason and is_expected) == bool(limit.causes)
    assert limit.annotation_id.tolist() == [number] * bool(reason and is_expected)
    assert str(limit) in told or not limit.causes

    _, (part,) = doctor.examine(tmp_path / "root")
    kinds = told_of(part)
    assert {*kinds} - {"photos_missing", "sizes_assumed"} == {*said} - {"photos_missing", "sizes_assumed"}
    of_reader = "" if reason in ("", "photo unreadable") else f"   dropped: 1 {reason}"
    assert part.facts["used"] == f"{3 + (reason in ('', 'photo unreadable'))} people{of_reader}"
    assert all(kinds[each].what in told for each in said if each not in ("photos_missing", "ap_limited"))
    if "ap_limited" in said:
        assert str(limit) in kinds["ap_limited"].what


DETECTED = {  # changes of a box; why it is dropped; what is told
    "plain": ({}, "", ()),
    "photo in quotes": ({"image_id": "2"}, "", ()),
    "photo by name": ({"image_id": "000000000002.jpg"}, "", ()),
    "score in quotes": ({"score": "0.4"}, "", ()),
    "score below 0": ({"score": -1.3}, "", ("detections_scores",)),
    "size below 0": ({"bbox": [155.0, 100.0, -60, -80]}, "", ("detections_boxes_reordered",)),
    "no size": ({"bbox": [155.0, 100.0, 0, 0]}, "without size", ("detections_boxes_without_size",)),
    "other category": ({"category_id": 2}, "other category", ("detections_categories",)),
    "beyond the photo": ({"bbox": [95.0, 20.0, 900, 80]}, "", ("detections_boxes_outside",)),
}


@pytest.mark.parametrize("kind", DETECTED)
def test_every_kind_of_detected_box_is_the_same_to_prepare_doctor_and_eval(tmp_path, capsys, kind):
    changes, reason, said = DETECTED[kind]
    root = write(tmp_path / "root", [person(row, 1 + row % 2, row) for row in range(4)])
    boxes = [made_coco.box(1, bbox=[20.0, 20.0, 60, 80]), made_coco.box(2, bbox=[95.0, 20.0, 60, 80], score=0.4)]
    path = made_coco.boxes(tmp_path, [boxes[0], boxes[1] | changes])
    prepare.prepare_coco(root, tmp_path / "out", detections=path)
    told, split = capsys.readouterr().out, records.open_split(tmp_path / "out" / "val")
    assert split.summary["detections_dropped"] == ({reason: 1} if reason else {})
    found = evaluate.box_sources(split)[evaluate.DETECTOR_BOXES]
    assert len(found) == 2 - bool(reason)
    if "size below 0" in kind:
        np.testing.assert_array_equal(found.box[1], [95, 20, 60, 80])
    _, (part,) = doctor.examine(root, path)
    kinds = told_of(part)
    assert {*kinds} == {*said}
    assert all(kinds[each].what in told for each in said if not reason)


def test_photos_that_could_not_be_read_are_told(tmp_path, capsys):
    root = write(tmp_path / "root", [person(1, 1), person(2, 2)], photos=(1, 2))
    (root / "images" / "val" / "000000000002.jpg").unlink()
    split = prepared(root, tmp_path / "out")
    said = "covers 1 photos, not 1 more of the split that could not be read"
    assert caveats.of_split(split) == [said] and said in capsys.readouterr().out


def test_the_truth_of_mpii_is_that_of_the_matlab_file(tmp_path, capsys):
    entries = made_mpii.people(5)
    root = made_mpii.write(tmp_path / "root", entries)
    made_mpii.write_truth(root, entries)
    prepare.prepare_mpii(root, tmp_path / "out")
    assert doctor.main([str(tmp_path / "out"), "--truth"]) == 0
    assert "the truth taken as predictions has PCKh@0.5/Mean 100.000\n" in capsys.readouterr().out
    joints = entries[1]["joints"]
    entries[1]["joints"] = [[x + 40, y] for x, y in joints]
    made_mpii.write_truth(root, entries)
    prepare.prepare_mpii(root, tmp_path / "out")
    capsys.readouterr()
    assert doctor.main([str(tmp_path / "out"), "--truth"]) == doctor.FINDINGS
    assert ": joints of 1 people are elsewhere in the MATLAB file" in capsys.readouterr().out


def test_people_of_whom_evaluation_counts_no_joint_are_named(tmp_path):
    root = write(tmp_path / "root", [person(row, 1, row, num_keypoints=0) for row in range(3)])
    limit = caveats.truth_of_split(prepared(root, tmp_path / "out"))
    assert str(limit) == "no AP: evaluation expects nobody: all are crowds, or their `num_keypoints` is 0"


def test_sound_splits_have_no_caveats(coco_data, made_up_records, shared, tmp_path):
    for split in (coco_data / "val2017", made_up_records / "val2017"):
        assert caveats.of_split(records.open_split(split)) == []
        assert str(caveats.truth_of_split(records.open_split(split))) == "AP 1.000"
    prepare.prepare_mpii(shared / "real" / "mpii_five", tmp_path)
    opened = records.open_split(next(tmp_path.iterdir()))
    assert caveats.of_split(opened) == [] and caveats.truth_of_split(opened) is None


@pytest.mark.parametrize(("name", "split", "expected"), [("lsp", "test", False), ("crowdpose", "test", True)])
def test_only_average_precision_has_a_bound(tmp_path, name, split, expected):
    made_data_sets.WRITERS[name](tmp_path / "root")
    prepare.prepare_published(name, tmp_path / "root", tmp_path / "out")
    found = caveats.truth_of_split(records.open_split(tmp_path / "out" / split))
    assert (found is not None) == expected
