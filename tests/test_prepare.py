import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import made_coco
import made_mpii
import numpy as np
import pytest

from hrnet_jax import console, prepare, skeletons
from hrnet_jax.datasets import layouts, mpii, records, write_records


def open_split(out, split="val2017"):
    return records.open_split(out / split)


def photo_ids(split):
    return [split.photos[row]["photo_id"] for row in range(len(split.photos))]


def test_prints_a_summary(tmp_path, capfd):
    content = made_coco.content()
    content["annotations"] += [made_coco.person(1, 10, iscrowd=1), made_coco.person(2, 10, keypoints=[0] * 51)]
    root = made_coco.write(tmp_path / "root", content)
    prepare.prepare_coco(root, tmp_path / "out", detections=made_coco.boxes(tmp_path, [made_coco.box(10)] * 1234))
    out, err = capfd.readouterr()
    assert out.splitlines()[:4] == [
        f"{tmp_path}/out/val2017: prepared",
        "  photos             3",
        "  people             3   dropped: 1 crowd, 1 without joints",
        "  detections     1,234",
    ]
    assert [line.split()[:2] for line in out.splitlines()[4:-1:2]] == [
        ["error", "detections_dummy:"], ["warning", "flags_lost:"],
    ]  # fmt: skip
    boxes = tmp_path / "boxes.json"
    assert out.splitlines()[-1] == f"  to see more: hrnet doctor {root} --detections {boxes}"
    assert err == ""


@pytest.mark.parametrize("name", ["a[0:2]", "[!x]", "a*b", "a?b", "a\\b", " é日本 ", "x@3", "~", "n" * 200])
def test_every_directory_name_holds_a_split(tmp_path, name):
    made_coco.write(tmp_path / name / "root")
    prepare.prepare_coco(tmp_path / name / "root", tmp_path / name / "out", decode=True)
    split = open_split(tmp_path / name / "out")
    assert photo_ids(split) == [10, 20, 30] and split.decoded is not None


