import json
import pathlib
import shutil

import numpy as np
import pytest
from made_damage import SPLIT, edit_json

from hrnet_jax.datasets import masks
from hrnet_jax.doctor import whole_photos


@pytest.fixture
def split(prepared, tmp_path) -> pathlib.Path:
    """A copy of a prepared split, without decoded photos."""
    return shutil.copytree(prepared / SPLIT, tmp_path / SPLIT, ignore=shutil.ignore_patterns("decoded*"))


def kinds(split) -> list[tuple[str, str]]:
    return [(finding.kind, finding.severity) for finding in whole_photos.examine(split)[1]]


def test_sound_splits_have_a_fact_only(split):
    facts, findings = whole_photos.examine(split)
    content = json.loads((split / "annotations.json").read_text())
    photos = {entry["image_id"] for entry in content["annotations"]}
    assert findings == [] and facts["whole photos"].startswith(f"{len(photos):,} with annotations, ")


def test_missing_masks_are_a_note(split):
    (split / masks.FILE).unlink()
    assert kinds(split) == [("masks_missing", "note")]


def test_damaged_masks_are_an_error(split):
    (split / masks.FILE).write_bytes(b"no masks")
    assert kinds(split) == [("masks_damaged", "error")]


def test_photos_with_many_people_are_a_note(split):
    def crowd(content):
        person = next(entry for entry in content["annotations"] if entry["num_keypoints"])
        content["annotations"] += [person | {"id": 10**6 + number} for number in range(40)]

    edit_json(split / "annotations.json", crowd)
    [finding] = whole_photos.examine(split)[1]
    assert (finding.kind, finding.severity, finding.count) == ("people_many", "note", 1)
    assert "more than 30 people, up to 4" in finding.what and "--config.most_people=4" in finding.remedy


def test_damaged_annotations_are_left_to_others(split):
    (split / "annotations.json").write_text("{")
    assert kinds(split) == []


def test_masked_photos_are_counted(split):
    content = json.loads((split / "annotations.json").read_text())
    photo = content["annotations"][0]["image_id"]
    columns = {"photo_id": [photo], "start": [0], "stop": [5]}
    arrays = {name: np.array(values, masks.COLUMNS[name][0]) for name, values in columns.items()}
    np.savez_compressed(split / masks.FILE, **arrays)
    assert ", 1 of them with crowds" in whole_photos.examine(split)[0]["whole photos"]
