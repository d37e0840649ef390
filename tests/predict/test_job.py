import csv
import io
import json
import os
import pathlib
import resource

import made_predictor as made
import numpy as np
import pytest
from pycocotools.coco import COCO

from hrnet_jax import console, skeletons
from hrnet_jax.predict import boxes, job, poses, reports, shards, sources
from hrnet_jax.predict.options import OUTPUTS, Options
from hrnet_jax.predict.track_options import TrackOptions

TEXT = ("json", "csv", "coco")


def options(out: pathlib.Path, **changes) -> Options:
    return Options(**{"out": out, "write": TEXT, **changes})


def predictor(**changes):
    return made.make_predictor(**{"find_boxes": made.several, "nms_threshold": 1.0, **changes})


def run(folder, out, predict=None, **changes) -> int:
    found = sources.find([str(folder)])
    return job.run(predict or predictor(), found, options(out, **changes), {"checkpoint": "a.pth"})


def content(out) -> dict:
    return json.loads((out / "poses.json").read_text())


def lines(out) -> list[dict]:
    return sorted(shards.read(out), key=lambda photo: photo["source"])


def test_poses_json_has_the_documented_form(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, out) == 0
    found = content(out)
    assert found["format"] == "hrnet_jax poses" and found["version"] == 1
    assert skeletons.from_json(found["skeleton"], "") == skeletons.COCO
    assert [len(photo["people"]) for photo in found["photos"]] == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    predict = predictor()
    for photo in found["photos"]:
        np.testing.assert_array_equal(
            poses.from_json(photo, skeletons.COCO).joints, predict(photo["source"]).joints
        )
    assert "9 photos, 18 people" in capsys.readouterr().out


def test_csv_has_a_joint_in_each_row(folder, tmp_path):
    run(folder, tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "poses.csv").read_text())))
    people = [person for photo in content(tmp_path / "out")["photos"] for person in photo["people"]]
    assert len(rows) == len(people) * skeletons.COCO.num_joints
    assert [rows[0]["joint"], rows[1]["joint"]] == ["nose", "left_eye"] and rows[0]["frame"] == ""
    expected = [number for person in people for joint in person["joints"] for number in joint]
    assert [float(row[name]) for row in rows for name in ("x", "y", "score")] == expected


def test_results_are_cocos(folder, tmp_path):
    out = tmp_path / "out"
    images = {"images": [{"id": 70 + number, "file_name": f"{number}.png"} for number in range(8)]}
    (path := tmp_path / "images.json").write_text(json.dumps(images))
    run(folder, out, images=str(path))
    results = json.loads((out / "results.json").read_text())
    assert {result["image_id"] for result in results} == {71, 72, 73, 74, 75, 77}  # photo 8 is not listed
    truth = COCO()
    truth.dataset = {"images": images["images"], "annotations": [], "categories": []}
    truth.createIndex()
    loaded = truth.loadRes(str(out / "results.json"))
    assert len(loaded.anns) == len(results) == 16


def test_photos_are_numbered_as_coco_names_them_or_in_order():
    assert reports.image_ids(["x/000000000785.jpg", "x/000000000009.jpg"], None) == {
        "x/000000000785.jpg": 785, "x/000000000009.jpg": 9
    }  # fmt: skip
    assert reports.image_ids(["x/b.jpg", "x/000000000009.jpg"], None) == {"x/b.jpg": 1, "x/000000000009.jpg": 2}


def test_every_photo_gets_its_files(folder, tmp_path):
    out = tmp_path / "out"
    run(folder, out, write=("pictures", "crops", "heatmaps", "openpose"))
    for kind, name in {"pictures": "a/3.png.jpg", "crops": "a/3.png/2.png", "heatmaps": "b/5.png/4.png",
                       "openpose": "b/8.png_keypoints.json"}.items():  # fmt: skip
        assert (out / kind / name).is_file(), kind
    assert not (out / "poses.json").exists()


class Stop:
    """Finds people until it is stopped."""

    def __init__(self, after: int, error: type[BaseException]):
        self._left, self._error = after, error

    def __call__(self, path: str, photo: np.ndarray) -> boxes.Found:
        self._left -= 1
        if self._left < 0:
            raise self._error
        return made.several(path, photo)


