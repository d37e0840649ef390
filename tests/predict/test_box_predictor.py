import itertools

import made_predictor as made
import numpy as np
import pytest

from hrnet_jax import geometry, pipeline, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.predict import box_predictor, photos
from hrnet_jax.predict.items import Item


def assert_equal(found, expected) -> None:
    assert (found.source, found.frame, found.time, found.size) == (
        expected.source, expected.frame, expected.time, expected.size
    )  # fmt: skip
    for name in ("boxes", "box_scores", "joints", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def paths(folder) -> list[str]:
    return sorted(map(str, folder.rglob("*.png")))


@pytest.mark.parametrize("batch_size", [1, 4, 50])
@pytest.mark.parametrize("threads", [0, 3])
def test_a_stream_equals_one_photo_at_a_time(folder, batch_size, threads):
    options = {"find_boxes": made.several, "nms_threshold": 1.0}
    one = made.make_predictor(batch_size=1, **options)
    many = made.make_predictor(batch_size=batch_size, threads=threads, **options)
    found = list(many.stream(paths(folder)))
    assert [len(poses) for poses in found] == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    for poses, path in zip(found, paths(folder), strict=True):
        assert poses.source == path
        assert_equal(poses, one(path))


def test_all_batches_have_one_size_and_all_but_the_last_are_full(folder):
    predict = made.make_predictor(made.several)
    people = sum(map(len, predict.stream(paths(folder))))
    shapes = predict.network.step.shapes
    assert shapes == [(4, *made.SIZE, 3)] * -(-people // 4)


def test_a_stream_is_lazy():
    read = []

    def items():
        for number in itertools.count():
            read.append(number)
            yield made.noise(number)

    predict = made.make_predictor()
    found = predict.stream(items())
    assert not read
    next(found)
    assert len(read) < 30
    found.close()


def test_photos_without_people_do_not_wait_for_people():
    predict = made.make_predictor(lambda path, photo: (np.zeros((0, 4)), np.zeros(0)), threads=0)
    read = []
    found = predict.stream(read.append(number) or made.noise(0) for number in range(1000))
    next(found)
    assert len(read) < 50 and not predict.network.step.shapes
    assert sum(1 for _ in found) == 999


def test_large_photos_do_not_wait_for_a_full_batch(monkeypatch):
    monkeypatch.setattr(box_predictor, "MAX_WAITING", 3 * made.noise(0).nbytes - 1)
    predict = made.make_predictor(batch_size=40, threads=0)
    assert len(list(predict.stream(made.noise(number) for number in range(9)))) == 9
    assert len(predict.network.step.shapes) == 3


def test_unreadable_photos_are_skipped_or_raised(folder):
    (folder / "a" / "2.png").write_text("no photo")
    predict, failed = made.make_predictor(), []
    found = list(predict.stream(paths(folder), lambda path, error: failed.append((path, str(error)))))
    assert len(found) == 8
    ((path, error),) = failed
    assert path.endswith("a/2.png") and error == f"{path}: not a photo of a known format"
    with pytest.raises(photos.PhotoError, match="not a photo"):
        list(predict.stream(paths(folder)))


def test_items_keep_frame_time_and_given_boxes():
    found = np.array([[1.0, 2, 3, 4]]), np.array([0.3])
    item = Item("clip.mp4", made.noise(0), frame=7, time=0.25, found=found)
    poses = made.make_predictor()(item)
    assert (poses.source, poses.frame, poses.time, poses.size) == ("clip.mp4", 7, 0.25, (40, 30))
    assert poses.boxes.tolist() == [[1, 2, 3, 4]] and poses.box_scores.tolist() == [np.float32(0.3)]


def test_results_have_what_the_network_saw():
    predict = made.make_predictor(made.several, nms_threshold=1.0)
    photo = made.noise(0)
    photo[0, 0] = 3
    (result,) = predict.results([photo], heatmaps=True)
    boxes, _ = made.several("", photo)
    np.testing.assert_array_equal(result.crops, [geometry.crop(photo, box, made.SIZE)[0] for box in boxes])
    assert result.heatmaps.shape == (3, 16, 8, skeletons.COCO.num_joints)
    assert predict.result(photo).heatmaps is None


def test_duplicates_are_left_out():
    twice = np.array([[0, 0, 20, 30], [0, 0, 20, 30], [5, 5, 9, 9.0]]), np.array([0.4, 0.6, 0.5])
    photo = made.noise(0)
    predict = made.make_predictor(lambda path, photo: twice)
    assert predict(photo).box_scores.tolist() == [np.float32(0.6), np.float32(0.5)]
    assert len(made.make_predictor(lambda path, photo: twice, nms_threshold=1.0)(photo)) == 3


def test_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match=r"`photo` .* must be"):
        made.make_predictor()(np.zeros((4, 4)))


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(64, 32), (256, 192), (96, 96)])
def test_crops_equal_those_of_the_pipeline(precision, size):
    """In every pixel, for boxes anywhere, also beyond the photo and without a size."""
    rng = np.random.default_rng(5)
    photo = made.noise(1, 90, 120)
    summary = {"dataset": next(name for name, of_data in records.PRECISION.items() if of_data is precision)}
    split = records.Split("", [], None, None, None, skeletons.COCO, summary)  # type: ignore[arg-type]
    cut = pipeline.cutter(split, size)
    count = skeletons.COCO.num_joints
    blank = {"joints": np.zeros((count, 2)), "visible": np.zeros(count), "index": 0, "valid": 1}
    for box in [*rng.uniform(-40, 150, (20, 4)) * [1, 1, 0.7, 0.7] + [0, 0, 30, 30], np.array([3, 4, 0, 0.0])]:
        person = {"photo": photo, "box": box, "draw": pipeline.augment.Draw(), **blank}
        expected = cut(person)
        image, matrix = geometry.crop(photo, box, size, precision)
        np.testing.assert_array_equal(image, expected["image"])
        np.testing.assert_array_equal(matrix.astype(np.float32), expected["crop"])
