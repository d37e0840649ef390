"""What is assumed about incomplete entries, and what is refused all at once."""

import json

import made_coco
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import coco, coco_entries
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.skeletons import COCO


def load(tmp_path, content, **options):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return coco.load(path, COCO, **options)


def people(tmp_path, change) -> tuple[coco.Annotations, list[dict]]:
    """Changes the first of three people, and returns the annotations and all people."""
    content = made_coco.content()
    change(content["annotations"][0])
    annotations = load(tmp_path, content)
    return annotations, [entry for on_photo in annotations.people.values() for entry in on_photo]


@pytest.mark.parametrize("change", [lambda entry: entry.pop("area"), lambda entry: entry.update(area=None)])
def test_a_missing_area_is_a_share_of_the_box(tmp_path, change):
    annotations, (first, second, _) = people(tmp_path, change)
    assert first["area"] == pytest.approx(0.53 * 30 * 40)
    assert second["area"] == 600
    assert annotations.assumed == {"areas_assumed": [31]}


def test_the_share_is_that_of_coco(shared):
    """The constants of the module, measured."""
    shares, margins = [], []
    for split in ("train2017", "val2017"):
        path = shared / "real" / "coco_mini" / "annotations" / f"person_keypoints_{split}.json"
        entries = [entry for people in coco.load(path, COCO).people.values() for entry in people]
        used = [entry for entry in entries if not entry["iscrowd"] and entry["num_keypoints"]]
        shares += [entry["area"] / np.prod(entry["bbox"][2:]) for entry in used]
        margins.append(coco_entries._margin(used))
    assert np.mean(shares) == pytest.approx(coco_entries.AREA_OF_BOX, abs=0.005)
    assert np.mean(margins) == pytest.approx(coco_entries.MARGIN, abs=0.02)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.pop("bbox"),
        lambda entry: entry.update(bbox=None),
        lambda entry: entry.update(bbox=[]),
        lambda entry: entry.update(bbox=[0, 0, 0, 0], area=0),
        lambda entry: entry.update(bbox=[10, 10, 30, 0], area=0),
    ],
)
def test_a_missing_box_is_that_of_the_joints(tmp_path, change):
    annotations, (first, *_) = people(tmp_path, lambda entry: (entry.update(area=150), change(entry)))
    low, high = np.array([21, 11]), np.array([36, 26])  # of the labelled joints
    margin = 0.1 * 15
    np.testing.assert_allclose(first["bbox"], [*(low - margin), *(high - low + 2 * margin)])
    assert first["area"] == pytest.approx(0.53 * first["bbox"][2] * first["bbox"][3]) or first["area"] == 150
    assert annotations.assumed["boxes_assumed"] == [31]


@pytest.mark.parametrize(
    ("joints", "area", "box"),
    [
        ([(30, 20)], 212, [20, 10, 20, 20]),  # .53 of the box around the only joint
        ([(30, 20), (30, 30)], None, [29, 19, 2, 12]),  # on a line
        ([(30, 20), (30, 30)], 12, [29, 19, 2, 12]),  # .1 of the longer side is the margin
        ([(30, 20), (30, 28)], 106, [25, 14, 10, 20]),  # twice as long as wide
    ],
)
def test_few_joints_have_a_box_as_large_as_the_area_says(tmp_path, joints, area, box):
    keypoints = [value for joint in joints for value in (*joint, 2)] + [0] * 3 * (COCO.num_joints - len(joints))
    annotations, (first, *_) = people(
        tmp_path, lambda entry: entry.update(bbox=None, area=area, keypoints=keypoints)
    )
    np.testing.assert_allclose(first["bbox"], box)
    assert annotations.assumed["boxes_assumed"] == [31]


def test_the_margin_is_that_of_the_data_sets_own_boxes(tmp_path):
    content = made_coco.content(range(1, 21))
    for entry in content["annotations"]:
        entry["bbox"] = [14, 4, 29, 29]  # 7 more than the joints' 15 on each side
    del content["annotations"][3]["bbox"]
    annotations = load(tmp_path, content)
    np.testing.assert_allclose(annotations.people[4][0]["bbox"], [14, 4, 29, 29])


def test_one_joint_gives_no_box(tmp_path):
    keypoints = [20, 20, 2] + [0] * 48
    annotations, _ = people(tmp_path, lambda entry: entry.update(bbox=[20, 20, 0, 0], area=0, keypoints=keypoints))
    assert coco.select_people(annotations, COCO)[1] == {"without area": 1}
    assert coco.missed(annotations, {30}) == {"without area": 1} and coco.missed(annotations, {10}) == {}


def test_corners_of_a_box_are_put_in_order(tmp_path):
    annotations, (first, *_) = people(tmp_path, lambda entry: entry.update(bbox=[40, 45, -30, -40]))
    assert first["bbox"] == [10, 5, 30, 40]
    assert annotations.assumed == {"boxes_reordered": [31]}


