import copy
import time

import made_damage
import numpy as np
import pytest
from made_damage import Damage, annotations, kinds, labelled, some, write_coco

from hrnet_jax.datasets import coco
from hrnet_jax.doctor import people
from hrnet_jax.skeletons import COCO

VISIBLE = 2


def photo_of(content, person):
    return next(image for image in content["images"] if image["id"] == person["image_id"])


def count_joints(content):
    for person in content["annotations"]:
        person["num_keypoints"] = sum(flag > 0 for flag in person["keypoints"][2::3])


def draw_labelled(person, rng):
    return rng.choice(np.flatnonzero(np.array(person["keypoints"][2::3]) > 0))


def shift_boxes(content, rng):
    for person in some(content["annotations"], rng):
        image = photo_of(content, person)
        person["bbox"][int(rng.integers(2))] += float(rng.choice([-1, 1])) * max(image["width"], image["height"])


def empty_boxes(content, rng):
    for person in some(content["annotations"], rng):
        person["bbox"][2 + int(rng.integers(2))] = 0.0


def write_other_flags(content, rng):
    for person in some(labelled(content), rng):
        row = draw_labelled(person, rng)
        person["keypoints"][3 * row + 2] = float(rng.choice([3, -1, 255, 0.5]))
    count_joints(content)


def write_probabilities(content, rng):
    for person in labelled(content):
        marks = person["keypoints"][2::3]
        person["keypoints"][2::3] = [round(float(rng.uniform(0.02, 1)), 2) if mark else 0 for mark in marks]
    count_joints(content)


def clear_flags(content, rng):
    for person in some(labelled(content), rng):
        person["keypoints"][2::3] = [0] * COCO.num_joints
    count_joints(content)


def set_all_flags(content, rng, place=(0, 0)):
    people = [p for p in labelled(content) if sum(flag == 0 for flag in p["keypoints"][2::3]) > 1]
    for person in some(people, rng):
        points = np.array(person["keypoints"], float).reshape(-1, 3)
        points[points[:, 2] == 0] = *place, VISIBLE
        person["keypoints"] = points.ravel().tolist()
    count_joints(content)


def set_all_flags_at_minus_one(content, rng):
    set_all_flags(content, rng, (-1, -1))


def set_all_flags_at_nine_thousand(content, rng):
    set_all_flags(content, rng, (9999, 9999))


def exchange_flags(content, rng):
    for person in content["annotations"]:
        person["keypoints"][2::3] = [3 - flag if flag else 0 for flag in person["keypoints"][2::3]]


def move_joints_off_the_photo(content, rng):
    for person in some(labelled(content), rng):
        row, axis = draw_labelled(person, rng), int(rng.integers(2))
        image = photo_of(content, person)
        person["keypoints"][3 * row + axis] = float(rng.choice([-20, image["height" if axis else "width"] + 20]))


def move_joints_off_the_box(content, rng):
    for person in some(labelled(content, 4), rng):
        image = photo_of(content, person)
        points = np.array(person["keypoints"], float).reshape(-1, 3)
        shift = np.array([1.6 * person["bbox"][2], 0.0])
        points[points[:, 2] > 0, :2] += shift if person["bbox"][0] < image["width"] / 2 else -shift
        person["keypoints"] = points.ravel().tolist()


def annotate_twice(content, rng):
    for number, person in enumerate(some(labelled(content, 3), rng)):
        again = copy.deepcopy(person) | {"id": 10**9 + number}
        side, image = max(person["bbox"][2:]), photo_of(content, person)
        x, y, width, height = (n + float(rng.normal(0, 0.005)) * side for n in again["bbox"])
        x, y = max(0.0, x), max(0.0, y)
        again["bbox"] = [x, y, min(width, image["width"] - x), min(height, image["height"] - y)]
        content["annotations"].insert(int(rng.integers(len(content["annotations"]))), again)


def clear_areas(content, rng):
    for person in some(content["annotations"], rng):
        person["area"] = float(rng.choice([0, -1]))


def enlarge_areas(content, rng):
    for person in some(content["annotations"], rng):
        person["area"] = float(person["bbox"][2] * person["bbox"][3] * rng.uniform(1.5, 9))


def write_areas_as_shares(content, rng):
    for person in content["annotations"]:
        image = photo_of(content, person)
        person["area"] /= image["width"] * image["height"]


def write_areas_as_lengths(content, rng):
    for person in some(content["annotations"], rng):
        person["area"] = person["area"] ** 0.5


def divide_areas(content, rng):
    for person in content["annotations"]:
        person["area"] /= 1e4


