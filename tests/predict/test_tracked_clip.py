"""Runs that follow people: their files, and how they go on after they were stopped."""

import csv
import dataclasses
import io
import json
import pathlib

import cv2
import made_tracks as made
import numpy as np
import pytest

from hrnet_jax import console, skeletons
from hrnet_jax.predict import boxes, job, shards, smooth_lines, tracked_clip, video
from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.tracking.settings import parse

ALL = range(made.FRAMES)


@pytest.fixture
def clip(tmp_path) -> pathlib.Path:
    return made.write_video(tmp_path / "clip.mp4")


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    return made.write_folder(tmp_path / "frames")


def photos(out) -> list[dict]:
    return json.loads((out / "poses.json").read_text())["photos"]


def ids(out) -> list[list[int]]:
    return [[person["id"] for person in photo["people"]] for photo in photos(out)]


def csv_rows(out) -> list[dict]:
    return list(csv.DictReader(io.StringIO((out / "poses.csv").read_text())))


def frames(path) -> list[int]:
    return [index for index, _, _ in video.read_frames(path)]


class Stop:
    """Finds people in so many frames, and is then stopped."""

    def __init__(self, after: int, error: type[BaseException] = KeyboardInterrupt):
        self.left, self.error = after, error

    def __call__(self, name, photo):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return made.find(name, photo)


def file_boxes(folder, content):
    (path := folder / "boxes.json").write_text(json.dumps(content))
    return boxes.open_finder(path, skeletons.COCO)[0]


def test_a_video_and_a_folder_have_ids(clip, folder, tmp_path, capsys):
    for source, out in ((clip, tmp_path / "a"), (folder, tmp_path / "b")):
        assert made.follow(source, out, write=("json", "video", "csv", "openpose")) == 0
        assert ids(out) == [[0, 1]] * made.FRAMES
        assert [photo["frame"] for photo in photos(out)] == [*ALL]
        np.testing.assert_allclose([photo["time"] for photo in photos(out)], np.arange(made.FRAMES) / made.RATE)
        assert frames(next((out / "video").iterdir())) == [*ALL]
        rows = csv_rows(out)
        assert {row["id"] for row in rows} == {"0", "1"}
        assert {row["source"] for row in rows} == {photo["source"] for photo in photos(out)}
        keypoints = json.loads(next((out / "openpose").rglob("000003*.json")).read_text())
        assert [person["person_id"] for person in keypoints["people"]] == [[0], [1]]
    assert "16 frames, 32 people" in capsys.readouterr().out
    assert [photo["source"] for photo in photos(tmp_path / "b")] == [str(folder / f"{n:06d}.jpg") for n in ALL]


def test_frames_and_detections_are_skipped_with_the_same_ids(clip, folder, tmp_path):
    for number, source in enumerate((clip, folder)):
        made.follow(source, out := tmp_path / str(number), every=2, detect_every=4)
        assert [photo["frame"] for photo in photos(out)] == [*ALL[::2]]
        assert ids(out) == [[0, 1]] * 8


