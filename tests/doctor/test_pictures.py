import json
import shutil

import cv2
import made_damage
import pytest
from made_damage import SEEDS, SHARE, Damage, annotations, kinds, photos, some, write_coco

from hrnet_jax.doctor import __main__ as doctor
from hrnet_jax.doctor import pictures


def remove(folder, rng):
    for path in some(sorted(folder.iterdir()), rng):
        path.unlink()


def truncate(folder, rng):
    for path in some(sorted(folder.iterdir()), rng):
        made_damage.truncate(path, rng, 100)


def replace_by_web_pages(folder, rng):
    for path in some(sorted(folder.iterdir()), rng):
        path.write_text("<html>404 Not Found</html>")


def replace_by_links(folder, rng):
    for number, path in enumerate(some(sorted(folder.iterdir()), rng)):
        outside = folder.parents[2] / f"store_{path.name}"
        path.rename(outside)
        if number % 2:
            path.write_text(f"../../../{outside.name}")  # as Git writes links on Windows
        else:
            path.symlink_to(outside)


def rewrite(folder, rng, change, share=SHARE):
    for path in some(sorted(folder.iterdir()), rng, share):
        photo = cv2.imread(str(path))
        assert photo is not None
        cv2.imwrite(str(path), change(photo))


def resize(folder, rng):
    scale = float(rng.choice([0.5, 2]))
    rewrite(folder, rng, lambda photo: cv2.resize(photo, None, fx=scale, fy=scale))


def rotate(folder, rng):
    rewrite(folder, rng, lambda photo: cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE))


DAMAGES = [
    Damage("missing", remove, "photos_missing"),
    Damage("cut", truncate, "photos_damaged"),
    Damage("pages", replace_by_web_pages, "photos_damaged"),
    Damage("linked", replace_by_links, "photos_linked"),
    Damage("resized", resize, "photo_sizes"),
    Damage("turned", rotate, "photo_sizes"),
]


@made_damage.cases(DAMAGES)
def test_finds_damaged_photos(base, tmp_path, damage, seed):
    root = write_coco(tmp_path / "root", base, annotations(base), copy_photos=True)
    damage.apply(photos(root), seed)
    made_damage.check(root, damage)


def exchange_sizes(content, rng):
    for image in some([image for image in content["images"] if image["width"] != image["height"]], rng):
        image["width"], image["height"] = image["height"], image["width"]


def list_photo_twice(content, rng):
    image = some(content["images"], rng, 0)[0]
    content["images"].append(image | {"id": 10**8})


LISTS = [
    Damage("sizes exchanged", exchange_sizes, "photo_sizes"),
    Damage("photo listed twice", list_photo_twice, "photos_listed_twice"),
]


@made_damage.cases(LISTS)
def test_finds_damaged_lists_of_photos(base, tmp_path, damage, seed):
    made_damage.check_annotations(base, tmp_path / "root", damage, seed)


@pytest.mark.parametrize("number", SEEDS)
def test_finds_a_photo_under_two_names(base, tmp_path, number):
    content = annotations(base)
    image = content["images"][number]
    content["images"].append(image | {"id": 10**8, "file_name": "copy.jpg"})
    root = write_coco(tmp_path / "root", base, content, copy_photos=True)
    shutil.copy(photos(root) / image["file_name"], photos(root) / "copy.jpg")
    assert set(kinds(root)) == {"photos_twice"}


def test_finds_training_photos_in_the_validation_split(made_up, tmp_path):
    root = write_coco(tmp_path / "root", made_up, annotations(made_up))
    train, folder = "annotations/person_keypoints_train2017.json", root / "images" / "train2017"
    content = json.loads((made_up / train).read_text())
    shutil.copytree(made_up / "images" / "train2017", folder)
    shutil.copy(next(photos(made_up).iterdir()), folder / "leak.jpg")
    height, width, _ = cv2.imread(str(folder / "leak.jpg")).shape
    content["images"].append({"id": 10**8, "file_name": "leak.jpg", "height": height, "width": width})
    (root / train).write_text(json.dumps(content))
    assert set(kinds(root)) == {"photos_in_two_splits"}


def test_splits_of_mpii_that_are_unions_may_share_photos():
    train, valid = {"a": "1.jpg", "b": "2.jpg"}, {"c": "3.jpg"}
    assert pictures.shared({"train": train, "valid": valid, "trainval": train | valid}) == []
    (finding,) = pictures.shared({"train": train, "valid": valid | {"b": "4.jpg"}, "trainval": {}})
    assert (finding.kind, finding.examples) == ("photos_in_two_splits", ("2.jpg",))


def test_unused_files_are_a_note(made_up, tmp_path, capsys):
    root = write_coco(tmp_path / "root", made_up, annotations(made_up), copy_photos=True)
    (photos(root) / "other.jpg").write_bytes(b"")
    assert doctor.main([str(root)]) == 0
    assert "NOTE photos_unlisted: 1 files" in capsys.readouterr().out