def test_directories_that_lose_photos_are_refused(tmp_path, monkeypatch):
    root = made_coco.write(tmp_path / "root")
    with pytest.raises(ValueError, match=r"'.*\\udcff/val2017' is not in UTF-8"):
        prepare.prepare_coco(root, tmp_path / "\udcff")
    monkeypatch.setattr(records, "open_split", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(ValueError, match=r"out cannot hold a prepared split: .*gone.* another --out"):
        prepare.prepare_coco(root, tmp_path / "out", force=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_summary_names_its_source_files(tmp_path):
    root = made_coco.write(tmp_path / "root")
    summary = prepare.prepare_coco(root, tmp_path / "out")["val2017"]
    assert summary == json.loads((tmp_path / "out/val2017/summary.json").read_text())
    assert summary["sources"]["annotations"]["file"] == "person_keypoints_val2017.json"
    assert re.fullmatch("[0-9a-f]{64}", summary["sources"]["annotations"]["sha256"])
    assert summary["detections"] is None


def test_training_keeps_photos_with_people_testing_keeps_all(tmp_path):
    content = made_coco.content([1, 2, 3])
    del content["annotations"][1]
    for split in ("train2017", "val2017"):
        made_coco.write(tmp_path / "root", content, split)
    summaries = prepare.prepare_coco(tmp_path / "root", tmp_path / "out")
    assert list(summaries) == ["train2017", "val2017"]
    assert photo_ids(open_split(tmp_path / "out", "train2017")) == [1, 3]
    assert photo_ids(open_split(tmp_path / "out", "val2017")) == [1, 2, 3]
    assert summaries["train2017"]["photos_dropped"] == {"without people": 1}


@pytest.mark.parametrize("below", ["", "images"])
def test_photos_may_stay_in_their_zip_file(tmp_path, below):
    root = made_coco.write(tmp_path / "root", zipped=True)
    (root / below).mkdir(exist_ok=True)
    (root / "val2017.zip").rename(root / below / "val2017.zip")
    prepare.prepare_coco(root, tmp_path / "out")
    assert open_split(tmp_path / "out").photos[0]["image"] == made_coco.photo(10)


def test_photos_may_lie_beside_the_annotations_and_be_png(tmp_path):
    root = made_coco.write(tmp_path / "root")
    (root / "images" / "val2017").rename(root / "val2017")
    (root / "val2017" / "000000000010.jpg").write_bytes(made_coco.photo(10, ".png"))
    prepare.prepare_coco(root, tmp_path / "out")
    assert open_split(tmp_path / "out").photos[0]["image"] == made_coco.photo(10, ".png")


def test_file_names_may_begin_with_the_split(tmp_path):
    content = made_coco.content()
    root = made_coco.write(tmp_path / "root", content)
    for image in content["images"]:
        image["file_name"] = f"val2017/{image['file_name']}"
    (root / "annotations/person_keypoints_val2017.json").write_text(json.dumps(content))
    assert prepare.prepare_coco(root, tmp_path / "out")["val2017"]["photos"] == 3


def test_an_invalid_photo_is_left_out_with_its_people_and_boxes(tmp_path, capsys):
    content = made_coco.content([1, 2, 3, 4, 5])
    content["images"][4]["width"] = 80
    root = made_coco.write(tmp_path / "root", content)
    folder = root / "images" / "val2017"
    (folder / "000000000001.jpg").unlink()
    (folder / "000000000002.jpg").write_bytes(made_coco.photo(2)[:900])
    (folder / "000000000003.jpg").write_text("<html>not found</html>")
    boxes = made_coco.boxes(tmp_path, [made_coco.box(number) for number in (1, 4, 4, 5)])
    summary = prepare.prepare_coco(root, tmp_path / "out", detections=boxes)["val2017"]
    split = open_split(tmp_path / "out")
    assert photo_ids(split) == [4]
    assert split.detections is not None
    assert split.people.photo_index.tolist() == [0]
    assert split.detections.photo_index.tolist() == [0, 0]
    assert summary["people_dropped"] == {"photo unreadable": 4}
    assert summary["detections_dropped"] == {"photo unreadable": 2}
    assert summary["photos_unreadable"] == {
        "count": 4,
        "examples": [
            "000000000001.jpg: missing",
            "000000000002.jpg: not a complete image",
            "000000000003.jpg: not a JPEG or PNG file, but a web page: download the file itself,"
            " in a browser if the page asks something",
            "000000000005.jpg: 64x48, but 80x48 in the annotations",
        ],
        "ids": [1, 2, 3, 5],
    }
    assert "1   dropped: 4 unreadable\n    000000000001.jpg: missing\n" in capsys.readouterr().out
    assert [image["id"] for image in json.loads(split.annotations.read_text())["images"]] == [4]


def test_a_damaged_entry_of_a_zip_file_is_left_out(tmp_path):
    root = made_coco.write(tmp_path / "root", zipped=True)
    content = bytearray((root / "val2017.zip").read_bytes())
    content[content.index(made_coco.photo(20)) + 500] ^= 0xFF
    (root / "val2017.zip").write_bytes(content)
    summary = prepare.prepare_coco(root, tmp_path / "out")["val2017"]
    assert summary["photos"] == 2
    assert "000000000020.jpg: cannot be read: Bad CRC-32" in summary["photos_unreadable"]["examples"][0]


def test_no_valid_photo_is_an_error(tmp_path):
    root = made_coco.write(tmp_path / "root")
    for file in (root / "images" / "val2017").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"val2017: none of 3 photos could be read: 000000000010.jpg \(missing\)"):
        prepare.prepare_coco(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_links_out_of_the_photos_are_refused(tmp_path):
    root = made_coco.write(tmp_path / "root")
    (tmp_path / "secret.jpg").write_bytes(made_coco.photo(1))
    link = root / "images" / "val2017" / "000000000020.jpg"
    link.unlink()
    link.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(ValueError, match=r"000000000020.jpg is a link to .*secret.jpg, outside .*val2017"):
        prepare.prepare_coco(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_folder_of_photos_may_be_a_link_and_photos_may_be_shared_within_the_root(tmp_path):
    root = made_coco.write(tmp_path / "root")
    (root / "images" / "val2017").rename(tmp_path / "disk")
    (root / "images" / "val2017").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "000000000020.jpg").rename(root / "shared.jpg")
    (tmp_path / "disk" / "000000000020.jpg").symlink_to(root / "shared.jpg")
    assert prepare.prepare_coco(root, tmp_path / "out")["val2017"]["photos"] == 3


def test_an_existing_split_is_not_rewritten_unless_forced_or_changed(tmp_path, capsys):
    root = made_coco.write(tmp_path / "root")
    first = prepare.prepare_coco(root, tmp_path / "out")
    stamp = (tmp_path / "out/val2017").stat().st_ino
    assert prepare.prepare_coco(root, tmp_path / "out") == first
    assert "already prepared" in capsys.readouterr().out
    assert (tmp_path / "out/val2017").stat().st_ino == stamp
    prepare.prepare_coco(root, tmp_path / "out", force=True)
    assert "already" not in capsys.readouterr().out
    made_coco.write(root, made_coco.content([10]))
    assert prepare.prepare_coco(root, tmp_path / "out")["val2017"]["photos"] == 1
    assert os.listdir(tmp_path / "out") == ["val2017"]


def test_another_skeleton_rewrites_the_split(tmp_path):
    root = made_coco.write(tmp_path / "root")
    prepare.prepare_coco(root, tmp_path / "out")
    other = dataclasses.replace(skeletons.COCO, sigmas=(0.05,) * 17)
    prepare.prepare_coco(root, tmp_path / "out", skeleton=other)
    assert open_split(tmp_path / "out").skeleton == other


def test_boxes_added_later_do_not_rewrite_photos(tmp_path):
    root = made_coco.write(tmp_path / "root")
    prepare.prepare_coco(root, tmp_path / "out")
    records_file = next((tmp_path / "out/val2017/photos/1.0.0").glob("*array_record*"))
    stamp = records_file.stat().st_mtime_ns
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20)])
    assert prepare.prepare_coco(root, tmp_path / "out", detections=boxes)["val2017"]["detections"] == 1
    assert prepare.prepare_coco(root, tmp_path / "out")["val2017"]["detections"] == 1
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20), made_coco.box(30)])
    prepare.prepare_coco(root, tmp_path / "out", detections=boxes)
    split = open_split(tmp_path / "out")
    assert split.detections is not None
    assert split.detections.photo_index.tolist() == [1, 2]
    assert records_file.stat().st_mtime_ns == stamp