def test_a_stopped_run_is_resumed_without_loss(folder, tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(folder, whole)
    stopping = predictor(find_boxes=Stop(5, KeyboardInterrupt), threads=0, batch_size=1)
    assert run(folder, out, stopping) == console.UNFINISHED
    assert "the same command with --resume" in capsys.readouterr().err
    assert 0 < len(lines(out)) == len(content(out)["photos"]) < 9
    with pytest.raises(ValueError, match="--resume"):
        run(folder, out)
    rest = Stop(9 - len(lines(out)), AssertionError)  # nothing is predicted twice
    assert run(folder, out, predictor(find_boxes=rest), resume=True) == 0
    assert content(out) == content(whole)
    assert run(folder, out, predictor(find_boxes=Stop(0, AssertionError)), resume=True) == 0
    assert content(out) == content(whole)


def test_a_crash_loses_nothing(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError):
        run(folder, out, predictor(find_boxes=Stop(7, ZeroDivisionError), threads=0, batch_size=1))
    assert 0 < len(lines(out)) < 9
    assert run(folder, out, resume=True) == 0
    assert len(content(out)["photos"]) == 9


def test_processes_together_write_the_same(folder, tmp_path, capsys):
    run(folder, tmp_path / "one")
    for process in (2, 0, 1):
        assert run(folder, tmp_path / "three", process=process, processes=3) == 0
        assert (tmp_path / "three" / "poses.json").exists() == (process == 1)
    assert "other processes are still at work" in capsys.readouterr().out
    for name in ("poses.json", "poses.csv", "results.json"):
        assert (tmp_path / "three" / name).read_text() == (tmp_path / "one" / name).read_text()


def test_unreadable_photos_are_reported_counted_and_tried_again(folder, tmp_path, capsys):
    original = (folder / "a" / "3.png").read_bytes()
    (folder / "a" / "3.png").write_bytes(original[:50])
    (folder / "a" / "4.png").write_text("hello")
    out = tmp_path / "out"
    assert run(folder, out) == job.UNREADABLE
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert [pathlib.Path(line.split(": ")[1]).name for line in errors] == ["3.png", "4.png"]
    assert "7 photos, 11 people, 2 could not be read" in printed.out
    (folder / "a" / "3.png").write_bytes(original)
    assert run(folder, out, resume=True) == job.UNREADABLE
    assert "7 of 9 were done before" in capsys.readouterr().out
    assert len(content(out)["photos"]) == 8


def test_many_photos_stay_in_shards(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reports, "MOST_IN_JSON", 8)
    monkeypatch.setattr(shards, "LINES", 2)
    out = tmp_path / "out"
    assert run(folder, out) == 0
    assert not (out / "poses.json").exists() and len(lines(out)) == 9
    assert len(list((out / "shards").glob("*.jsonl"))) == 5
    assert "9 photos as JSON lines" in capsys.readouterr().out
    assert (out / "results.json").exists()


def test_photos_without_people_are_no_error(folder, tmp_path, capsys):
    nobody = predictor(find_boxes=lambda path, photo: (np.zeros((0, 4)), np.zeros(0)))
    assert run(folder, tmp_path / "out", nobody) == 0
    assert "note: no people were found" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == []


def test_what_was_changed_about_photos_is_counted(tmp_path, capsys):
    for number in range(3):
        photo = np.dstack([made.noise(number), np.full((40, 30), 9, np.uint8)])
        path = made.write_photo(tmp_path / "photos" / f"{number}.png", made.noise(number))
        path.write_bytes(made.cv2.imencode(".png", photo)[1].tobytes())
    run(tmp_path / "photos", tmp_path / "out")
    assert "note: 3 photos: transparent pixels put over white" in capsys.readouterr().out


def test_a_file_of_boxes_of_other_photos_is_refused(folder, tmp_path):
    (path := tmp_path / "boxes.json").write_text(json.dumps({"x.jpg": [[1, 2, 3, 4]]}))
    find, _ = boxes.open_finder(path, skeletons.COCO)
    with pytest.raises(ValueError, match="--boxes: none of the 9 photos"):
        run(folder, tmp_path / "out", predictor(find_boxes=find))
    (folder / "0.mp4").touch()
    with pytest.raises(ValueError, match="a file has no boxes of the frames of"):
        run(folder, tmp_path / "out", predictor(find_boxes=find))


@pytest.mark.parametrize("kind", ["pictures", "crops", "openpose", "html"])
def test_a_full_disk_is_said(folder, tmp_path, monkeypatch, kind):
    """No file larger than 500 bytes can be written, except for the lines of the run."""
    monkeypatch.setattr(shards, "prepare", lambda *_: (tmp_path / shards.FOLDER).mkdir())
    monkeypatch.setattr(shards, "_append", lambda *_: None)
    predict, limit = predictor(nms_threshold=1.0), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limit[1]))
    try:
        with pytest.raises(ValueError, match=r"cannot be written \(File too large\): make room, .*with --resume"):
            run(folder, tmp_path, predict, write=(kind,))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_names_that_are_no_text_are_written_as_they_are(tmp_path):
    name = os.fsdecode(b"bad\xff.png")
    made.write_photo(tmp_path / "photos" / name, made.noise(1))
    assert run(tmp_path / "photos", tmp_path / "out", write=(*TEXT, "html")) == 0
    assert name.encode("utf-8", "surrogateescape") in (tmp_path / "out" / "poses.csv").read_bytes()
    assert content(tmp_path / "out")["photos"][0]["source"].endswith(name)


def test_a_missing_video_ends_only_itself(folder, tmp_path, capsys):
    found = sources.Sources([str(folder / "missing.mp4"), *sources.find([str(folder)]).paths], [str(folder)])
    assert job.run(predictor(), found, options(tmp_path / "out"), {}) == job.UNREADABLE
    assert "missing.mp4 does not exist" in capsys.readouterr().err
    assert len(content(tmp_path / "out")["photos"]) == 9


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="'jpeg' is none of json, coco, csv, html"):
        options(tmp_path, write=("jpeg",))
    for name in ("every", "detect_every", "processes"):
        with pytest.raises(ValueError, match=f"--{name} \\(=0\\) must be at least 1"):
            options(tmp_path, **{name: 0})
    for name, value in (("process", 1), ("process", -1), ("joint_score", 7.0)):
        with pytest.raises(ValueError, match=rf"--{name} \(={value}\) must be from 0 to"):
            options(tmp_path, **{name: value})
    with pytest.raises(ValueError, match=r"--write \(=json,tracks\): 'tracks' needs --track"):
        options(tmp_path, write=("json", "tracks"))
    assert options(tmp_path, write=OUTPUTS, track=TrackOptions()).write == OUTPUTS
