"""Data sets as annotation tools export them, and names of photos that are not quite those of the files."""

import json
import zipfile

import made_coco
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import file_names, layouts, photo_stores, records
from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import pictures


def move(root, photos, annotations, prefix=""):
    """Moves the photos of a data set to a folder, its annotations to a file, and prefixes the photos' names."""
    content = made_coco.content()
    made_coco.write(root, content)
    for image in content["images"]:
        image["file_name"] = prefix + image["file_name"]
    for path in (root / photos, root / annotations):
        path.parent.mkdir(parents=True, exist_ok=True)
    (root / "images" / "val2017").rename(root / "moved")
    (root / "annotations" / "person_keypoints_val2017.json").unlink()
    if not any((root / "images").iterdir()):
        (root / "images").rmdir()
    (root / photos).parent.mkdir(parents=True, exist_ok=True)
    (root / "moved").rename(root / photos)
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    (root / annotations).write_text(json.dumps(content))


def check(root, out, split, **choices):
    """Prepares the only split and lets the doctor look at it."""
    choices = layouts.Choices(**choices)
    prepare.prepare_coco(root, out, choices=choices)
    opened = records.open_split(out / split)
    assert [opened.photos[row]["image"] for row in range(3)] == [
        made_coco.photo(number) for number in (10, 20, 30)
    ]
    _, (part,) = doctor.examine(root, choices=choices)
    assert part.name == split and part.facts["photos"] == "3 of 3 are whole"
    assert part.facts["used"] == "3 people"


LAYOUTS = {
    "CVAT": ("images", "annotations/person_keypoints_default.json", "default", ""),
    "PoseTrack": ("images/val/seq_1", "annotations/person_keypoints_val.json", "val", "images/val/seq_1/"),
    "Windows": ("images/val/seq_1", "annotations/person_keypoints_val.json", "val", "val\\seq_1\\"),
}


@pytest.mark.parametrize(("photos", "file", "split", "prefix"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_are_found(tmp_path, photos, file, split, prefix):
    move(tmp_path / "root", photos, file, prefix)
    check(tmp_path / "root", tmp_path / "out", split)


def test_annotations_beside_the_photos_are_found(tmp_path):
    move(tmp_path / "root", "train", "a.json")
    (tmp_path / "root" / "a.json").rename(tmp_path / "root" / "train" / "_annotations.coco.json")
    check(tmp_path / "root", tmp_path / "out", "train")


GIVEN = {
    "Label Studio": ("images", "result.json", "result", "images/"),
    "COCO Annotator": ("datasets/people", "people-3.json", "people-3", ""),
    "labelme": ("JPEGImages", "annotations.json", "annotations", "JPEGImages/"),
    "Ultralytics": ("images/val", "labels/instances_val.json", "instances_val", "val/"),
}


@pytest.mark.parametrize(("photos", "file", "split", "prefix"), GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("relative", [True, False])
def test_any_layout_can_be_given(tmp_path, photos, file, split, prefix, relative):
    root = tmp_path / "root"
    move(root, photos, file, prefix)
    start = root.relative_to(root) if relative else root
    check(root, tmp_path / "out", split, annotations=start / file, photos=start / photos)


@pytest.mark.parametrize("folder", ["", "photos/", "a/b c/", "val2017/"])
def test_a_zip_file_may_hold_any_folder(tmp_path, folder):
    root = made_coco.write(tmp_path / "root")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as file:
        file.writestr("__MACOSX/x", "")
        for number in (10, 20, 30):
            file.writestr(f"{folder}{number:012d}.jpg", made_coco.photo(number))
    prepare.prepare_coco(root, tmp_path / "out", choices=layouts.Choices(photos=tmp_path / "export.zip"))
    assert records.open_split(tmp_path / "out" / "val2017").photos[0]["image"] == made_coco.photo(10)


def test_an_option_names_the_missing_file(tmp_path):
    root = made_coco.write(tmp_path / "root")
    for choices in ({"annotations": tmp_path / "no.json"}, {"photos": tmp_path / "no"}):
        with pytest.raises(FileNotFoundError, match=r"no.* does not exist"):
            prepare.prepare_coco(root, tmp_path / "out", choices=layouts.Choices(**choices))
    (root / "annotations").rename(root / "labels")
    with pytest.raises(FileNotFoundError, match="--annotations FILE --photos DIR"):
        prepare.prepare_coco(root, tmp_path / "out")


def folder_of(path, *names) -> photo_stores.Folder:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return photo_stores.Folder(path, path.parent)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("a.jpg", "val/a.jpg"),
        ("a.jpg", "images/val/a.jpg"),
        ("seq/a.jpg", "images/val/seq/a.jpg"),
        ("a.JPG", "a.jpg"),
        ("a.jpeg", "val/a.JPEG"),
        ("a.jpeg", "a.jpg"),
        ("a.v1.jpg", "val/a.v1"),
        ("Ä.jpg", "A\u0308.jpg"),
    ],
)
def test_the_only_file_that_fits_is_found(tmp_path, file, name):
    store = folder_of(tmp_path / "val", file)
    assert store.find(name) == file and store.read(name) == file.encode() and store.size(name)


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["val/a.jpg", "a.jpg"], "val/a.jpg", "val/a.jpg"),  # the plain reading comes first
        (["a.JPG", "a.Jpg"], "a.jpg", ""),
        (["a.jpg"], "b.jpg", ""),
        (["a.jpg"], "A.jpg", ""),
        (["a.jpg"], "cam2/a.jpg", ""),
        (["a.png"], "a.jpg", ""),
        (["a.png", "a.jpg"], "a", ""),
        (["a.txt"], "a", ""),
    ],
)
def test_other_files_are_not_taken(tmp_path, files, name, found):
    assert folder_of(tmp_path / "val", *files).find(name) == found