def test_boxes_on_photos_left_out_of_training_rewrite_the_split(tmp_path):
    content = made_coco.content([1, 2])
    del content["annotations"][0]
    root = made_coco.write(tmp_path / "root", content, "train2017")
    assert prepare.prepare_coco(root, tmp_path / "out")["train2017"]["photos"] == 1
    boxes = made_coco.boxes(tmp_path, [made_coco.box(1)])
    assert prepare.prepare_coco(root, tmp_path / "out", detections=boxes)["train2017"]["photos"] == 2
    assert photo_ids(open_split(tmp_path / "out", "train2017")) == [1, 2]


def test_a_test_servers_split_needs_boxes_at_most(tmp_path, capsys):
    content = made_coco.content()
    del content["annotations"], content["categories"][0]["keypoints"]
    root = made_coco.write(tmp_path / "root", content, "test-dev2017")
    prepare.prepare_coco(root, tmp_path / "out", ["test-dev2017"])
    split = open_split(tmp_path / "out", "test-dev2017")
    assert (len(split.photos), len(split.people), split.detections) == (3, 0, None)
    assert "no boxes: for networks that find people in whole photos" in capsys.readouterr().out
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20)])
    prepare.prepare_coco(root, tmp_path / "out", ["test-dev2017"], boxes)
    split = open_split(tmp_path / "out", "test-dev2017")
    assert split.detections is not None
    assert (len(split.photos), len(split.people), len(split.detections)) == (3, 0, 1)


def test_a_split_called_test_may_have_ground_truth(tmp_path):
    root = made_coco.write(tmp_path / "root", split="test")
    (root / "annotations/image_info_test.json").rename(root / "annotations/person_keypoints_test.json")
    made_coco.write(root, made_coco.content([1]), "test-dev2017")  # photos only, and no boxes: not asked for
    assert list(prepare.prepare_coco(root, tmp_path / "out")) == ["test"]
    split = open_split(tmp_path / "out", "test")
    assert (len(split.photos), len(split.people), split.detections) == (3, 3, None)


