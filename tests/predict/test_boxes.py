import json
import threading

import made_predictor as made
import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.predict import boxes

COCO = skeletons.COCO
PHOTO = made.noise(0, 40, 30)
ANY = "some/folder/a.jpg"


def write(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def open_file(tmp_path, content, **options) -> boxes.Finder:
    return boxes.open_finder(write(tmp_path / "boxes.json", content), COCO, **options)[0]


def test_the_whole_photo_is_a_person():
    find, about = boxes.open_finder("whole", COCO)
    found, scores = find(ANY, PHOTO)
    assert found.tolist() == [[0, 0, 30, 40]] and scores.tolist() == [1]
    assert "each photo is taken as one person" in about


@pytest.mark.parametrize(
    "content",
    [
        {"folder/a.jpg": [{"bbox": [1, 2, 3, 4], "score": 0.5}, [5, 6, 7, 8]], "b.jpg": []},
        [{"file_name": "a.jpg", "bbox": [1, 2, 3, 4], "score": 0.5}, {"file_name": "a.jpg", "bbox": [5, 6, 7, 8]}],
    ],
)
def test_boxes_are_found_by_the_end_of_the_path(tmp_path, content):
    find = open_file(tmp_path, content)
    found, scores = find(ANY, PHOTO)
    assert found.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]] and scores.tolist() == [0.5, 1]
    assert found.dtype == np.float64
    assert find("some/folder/c.jpg", PHOTO)[0].shape == (0, 4)


def test_longer_names_take_precedence(tmp_path):
    find = open_file(tmp_path, {"a.jpg": [[1, 1, 1, 1]], "folder/a.jpg": [[2, 2, 2, 2]]})
    assert find(ANY, PHOTO)[0].tolist() == [[2, 2, 2, 2]]
    assert find("other/a.jpg", PHOTO)[0].tolist() == [[1, 1, 1, 1]]


RESULTS = [
    {"image_id": 785, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
    {"image_id": 785, "category_id": 18, "bbox": [9, 9, 9, 9], "score": 0.9},
    {"image_id": 785, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.1},
]


def test_image_ids_are_those_in_cocos_file_names(tmp_path):
    find = open_file(tmp_path, RESULTS)
    for path in ("val/000000000785.jpg", "COCO_val2014_000000000785.jpg"):
        assert find(path, PHOTO)[0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert not len(find("785.jpg", PHOTO)[0])


def test_image_ids_are_named_by_a_list(tmp_path):
    images = write(tmp_path / "images.json", {"images": [{"id": 785, "file_name": "a.jpg"}]})
    find = open_file(tmp_path, RESULTS, images=images)
    assert len(find(ANY, PHOTO)[0]) == 2
    with pytest.raises(ValueError, match=r"`image_id` \(=3\) is not among --images"):
        open_file(tmp_path, [{**RESULTS[0], "image_id": 3}], images=images)


def test_values_of_other_programs_are_taken(tmp_path):
    images = write(tmp_path / "images.json", {"images": [{"id": "785", "file_name": "a.jpg"}]})
    odd = {"image_id": 785.0, "category_id": "1", "bbox": [4, "6", -3, -4], "score": "0.5"}
    found, scores = open_file(tmp_path, [odd], images=images)(ANY, PHOTO)
    assert found.tolist() == [[1, 2, 3, 4]] and scores.tolist() == [0.5]


def test_ids_may_be_text(tmp_path):
    images = write(tmp_path / "images.json", {"images": [{"id": "3f2b", "file_name": "a.jpg"}]})
    assert len(open_file(tmp_path, [{**RESULTS[0], "image_id": "3f2b"}], images=images)(ANY, PHOTO)[0]) == 1
    assert len(open_file(tmp_path, [{**RESULTS[0], "image_id": "a.jpg"}])(ANY, PHOTO)[0]) == 1
    with pytest.raises(ValueError, match=r"`image_id` \(=9c1d\) is not among --images"):
        open_file(tmp_path, [{**RESULTS[0], "image_id": "9c1d"}], images=images)


def test_low_scores_are_left_out(tmp_path):
    find = open_file(tmp_path, RESULTS, box_score=0.5)
    assert find("000000000785.jpg", PHOTO)[0].tolist() == [[1, 2, 3, 4]]


def test_annotated_people_have_the_boxes_of_the_evaluation(shared, coco_data):
    from hrnet_jax.datasets import records

    path = shared / "real" / "coco_four" / "annotations" / "person_keypoints_val2017.json"
    find, about = boxes.open_finder(path, COCO)
    split = records.open_split(coco_data / "val2017", with_pixels=False)
    for photo in split.photos:
        expected = split.people.box[split.people.photo_id == photo["photo_id"]]
        np.testing.assert_array_equal(find(f"x/{photo['file_name'].decode()}", PHOTO)[0], expected)
    assert about == f"boxes: {len(split.people)} in 4 photos, from {path}"


def test_functions_are_called_by_one_thread_at_a_time():
    running = threading.Semaphore(1)

    def detector(photo):
        assert running.acquire(blocking=False)
        found = [[0, 0, photo.shape[1], 5]], [0.7]
        running.release()
        return found

    predictor = made.make_predictor(boxes.open_finder(detector, COCO)[0], threads=4)
    for poses in predictor.stream([PHOTO] * 50):
        assert poses.boxes.tolist() == [[0, 0, 30, 5]]


def test_what_a_detector_returns_is_checked():
    found, scores = boxes.check(([[1, 2, 3, 4], [1, 2, 0, 0], [1, 2, -3, 4]], [0.5, 0.6, 0.7]))
    assert found.tolist() == [[1, 2, 3, 4]] and scores.tolist() == [0.5]
    assert boxes.check(([], []))[0].shape == (0, 4)
    for wrong in (([[1, 2, 3]], [1]), ([[1, 2, 3, 4]], [1, 2]), ([[1, 2, 3, np.nan]], [1])):
        with pytest.raises(ValueError, match="a detector must return finite boxes"):
            boxes.check(wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text", "must hold COCO results or boxes by file name, but is str"),
        ([{"image_id": 1, "bbox": [1, 2, 3]}], "entry 0: `bbox` must be 4 finite numbers"),
        ([{"bbox": [1, 2, 3, 4]}], "entry 0 has no `image_id`"),
        ({"a.jpg": [{"score": 1}]}, "'a.jpg', entry 0 has no `bbox`"),
        ({"a.jpg": 3}, "`a.jpg` .* must be a list"),
    ],
)
def test_wrong_entries_are_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        open_file(tmp_path, content)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--boxes \(=boxes.csv\) must be 'whole', a file named .json or .onnx"):
        boxes.open_finder("boxes.csv", COCO)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        boxes.open_finder(tmp_path / "nowhere.json", COCO)
