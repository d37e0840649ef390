import made_damage
import numpy as np
import pytest
from made_damage import SHARE, Damage, annotations, boxes, kinds, some, write_coco

from hrnet_jax.datasets import records
from hrnet_jax.doctor import boxes as boxes_of_detectors


def write_one_score(boxes, rng):
    score = float(rng.random())
    boxes[:] = [box | {"score": score} for box in (boxes * 1000)[:1000]]


def replace_by_known_dummy(boxes, rng):
    boxes[:] = [box | {"score": 1.0, "bbox": [10.0, 10.0, 100.0, 100.0]} for box in (boxes * 1000)[:1000]]


def replace_by_known_dummy_of_other_photos(boxes, rng):
    replace_by_known_dummy(boxes, rng)
    move_to_other_photos(boxes, rng, float(rng.choice([SHARE, 1])))


def replace_by_other_split(boxes, rng):
    move_to_other_photos(boxes, rng, float(rng.uniform(0.1, 1)))


def move_to_other_photos(boxes, rng, share):
    for box in some(boxes, rng, share):
        box["image_id"] += 10**7


def write_other_categories(boxes, rng):
    for box in some(boxes, rng):
        box["category_id"] = int(rng.integers(2, 90))


def write_percent(boxes, rng):
    for box in boxes:
        box["score"] *= 100


def halve(boxes, rng):
    for box in boxes:
        box["bbox"] = [n / 2 for n in box["bbox"]]


def truncate(boxes, rng):
    boxes[:] = boxes[: len(boxes) // 10]


def malform(boxes, rng):
    for box in some(boxes, rng):
        box["bbox"] = [[1, 2], None, [1, 2, float("nan"), 4], "box"][rng.integers(4)]


def put_on_one_photo(boxes, rng):
    for box in boxes:
        box["image_id"] = boxes[0]["image_id"]


UNKNOWN, MISS = "detections_unknown_photos", "detections_miss"
DAMAGES = [
    Damage("dummy", write_one_score, "detections_dummy"),
    Damage("the known dummy", replace_by_known_dummy, "detections_dummy"),
    Damage(
        "the known dummy of other photos", replace_by_known_dummy_of_other_photos, "detections_dummy", (UNKNOWN,)
    ),
    Damage("of another split", replace_by_other_split, UNKNOWN, (MISS,)),
    Damage("of other categories", write_other_categories, "detections_categories", (MISS,)),
    Damage("scores in percent", write_percent, "detections_scores"),
    Damage("twice", made_damage.repeat_some, "detections_twice"),
    Damage("corners", made_damage.boxes_as_corners, "detections_boxes_as_corners"),
    Damage("of photos half the size", halve, MISS),
    Damage("cut short", truncate, MISS),
    Damage("all on one photo", put_on_one_photo, MISS, ("detections_boxes_outside", "detections_twice")),
    Damage("no boxes", malform, "detections_malformed", (MISS, "numbers_not_finite")),
]


@made_damage.cases(DAMAGES)
@pytest.mark.parametrize("source", ["made_up", "coco_four"])
def test_finds_damaged_detections(request, tmp_path, source, damage, seed):
    if source == "made_up":
        base = request.getfixturevalue("made_up")
    else:
        base = request.getfixturevalue("shared") / "real" / source
    detections = damage.apply(boxes(base), seed)
    made_damage.check(write_coco(tmp_path / "root", base, annotations(base), detections), damage)


def test_annotated_boxes_are_no_dummy(made_up, tmp_path):
    content = annotations(made_up)
    names = ("image_id", "category_id", "bbox")
    annotated = [{name: person[name] for name in names} | {"score": 1.0} for person in content["annotations"]]
    root = write_coco(tmp_path / "root", made_up, content, annotated)
    assert kinds(root) == {"detections_annotated": "note"}


@pytest.mark.parametrize("wrong", [-0.1, 1.1, 95.0])
def test_scores_are_probabilities(wrong):
    count = 4
    places = np.arange(4.0 * count).reshape(count, 4) + 1
    detections = records.People(
        photo_index=np.zeros(count, int),
        photo_id=np.arange(count),
        annotation_id=np.zeros(count, int),
        box=places,
        joints=np.zeros((count, 17, 2)),
        visible=np.ones((count, 17)),
        score=np.array([0.0, 0.5, 1.0, wrong]),
    )
    _, findings = boxes_of_detectors.examine(detections, {}, None)
    assert [(finding.kind, finding.count) for finding in findings] == [("detections_scores", 1)]