def test_a_split_of_any_name_may_be_photos_only(tmp_path):
    root = made_coco.write(tmp_path / "root")
    for split in ("val2017", "train2017"):
        file = root / f"annotations/image_info_{split}.json"
        file.write_bytes((root / "annotations/person_keypoints_val2017.json").read_bytes())
    with pytest.raises(ValueError, match=r"train2017 has no ground truth: .*--detections"):
        prepare.prepare_coco(root, tmp_path / "out", ["train2017"])
    (root / "annotations/person_keypoints_val2017.json").unlink()
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20)])
    assert prepare.prepare_coco(root, tmp_path / "out", ["val2017"], boxes)["val2017"]["people"] == 0


def test_boxes_go_to_the_evaluation_split(tmp_path):
    for split in ("train2017", "val2017"):
        made_coco.write(tmp_path / "root", split=split)
    boxes = made_coco.boxes(tmp_path, [made_coco.box(20)])
    summaries = prepare.prepare_coco(tmp_path / "root", tmp_path / "out", detections=boxes)
    assert (summaries["train2017"]["detections"], summaries["val2017"]["detections"]) == (None, 1)
    with pytest.raises(ValueError, match=r"`detections` is for one split, but `splits` is a, b"):
        prepare.prepare_coco(tmp_path / "root", tmp_path / "out", ["a", "b"], boxes)


