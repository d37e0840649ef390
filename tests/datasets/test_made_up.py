import contextlib
import io
import json
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import coco, cocoeval

from hrnet_jax import skeletons
from hrnet_jax.datasets.made_up import (
    bodies,
    clip,
    contact_sheet,
    dataset,
    figures,
    labels,
    outfits,
    poses,
    scenes,
)

COUNTS = {"train_photos": 18, "val_photos": 10}
SIDES = (("left_", 1), ("right_", -1))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return dataset.write(tmp_path_factory.mktemp("made_up"), **COUNTS, seed=3, workers=1)


@pytest.fixture(scope="module")
def photos():
    """Scenes and their annotations, for properties that the files do not hold."""
    scenes_and_annotations = []
    for number in range(60):
        rng = np.random.default_rng([5, number])
        scene = scenes.compose(rng)
        scenes_and_annotations.append((scene, labels.annotate(scene, number + 1, rng)))
    return scenes_and_annotations


def load(root, split):
    return json.loads((root / "annotations" / f"person_keypoints_{split}.json").read_text())


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def random_body(seed):
    rng = np.random.default_rng(seed)
    pose, angles = poses.sample(rng)
    return bodies.build(bodies.sample_shape(rng), angles, pose), angles


def test_files_are_the_same_for_any_number_of_workers(root, tmp_path):
    again = dataset.write(tmp_path, **COUNTS, seed=3, workers=2)
    assert contents(again) == contents(root)
    assert len(contents(root)) == sum(COUNTS.values()) + 3


def test_a_photo_does_not_depend_on_the_number_of_photos(root, tmp_path):
    fewer = contents(dataset.write(tmp_path, train_photos=2, val_photos=1, seed=3, workers=1))
    whole = contents(root)
    assert all(whole[name] == data for name, data in fewer.items() if name.endswith(".jpg"))


def test_another_seed_gives_other_photos(root, tmp_path):
    other = contents(dataset.write(tmp_path, train_photos=1, val_photos=1, seed=4, workers=1))
    whole = contents(root)
    assert all(whole[name] != data for name, data in other.items())


def test_splits_share_neither_random_numbers_nor_ids_nor_photos(root):
    draws = [
        int(dataset._rng(seed, split, number).integers(2**62))
        for seed in range(3)
        for split in dataset.SPLITS
        for number in range(100)
    ]
    assert len(set(draws)) == len(draws)
    train, val = (load(root, split) for split in dataset.SPLITS)
    for key in ("images", "annotations"):
        ids = [entry["id"] for entry in train[key] + val[key]]
        assert len(set(ids)) == len(ids)
    jpegs = [data for name, data in contents(root).items() if name.endswith(".jpg")]
    assert len(set(jpegs)) == sum(COUNTS.values())


@pytest.mark.parametrize("split", dataset.SPLITS)
def test_photos_are_jpegs_of_the_annotated_size(root, split):
    for photo in load(root, split)["images"]:
        data = (root / "images" / split / photo["file_name"]).read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and data[:2] == b"\xff\xd8"
        assert picture.shape == (photo["height"], photo["width"], 3)
        assert picture.std() > 10  # not blank


@pytest.mark.parametrize("split", dataset.SPLITS)
def test_boxes_areas_and_joints_are_inside_the_photo_and_counted(root, split):
    dataset = load(root, split)
    sizes = {photo["id"]: (photo["width"], photo["height"]) for photo in dataset["images"]}
    assert dataset["annotations"]
    for person in dataset["annotations"]:
        width, height = sizes[person["image_id"]]
        x, y, box_width, box_height = person["bbox"]
        assert x >= 0 and y >= 0 and x + box_width <= width and y + box_height <= height
        assert labels.MIN_AREA <= person["area"] <= box_width * box_height
        joints = np.array(person["keypoints"]).reshape(-1, 3)
        assert joints.shape[0] == skeletons.COCO.num_joints
        labelled = joints[:, 2] > 0
        assert person["num_keypoints"] == labelled.sum() and person["iscrowd"] == 0
        assert set(joints[:, 2]) <= {0, 1, 2} and not joints[~labelled].any()
        assert np.all(joints[labelled, :2] >= 0) and np.all(joints[labelled, :2] <= [width - 1, height - 1])
        outline = np.concatenate([np.reshape(part, (-1, 2)) for part in person["segmentation"]])
        assert np.all(outline >= [x, y]) and np.all(outline < [x + box_width, y + box_height])


