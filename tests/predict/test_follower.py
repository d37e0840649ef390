"""Following people a frame at a time."""

import dataclasses
import json
import tracemalloc
from types import SimpleNamespace

import made_photo_predictor
import made_tracks as made
import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.predict import boxes
from hrnet_jax.predict import frames as predict_frames
from hrnet_jax.predict.follower import Follower
from hrnet_jax.predict.items import Item
from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.tracking.settings import PRESETS, parse
from hrnet_jax.tracking.tracker import Tracks

NO_CUTS = {name: dataclasses.replace(settings, cut_error=1.0) for name, settings in PRESETS.items()}


def frames(count=made.FRAMES, first=0):
    return [Item(f"f/{n:06d}.jpg", made.photo(n), n, n / made.RATE) for n in range(first, count)]


def follow(items, find=made.find, detect_every=1, **options):
    follower = Follower(made.predictor(find), TrackOptions(**options), detect_every, heatmaps=True)
    return [follower(item) for item in items]


def ids(results):
    return [result.poses.ids.tolist() for result in results]


@pytest.mark.parametrize("preset", ["ours", "paper", "off/pose", "on/bbox"])
def test_people_keep_their_ids(preset):
    results = follow(frames(12), settings=NO_CUTS[preset])
    assert ids(results) == [[0, 1]] * 12
    np.testing.assert_allclose(results[5].poses.boxes, made.walkers(5)[0], atol=1)
    assert all(len(result.crops) == len(result.heatmaps) == 2 for result in results)


def test_poses_are_those_of_the_boxes():
    (result,) = follow(frames(1))
    direct = made.predictor()(dataclasses.replace(frames(1)[0], found=made.walkers(0)))
    np.testing.assert_allclose(result.poses.joints, direct.joints, atol=1e-3)
    np.testing.assert_allclose(result.poses.box_scores, [0.9, 0.8])


def test_people_are_carried_between_detections():
    seen = []

    def counted(name, photo):
        seen.append(made.number(name))
        return made.walkers(made.number(name))

    results = follow(frames(13), counted, detect_every=4)
    assert seen == [0, 4, 8, 12] and ids(results) == [[0, 1]] * 13


def test_every_few_frames_keep_the_ids():
    assert ids(follow(frames(22)[::3])) == [[0, 1]] * 8


def test_a_person_who_was_hidden_comes_back_with_the_same_id():
    def hidden(name, photo):
        return made.walkers(made.number(name), absent=(0,) if 5 <= made.number(name) < 10 else ())

    found = ids(follow(frames(14), hidden, settings=parse("ours,propagation_frames=0")))
    assert found == [[0, 1]] * 5 + [[1]] * 5 + [[0, 1]] * 4


def test_nobody_is_followed_across_a_cut():
    items = frames(4)
    other = np.random.default_rng(0).integers(0, 256, items[0].photo.shape, dtype=np.uint8)
    items += [dataclasses.replace(item, photo=other) for item in frames(6, first=4)]
    assert ids(follow(items))[3:5] == [[0, 1], [2, 3]]


def test_people_are_carried_where_the_camera_turns():
    def photo(n):  # 14 pixels a frame over a wide scene
        return np.ascontiguousarray(np.tile(made.photo(0), (1, 3, 1))[:, 14 * n : 14 * n + 200])

    items = [dataclasses.replace(item, photo=photo(n)) for n, item in enumerate(frames(4))]
    found, scores = made.walkers(0)
    results = follow(items, lambda name, photo: (found[1:], scores[1:]), detect_every=4)
    lefts = [result.poses.joints[0, :, 0].min() for result in results]
    np.testing.assert_allclose(lefts, [lefts[0] - 14 * n for n in range(4)], atol=2)


def test_frames_without_people_have_no_results():
    (result,) = follow(frames(1), lambda name, photo: (np.zeros((0, 4)), np.zeros(0)))
    assert len(result.poses) == len(result.crops) == 0 and result.poses.to_json()["people"] == []


@pytest.mark.parametrize("cut", [1, 7])
def test_a_saved_follower_goes_on_as_if_it_had_not_stopped(cut, tmp_path):
    options = TrackOptions(PRESETS["paper"], smooth="one_euro")
    items, whole = frames(12), Follower(made.predictor(), options, 3)
    expected = [whole(item).poses.to_json() for item in items]
    stopped = Follower(made.predictor(), options, 3)
    for item in items[:cut]:
        stopped(item)
    stopped.save(tmp_path / "state")
    later = Follower(made.predictor(), options, 3)
    assert later.restore(tmp_path / "state") == cut
    later.pass_by(items[cut - 1])
    assert [later(item).poses.to_json() for item in items[cut:]] == expected[cut:]
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_ids_of_another_tracker_are_taken(tmp_path):
    entries = [
        {"file_name": "clip.mp4", "frame": n, "bbox": box, "score": 0.9, "track_id": track}
        for n in range(3)
        for box, track in zip(made.walkers(n)[0].tolist(), (70, 5), strict=True)
    ] + [{"file_name": "clip.mp4", "frame": 1, "bbox": [3, 3, 0, 0], "track_id": 9}]  # without a size
    (tmp_path / "boxes.json").write_text(json.dumps(entries))
    find, _ = boxes.open_finder(tmp_path / "boxes.json", skeletons.COCO)
    items = [dataclasses.replace(item, source="x/clip.mp4") for item in frames(4)]
    assert ids(follow(items, find)) == [[70, 5]] * 3 + [[]]


