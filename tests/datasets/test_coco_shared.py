import json
import pathlib

import made_coco
import pytest

from hrnet_jax import prepare, validation
from hrnet_jax.datasets import coco, coco_shared, records
from hrnet_jax.skeletons import COCO

FILE = pathlib.Path("annotations.json")


def resolved(*names: str) -> list[str]:
    content, _ = coco_shared.resolve({"images": [{"file_name": name} for name in names]})
    return [entry["file_name"] for entry in content["images"]]


@pytest.mark.parametrize(
    ("names", "inside"),
    [
        (["/home/me/val/a.jpg", "/home/me/val/b.jpg"], ["a.jpg", "b.jpg"]),
        (["/home/me/val/1/a.jpg", "/home/me/val/2/a.jpg"], ["1/a.jpg", "2/a.jpg"]),
        (["C:\\data\\a.jpg", "C:\\data\\b.jpg"], ["a.jpg", "b.jpg"]),
        (["..\\..\\upload\\4\\a.jpg", "..\\..\\upload\\4\\b.jpg"], ["a.jpg", "b.jpg"]),
        (["../label/a.jpg", "b.jpg", "../label/c.jpg"], ["a.jpg", "b.jpg", "c.jpg"]),
        (["https://x.org/v/a.jpg", "https://x.org/v/b.jpg"], ["a.jpg", "b.jpg"]),
        (["/a.jpg", "/b.jpg"], ["a.jpg", "b.jpg"]),
    ],
)
def test_folders_that_names_elsewhere_share_are_taken_off(names, inside):
    assert resolved(*names) == inside


@pytest.mark.parametrize(
    "names",
    [
        ["val/a.jpg", "val/b.jpg"],  # not elsewhere
        ["../a.jpg", "b.jpg"],  # one alone
        ["../x/a.jpg", "../x/b.jpg", "a.jpg"],  # two photos would have one name
        ["a..b/c.jpg", "d..jpg"],
    ],
)
def test_other_names_stay_as_they_are(names):
    assert resolved(*names) == names


def test_names_that_share_nothing_are_refused(tmp_path):
    content = made_coco.content()
    content["images"][0]["file_name"], content["images"][1]["file_name"] = "../a.jpg", "/b.jpg"
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"2 entries are refused:(\n.*must be a path inside.*){2}"):
        coco.load(tmp_path / "annotations.json", COCO)


def test_names_of_another_computer_are_read_and_told(tmp_path, capsys):
    content = made_coco.content()
    root = made_coco.write(tmp_path / "root", content)
    for image in content["images"]:
        image["file_name"] = f"D:\\people\\{image['file_name']}"
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(content))
    prepare.prepare_coco(root, tmp_path / "out")
    photos = records.open_split(tmp_path / "out" / "val2017").photos
    assert [photo["image"] for photo in photos] == [made_coco.photo(number) for number in (10, 20, 30)]
    assert "names_shortened: 3 names of photos lead to other folders" in capsys.readouterr().out


def test_the_only_category_is_that_of_annotations_without_one():
    content = made_coco.content()
    plain = coco.read(FILE, content, COCO, validation.raise_error(FILE))
    for entry, missing in zip(content["annotations"], (True, False, True), strict=True):
        entry.update(category_id=None) if missing else entry.pop("category_id")
    read = coco.read(FILE, content, COCO, validation.raise_error(FILE))
    assert read.people == plain.people and read.assumed == {"categories_assumed": [0, 1, 2]}


def test_no_category_is_chosen_among_several(tmp_path):
    content = made_coco.content()
    content["categories"].append({"id": 2, "name": "dog"})
    del content["annotations"][1]["category_id"]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations\[1\] has no `category_id`"):
        coco.load(tmp_path / "annotations.json", COCO)


@pytest.mark.parametrize("content", [[], None, {"images": 3}, {"images": [None, {"file_name": [1]}]}])
def test_other_content_is_left_to_the_reader(content):
    assert coco_shared.resolve(content) == (content, {})
