"""Results in PoseTrack's form, read by the evaluation."""

import dataclasses
import json

import made_posetrack
import made_tracks as made
import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.datasets import posetrack_files
from hrnet_jax.predict import posetrack_results, sequences
from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.tracking.settings import parse

NAME = "000342_mpii_test"


@pytest.fixture
def folder(tmp_path):
    return made.write_folder(tmp_path / "images" / "val" / NAME, [0, 1, 2, 4, 5])


def result(out):
    return posetrack_files.read(out / "posetrack" / f"{NAME}.json")


def test_all_frames_are_listed_with_the_benchmarks_ids(folder, tmp_path):
    assert made.follow(folder, tmp_path / "out", write=("posetrack", "json")) == 0
    video = result(tmp_path / "out")
    assert video.frames == tuple(f"images/val/{NAME}/{n:06d}.jpg" for n in range(6))
    assert video.image_ids == tuple(10003420000 + n for n in range(6))
    assert video.present.sum(axis=1).tolist() == [2, 2, 2, 0, 2, 2]
    assert video.track_ids[4].tolist() == [0, 1]
    line = json.loads((tmp_path / "out" / "poses.json").read_text())["photos"][0]
    wrist = skeletons.COCO.joints.index("left_wrist")
    ours = np.array(line["people"][0]["joints"][wrist])
    theirs = made_posetrack.JOINTS.index("left_wrist")
    np.testing.assert_allclose(video.joints[0, 0, theirs], ours[:2])
    np.testing.assert_allclose(video.scores[0, 0, theirs], ours[2] * line["people"][0]["box_score"])
    assert not video.exists[0, 0, made_posetrack.JOINTS.index("head_top")]


def test_the_first_frames_are_listed_though_they_are_missing(tmp_path, capsys):
    folder = made.write_folder(tmp_path / "images" / "val" / NAME, [2, 3])
    made.follow(folder, tmp_path / "out", write=("posetrack",))
    assert f"note: {folder} begins with frame 2: results list those before as empty" in capsys.readouterr().out
    assert result(tmp_path / "out").present.sum(axis=1).tolist() == [0, 0, 2, 2]


def test_joints_of_low_score_are_left_out(folder, tmp_path):
    track = TrackOptions(parse("ours,joint_score=0.95"), frame_rate=made.RATE)
    made.follow(folder, tmp_path / "out", write=("posetrack",), track=track)
    assert not result(tmp_path / "out").exists.any()


def test_results_are_never_smoothed(folder, tmp_path):
    for name, track in (
        ("raw", TrackOptions(frame_rate=10)),
        ("out", TrackOptions(frame_rate=10, smooth="one_euro")),
    ):
        made.follow(folder, tmp_path / name, write=("posetrack",), track=track)
    np.testing.assert_array_equal(result(tmp_path / "out").joints, result(tmp_path / "raw").joints)


def sequence(name, frames=("000000.jpg",)):
    paths = tuple(f"x/{name}/{frame}" for frame in frames)
    return sequences.Sequence(f"x/{name}", name, paths, tuple(range(len(paths))))


def test_ids_tell_where_videos_are_from():
    for name, first in {"000342_mpii_test": 1, "000342_bonn_train": 2, "000342_mpiinew_test": 3}.items():
        (image,) = posetrack_results.make(sequence(name), [], skeletons.COCO, 0.4)["images"]
        assert image["id"] == first * 10**10 + 3420000 and image["file_name"] == f"{name}/000000.jpg"


def test_what_is_not_named_as_the_benchmarks_is_refused():
    check = posetrack_results.check
    with pytest.raises(
        ValueError, match="x/street is not named as PoseTrack's folders of frames, such as 000342_mpii"
    ):
        check(skeletons.COCO, [sequence("street")], 1)
    with pytest.raises(ValueError, match=r"clip.mp4 is not named as PoseTrack's folders"):
        check(skeletons.COCO, [sequences.Sequence("clip.mp4", "clip.mp4", ("clip.mp4",))], 1)
    with pytest.raises(
        ValueError, match=r"00000001.jpg is not named as the frames of PoseTrack18, from 000000.jpg on"
    ):
        check(skeletons.COCO, [sequence(NAME, ["00000001.jpg"])], 1)
    other = dataclasses.replace(sequence(NAME), source=f"y/{NAME}")
    with pytest.raises(
        ValueError, match=f"x/{NAME} and y/{NAME} are both {NAME}: results would have the same name"
    ):
        check(skeletons.COCO, [sequence(NAME), other], 1)
    with pytest.raises(ValueError, match=r"--every \(=2\): results for PoseTrack need all frames"):
        check(skeletons.COCO, [sequence(NAME)], 2)


def test_too_many_tracks_are_told():
    person = {"box": [0, 0, 1, 1], "box_score": 1, "score": 1, "id": 10000,
              "joints": [[1, 2, 0.9]] * skeletons.COCO.num_joints}  # fmt: skip
    line = {"source": "a.jpg", "frame": 0, "time": 0, "height": 9, "width": 9, "people": [person]}
    with pytest.raises(ValueError, match=r"a.jpg: `track_id` \(=10000\) must be at most 9999"):
        posetrack_results.make(sequence(NAME), [line], skeletons.COCO, 0.4)