def test_pycocotools_gives_the_ground_truth_an_ap_of_one(root):
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth: Any = coco.COCO(root / "annotations" / "person_keypoints_val2017.json")
        people = [person for person in ground_truth.loadAnns(ground_truth.getAnnIds()) if person["num_keypoints"]]
        fields = ("image_id", "category_id", "keypoints")
        results = [{field: person[field] for field in fields} | {"score": 1.0} for person in people]
        evaluator = cocoeval.COCOeval(ground_truth, ground_truth.loadRes(results), "keypoints")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    assert evaluator.stats[0] == 1.0
    category = ground_truth.loadCats(ground_truth.getCatIds(catNms=["person"]))[0]
    assert tuple(category["keypoints"]) == skeletons.COCO.joints
    assert [(a - 1, b - 1) for a, b in category["skeleton"]] == list(skeletons.COCO.limbs)


def test_detections_are_in_the_format_of_coco_results_and_inside_the_photo(root):
    boxes = json.loads((root / dataset.DETECTIONS).read_text())
    sizes = {photo["id"]: (photo["width"], photo["height"]) for photo in load(root, "val2017")["images"]}
    for box in boxes:
        assert set(box) == {"image_id", "category_id", "bbox", "score"} and box["category_id"] == 1
        x, y, width, height = box["bbox"]
        assert 0 < box["score"] < 1 and min(width, height) > 2 and min(x, y) >= 0
        assert x + width <= sizes[box["image_id"]][0] and y + height <= sizes[box["image_id"]][1]


def test_detection_scores_correlate_with_overlap_and_some_people_are_missed_or_found_twice():
    rng = np.random.default_rng(0)
    photo = {"id": 1, "width": 400, "height": 300}
    person = {"bbox": [150.0, 80.0, 60.0, 160.0]}
    counts, pairs = [], []
    for _ in range(600):
        found = labels.detect([person], photo, rng)
        overlaps = [overlap(box["bbox"], person["bbox"]) for box in found]
        counts.append(sum(value > 0.4 for value in overlaps))
        pairs += [(value, box["score"]) for value, box in zip(overlaps, found, strict=True)]
    assert 0.01 < np.mean(np.array(counts) == 0) < 0.10  # misses
    assert np.mean(np.array(counts) > 1) > 0.02  # duplicates
    assert sum(value < 0.1 for value, _ in pairs) > 200  # false alarms
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.7


def overlap(first, second):
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(np.add(first[:2], first[2:]), np.add(second[:2], second[2:]))
    common = np.prod(np.maximum(high - low, 0))
    return common / (first[2] * first[3] + second[2] * second[3] - common)


def test_visible_joints_lie_on_the_person_and_boxes_fit_the_visible_pixels(photos):
    for scene, annotations in photos:
        for person in annotations:
            mask = scene.owner == person["id"] % 10 + 1
            rows, columns = np.nonzero(mask)
            size = columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()
            assert person["bbox"] == [columns.min(), rows.min(), *size]
            assert person["area"] == len(rows)
            for x, y, visible in np.array(person["keypoints"]).reshape(-1, 3):
                if visible == labels.VISIBLE:
                    assert np.min(np.hypot(columns - x, rows - y)) <= 2.0


def test_labels_are_mixed_and_faces_turned_away_are_not_visible(photos):
    marks, turned_away = [], 0
    for scene, annotations in photos:
        for person in annotations:
            label = np.array(person["keypoints"])[2::3]
            marks += label.tolist()
            body = scene.people[person["id"] % 10].body
            head = body.part("head")
            if head.frame[2, 2] < -0.8:
                turned_away += 1
                assert labels.VISIBLE not in label[[0, 1, 2]]
    shares = np.bincount(np.array(marks, int), minlength=3) / len(marks)
    assert turned_away > 0
    assert 0.45 < shares[2] < 0.9 and shares[1] > 0.03 and shares[0] > 0.05