def test_names_from_the_root_are_found(tmp_path):
    for folder in ("val", "seq"):
        folder_of(tmp_path / "images" / folder, "a.jpg")
    store = photo_stores.Folder(tmp_path / "images" / "val", tmp_path)
    assert store.read("images/seq/a.jpg") == b"a.jpg"
    assert [*file_names.shorter("images/val/seq/a.jpg", {"val"})] == ["val/seq/a.jpg", "seq/a.jpg"]


def test_photos_found_by_other_names_are_told(tmp_path, capsys):
    content = made_coco.content()
    root = made_coco.write(tmp_path / "root", content)
    for file in sorted((root / "images" / "val2017").iterdir())[:2]:
        file.rename(file.with_suffix(".JPG"))
    summary = prepare.prepare_coco(root, tmp_path / "out")["val2017"]
    assert summary["photos_renamed"]["count"] == 2 and summary["photos"] == 3
    assert "2 found by another name: 000000000010.jpg as 000000000010.JPG" in capsys.readouterr().out


def test_links_are_followed_on_request(tmp_path):
    root = made_coco.write(tmp_path / "root")
    photo = root / "images" / "val2017" / "000000000020.jpg"
    photo.rename(tmp_path / "elsewhere.jpg")
    photo.symlink_to(tmp_path / "elsewhere.jpg")
    with pytest.raises(ValueError, match="allow such links with --follow-links"):
        prepare.prepare_coco(root, tmp_path / "out")
    prepare.main(["coco", f"--root={root}", f"--out={tmp_path / 'out'}", "--follow-links", "--skeleton=coco"])
    assert len(records.open_split(tmp_path / "out" / "val2017").photos) == 3


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("labels/val/a.txt", r"it looks like a data set of Ultralytics \(YOLO\): export or convert it"),
        ("labeled-data/video/CollectedData_me.csv", "of DeepLabCut: export"),
        ("images/val/a.json", "of labelme: export"),
        ("result.json", "--annotations FILE --photos DIR"),
        ("images/val/people.json", "--annotations FILE --photos DIR"),
    ],
)
def test_folders_in_other_formats_are_named(tmp_path, file, told):
    for name in (file, "images/val/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(FileNotFoundError, match=told):
        prepare.prepare_coco(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=told):
        doctor.examine(tmp_path)


def test_an_archive_as_root_is_told(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK")
    with pytest.raises(NotADirectoryError, match=r"is a file, not a folder of .*: unpack it"):
        prepare.prepare_coco(tmp_path / "data.zip", tmp_path / "out")
    with pytest.raises(ValueError, match="give a folder: unpack archives"):
        doctor.examine(tmp_path / "data.zip")


def test_hidden_files_are_no_photos_without_annotations(tmp_path):
    folder = folder_of(tmp_path / "val", "a.jpg", "._a.jpg", "b.jpg")
    found = pictures.unlisted(folder, {1: photo_stores.Photo(1, "a.jpg")})
    assert [finding.examples for finding in found] == [("b.jpg",)]
