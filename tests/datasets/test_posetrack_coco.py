"""PoseTrack's files of all years, prepared for training and evaluation."""

import json

import made_data_sets
import numpy as np
import pytest
from made_posetrack import HEAD, POSE, K, content, content_2017, person, write, write_matlab

from hrnet_jax import prepare, skeletons
from hrnet_jax.datasets import coco, matlab, posetrack_coco, posetrack_files, records
from hrnet_jax.datasets.coco_entries import POSETRACK
from hrnet_jax.datasets.posetrack import JOINTS

SKELETON = skeletons.load("posetrack")
ORDER = [SKELETON.joints.index(name) for name in JOINTS]
FRAMES = [[person(0), person(4, 300, missing=(3, 9))], [person(4, 310)], []]
REGION = [[350.0, 50.0], [600.0, 50.0], [600.0, 200.0], [350.0, 200.0]]


@pytest.fixture
def no_process(monkeypatch):
    """Reads MATLAB files without the subprocess, which imports scipy for seconds."""

    def run(kind, path, names):
        found = matlab.scipy.io.loadmat(path, variable_names=names, **matlab.AS_OBJECTS)
        return json.dumps({name: matlab.plain_structures(found[name]) for name in names if name in found}).encode()

    monkeypatch.setattr(matlab, "_run", run)


def with_regions(document: dict, frame: int = 0) -> dict:
    """Adds an ignore region to a frame of a file of 2018 or 2017."""
    x, y = (list(axis) for axis in zip(*REGION, strict=True))
    if "images" in document:
        document["images"][frame] |= {"ignore_regions_x": [x], "ignore_regions_y": [y]}
    else:
        points = [{"x": [a], "y": [b]} for a, b in REGION]
        document["annolist"][frame]["ignore_regions"] = [{"point": points}]
    return document


def read(path):
    return posetrack_coco.read(path, "val", SKELETON)


def people(found) -> list[tuple]:
    """What all forms of a file have in common."""
    frames = {image["id"]: number for number, image in enumerate(found["images"])}
    return [
        (frames[entry["image_id"]], entry["keypoints"], entry["bbox"], entry[POSETRACK]["track_id"])
        for entry in found["annotations"]
    ]


def test_files_of_all_years_and_forms_hold_the_same_people(tmp_path, no_process):
    write(tmp_path / "2018", with_regions(content(FRAMES)))
    write(tmp_path / "2017", with_regions(content_2017(FRAMES)))
    write_matlab(tmp_path / "matlab", with_regions(content_2017(FRAMES)))
    of_2018, of_2017, of_matlab = (read(tmp_path / name) for name in ("2018", "2017", "matlab"))
    assert people(of_2018) == people(of_2017) == people(of_matlab) and of_2017 == of_matlab
    assert [image["id"] for image in of_2018["images"]] == [10**10 + 10**4 + frame for frame in range(3)]
    assert (
        of_2017["images"][0]["id"] == of_2017["images"][0]["file_name"] == "images/bonn/000001_mpii/00000001.jpg"
    )
    assert of_2018["images"][1][POSETRACK] == {
        "sequence": "000001_mpii_test", "is_labelled": True, "is_listed": True, "ignore_regions": []
    }  # fmt: skip
    for found in (of_2018, of_2017, of_matlab):
        assert found["annotations"][0][POSETRACK]["head_size"] == pytest.approx(HEAD)
        assert found["images"][0][POSETRACK]["ignore_regions"] == [REGION]
        assert found["categories"][0]["keypoints"] == list(SKELETON.joints)


def test_matlab_files_are_read_in_a_process(tmp_path):
    """One frame and one person are scalars there, and fields without a value are empty."""
    document = content_2017([[person(2)]])
    write_matlab(tmp_path / "one", document)
    write(tmp_path / "json", document)
    (path,), (other,) = (posetrack_files.listed(tmp_path / name) for name in ("one", "json"))
    (year, (frame,)), (_, (expected,)) = (posetrack_files.read_frames(file) for file in (path, other))
    assert year == 2017 and (frame.name, frame.image_id, frame.labelled) == (expected.name, 1, True)
    np.testing.assert_allclose(frame.people[0].joints, expected.people[0].joints)
    assert frame.people[0].track_id == 2 and frame.regions == ()
    matlab.scipy.io.savemat(path, {"other": np.eye(2)})
    with pytest.raises(ValueError, match=r"000001_mpii\.mat has no `annolist`"):
        posetrack_files.read_frames(path)


