import dataclasses
import json

import made_damage
import made_readings
import numpy as np
import pytest
from made_damage import annotations, boxes, kinds, write_coco

from hrnet_jax import skeletons
from hrnet_jax.datasets import coco, coco_entries
from hrnet_jax.doctor import coco_files, coordinates, joint_names, plausibility, splits
from hrnet_jax.doctor import findings as findings_of
from hrnet_jax.doctor.readings import CENTRE, CORNERS, SIDES, Frame, Reading
from hrnet_jax.skeletons import COCO

SETS = ("made_up", "coco_mini", "coco_four")
IN_PERCENT = [r for r in made_readings.BOTH if r.box_frame.unit > 1]
"""These show only in a whole file: a person within the first 100 pixels of a photo is not unusual."""


@pytest.fixture(scope="module", params=SETS)
def sound(request):
    """Sound people: a table, and the sizes of their photos."""
    if request.param == "made_up":
        root = request.getfixturevalue("made_up")
    else:
        root = request.getfixturevalue("shared") / "real" / request.param
    return made_readings.table(root / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")


def pose_track(folder):
    """The people of the PoseTrack sample, with their skeleton and the sizes of their photos."""
    entries, sizes = [], {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        sizes |= {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        entries += [entry | {"area": 1.0} for entry in content["annotations"]]
        names = content["categories"][0]["keypoints"]
    pairs = [(names.index(n), names.index(n.replace("left", "right"))) for n in names if n.startswith("left")]
    skeleton = skeletons.Skeleton("posetrack", tuple(names), tuple(pairs), (), (0.1,) * len(names), ())
    rows = coco.table(entries, skeleton)
    return rows, skeleton, np.array([sizes[number] for number in rows.photo_id.tolist()], float)


def test_sound_people_are_in_the_reading_of_the_package(sound):
    rows, size = sound
    rng = np.random.default_rng(0)
    for count in (len(rows), 3, 10, 30):
        some = rng.permutation(len(rows))[:count]
        assert coordinates.examine(rows.select(some), COCO, size[some])[1] == []


def test_sound_people_of_pose_track_and_mpii(shared, mpii_five):
    rows, skeleton, size = pose_track(shared / "real" / "posetrack_sample" / "annotations" / "val")
    assert len(rows) == 14 and coordinates.examine(rows, skeleton, size)[1] == []
    assert kinds(mpii_five) == {}


@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_names_the_reading_of_damaged_entries(sound, share):
    rows, size = sound
    readings = [r for r in made_readings.READINGS if share == 1 or r not in IN_PERCENT]
    some = readings[round(10 * share) % 4 :: 4]
    assert made_readings.matrix(rows, COCO, size, share, some) == ([], [])


@pytest.mark.parametrize("form", [CORNERS, CENTRE])
def test_names_the_reading_of_a_tenth_of_the_entries(sound, form):
    rows, size = sound
    readings = [Reading(form), Reading(form, Frame(unit=1))]
    expected = [] if len(rows) >= 30 else readings  # a tenth of these is one person
    assert made_readings.matrix(rows, COCO, size, 0.1, readings) == (expected, [])


@pytest.mark.parametrize("reading", made_readings.READINGS[::6], ids=str)
def test_mends_the_damaged_entries(made_up, reading):
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    written = made_readings.damage(rows, size, reading, made_readings.some(rows, 1.0, seed=0))
    mended, (finding,) = coordinates.examine(written, COCO, size)
    assert finding.kind == reading.kind and finding.count >= 0.9 * len(rows)
    np.testing.assert_allclose(mended.box, rows.box, atol=1e-6)
    np.testing.assert_allclose(mended.joints, rows.joints, atol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.3, 0.1])
def test_what_follows_from_another_reading_is_not_told_beside_it(made_up, tmp_path, share):
    content = annotations(made_up)
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    for number, reading in enumerate(made_readings.BOXES[::8]):
        written = made_readings.damage(rows, size, reading, made_readings.some(rows, share, seed=number))
        box = dict(zip(rows.annotation_id.tolist(), written.box.tolist(), strict=True))
        for entry in content["annotations"]:
            entry["bbox"] = box[entry["id"]]
        root = write_coco(tmp_path / str(number), made_up, content)
        found = kinds_without_photos(root)
        assert found == [reading.kind], (reading, found)


def kinds_without_photos(root):
    """Returns the kinds of findings in a file, but for notes on what is assumed."""
    path = root / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json"
    read, table, findings = coco_files.read(path, COCO, with_people=True)
    assert read is not None
    part = findings_of.Examination("val")
    part.add(path, {}, findings)
    meant = splits.examine_annotations(part, path, table, COCO, read.photos, squares=False)
    part.add(path, {}, coco_files.limit(read, COCO, *meant))
    return [each.kind for each in part.findings if each.kind not in coco_entries.ASSUMED]


def test_sides_are_left_to_their_own_check(made_up):
    """All joints exchanged look like a photo counted from the right."""
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    swapped = dataclasses.replace(
        rows, joints=rows.joints[:, COCO.flip_order], flags=rows.flags[:, COCO.flip_order]
    )
    mirrored = made_readings.damage(rows, size, SIDES, np.full(len(rows), True))
    for damaged in (swapped, mirrored):
        assert coordinates.examine(damaged, COCO, size)[1] == []


def test_one_wrong_person_is_no_other_reading(made_up):
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    one = np.arange(len(rows)) == np.flatnonzero(rows.labelled.sum(axis=1) > 9)[0]
    for reading in made_readings.READINGS[::5]:
        assert coordinates.examine(made_readings.damage(rows, size, reading, one), COCO, size)[1] == []


def test_a_file_may_have_two_other_readings(made_up):
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    first = made_readings.some(rows, 0.3, seed=4)
    written = made_readings.damage(rows, size, Reading(CORNERS), first)
    joints = Reading(joint_frame=Frame(unit=1))
    written = made_readings.damage(written, size, joints, ~first & rows.labelled.any(axis=1))
    _, findings = coordinates.examine(written, COCO, size)
    assert {finding.kind for finding in findings} == {"boxes_as_corners", "joints_as_shares"}


def test_a_finding_says_how_to_mend_the_file():
    (finding,) = coordinates.describe(Reading(CORNERS, Frame(unit=1)), np.arange(3), 4, "people")
    assert (finding.kind, finding.severity, finding.count) == ("boxes_as_shares", "error", 3)
    assert "boxes: two corners, fractions of the photo" in finding.what and "3 of 4 people" in finding.what
    assert "[a * W, b * H, (c - a) * W, (d - b) * H]" in finding.remedy
    (finding,) = coordinates.describe(Reading(joint_frame=Frame((True, True, False))), np.arange(1), 9, "people")
    assert (finding.kind, finding.severity) == ("joints_turned", "warning") and "[W - b, a]" in finding.remedy


@pytest.mark.parametrize(
    "reading", [Reading(CORNERS), Reading(CENTRE), Reading(box_frame=Frame(unit=1000))], ids=str
)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_finds_detections_in_another_reading(made_up, tmp_path, reading, share):
    content, detected = annotations(made_up), boxes(made_up)
    size = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for entry in made_damage.some(detected, np.random.default_rng(1), share):
        row = np.array([entry["bbox"]], float), np.array([size[entry["image_id"]]], float)
        entry["bbox"] = made_readings.write_boxes(*row, reading.form, reading.box_frame)[0].tolist()
    root = write_coco(tmp_path / "root", made_up, content, detected)
    assert set(kinds(root)) <= {f"detections_{reading.kind}", "detections_boxes_outside"}
    assert f"detections_{reading.kind}" in kinds(root)


def test_boxes_without_joints_show_corners_and_fractions(made_up):
    rows, size = made_readings.table(made_up / "annotations" / f"person_keypoints_{made_damage.SPLIT}.json")
    alone = dataclasses.replace(rows, flags=np.zeros_like(rows.flags))
    assert coordinates.find(alone, COCO, size)[0] == Reading()
    for reading in (Reading(CORNERS), Reading(box_frame=Frame(unit=1)), Reading(CORNERS, Frame(unit=1))):
        written = made_readings.damage(alone, size, reading, np.full(len(rows), True))
        assert coordinates.find(written, COCO, size)[0] == reading


def test_heads_of_animals_need_not_be_above_their_hips():
    names = ("nose", "root_of_tail", "left_hip", "right_hip")
    animal = skeletons.Skeleton("horse", names, ((2, 3),), (), (0.1,) * 4, ())
    lying = np.array([[[10.0, 10], [90, 10], [80, 10], [80, 12]]])
    entry = {"id": 1, "image_id": 1, "bbox": [0, 0, 99, 20], "area": 9.0, "keypoints": [1.0] * 12}
    assert plausibility.Bodies(coco.table([entry], animal), animal, np.ones(1, int))(lying) == 0
    person = dataclasses.replace(animal, joints=("nose", "neck", "left_hip", "right_hip"))
    assert plausibility.Bodies(coco.table([entry], person), person, np.ones(1, int))(lying) < -2


def test_the_names_in_a_file_tell_where_heads_and_hips_are():
    """Seventeen joints of another skeleton: the hip is where COCO has the nose."""
    names = [*COCO.joints[1:], "hip"]
    assert joint_names.named_as(COCO, names).joints == tuple(names)
    same_joints = [list(COCO.joints), [name.upper() for name in COCO.joints], list(COCO.joints[::-1])]
    for harmless in (*same_joints, [*map(str, range(17))], None):
        assert joint_names.named_as(COCO, harmless) is COCO