def test_smoothing_leaves_the_predicted_joints():
    jitter = np.random.default_rng(0)

    def shaking(name, photo):
        found, scores = made.walkers(0)
        return found + np.pad(jitter.normal(0, 1, (2, 2)), ((0, 0), (0, 2))), scores

    still = [dataclasses.replace(item, photo=made.photo(0)) for item in frames(20)]
    results = follow(still, shaking, smooth="one_euro")
    raw, smoothed = (np.array([getattr(r.poses, name) for r in results]) for name in ("joints", "smoothed"))
    assert np.diff(smoothed, axis=0).std() < 0.6 * np.diff(raw, axis=0).std()
    assert follow(frames(2))[1].poses.smoothed is None


def test_memory_does_not_grow():
    follower, photo = Follower(made.predictor(), TrackOptions()), made.photo(0)
    peaks = []
    for rows in (range(25), range(25, 75)):
        tracemalloc.start()
        for n in rows:  # people come and go
            follower(Item(f"f/{n % made.FRAMES:06d}.jpg", photo, n, n / made.RATE))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_frames_need_a_photo_and_a_time():
    follower = Follower(made.predictor(), TrackOptions())
    with pytest.raises(ValueError, match=r"f0.jpg: people are followed through frames at times: give `time`"):
        follower(Item("f0.jpg", made.photo(0)))
    with pytest.raises(ValueError, match="people are followed through frames that were read: give `photo`"):
        follower(Item("f0.jpg", time=0.0))


def frames_without_boxes(*joints):
    """Frames 80 pixels high, in each of which people move by two pixels. `joints` are those of the last frames."""
    photos = [made_photo_predictor.draw(3, 3)] * (5 - len(joints)) + [
        made_photo_predictor.draw(*n) for n in joints
    ]
    return [Item(f"f/{n:06d}.jpg", np.roll(photo, 2 * n, axis=0), n, n / 25) for n, photo in enumerate(photos)]


def follow_without_boxes(items, **options):
    predict = made_photo_predictor.make_predictor(**{"refine": True, **options})
    follower = Follower(predict, TrackOptions(NO_CUTS["ours"], smooth="one_euro"))
    return [follower(item) for item in items]


def test_people_found_without_boxes_keep_their_ids():
    results = follow_without_boxes(frames_without_boxes())
    assert [sorted(found) for found in ids(results)] == [[0, 1]] * 5
    for result in results:
        left = result.poses.joints[result.poses.ids.argsort(), 0, 0]
        assert left[0] < 64 < left[1] or left[1] < 64 < left[0]
        assert result.crops is None and result.poses.filled.shape == (2, 3)
        assert (result.poses.box_scores < 1).all()  # the tracker's are 1


def test_filled_joints_do_not_count_in_tracks():
    """A person of whom only the top is found has no box. One of two joints is followed without the third."""
    one, two = follow_without_boxes(frames_without_boxes((3, 1), (3, 2))[-2:])
    assert len(one.poses) == 1 and len(two.poses) == 2
    hidden = two.poses.filled.any(axis=1)
    assert two.poses.filled[hidden].tolist() == [[False, False, True]]
    assert np.isnan(two.poses.shown_joints[hidden, 2]).all() and np.isfinite(two.poses.smoothed).all()


@pytest.mark.parametrize("kept", [[0], [1], [1, 0]])
def test_of_people_with_equal_boxes_those_that_the_tracker_keeps_are_shown(kept):
    item = frames_without_boxes()[0]
    found = made_photo_predictor.make_predictor().result(item)
    poses = dataclasses.replace(found.poses, boxes=found.poses.boxes[[0, 0]])
    predictor = SimpleNamespace(result=lambda item: dataclasses.replace(found, poses=poses))
    seen = predict_frames._WithoutBoxes(predictor, item)
    corners = predict_frames.corners(seen.detect()[0])
    estimated = seen(corners)
    np.testing.assert_array_equal(estimated[..., :2], poses.joints)
    tracks = Tracks(corners[kept], np.ones(len(kept)), estimated[kept], *(np.zeros(len(kept)),) * 3)
    np.testing.assert_array_equal(seen.result(tracks).poses.joints, poses.joints[kept])


def test_nobody_is_proposed_without_boxes():
    results = follow_without_boxes(frames_without_boxes((3, 0), (3, 3)))
    assert [len(result.poses) for result in results] == [2, 2, 2, 1, 2]
    assert sorted(ids(results)[-1]) == [0, 1]
