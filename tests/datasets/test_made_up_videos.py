import dataclasses
import json

import cv2
import numpy as np
import pytest

from hrnet_jax.datasets import posetrack, posetrack18, posetrack_files
from hrnet_jax.datasets.made_up import bodies, detector, gait, poses, streets, video_labels, videos

SMALL = videos.Settings(frames=5, size=(96, 128), people=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    settings = dataclasses.replace(SMALL, with_videos=True)
    return videos.write(tmp_path_factory.mktemp("videos"), train=1, val=2, settings=settings, workers=1)


@pytest.fixture(scope="module")
def street():
    return streets.sample(np.random.default_rng(0), 24, (120, 160), 5)


@pytest.fixture(scope="module")
def frames(street):
    return [*streets.render(np.random.default_rng(0), street)]


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def detections(root, percents=""):
    return json.loads((root / "annotations" / f"posetrack18_val_human_detections{percents}.json").read_text())


def test_files_depend_on_seed_split_and_number_only(root, tmp_path):
    settings = dataclasses.replace(SMALL, with_videos=False)
    again = contents(videos.write(tmp_path / "again", train=1, val=1, settings=settings, workers=2))
    whole = contents(root)
    same = [name for name in again if "detections" not in name]
    assert len(same) == 2 * (SMALL.frames + 1) and all(again[name] == whole[name] for name in same)
    other = dataclasses.replace(settings, seed=1)
    changed = contents(videos.write(tmp_path / "other", train=0, val=1, settings=other, workers=1))
    assert all(changed[name] != again[name] for name in changed if name.endswith("_test.json") or ".jpg" in name)


def test_sequences_are_read_as_published_ones_are(root):
    read = [posetrack_files.read(path) for path in sorted((root / "annotations/val").glob("*.json"))]
    assert [video.name for video in read] == ["010001_mpii_test", "010002_mpii_test"]
    for number, video in enumerate(read, 10_001):
        assert video.year == 2018 and video.labelled.all()
        assert video.image_ids == tuple(10**10 + number * 10**4 + row for row in range(SMALL.frames))
        assert all((root / name).is_file() for name in video.frames)
        assert (video.head_sizes[video.present] > 1).all()
        assert video.present.any(axis=1).all() and video.exists[video.present].any(axis=-1).all()
        joints = video.joints[video.exists]
        assert (joints > -1).all() and (joints < [128, 96]).all()
    capture = cv2.VideoCapture(str(root / "videos/val/010001_mpii_test.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == SMALL.frames


def test_frames_of_val_are_labelled_as_published_if_asked(tmp_path):
    labelled = video_labels.labelled_frames(101, True)
    assert labelled[35:65].all() and labelled[:36:4].all() and labelled[64::4].all()
    assert labelled.sum() == 30 + 9 + 9  # 0, 4, ... 32 and 68, 72, ... 100
    assert video_labels.labelled_frames(101, False).all()
    settings = dataclasses.replace(SMALL, frames=36, people=2, sparse=True)
    videos.write(tmp_path, train=0, val=1, settings=settings, workers=1)
    video = posetrack_files.read(tmp_path / "annotations/val/010001_mpii_test.json")
    assert np.flatnonzero(~video.labelled).tolist() == [1, 2, 33, 34, 35]
    assert not video.present[~video.labelled].any()
    assert {box["image_id"] for box in detections(tmp_path)} > set(np.array(video.image_ids)[[1, 2, 33]])


def test_people_come_and_go_before_a_camera_that_moves_and_nearer_ones_are_in_front(street, frames):
    assert np.ptp(street.camera[:, 0]) > 3
    seen = [set(frame.numbers) for frame in frames]
    assert len(set.union(*seen)) > len(set.intersection(*seen))  # somebody enters or leaves
    for frame in frames:
        assert np.all(np.diff([person.height for person in frame.scene.people]) >= 0)  # from far to near


def test_people_cross():
    crossings = []
    for seed in range(8):
        found = streets.sample(np.random.default_rng(seed), 60, (96, 128), 6)
        x = np.array([[walker.at(row)[0] / walker.at(row)[1] for walker in found.walkers] for row in range(60)])
        exchanged = (np.diff(np.argsort(x, axis=1), axis=0) != 0).any(axis=1)
        crossings.append(exchanged.sum())
    assert min(crossings) >= 1 and np.mean(crossings) > 4


def test_a_walker_goes_where_it_looks_and_its_joints_move_with_it(street):
    walker = dataclasses.replace(street.walkers[0], direction=30.0, speed=0.04, place=(0.1, 3.0), middle=10.0)
    (x0, z0, before), (x1, z1, after) = walker.at(10), walker.at(20)
    assert np.allclose([x1 - x0, z1 - z0], 0.4 * np.array([np.cos(np.pi / 6), -np.sin(np.pi / 6)]))
    assert np.isclose(after - before, 2 * np.pi * 0.4 / gait.CYCLE)
    ahead = bodies.turn(1, 90 - walker.direction) @ [0, 0, 1]
    assert np.allclose(ahead, [np.cos(np.pi / 6), 0, np.sin(np.pi / 6)])  # z is towards the viewer
    moved = dataclasses.replace(street, walkers=[walker], camera=np.repeat(street.camera[:1], 20, axis=0))
    noses = [streets._person(moved, 0, row).joint("nose") for row in (10, 11, 12)]
    assert np.diff([nose[0] for nose in noses]).min() > 0.5


def test_steps_repeat_and_stay_within_the_limits_of_angles():
    rng = np.random.default_rng(1)
    style = gait.sample_style(rng)
    assert gait.walk(style, 0.3) == pytest.approx(gait.walk(style, 0.3 + 2 * np.pi))
    for phase in np.linspace(0, 2 * np.pi, 40):
        style = gait.sample_style(rng)
        for name, value in gait.walk(style, phase).items():
            low, high = poses.ANGLES[name.removeprefix("left_").removeprefix("right_")][:2]
            assert low <= value <= high
    assert gait.walk(style, np.pi / 2)["left_hip_swing"] > gait.walk(style, np.pi / 2)["right_hip_swing"] + 20


def test_joints_behind_others_have_no_label(frames):
    hidden = 0
    for row, frame in enumerate(frames):
        for entry in video_labels.annotate(frame, row + 1):
            place = frame.numbers.index(entry["track_id"])
            keypoints = np.array(entry["keypoints"]).reshape(-1, 3)
            assert not keypoints[[3, 4]].any() and set(keypoints[:, 2]) <= {0, 1}
            for x, y, flag in keypoints:
                near = frame.scene.owner[max(0, round(y) - 1) :, max(0, round(x) - 1) :][:3, :3]
                assert not flag or (near == place + 1).any()
            hidden += (keypoints[:, 2] == 0).sum() - 2
    assert hidden > 20


def test_ignore_regions_are_around_people_far_off_and_cut_at_the_edges():
    for seed in range(20):
        found = streets.sample(np.random.default_rng(seed), 3, (120, 160), 1)
        if len(found.crowd):
            break
    else:
        pytest.fail("no street has people far off")
    at = np.array([found.crowd[:, 0].mean() - 80, 0])  # the crowd is in the middle of the picture
    polygons = streets._regions(found, at)
    assert len(polygons) == 1 and np.abs(polygons[0].mean(axis=0)[0] - 80) < 40
    edge = streets._regions(found, np.array([found.crowd[:, 0].mean(), 0]))
    assert edge[0].min() >= 0 and edge[0][:, 0].min() == 0
    assert streets._regions(found, np.array([-1000.0, 0])) == []


def test_shares_of_misses_and_false_alarms_are_as_asked_and_nothing_else_changes():
    boxes = np.tile([[20.0, 10.0, 30.0, 60.0]], (4000, 1))

    def found(misses, false_alarms):
        made = detector.detect(boxes, 7, (240, 320), misses, false_alarms, np.random.default_rng(0))
        return {tuple(box["bbox"]) for box in made}

    exact = found(0, 0)
    assert len(exact) == 4000
    assert abs(len(found(0.3, 0)) / 4000 - 0.7) < 0.03 and found(0.3, 0) < found(0.1, 0) < exact
    alarms = found(0, 0.3) - exact
    assert abs(len(alarms) / 4000 - 0.3) < 0.03 and found(0, 0.1) - exact < alarms
    x, y, width, height = np.array(sorted(exact)).T
    assert np.allclose([x.mean(), y.mean(), width.mean(), height.mean()], [20, 10, 30, 60], atol=0.1)


def test_boxes_are_of_what_is_visible(root):
    boxes = detections(root)
    assert {frozenset(box) for box in boxes} == {frozenset(("image_id", "category_id", "bbox", "score"))}
    assert len(detections(root, "_30_30")) and len(detections(root, "_10_10"))
    for box in boxes:
        x, y, width, height = box["bbox"]
        assert min(x, y, width, height) >= 0 and x + width <= 128 and y + height <= 96 and 0 < box["score"] < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 0}, r"`frames` \(=0\) must be between 1 and 9999"),
        ({"size": (20, 320)}, r"`height` \(=20\) must be between 64"),
        ({"detectors": ((0.0, 1.5),)}, r"`detector \(0.0, 1.5\)` \(=1.5\) must be between 0 and 1"),
        ({"seed": -1}, r"`seed` \(=-1\)"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        videos.write(tmp_path, settings=dataclasses.replace(SMALL, **change))


def test_sequences_of_others_are_not_overwritten(tmp_path):
    file = tmp_path / "annotations/val/000342_mpii_test.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match="belongs to another data set"):
        videos.write(tmp_path, train=0, val=1, settings=SMALL)
    assert posetrack18.FILE_JOINTS[1:3] == ("head_bottom", "head_top")
    assert set(posetrack.JOINTS) == set(video_labels.LABELLED)