def test_photos_hold_one_to_four_people_of_many_sizes(photos):
    assert {len(scene.people) for scene, _ in photos} >= {1, 2, 3}
    heights = [person.height for scene, _ in photos for person in scene.people]
    assert min(heights) >= 60 and max(heights) <= 400 and np.std(heights) > 40
    assert any((scene.owner == -1).any() for scene, _ in photos)  # an occluding object
    for scene, _ in photos:
        assert [person.height for person in scene.people] == sorted(person.height for person in scene.people)


def test_the_left_side_of_a_person_facing_the_camera_is_on_the_right_of_the_photo(photos):
    facing = away = 0
    for scene, _ in photos:
        for person in scene.people:
            chest = person.body.part("chest")
            left, right = person.joint("left_shoulder")[0], person.joint("right_shoulder")[0]
            if chest.frame[2, 2] > 0.5 and abs(chest.frame[0, 0]) > 0.5:
                facing += 1
                assert left > right
            elif chest.frame[2, 2] < -0.5 and abs(chest.frame[0, 0]) > 0.5:
                away += 1
                assert left < right
    assert facing > 5 and away > 1


def test_fronts_and_backs_look_different():
    body, _ = random_body(0)
    outfit = outfits.sample(np.random.default_rng(0))
    body = outfits.dress(body, outfit)
    light = figures.Light(np.array([0.0, 0.0, 1.0]), 0.5, np.full((64, 64), 0.5, np.float32))
    front, back = (
        figures.paint(bodies.place(body, bodies.turn(1, yaw), np.inf, 200.0), outfit, 200.0, light)
        for yaw in (0, 180)
    )
    assert front.alpha.shape == back.alpha.shape  # the same outline, mirrored
    both = (front.alpha > 0.9) & (back.alpha[:, ::-1] > 0.9)
    assert np.abs(front.colour - back.colour[:, ::-1])[both].mean() > 0.03


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_bodies_respect_angle_limits_and_have_bones_of_equal_length_on_both_sides(seed):
    for offset in range(10):
        body, angles = random_body(seed + offset)
        for name, angle in angles.items():
            low, high, *_ = poses.ANGLES[name.removeprefix("left_").removeprefix("right_")]
            assert low <= angle <= high
        joints = body.joints
        for upper, middle, lower, angle in (
            ("shoulder", "elbow", "wrist", "elbow"),
            ("hip", "knee", "ankle", "knee"),
        ):
            bones = {
                side: (joints[side + middle] - joints[side + upper], joints[side + lower] - joints[side + middle])
                for side, _ in SIDES
            }
            for side, (first, second) in bones.items():
                cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
                assert np.degrees(np.arccos(cosine)) == pytest.approx(angles[side + angle], abs=1e-3)
            lengths = [[np.linalg.norm(bone) for bone in bones[side]] for side, _ in SIDES]
            assert lengths[0] == pytest.approx(lengths[1])
        for side, thigh in zip(("left_", "right_"), [p for p in body.parts if p.name == "thigh"], strict=True):
            assert (joints[side + "ankle"] - joints[side + "knee"]) @ thigh.frame[:, 2] < 0  # knees bend backwards


def test_a_relaxed_standing_body_is_one_height_tall():
    angles = {
        side + name: float(np.clip(0, low, high))
        for name, (low, high, *_) in poses.ANGLES.items()
        for side in (("left_", "right_") if name in poses.SIDED else ("",))
    }
    body = bodies.build(bodies.Shape(1, 1, 1, 1, 1, 1), angles)
    top = max(part.end[1] + part.radii[1] for part in body.parts)
    bottom = min(part.end[1] - part.radii[1] for part in body.parts)
    assert top - bottom == pytest.approx(1.0, abs=0.03)
    assert body.joints["left_shoulder"][0] > 0 > body.joints["right_shoulder"][0]
    assert body.joints["nose"][2] > 0.03