def test_fields_that_matlab_leaves_empty_are_missing(tmp_path, no_process):
    document = content_2017([[person(2)], []])
    del document["annolist"][1]["is_labeled"], document["annolist"][1]["annorect"]
    path = write_matlab(tmp_path, document)
    _, frames = posetrack_files.read_frames(path)
    assert [frame.labelled for frame in frames] == [True, None] and frames[1].people == []


def test_several_sequences_may_be_in_one_file_as_mmpose_merges_them(tmp_path):
    one, two = content(FRAMES, 1), content(FRAMES, 2)
    merged = {name: one[name] + two[name] for name in ("images", "annotations")}
    path = write(tmp_path, merged | {"categories": one["categories"]})
    found = read(path)
    assert {image[POSETRACK]["sequence"] for image in found["images"]} == {"000001_mpii_test", "000002_mpii_test"}
    assert len(found["images"]) == 6 and len(found["annotations"]) == 6


def test_boxes_are_those_of_the_joints_fifteen_percent_larger_in_all():
    x, y, width, height = posetrack_coco.grown_box(POSE + 100)
    assert (width, height) == pytest.approx(tuple(1.15 * np.ptp(POSE, axis=0)))
    assert (x, y) == pytest.approx(tuple(100 - 0.075 * np.ptp(POSE, axis=0)))


def test_joints_in_ignore_regions_have_no_label_but_are_in_the_box(tmp_path):
    write(tmp_path, with_regions(content(FRAMES)))
    found = read(tmp_path)["annotations"]
    table = np.array(found[1]["keypoints"]).reshape(-1, 3)[ORDER]
    joints = POSE + np.array([300, 100])
    inside = (joints > [350, 50]).all(axis=1) & (joints < [600, 200]).all(axis=1)
    assert 0 < inside.sum() < K
    np.testing.assert_array_equal(table[:, 2] == 0, inside | np.isin(np.arange(K), (3, 9)))
    assert not table[table[:, 2] == 0].any()
    assert found[1]["bbox"] == posetrack_coco.grown_box(joints[~np.isin(np.arange(K), (3, 9))])
    np.testing.assert_array_equal(table[table[:, 2] > 0, :2], joints[table[:, 2] > 0])


def test_people_who_cannot_be_trained_on_are_dropped_and_counted(tmp_path):
    one, line = [k for k in range(K) if k != 5], [k for k in range(K) if k not in (0, 3)]
    everyone = [person(0), person(1, missing=one), person(2, missing=line), person(3, missing=range(K))]
    document = content([everyone, [person(0)]])
    document["images"][1]["is_labeled"] = False
    found = coco.load(write(tmp_path, document), SKELETON, read)
    kept, dropped = coco.select_people(found, SKELETON)
    assert len(kept) == 1 and dropped == {
        "fewer than 2 joints": 2, "joints on a line": 1, "in a frame marked as unlabelled": 1
    }  # fmt: skip
    hidden = with_regions(content([[person(0, 400, 60, missing=[k for k in range(K) if k not in (0, 4)])]]))
    (reason,) = [entry["unused"] for entry in read(write(tmp_path, hidden))["annotations"]]
    assert reason == "in an ignore region"


