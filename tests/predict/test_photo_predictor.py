"""Prediction of whole photos, without boxes."""

import itertools
import json

import made_photo_predictor as made
import numpy as np
import pytest
from made_predictor import write_photo

from hrnet_jax.bottom_up import inference
from hrnet_jax.predict import frames, photo_predictor, photos
from hrnet_jax.predict.items import Item
from hrnet_jax.run import memory

JOINTS = made.TRIANGLE.num_joints


def assert_equal(found, expected) -> None:
    assert found.to_json() == expected.to_json()


def sizes() -> list[np.ndarray]:
    """Photos whose images have three sizes, two of them often."""
    return [made.draw(*[3] * (1 + number % 3)) for number in range(9)] + [made.draw(3, height=128)]


def test_people_are_found_where_they_are():
    photo = made.draw(3, 3, 2, height=128)
    poses = made.make_predictor()(photo)
    assert len(poses) == 3 and poses.size == (128, 384) and not poses.filled.any()
    for cell, count in enumerate((3, 3, 2)):
        [row] = np.flatnonzero(poses.joints[:, 0, 0] // 128 == cell)
        expected = 2 * made.JOINTS[:count] + [128 * cell, 0]
        np.testing.assert_allclose(poses.joints[row, :count], expected, atol=4)
        assert ((poses.scores[row] > 0) == (np.arange(JOINTS) < count)).all()
        low, high = poses.joints[row, :count].min(axis=0), poses.joints[row, :count].max(axis=0)
        np.testing.assert_allclose(poses.boxes[row], [*low, *(high - low)], rtol=1e-6)
        np.testing.assert_allclose(poses.box_scores[row], poses.scores[row].mean(), rtol=1e-6)
    np.testing.assert_array_equal(poses.person_scores, poses.box_scores)


def test_poses_are_the_people_of_the_inference():
    photo, predict = made.draw(3, 1), made.make_predictor(refine=True, flip_test=True)
    network, poses = predict.network, predict(photo)
    forward = inference.compile_forward(made.Dots(), network.settings)
    people = inference.predict_photo(forward, network.variables, photo, network.settings)
    for found, expected in (
        (poses.joints, people.joints),
        (poses.scores, people.joint_scores),
        (poses.filled, people.filled),
        (poses.box_scores, people.scores),
    ):
        np.testing.assert_array_equal(found, expected)
    assert poses.filled.any()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("threads", [0, 2])
def test_a_stream_equals_one_photo_at_a_time(batch_size, threads):
    one, many = made.make_predictor(), made.make_predictor(batch_size, threads=threads)
    found = list(many.stream(sizes()))
    assert len(found) == len(sizes())
    for poses, photo in zip(found, sizes(), strict=True):
        assert_equal(poses, one(photo))


def test_photos_of_one_size_share_batches(monkeypatch):
    counts = []
    predict = made.make_predictor(3)
    run = predict.network.forward
    monkeypatch.setattr(
        predict.network,
        "forward",
        lambda variables, image: counts.append(image.shape[:3]) or run(variables, image),
    )
    list(predict.stream(sizes()))
    assert sorted(counts) == sorted([(3, 64, 64)] * 2 + [(3, 64, 128), (3, 64, 192)])
    assert len(predict.network._programs) == 3


def test_a_stream_is_lazy():
    read = []

    def items():
        for number in itertools.count():
            read.append(number)
            yield made.draw(3, *[3] * (number == 0))  # the first is alone with its size

    found = made.make_predictor(2).stream(items())
    assert not read
    next(found)
    assert len(read) < 30
    found.close()


def test_large_photos_do_not_wait_for_a_full_batch(monkeypatch):
    predict, read = made.make_predictor(40, threads=0), []
    photo = made.draw(3)
    monkeypatch.setattr(photo_predictor, "MAX_WAITING", 3 * 2 * photo.nbytes - 1)  # with images of its size
    found = predict.stream(read.append(number) or photo for number in range(9))
    next(found)
    assert len(read) == 6  # a batch late
    assert len(list(found)) == 8


def test_photos_without_people_have_none():
    poses = made.make_predictor()(np.zeros((60, 80, 3), np.uint8))
    assert len(poses) == 0 and poses.boxes.shape == (0, 4) and poses.filled.shape == (0, JOINTS)
    assert poses.to_json()["people"] == [] and poses.draw(np.zeros((60, 80, 3), np.uint8)).shape == (60, 80, 3)


def test_people_of_lower_score_are_left_out():
    photo = made.draw(3, 1)
    scores = made.make_predictor()(photo).person_scores
    assert len(scores) == 2
    assert made.make_predictor(person_score=float(np.mean(scores)))(photo).person_scores == [scores.max()]


def test_as_many_people_as_are_looked_for_are_told():
    predict = made.make_predictor(candidates=2)
    assert predict(made.draw(3)).notes == ()
    assert predict(made.draw(3, 3)).notes == (
        "2 or more people: some may be missing, and those beyond are in pieces; give a larger --most_people"
        " than 2",
    )


def test_items_keep_frame_and_time():
    item = Item("clip.mp4", made.draw(3), frame=7, time=0.25, notes=("a note",))
    poses = made.make_predictor()(item)
    assert (poses.source, poses.frame, poses.time, poses.notes) == ("clip.mp4", 7, 0.25, ("a note",))


def test_unreadable_photos_are_skipped_or_raised(tmp_path):
    good, bad = write_photo(tmp_path / "a.png", made.draw(3)), tmp_path / "b.png"
    bad.write_text("no photo")
    predict, failed = made.make_predictor(), []
    found = list(predict.stream([bad, good, bad], lambda path, error: failed.append(str(error))))
    assert len(found) == 1 and failed == [f"{bad}: not a photo of a known format"] * 2
    with pytest.raises(photos.PhotoError, match="not a photo"):
        list(predict.stream([bad]))


def test_photos_too_long_for_an_image_are_told():
    predict, failed = made.make_predictor(), []
    long = np.zeros((2, 1100, 3), np.uint8)
    found = list(predict.stream([long, made.draw(3)], lambda path, error: failed.append(str(error))))
    assert len(found) == 1
    assert failed == [
        "the photo: a photo of 1100x2 pixels does not fit: its image would have more than 32,766 pixels a side:"
        " cut the photo into several"
    ]
    with pytest.raises(photos.PhotoError, match="give --image_size 64, or --scales up to 1, or cut"):
        made.make_predictor(input_size=256, scales=(1, 2))(np.zeros((4, 900, 3), np.uint8))


def test_photos_that_need_too_much_memory_are_told(monkeypatch):
    predict, failed = made.make_predictor(2), []
    needs = [predict.network._needed(predict.network.plan((64, 64 * count)).sizes) for count in (1, 4)]
    assert 2 < needs[1] / needs[0] < 5
    monkeypatch.setattr(memory, "available", lambda mesh: needs[1] - 1)
    items = [Item("small.jpg", made.draw(3)), Item("long.jpg", made.draw(3, 3, 3, 3))]
    found = list(predict.stream(items, lambda path, error: failed.append((path, str(error)))))
    assert [poses.source for poses in found] == ["small.jpg"]
    [(path, error)] = failed
    assert path == "long.jpg"
    assert error.startswith("long.jpg: a photo of 256x64 pixels does not fit: 2 images of 256x64 need 0.0")
    assert error.endswith("give a --batch_size below 2; or cut the photo into several")


def test_outputs_that_are_not_finite_name_the_photo():
    items = [Item("clip.mp4", made.draw(3), frame=7, time=0.0)]
    with pytest.raises(ValueError, match=r"^clip\.mp4/000007: heatmaps or tags are not finite: .* has diverged"):
        list(made.make_predictor(weight=np.nan).stream(items))


def test_there_are_no_heatmaps():
    with pytest.raises(ValueError, match="gives no heatmaps of each"):
        made.make_predictor().results([made.draw(3)], heatmaps=True)


def test_filled_joints_are_marked_and_not_shown():
    photo = made.draw(3, 2)
    poses = made.make_predictor(refine=True)(photo)
    [row] = np.flatnonzero(poses.filled.any(axis=1))
    assert poses.filled[row].tolist() == [False, False, True] and 0 < poses.scores[row, 2] < 0.3
    x, _, width, _ = poses.boxes[row]
    assert x + width < poses.joints[row, 2, 0] - 5
    person = json.loads(json.dumps(poses.to_json()))["people"][row]
    assert person["filled"] == [False, False, True] and person["joints"][2][2] > 0
    plain = made.make_predictor()(photo)
    np.testing.assert_array_equal(poses.draw(photo), plain.draw(photo))


def test_a_frame_has_the_name_of_its_video():
    assert (
        frames.name(Item("clip.mp4", frame=3)) == "clip.mp4/000003"
        and frames.name(Item("a.jpg", frame=3)) == "a.jpg"
    )