def test_rendered_cones_are_the_hull_of_the_balls_at_their_ends():
    rng = np.random.default_rng(1)
    for _ in range(10):
        start, end = rng.uniform(-12, 12, (2, 3))
        radii = rng.uniform(3, 8), rng.uniform(3, 8)
        part = bodies.Part("thing", start, end, radii, bodies.turn(0, 30.0) @ bodies.turn(1, 50.0))
        depth, owner = figures.cast([part], -24, -24, 48, 48)
        x, y = np.meshgrid(np.arange(-24, 24), -np.arange(-24, 24))
        expected = np.full((48, 48), -np.inf)
        for mix in np.linspace(0, 1, 2001):
            middle, radius = start + mix * (end - start), radii[0] + mix * (radii[1] - radii[0])
            inside = radius**2 - (x - middle[0]) ** 2 - (y - middle[1]) ** 2
            expected = np.maximum(
                expected, np.where(inside > 0, middle[2] + np.sqrt(np.maximum(inside, 0)), -np.inf)
            )
        hit = owner == 0
        assert np.mean(hit != np.isfinite(expected)) < 0.002
        assert np.abs(depth - expected)[hit & np.isfinite(expected)].max() < 0.05


def test_contact_sheet_is_a_picture_of_the_expected_size(root, tmp_path):
    path = tmp_path / "sheets" / "val.png"
    contact_sheet.write(root, "val2017", path, columns=4, rows=2)
    sheet = cv2.imread(str(path))
    assert sheet is not None and sheet.shape == (2 * contact_sheet.TILE, 4 * contact_sheet.TILE, 3)
    with pytest.raises(FileNotFoundError, match="person_keypoints_val2017"):
        contact_sheet.write(tmp_path, "val2017", path)


@pytest.mark.parametrize("info", [{"description": "COCO 2017 Dataset"}, None])
@pytest.mark.parametrize("split", dataset.SPLITS)
def test_another_data_set_is_not_overwritten(tmp_path, split, info):
    for name in (f"annotations/person_keypoints_{split}.json", dataset.DETECTIONS):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps({"info": info, "images": []}))
    before = contents(tmp_path)
    with pytest.raises(
        ValueError, match=rf"person_keypoints_{split}.json belongs to another data set.*another `--out`"
    ):
        dataset.write(tmp_path, **COUNTS, workers=1)
    assert contents(tmp_path) == before


def test_files_of_an_earlier_call_are_replaced(tmp_path):
    for seed in (1, 2):
        dataset.write(tmp_path, train_photos=1, val_photos=1, seed=seed, workers=1)
    fresh = dataset.write(tmp_path / "fresh", train_photos=1, val_photos=1, seed=2, workers=1)
    assert load(tmp_path, "val2017") == load(fresh, "val2017")


@pytest.mark.parametrize("bad", [{"train_photos": 0}, {"val_photos": -1}, {"seed": -1}])
def test_counts_out_of_range_are_refused(bad, tmp_path):
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=rf"`{name}` \(={value}\)"):
        dataset.write(tmp_path, **(COUNTS | bad))


def test_a_video_shows_a_person_who_moves_smoothly_back_to_the_first_pose(tmp_path):
    path = tmp_path / "video.mp4"
    clip.write(path, num_poses=2, seed=1)
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 2 * clip.FRAMES_PER_POSE and video.get(cv2.CAP_PROP_FPS) == clip.RATE
    rendered = np.array(list(clip.render(2, 1)), float)
    assert np.abs(np.array(frames) - rendered).mean() < 5  # the codec loses little
    moved = np.abs(np.diff(rendered, axis=0, append=rendered[:1])).mean((1, 2, 3))
    turned = np.abs(rendered[0] - rendered[clip.FRAMES_PER_POSE]).mean()
    assert 0 < moved.max() < turned / 2


def test_a_video_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"video\.mp4 cannot be written: is its directory there"):
        clip.write(tmp_path / "nowhere" / "video.mp4")
