import pytest
from made_damage import annotations, kinds, photos, write_coco


@pytest.mark.parametrize("name", ["coco_mini", "coco_four", "mpii_five"])
def test_real_data_sets_are_sound(shared, name):
    assert kinds(shared / "real" / name) == {}


def test_a_folder_without_annotations_is_a_finding(tmp_path):
    (tmp_path / "annotations").mkdir()
    assert set(kinds(tmp_path)) == {"annotations_missing"}


def test_a_missing_folder_of_photos_is_a_finding(made_up, tmp_path):
    root = write_coco(tmp_path / "root", made_up, annotations(made_up))
    photos(root).unlink()
    assert set(kinds(root)) == {"photos_unavailable"}