def test_the_authors_detector_files_are_found_by_their_names(tmp_path):
    assert layouts.DETECTION_FILES == {
        "val2017": "COCO_val2017_detections_AP_H_56_person.json",
        "test-dev2017": "COCO_test-dev2017_detections_AP_H_609_person.json",
    }
    root = made_coco.write(tmp_path / "root")
    (root / "person_detection_results").mkdir()
    found = made_coco.boxes(tmp_path, [made_coco.box(20)])
    found.rename(root / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json")
    assert prepare.prepare_coco(root, tmp_path / "out")["val2017"]["detections"] == 1


def test_own_skeletons_have_their_own_number_of_joints(tmp_path):
    stick = skeletons.Skeleton("stick", ("top", "end"), (), ((0, 1),), (0.1, 0.1), (0,))
    content = made_coco.content([1])
    content["categories"][0]["keypoints"] = ["top", "end"]
    content["annotations"][0]["keypoints"] = [1, 2, 2, 0, 0, 0]
    prepare.prepare_coco(made_coco.write(tmp_path / "root", content), tmp_path / "out", skeleton=stick)
    split = open_split(tmp_path / "out")
    assert split.skeleton == stick
    assert split.people.joints.shape == (1, 2, 2)


def remove(name):
    return lambda root: (root / name).rename(root / "gone")


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda root: root.rename(root.with_name("gone")), FileNotFoundError, r"`root` \(=.*\) does not exist"),
        (remove("annotations"), FileNotFoundError, r"_<split>.json does not exist; .*root holds gone, images"),
        (
            remove("annotations/person_keypoints_val2017.json"),
            FileNotFoundError,
            r"_<split>.json does not exist; .*annotations holds nothing",
        ),
        (remove("images/val2017"), FileNotFoundError, r"no photos of val2017: looked for .*images/val2017/, "),
        (
            lambda root: (remove("images")(root), (root / "val2017.zip").write_text("PK")),
            ValueError,
            r"val2017.zip is not a complete zip file",
        ),
    ],
)
def test_errors_name_what_is_missing(tmp_path, change, kind, message):
    change(made_coco.write(tmp_path / "root"))
    with pytest.raises(kind, match=message):
        prepare.prepare_coco(tmp_path / "root", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_error_for_a_missing_split_lists_the_others(tmp_path):
    root = made_coco.write(tmp_path / "root")
    message = r"person_keypoints_train2017.json does not exist; .* holds person_keypoints_val2017.json"
    with pytest.raises(FileNotFoundError, match=message):
        prepare.prepare_coco(root, tmp_path / "out", ["train2017"])
    with pytest.raises(FileNotFoundError, match=r"nowhere.json does not exist"):
        prepare.prepare_coco(root, tmp_path / "out", detections=tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("people", "message"),
    [([], r"\(it has none\)"), ([made_coco.person(1, 10, iscrowd=1)], r"could be used \(1 crowd\)")],
)
def test_no_usable_people_is_an_error(tmp_path, people, message):
    root = made_coco.write(tmp_path / "root", made_coco.content() | {"annotations": people})
    with pytest.raises(ValueError, match=message):
        prepare.prepare_coco(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_no_usable_people_on_readable_photos_is_an_error(tmp_path):
    content = made_coco.content([1, 2])
    del content["annotations"][1]
    root = made_coco.write(tmp_path / "root", content)
    (root / "images" / "val2017" / "000000000001.jpg").unlink()
    with pytest.raises(ValueError, match=r"could be used \(1 photo unreadable\)"):
        prepare.prepare_coco(root, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
def test_the_photos_themselves_are_never_replaced(tmp_path, force):
    root = made_coco.write(tmp_path / "root")
    (root / "images" / "val2017").rename(root / "val2017")
    before = sorted(root.rglob("*"))
    with pytest.raises(ValueError, match=r"root/val2017 is there already and is not a prepared .*another --out"):
        prepare.prepare_coco(root, root, force=force)
    assert sorted(root.rglob("*")) == before


def test_an_empty_directory_is_replaced(tmp_path):
    (tmp_path / "out" / "val2017").mkdir(parents=True)
    assert prepare.prepare_coco(made_coco.write(tmp_path / "root"), tmp_path / "out")["val2017"]["photos"] == 3


def test_a_failure_keeps_the_old_split(tmp_path, monkeypatch):
    root = made_coco.write(tmp_path / "root")
    prepare.prepare_coco(root, tmp_path / "out")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write_records.skeletons, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_coco(root, tmp_path / "out", force=True)
    assert os.listdir(tmp_path / "out") == ["val2017"]
    assert len(open_split(tmp_path / "out").photos) == 3


def test_a_killed_run_leaves_no_split(tmp_path):
    root = made_coco.write(tmp_path / "root")
    slow = """if True:
        import time
        from hrnet_jax import prepare
        from hrnet_jax.datasets.photo_stores import Folder
        read = Folder.read
        Folder.read = lambda self, name: time.sleep(600) if "20" in name else read(self, name)
        prepare.main()
    """
    command = [sys.executable, "-c", slow, "coco", "--root", root, "--out", tmp_path / "out"]
    with subprocess.Popen(command) as process:
        for _ in range(200):
            time.sleep(0.1)
            if list((tmp_path / "out").glob(".val2017.partial")):
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".val2017.partial"]
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_split(tmp_path / "out")
    prepare.prepare_coco(root, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["val2017"]
    assert len(open_split(tmp_path / "out").photos) == 3


def test_command_line(tmp_path, capsys):
    root = made_coco.write(tmp_path / "root")
    prepare.main(["coco", "--root", str(root), "--out", str(tmp_path / "out"), "--splits", "val2017"])
    assert len(open_split(tmp_path / "out").photos) == 3
    with pytest.raises(SystemExit, match="2"):
        console.run(lambda: prepare.main(["coco", "--root", "/nowhere", "--out", str(tmp_path)]))
    assert capsys.readouterr().err == (
        "error: `root` (=/nowhere) does not exist: it must hold annotations/ and images/\n"
    )


def test_mpii_people_photos_and_truth(tmp_path, capsys):
    root = made_mpii.write(tmp_path / "root")
    made_mpii.write_truth(root)
    summary = prepare.prepare_mpii(root, tmp_path / "out")["valid"]
    split = open_split(tmp_path / "out", "valid")
    assert (summary["dataset"], summary["photos"], summary["people"]) == ("mpii", 3, 5)
    assert capsys.readouterr().out.splitlines()[1:] == ["  photos             3", "  people             5"]
    assert split.skeleton == skeletons.MPII
    assert split.people.annotation_id.tolist() == [1, 2, 3, 4, 5]
    assert split.people.photo_index.tolist() == [0, 0, 1, 1, 2]
    record = split.photos[0]
    assert record["file_name"] == b"000000009.jpg" and record["image"] == made_coco.photo(9)
    assert (record["width"], record["height"]) == (made_coco.WIDTH, made_coco.HEIGHT)
    truth = mpii.load_truth(split.annotations)
    np.testing.assert_array_equal(truth.joints, [entry["joints"] for entry in made_mpii.people()])


def test_mpii_splits_are_those_with_a_file_except_trainval(tmp_path):
    for split in ("test", "train", "trainval"):
        made_mpii.write(tmp_path / "root", split=split)
    assert list(prepare.prepare_mpii(tmp_path / "root", tmp_path / "out")) == ["train", "test"]
    assert list(prepare.prepare_mpii(tmp_path / "root", tmp_path / "out", ["trainval"])) == ["trainval"]
    with pytest.raises(
        FileNotFoundError, match=r"valid.json does not exist; .*annot holds test.json, train.json, "
    ):
        prepare.prepare_mpii(tmp_path / "root", tmp_path / "out", ["valid"])


def test_mpii_photos_may_stay_in_their_zip_file(tmp_path):
    prepare.prepare_mpii(made_mpii.write(tmp_path / "root", zipped=True), tmp_path / "out")
    assert open_split(tmp_path / "out", "valid").photos[0]["image"] == made_coco.photo(9)


def test_mpii_people_keep_their_rows_when_others_are_dropped(tmp_path, capsys):
    entries = made_mpii.people(5)
    entries[3]["center"] = [-1, -1]
    root = made_mpii.write(tmp_path / "root", entries)
    (root / "images" / "000000009.jpg").unlink()
    summary = prepare.prepare_mpii(root, tmp_path / "out")["valid"]
    assert summary["people_dropped"] == {"without centre": 1, "photo unreadable": 2}
    assert open_split(tmp_path / "out", "valid").people.annotation_id.tolist() == [3, 5]
    assert "000000009.jpg: missing" in capsys.readouterr().out


def test_mpii_truth_added_later_is_used(tmp_path, capsys):
    root = made_mpii.write(tmp_path / "root")
    prepare.prepare_mpii(root, tmp_path / "out")
    assert "there is no annot/gt_valid.mat, so PCKh cannot be computed" in capsys.readouterr().out
    assert not open_split(tmp_path / "out", "valid").annotations.exists()
    path = made_mpii.write_truth(root)
    prepare.prepare_mpii(root, tmp_path / "out")
    assert "PCKh" not in capsys.readouterr().out
    assert open_split(tmp_path / "out", "valid").annotations.is_file()
    path.unlink()
    prepare.prepare_mpii(root, tmp_path / "out")
    assert "already prepared" in capsys.readouterr().out
    (tmp_path / "out" / "valid" / "pckh.npz").unlink()
    with pytest.raises(ValueError, match=r"incomplete, pckh.npz is missing: .*hrnet_jax.prepare mpii .*--force"):
        open_split(tmp_path / "out", "valid")


def test_mpii_truth_of_another_split_is_refused(tmp_path):
    root = made_mpii.write(tmp_path / "root")
    made_mpii.write_truth(root, made_mpii.people(4))
    with pytest.raises(ValueError, match=r"gt_valid.mat is of 4 people, but .*valid.json of 5"):
        prepare.prepare_mpii(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mpii_without_usable_people_or_photos_is_an_error(tmp_path):
    entries = [made_mpii.person(1, "000000001.jpg", scale=-1)]
    with pytest.raises(ValueError, match=r"could be used \(1 without scale\)"):
        prepare.prepare_mpii(made_mpii.write(tmp_path / "root", entries), tmp_path / "out")
    made_mpii.write(tmp_path / "root")
    (tmp_path / "root" / "images").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"no photos of images: looked for .*root/images/"):
        prepare.prepare_mpii(tmp_path / "root", tmp_path / "out")


def test_mpii_command_line(tmp_path, capsys):
    root = made_mpii.write(tmp_path / "root", split="test")
    prepare.main(["mpii", "--root", str(root), "--out", str(tmp_path / "out"), "--splits", "test", "--force"])
    assert len(open_split(tmp_path / "out", "test").people) == 5
    with pytest.raises(SystemExit, match="2"):
        console.run(lambda: prepare.main(["mpii", "--root", "/nowhere", "--out", str(tmp_path)]))
    assert "error: `root` (=/nowhere) does not exist: it must hold annot/ and images/\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare.main(["mpii", "--root", str(root), "--out", "x", "--detections", "y"])
