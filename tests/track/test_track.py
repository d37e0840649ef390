"""People of made-up sequences, followed by the command."""

import json
import sys

import cv2
import numpy as np
import pytest

from hrnet_jax.datasets import posetrack18, posetrack_files
from hrnet_jax.datasets.made_up import scenes
from hrnet_jax.datasets.posetrack import JOINTS
from hrnet_jax.track import __main__ as program
from hrnet_jax.track import estimators, follow, sequences, table
from hrnet_jax.tracking.settings import PRESETS, parse

FRAMES, SIZE = 6, (120, 160)
NAME = "000001_mpii_test"


def image_id(frame: int) -> int:
    return 10**10 + frame


def write_sequence(root, missed=()):
    """Writes a sequence in which two people walk, each with a detection in all frames that are not `missed`."""
    rng = np.random.default_rng(0)
    shape = rng.uniform((0, 0), (30, 80), (len(posetrack18.FILE_JOINTS), 2))
    photo = cv2.resize(scenes.compose(np.random.default_rng(0)).photo, SIZE[::-1])
    images, people, boxes = [], [], []
    for frame in range(FRAMES):
        name = f"images/val/{NAME}/{frame:06d}.jpg"
        images.append({"id": image_id(frame), "frame_id": image_id(frame), "file_name": name, "is_labeled": True})
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), photo)
        for number, x in enumerate((15 + frame, 110 - frame)):
            joints = np.concatenate([np.add(shape, [x, 20]), np.ones((len(shape), 1))], axis=1)
            joints[3:5] = 0
            people.append({
                "id": image_id(frame) * 100 + number, "image_id": image_id(frame), "category_id": 1,
                "track_id": number, "keypoints": joints.ravel().tolist(), "bbox_head": [x, 20, 15, 15],
            })  # fmt: skip
            if (frame, number) not in missed:
                box = [x - 3, 17, 36, 86]
                boxes.append({"image_id": image_id(frame), "bbox": box, "score": 0.9, "category_id": 1})
    names = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(posetrack18.FILE_JOINTS)}
    truth = root / "annotations" / "val"
    truth.mkdir(parents=True)
    (truth / f"{NAME}.json").write_text(
        json.dumps({"images": images, "annotations": people, "categories": [names]})
    )
    (root / "boxes.json").write_text(json.dumps(boxes))
    return truth, root, root / "boxes.json"


@pytest.fixture
def paths(tmp_path):
    return write_sequence(tmp_path, missed={(3, 0)})


def run(monkeypatch, paths, *arguments) -> int:
    given = [
        text
        for pair in zip(("--truth", "--images", "--detections"), map(str, paths), strict=True)
        for text in pair
    ]
    monkeypatch.setattr(sys, "argv", ["track", *given, *map(str, arguments)])
    return program.main()


def test_the_command_writes_results_and_the_table(paths, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run(monkeypatch, paths, "--out", out, "--row", "off/pose", "--row", "ours,memory_frames=9") == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[-2:]] == ["off/pose", "ours,memory_frames=9"]
    written = json.loads((out / "table.json").read_text())
    off, ours = written["rows"].values()
    assert ours["recall"] > off["recall"] and ours["MOTA"] > off["MOTA"]
    assert written["settings"]["ours,memory_frames=9"]["memory_frames"] == 9
    assert written["settings"]["off/pose"]["memory_seconds"] is None
    video = posetrack_files.read(out / "tracked" / "off" / "pose" / f"{NAME}.json")
    assert video.present.sum(axis=1).tolist() == [2, 2, 2, 1, 2, 2]
    assert (out / "all" / "off" / "pose" / f"{NAME}.json").is_file()


def test_a_resumed_run_keeps_complete_sequences(paths, tmp_path, monkeypatch):
    options = "--out", tmp_path / "out", "--row", "off/bbox"
    run(monkeypatch, paths, *options)
    file = tmp_path / "out" / "tracked" / "off" / "bbox" / f"{NAME}.json"
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(follow, "follow", None)
    run(monkeypatch, paths, *options, "--resume")
    assert file.stat().st_mtime_ns == before


def test_results_of_other_settings_are_not_kept(paths, tmp_path, monkeypatch):
    options = "--out", tmp_path / "out", "--row", "off/bbox"
    run(monkeypatch, paths, *options)
    with pytest.raises(ValueError, match="has results of other settings: give another --out"):
        run(monkeypatch, paths, *options, "--set", "box_score=0.95", "--resume")
    with pytest.raises(ValueError, match="has results of other rate: give another --out"):
        run(monkeypatch, paths, *options, "--rate", "5", "--resume")


def test_rows_share_the_flow(paths):
    (video,) = sequences.read(*paths)
    rows = {"a": parse("on/flow"), "b": parse("on/flow,flow=dis_fast"), "c": parse("off/bbox,flow=dis_ultrafast")}
    with pytest.raises(ValueError, match=r"rows have different `flow` \(dis, dis_fast\), which they share"):
        follow.follow(video, rows, estimators.oracle, 25)
    rows = {"a": parse("off/bbox"), "b": parse("off/bbox,cut_error=0.5")}
    with pytest.raises(ValueError, match=r"rows have different `cut_error` \(0.025, 0.5\)"):
        follow.follow(video, rows, estimators.oracle, 25)