def test_prepared_splits_keep_tracks_frames_and_regions(tmp_path, capsys):
    made_data_sets.write_posetrack(tmp_path)
    path = tmp_path / "annotations/val/000342_mpii_test.json"
    document = json.loads(path.read_text())
    document["annotations"].append(document["annotations"][0] | {"track_id": 4, "keypoints": [9, 9, 1] + [0] * 48})
    path.write_text(json.dumps(document))
    prepare.main(["posetrack", "--root", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "dropped: 1 fewer than 2 joints" in capsys.readouterr().out
    split = records.open_split(tmp_path / "out/val")
    assert len(split.people) == 1 and len(split.photos) == 2  # photos of val are kept, labelled or not
    truth = json.loads(split.annotations.read_text())
    assert [entry[POSETRACK]["track_id"] for entry in truth["annotations"]] == [3, 4]
    marks = [(image[POSETRACK]["sequence"], image[POSETRACK]["is_labelled"]) for image in truth["images"]]
    assert marks == [("000342_mpii_test", True), ("000342_mpii_test", False)]
    (tmp_path / "annotations/val").rename(tmp_path / "annotations/train")
    prepare.main(["posetrack", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--splits", "train"])
    assert len(records.open_split(tmp_path / "out/train").photos) == 1


def test_a_change_of_any_sequence_is_noticed(tmp_path, capsys):
    made_data_sets.write_posetrack(tmp_path)
    command = ["posetrack", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    prepare.main(command)
    prepare.main(command)
    assert "already prepared" in capsys.readouterr().out
    path = tmp_path / "annotations/val/000342_mpii_test.json"
    path.write_text(path.read_text().replace('"track_id": 3', '"track_id": 5'))
    prepare.main(command)
    assert "already prepared" not in capsys.readouterr().out


def test_detected_boxes_in_mmposes_file_are_found(tmp_path):
    made_data_sets.write_posetrack(tmp_path)
    box = {"image_id": 10003420001, "category_id": 1, "bbox": [1, 2, 20, 30], "score": 0.5}
    name = "annotations/posetrack18_val_human_detections.json"
    made_data_sets.place(tmp_path, name, [box, box | {"image_id": 10003420000}])
    prepare.prepare_published("posetrack", tmp_path, tmp_path / "out")
    assert len(records.open_split(tmp_path / "out/val").detections or ()) == 2
    made_data_sets.place(tmp_path, name, [box | {"image_id": 1}])
    with pytest.raises(ValueError, match=r"`image_id` of 1 of 1 boxes is not in .*val"):
        prepare.prepare_published("posetrack", tmp_path, tmp_path / "out")


def test_odd_folders_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotations.train does not exist"):
        prepare.prepare_published("posetrack", tmp_path, tmp_path / "out")
    (tmp_path / "val").mkdir()
    with pytest.raises(FileNotFoundError, match=r"val holds no sequences"):
        read(tmp_path / "val")
    write(tmp_path / "mixed", content(FRAMES, 1), 1)
    write(tmp_path / "mixed", content_2017(FRAMES, 2), 2)
    years = r"000002_mpii_test\.json is of 2017 and 000001_mpii_test\.json is of 2018; give each year a folder"
    with pytest.raises(ValueError, match=years):
        read(tmp_path / "mixed")
    for number in (1, 2):
        document = content(FRAMES, number)
        for row, image in enumerate(document["images"]):
            image["id"] = row
        document["annotations"] = []
        write(tmp_path / "renumbered", document, number)
    with pytest.raises(
        ValueError, match=r"000002_mpii_test\.json: .* has the `id` 0 of .*were the ids renumbered"
    ):
        read(tmp_path / "renumbered")
    write(tmp_path / "twins", content([[person(7), person(7, 300)]]))
    with pytest.raises(ValueError, match=r"two people of frame .*000000\.jpg have the `track_id` 7"):
        read(tmp_path / "twins")
    write(tmp_path / "other", {"people": []})
    with pytest.raises(ValueError, match="is no file of PoseTrack"):
        read(tmp_path / "other")


def test_the_real_sample_is_prepared(shared, tmp_path):
    root = shared / "real" / "posetrack_sample"
    boxes = root / "annotations/test_posetrack18_human_detections.json"
    prepare.prepare_published("posetrack", root, tmp_path, ["val"], boxes)
    split = records.open_split(tmp_path / "val")
    assert (len(split.photos), len(split.people), len(split.detections or ())) == (3, 14, 278)