def test_the_drawn_video_has_the_colours_of_the_tracks(clip, tmp_path):
    made.follow(clip, tmp_path / "out", write=("video",))
    drawn = {index: photo for index, _, photo in video.read_frames(tmp_path / "out" / "video" / "clip.mp4")}
    x, y, width, height = made.walkers(9)[0][0].astype(int)
    person = drawn[9][y : y + height, x : x + width].reshape(-1, 3).astype(int)
    assert (np.abs(person - [245, 61, 61]).max(axis=1) < 60).mean() > 0.1  # the red of track 0
    trail = drawn[9][y + height // 2 - 3 : y + height // 2 + 3, x - 8 : x - 2].astype(int)
    assert (trail[..., 0] - trail[..., 1] > 50).any()


@pytest.mark.parametrize(("kind", "after"), [("clip", 11), ("folder", 3)])
def test_a_stopped_run_goes_on_with_the_same_ids(kind, after, clip, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracked_clip, "FRAMES_BETWEEN_STATES", 5)
    source, options = {"clip": clip, "folder": folder}[kind], {"write": ("json", "video"), "detect_every": 2}
    options["track"] = TrackOptions(parse("paper,cut_error=1"), smooth="one_euro", frame_rate=made.RATE)
    made.follow(source, whole := tmp_path / "whole", **options)
    assert made.follow(source, out := tmp_path / "out", Stop((after + 1) // 2), **options) == console.UNFINISHED
    capsys.readouterr()
    rest = Stop(
        (made.FRAMES - after // 5 * 5 + 1) // 2, AssertionError
    )  # nothing is predicted twice, from the last state on
    assert made.follow(source, out, rest, resume=True, **options) == 0
    where = (
        f"goes on after {after // 5 * 5} frames, with the same ids" if after > 5 else "begun again at its first"
    )
    assert where in capsys.readouterr().out
    assert photos(out) == photos(whole)
    assert frames(next((out / "video").iterdir())) == [*ALL]
    assert sorted(path.suffix for path in (out / "shards").iterdir()) == [".done", ".done", ".jsonl"]


def test_a_run_that_was_killed_twice_goes_on(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(tracked_clip, "FRAMES_BETWEEN_STATES", 4)
    made.follow(clip, whole := tmp_path / "whole")
    for resume in (False, True):
        with pytest.raises(ZeroDivisionError):
            made.follow(clip, tmp_path / "out", Stop(6, ZeroDivisionError), resume=resume)
        (partial,) = (tmp_path / "out" / "shards").glob("*.partial")
        partial.write_bytes(partial.read_bytes()[:-20])  # a torn line
    assert made.follow(clip, tmp_path / "out", resume=True) == 0
    assert photos(tmp_path / "out") == photos(whole)


@pytest.mark.parametrize("damage", ["state", "lines"])
def test_a_run_whose_files_are_damaged_begins_the_video_again(damage, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracked_clip, "FRAMES_BETWEEN_STATES", 4)
    made.follow(clip, whole := tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        made.follow(clip, out := tmp_path / "out", Stop(9, ZeroDivisionError))
    (partial,) = (out / "shards").glob("*.partial")
    damaged = shards.state_path(partial) if damage == "state" else partial
    damaged.write_bytes(damaged.read_bytes()[: len(damaged.read_bytes()) // 3])
    assert made.follow(clip, out, resume=True) == 0
    assert "it is begun again at its first frame" in capsys.readouterr().out
    assert photos(out) == photos(whole)


def test_a_finished_video_is_not_followed_again(clip, tmp_path):
    made.follow(clip, tmp_path / "out")
    before = photos(tmp_path / "out")
    assert made.follow(clip, tmp_path / "out", Stop(0, AssertionError), resume=True) == 0
    assert photos(tmp_path / "out") == before


def test_offline_joints_are_smoothed_after_the_whole(folder, tmp_path, monkeypatch):
    options = {
        "track": TrackOptions(offline=True, frame_rate=made.RATE),
        "write": ("json", "video", "pictures", "csv"),
    }
    made.follow(folder, tmp_path / "live", write=("json",))
    made.follow(folder, tmp_path / "out", **options)
    for line, expected in zip(photos(tmp_path / "out"), photos(tmp_path / "live"), strict=True):
        smoothed = [person.pop("smoothed") for person in line["people"]]
        assert line == expected
        assert np.abs(np.array(smoothed) - [np.array(p["joints"])[:, :2] for p in line["people"]]).max() < 3
    assert len(list((tmp_path / "out" / "pictures").rglob("*.jpg"))) == made.FRAMES
    assert frames(tmp_path / "out" / "video" / "frames.mp4") == [*ALL]
    first = photos(tmp_path / "out")[0]["people"][0]["smoothed"][0]
    assert [float(csv_rows(tmp_path / "out")[0][axis]) for axis in "xy"] == first


def test_an_offline_run_that_was_stopped_while_it_drew_goes_on(folder, tmp_path, monkeypatch):
    options = {"track": TrackOptions(offline=True, frame_rate=made.RATE), "write": ("json", "pictures")}
    made.follow(folder, whole := tmp_path / "whole", **options)
    rewrite = smooth_lines.rewrite

    def stopping(path, skeleton):
        rewrite(path, skeleton)
        raise KeyboardInterrupt

    monkeypatch.setattr(smooth_lines, "rewrite", stopping)
    assert made.follow(folder, tmp_path / "out", **options) == console.UNFINISHED
    monkeypatch.undo()
    assert made.follow(folder, tmp_path / "out", resume=True, **options) == 0
    assert photos(tmp_path / "out") == photos(whole)


@pytest.mark.parametrize("offline", [False, True])
def test_a_video_that_is_cut_off_is_followed_to_there_and_told(offline, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, "LOST_SECONDS", 0.2)
    properties = video._properties
    monkeypatch.setattr(
        video, "_properties", lambda c: video.dataclasses.replace(properties(c), seconds=made.FRAMES / 10 + 1)
    )
    track, out = TrackOptions(offline=offline), tmp_path / "out"
    assert made.follow(clip, out, track=track, write=("json", "video")) == job.UNREADABLE
    assert f"{clip} is cut off or damaged: its frames end at 1.6 of 2.6 seconds" in capsys.readouterr().err
    monkeypatch.undo()
    assert ids(out) == [[0, 1]] * made.FRAMES and frames(out / "video" / "clip.mp4") == [*ALL]
    assert shards.done(out) == set()


def test_missing_and_damaged_frames_are_told(tmp_path, capsys):
    folder = made.write_folder(tmp_path / "frames", [n for n in ALL if n not in (5, 6)])
    (folder / "000010.jpg").write_bytes(b"no photo")
    assert made.follow(folder, tmp_path / "out") == job.UNREADABLE
    printed = capsys.readouterr()
    assert f"note: {folder}: 2 frames are missing (5 to 6)" in printed.out
    assert f"error: {folder / '000010.jpg'}: not a photo of a known format" in printed.err
    assert [photo["frame"] for photo in photos(tmp_path / "out")] == [n for n in ALL if n not in (5, 6, 10)]
    assert ids(tmp_path / "out") == [[0, 1]] * 13


def test_a_frame_rate_of_zero_is_told(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, "_properties", lambda capture: video.Properties(30.0, made.SIZE, 0.0, 0.0))
    assert made.follow(clip, tmp_path / "out") == 0
    assert f"note: {clip} states 0 frames per second: 30 are assumed" in capsys.readouterr().out
    assert ids(tmp_path / "out") == [[0, 1]] * made.FRAMES


def test_frames_too_far_apart_are_told(folder, tmp_path, capsys):
    made.follow(folder, tmp_path / "out", every=4, track=TrackOptions(frame_rate=1))
    assert (
        "frames are 4 seconds apart, and people are remembered for 2: nobody is followed"
        in capsys.readouterr().out
    )


def test_frames_of_another_size_end_their_video_only(folder, tmp_path, capsys):
    cv2.imwrite(str(folder / "000009.jpg"), made.photo(9)[:64, ::-1, ::-1])
    assert made.follow(folder, tmp_path / "out", write=("json", "video")) == job.UNREADABLE
    assert "cannot follow one of (96, 200): leave `video` out of --write" in capsys.readouterr().err
    assert len(photos(tmp_path / "out")) >= 8


def test_lost_frames_are_told(clip, tmp_path, monkeypatch, capsys):
    properties = video.read_properties(clip)
    stated = dataclasses.replace(properties, seconds=properties.seconds + 0.4)
    monkeypatch.setattr(video, "_properties", lambda capture: stated)
    assert made.follow(clip, tmp_path / "out") == 0
    assert f"note: {clip} states 20 frames, but 4 or more could not be read" in capsys.readouterr().out


def test_boxes_and_ids_of_a_file_are_followed_with_all_outputs(folder, tmp_path, capsys):
    entries = {
        f"{n:06d}.jpg": [
            {"bbox": box.tolist(), "score": score, "track_id": 7 + i}
            for i, (box, score) in enumerate(zip(*made.walkers(n), strict=True))
        ]
        for n in [*ALL[:-2], 40, 41, 42]
    }
    find = file_boxes(tmp_path, entries)
    assert made.follow(folder, tmp_path / "out", find, write=("json", "video", "tracks")) == 0
    assert ids(tmp_path / "out") == [[7, 8]] * (made.FRAMES - 2) + [[]] * 2
    told = capsys.readouterr().out
    assert "note: 2 of 16 frames have no boxes in the file" in told
    assert "note: the file has boxes of 3 other frames, which are not read" in told


def test_ids_too_large_for_posetrack_are_told_at_once(tmp_path):
    folder = made.write_folder(tmp_path / "images" / "val" / "000001_mpii_test")
    find = file_boxes(tmp_path, {"000000.jpg": [{"bbox": [1, 2, 30, 40], "track_id": 10_000}]})
    with pytest.raises(ValueError, match=r"--boxes: `track_id` \(=10000\) must be at most 9999"):
        made.follow(folder, tmp_path / "out", find, write=("posetrack",))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("ids_", "message"), [((3, 3), "is that of two people"), ((-1, 3), "is negative")])
def test_wrong_ids_of_another_tracker_are_told_at_once(ids_, message, tmp_path):
    people = [{"bbox": [1, 2, 3, 4], "track_id": track_id} for track_id in ids_]
    with pytest.raises(ValueError, match=rf"`track_id` \(={ids_[0]}\) {message} in 'a.jpg'"):
        file_boxes(tmp_path, {"a.jpg": people})


def test_processes_share_videos_not_frames(folder, clip, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    clip.rename(both / "clip.mp4")
    folder.rename(both / "frames")
    for process in (1, 0):
        assert made.follow(both, tmp_path / "out", process=process, processes=2) == 0
    assert ids(tmp_path / "out") == [[0, 1]] * 2 * made.FRAMES


def test_boxes_of_a_file_must_fit(clip, tmp_path):
    entry = {"file_name": "other.mp4", "frame": 0, "bbox": [1, 2, 3, 4], "track_id": 1}
    (path := tmp_path / "boxes.json").write_text(json.dumps([entry]))
    find, about = boxes.open_finder(path, skeletons.COCO)
    assert about.endswith("with the ids of tracks")
    with pytest.raises(
        ValueError, match=r"no frame of .*clip.mp4 is in the file .*clip.mp4/000012, or give `frame`"
    ):
        made.follow(clip, tmp_path / "out", find)
    with pytest.raises(ValueError, match=r"--detect_every \(=2\): the file of boxes has the ids of a tracker"):
        made.follow(clip, tmp_path / "out", find, detect_every=2)
    path.write_text(json.dumps([entry, {"file_name": "b.jpg", "bbox": [1, 2, 3, 4]}]))
    with pytest.raises(ValueError, match="1 of 2 boxes have no `track_id`: give it to all, or to none"):
        boxes.open_finder(path, skeletons.COCO)