def shift_boxes_a_little(content, rng):
    for person in some(labelled(content, 4), rng):
        person["bbox"][0] += float(rng.choice([-0.8, 0.8])) * person["bbox"][2]


MOVED = ("joints_outside_box", "areas_too_large", "people_twice", "detections_miss")  # follow from other boxes
DAMAGES = [
    Damage("boxes shifted", shift_boxes, "boxes_outside", MOVED),
    Damage("boxes empty", empty_boxes, "boxes_without_size", MOVED),
    Damage("flags odd", write_other_flags, "flags", ("flags_lost",)),
    Damage("flags as probabilities", write_probabilities, "flags"),
    Damage("flags lost", clear_flags, "flags_lost"),
    Damage("flags everywhere", set_all_flags, "joints_nowhere"),
    Damage("flags everywhere at -1", set_all_flags_at_minus_one, "joints_nowhere"),
    Damage("flags everywhere at 9999", set_all_flags_at_nine_thousand, "joints_nowhere"),
    Damage("hidden and visible exchanged", exchange_flags, "flags_hidden", ("sides_partly",)),
    Damage("joints off the photo", move_joints_off_the_photo, "joints_outside_photo", ("joints_outside_box",)),
    Damage("joints of others", move_joints_off_the_box, "joints_outside_box", ("joints_outside_photo",)),
    Damage("people twice", annotate_twice, "people_twice"),
    Damage("areas lost", clear_areas, "areas_missing"),
    Damage("areas as shares", write_areas_as_shares, "areas_unit"),
    Damage("areas as lengths", write_areas_as_lengths, "areas_unit"),
    Damage("areas in another unit", divide_areas, "areas_unit"),
    Damage("boxes shifted a little", shift_boxes_a_little, "joints_outside_box", ("boxes_outside", *MOVED)),
    Damage("areas huge", enlarge_areas, "areas_too_large"),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_people(base, tmp_path, damage, seed):
    made_damage.check_annotations(base, tmp_path / "root", damage, seed)


def test_one_box_across_the_border_does_not_suggest_corners():
    ids, size = np.arange(8), np.full((8, 2), 480.0)
    box = np.array([[40.0, 30.0, 400.0, 430.0]] * 8)
    box[0, 2] = 454
    assert [finding.kind for finding in people.boxes(ids, box, size)] == ["boxes_outside"]


def test_areas_may_include_the_pixels_at_both_ends(made_up, tmp_path):
    content = annotations(made_up)
    for person in content["annotations"]:
        person["area"] = (round(person["bbox"][2]) + 1) * (round(person["bbox"][3]) + 1)
    assert kinds(write_coco(tmp_path / "root", made_up, content)) == {}


def test_thousands_of_people_on_one_photo_take_less_than_two_seconds():
    count = 2000
    place = np.arange(count) % 50
    person = {"image_id": 1, "bbox": [0, 0, 60, 60], "area": 900, "keypoints": [30, 30, 2] * COCO.num_joints}
    table = coco.table([person | {"id": number} for number in range(count)], COCO)
    table.box[:, 0] = 100 * place
    table.joints[..., 0] += 100 * place[:, None]
    started = time.process_time()
    (finding,) = people.twice(table, COCO)
    assert finding.count == count - 50 and time.process_time() - started < 2


@pytest.mark.parametrize(("mark", "is_told"), [(0.93, True), (0.02, True), (3, False), (-1, False)])
def test_flags_between_0_and_1_are_named_as_probabilities(mark, is_told):
    keypoints = [30, 30, mark] * 3 + [30, 30, 2] * (COCO.num_joints - 3)
    entry = {"image_id": 1, "id": 1, "bbox": [0, 0, 60, 60], "area": 900, "keypoints": keypoints}
    (finding,) = people.flags(coco.table([entry], COCO))
    assert f"other than 0, 1 and 2: {mark:g}" in finding.what
    assert ("as if they were probabilities; all joints above 0 are labelled" in finding.what) == is_told
    assert ("write 2 where the probability is high enough" in finding.remedy) == is_told


def test_one_person_beside_the_box_is_found_among_many():
    person = {"image_id": 1, "bbox": [100, 100, 60, 60], "area": 900, "keypoints": [130, 130, 2] * COCO.num_joints}
    table = coco.table([person | {"id": number} for number in range(60)], COCO)
    table.joints[7] += 100
    (finding,) = people.joints(table, np.full((60, 2), 480.0), table.box)
    assert (finding.kind, finding.examples) == ("joints_outside_box", (7,)) and "most of their" in finding.what