def test_values_of_other_programs_give_the_same_people(tmp_path):
    plain = load(tmp_path, made_coco.content())
    content = made_coco.content()
    for image in content["images"]:
        image.update(id=str(image["id"]), width=float(image["width"]), height=str(image["height"]))
        image["file_name"] = image["file_name"].replace("/", "\\")
    for entry in content["annotations"]:
        entry.update(id=float(entry["id"]), image_id=f"{entry['image_id']}", category_id=1.0, iscrowd=False)
        entry["num_keypoints"] = None
    content["annotations"].append(None)
    content["categories"][0]["id"] = "1"
    read = load(tmp_path, content)
    assert read.photos == plain.photos and list(read.people) == list(plain.people)
    for mine, theirs in zip(
        coco.select_people(read, COCO)[0].box, coco.select_people(plain, COCO)[0].box, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert coco.select_people(read, COCO)[1] == {"null": 1} and read.assumed == {}


CATEGORIES = [
    ([{"id": 0, "name": "person"}, {"id": 1, "name": "person", "keypoints": list(COCO.joints)}], 1),
    ([{"id": 1, "name": "Fußgänger", "keypoints": list(COCO.joints)}], 1),
    (
        [
            {"id": 2, "name": "hand", "keypoints": ["a"]},
            {"id": 1, "name": "human", "keypoints": list(COCO.joints)},
        ],
        1,
    ),
]


@pytest.mark.parametrize(("categories", "number"), CATEGORIES)
def test_the_only_category_with_the_joints_is_that_of_people(tmp_path, categories, number):
    annotations = load(tmp_path, made_coco.content() | {"categories": categories})
    assert annotations.category["id"] == number and len(annotations.people) == 3
    assert ("category_assumed" in annotations.assumed) == (annotations.category["name"] != "person")


def test_two_categories_with_the_joints_are_refused(tmp_path):
    two = [{"id": number, "name": "person", "keypoints": list(COCO.joints)} for number in (1, 2)]
    with pytest.raises(ValueError, match=r"`categories` \(person, person\) must have one .*: 2 have these"):
        load(tmp_path, made_coco.content() | {"categories": two})


@pytest.mark.parametrize(
    "style", [str.upper, str.title, lambda name: name.replace("left_", "l_"), lambda n: n[::1]]
)
def test_other_spellings_of_joints_are_the_same_joints(tmp_path, style):
    content = made_coco.content()
    content["categories"][0]["keypoints"] = [*map(style, COCO.joints)]
    assert len(load(tmp_path, content, is_guess=True).people) == 3


def test_other_joints_need_a_chosen_skeleton(tmp_path):
    content = made_coco.content()
    content["categories"][0]["keypoints"] = ["hip", *COCO.joints[1:]]
    assert len(load(tmp_path, content).people) == 3
    with pytest.raises(
        ValueError, match=r"17 keypoints \(hip, .*--skeleton FILE, or --skeleton coco if these are"
    ):
        load(tmp_path, content, is_guess=True)


def test_everything_wrong_is_said_at_once_and_nothing_that_is_not_so(tmp_path):
    content = made_coco.content()
    content["images"][0]["width"] = -5
    content["annotations"][1]["bbox"] = [1, 2]
    content["annotations"][2]["image_id"] = 99
    with pytest.raises(ValueError) as caught:
        load(tmp_path, content)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("annotations.json: 3 entries are refused:")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "images[0]", "annotations[1] (id 11)", "annotations[2] (id 21)",
    ]  # fmt: skip
    assert "[1, 2]" in lines[2] and "`image_id` (=99)" in lines[3]  # nobody on the malformed photo is unknown


def test_many_errors_of_a_kind_are_counted(tmp_path):
    content = made_coco.content(range(1, 13))
    for entry in content["annotations"]:
        entry["bbox"] = "none"
    with pytest.raises(ValueError, match=r"12 entries are refused:(\n.*){5}\n  and 7 more; `python -m"):
        load(tmp_path, content)


@pytest.mark.parametrize("change", [{}, {"width": None}, {"width": 0, "height": 0}, {"width": 64}])
def test_a_missing_size_is_that_of_the_photos_file(tmp_path, change):
    content = made_coco.content()
    del content["images"][0]["width"], content["images"][0]["height"], content["annotations"][0]["bbox"]
    content["images"][0].update(change)
    content["annotations"][1]["bbox"] = [50.0, 5.0, 30.0, 40.0]  # leaves the photo
    annotations = load(tmp_path, content, size_of=lambda name: (36, made_coco.HEIGHT))
    assert annotations.assumed == {"sizes_assumed": ["000000000030.jpg"], "boxes_assumed": [31]}
    assert (annotations.photos[30].width, annotations.photos[30].height) == (36, 48)
    box = annotations.people[30][0]["bbox"]
    assert box[0] + box[2] == 36  # cut off at the border
    unknown = load(tmp_path, content)
    assert unknown.photos[30].width == 0
    assert unknown.people[30][0]["bbox"][2] > box[2] and not any(each.reason for each in unknown.outcomes)


def test_prepare_and_doctor_read_the_sizes_of_photos(tmp_path, capsys):
    content = made_coco.content((1, 2, 3))
    root = made_coco.write(tmp_path / "root", content)
    for image in content["images"]:
        del image["width"], image["height"]
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    (root / "images" / "val2017" / "000000000003.jpg").unlink()
    summary = prepare.prepare_coco(root, tmp_path / "out")["val2017"]
    assert "sizes_assumed: 3 photos have no `width` and `height`" in capsys.readouterr().out
    assert summary["people"] == 2 and summary["people_dropped"] == {"photo unreadable": 1}
    written = json.loads((tmp_path / "out" / "val2017" / "annotations.json").read_text())
    assert {(image["width"], image["height"]) for image in written["images"]} == {(64, 48)}
    _, (part,) = doctor.examine(root)
    assert {finding.kind for finding in part.findings} >= {"sizes_assumed", "photos_missing"}
    assert not {"photos_malformed", "photo_sizes", "boxes_outside"} & {finding.kind for finding in part.findings}