def test_the_oracle_and_sequences_too_short_to_track_are_told(paths, tmp_path, monkeypatch, capsys):
    (file,) = paths[0].iterdir()
    content = json.loads(file.read_text())
    for image in content["images"][1:]:
        image["is_labeled"] = False
    first = content["images"][0]["id"]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] == first]
    file.write_text(json.dumps(content))
    run(monkeypatch, paths, "--out", tmp_path / "out", "--row", "off/bbox")
    printed = capsys.readouterr().out
    assert f"note: one labelled frame each, not tracked: {NAME}" in printed
    assert "note: poses are those of an oracle" in printed


def test_detections_of_other_frames_and_missing_photos_are_refused(paths, tmp_path):
    boxes = json.loads(paths[2].read_text())
    paths[2].write_text(json.dumps([box | {"image_id": number} for number, box in enumerate(boxes)]))
    with pytest.raises(ValueError, match="numbered anew"):
        list(sequences.read(*paths))
    paths[2].write_text(json.dumps(boxes))
    (tmp_path / "images" / "val" / NAME / "000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"000002\.jpg"):
        list(sequences.read(*paths))
    with pytest.raises(FileNotFoundError, match=r"no \.json files"):
        list(sequences.read(tmp_path / "images", *paths[1:]))


def test_a_rate_of_zero_is_refused(paths, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"--rate \(=0.0\)"):
        run(monkeypatch, paths, "--out", tmp_path / "out", "--rate", 0)


def test_a_cut_ends_all_tracks(paths, tmp_path):
    other = cv2.resize(scenes.compose(np.random.default_rng(1)).photo, SIZE[::-1])
    for frame in (3, 4, 5):
        cv2.imwrite(str(tmp_path / "images" / "val" / NAME / f"{frame:06d}.jpg"), other)
    (sequence,) = sequences.read(*paths)
    for name in ("paper", "ours"):
        tracks = follow.follow(sequence, {name: PRESETS[name]}, estimators.oracle, 25.0)[name]
        assert [set(each.ids.tolist()) for each in tracks] == [{0, 1}] * 3 + [{2}, {2, 3}, {2, 3}]


def test_the_oracle_sees_the_person_that_a_box_fits(paths):
    (sequence,) = sequences.read(*paths)
    estimate = estimators.oracle(sequence, 0, sequence.photo(0))
    boxes = np.concatenate([sequence.boxes[0], [[60.0, 0, 80, 40]]])
    poses = estimate(boxes)
    errors = np.linalg.norm(poses[:2, :, :2] - sequence.truth.joints[0], axis=-1)
    assert np.median(errors) < 3 and poses[:2, :, 2].mean() > 0.6 and poses[2, :, 2].mean() < 0.4
    np.testing.assert_array_equal(estimate(boxes[1:]), poses[1:])


def test_a_pose_is_estimated_once_in_a_box():
    calls = []

    def estimate(boxes: np.ndarray) -> np.ndarray:
        calls.append(len(boxes))
        return np.repeat(boxes[:, :1, None], 3, axis=2)

    remembered = follow.remembering(estimate)
    boxes = np.array([[1.0, 0, 2, 2], [3, 0, 4, 4]])
    assert remembered(boxes)[:, 0, 0].tolist() == [1, 3]
    assert remembered(boxes[[1, 0, 1]])[:, 0, 0].tolist() == [3, 1, 3]
    assert remembered(np.array([[5.0, 0, 6, 6], [1, 0, 2, 2]]))[:, 0, 0].tolist() == [5, 1]
    assert calls == [2, 1]


def test_results_leave_out_uncertain_joints_and_people_without_any(paths, tmp_path):
    (sequence,) = sequences.read(*paths)
    poses = np.concatenate([np.full((2, len(JOINTS), 2), 7.0), np.full((2, len(JOINTS), 1), 0.3)], axis=-1)
    poses[0, JOINTS.index("nose"), 2] = 0.8
    people = [(poses, np.array([0.5, 0.9]), np.array([4, 2]))] + [(poses[:0], np.zeros(0), np.zeros(0, int))] * 5
    for least, counts in ((0.4, [1]), (0.0, [len(JOINTS)] * 2)):
        (tmp_path / "results.json").write_text(json.dumps(sequences.to_results(sequence.truth, people, least)))
        found = posetrack_files.read(tmp_path / "results.json")
        assert found.exists[0][found.present[0]].sum(axis=1).tolist() == counts
        assert found.scores[0, 0, JOINTS.index("nose")] == pytest.approx(0.4)
    assert found.frames == sequence.truth.frames and found.image_ids == sequence.truth.image_ids


def test_ap_is_of_results_without_least_scores():
    assert table.unlimited(parse("ours,box_score=0.3")) == parse(
        "ours,box_score=0,new_score=0,pose_score=0,joint_score=0"
    )


def test_least_scores_lower_ap_of_the_tracked_results_only(paths, tmp_path, monkeypatch):
    row = "off/pose,joint_score=0.85"
    run(monkeypatch, paths, "--out", tmp_path / "out", "--row", row)
    measured = json.loads((tmp_path / "out" / "table.json").read_text())["rows"][row]
    assert measured["AP"] < measured[table.ALL_AP] - 10
