import pytest
from made_damage import annotations, kinds, photos, write_coco

from hrnet_jax.doctor import raw


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


def test_the_truth_of_pckh_is_of_as_many_people(monkeypatch, tmp_path):
    monkeypatch.setattr(raw.mpii, "read_truth", lambda *_: [None] * 3)
    assert raw._truth(tmp_path / "gt_valid.mat", 3) == []
    (finding,) = raw._truth(tmp_path / "gt_valid.mat", 4)
    assert finding.kind == "truth" and finding.severity == "error"
