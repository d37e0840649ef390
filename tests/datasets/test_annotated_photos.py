import json
import pickle
import shutil

import made_coco
import made_mpii
import numpy as np
import pytest

from hrnet_jax import prepare
from hrnet_jax.datasets import annotated_photos, masks, records
from hrnet_jax.skeletons import COCO

NO_JOINTS = [0] * 51
SQUARE = [[10, 5, 30, 5, 30, 25, 10, 25]]


@pytest.fixture
def split(tmp_path) -> records.Split:
    """Photo 10 has three people, 20 a crowd only, 30 a crowd with joints, 40 nothing."""
    content = made_coco.content([30, 10, 20, 40])
    content["annotations"] = [
        made_coco.person(1, 30, iscrowd=1, num_keypoints=2, segmentation=SQUARE),
        made_coco.person(2, 10),
        made_coco.person(3, 10, keypoints=NO_JOINTS, segmentation=SQUARE),
        made_coco.person(4, 20, iscrowd=1, keypoints=NO_JOINTS, segmentation=SQUARE),
        made_coco.person(5, 10, area=0),
        made_coco.person(6, 10, iscrowd=1, keypoints=NO_JOINTS),
    ]
    prepare.prepare_coco(made_coco.write(tmp_path / "root", content), tmp_path / "out")
    return records.open_split(tmp_path / "out" / "val2017")


def test_photos_with_annotations_come_with_all_people(split):
    photos = annotated_photos.AnnotatedPhotos.of_split(split)
    assert photos.photo_id.tolist() == [10, 20, 30] and len(photos) == 3
    assert photos.counts.tolist() == [3, 0, 1]
    first = photos[0]
    assert first["index"] == 0 and first["visible"].sum(axis=1).tolist() == [11, 0, 11]
    np.testing.assert_array_equal(first["joints"][0, 3], [23, 13])
    np.testing.assert_array_equal(first["visible"][0, :4], [0, 1, 1, 0])
    assert (photos[1]["joints"].shape, photos[1]["visible"].shape) == (
        (0, COCO.num_joints, 2),
        (0, COCO.num_joints),
    )
    assert [(photos[row]["mask"] == masks.IGNORED).any() for row in range(3)] == [True, True, True]
    assert photos[2]["mask"].shape == photos[2]["photo"].shape[:2] == (made_coco.HEIGHT, made_coco.WIDTH)


def test_they_can_be_pickled(split):
    photos = annotated_photos.AnnotatedPhotos.of_split(split)
    for name, value in pickle.loads(pickle.dumps(photos))[2].items():
        np.testing.assert_array_equal(value, photos[2][name])


def test_records_of_other_photos_are_refused(split, tmp_path):
    other = made_coco.write(tmp_path / "other", made_coco.content([11, 22, 33, 44]))
    prepare.prepare_coco(other, tmp_path / "more")
    place = "val2017/photos/1.0.0/photos-photos.array_record-00000-of-00001"
    shutil.copy(tmp_path / "more" / place, tmp_path / "out" / place)
    photos = annotated_photos.AnnotatedPhotos.of_split(records.open_split(tmp_path / "out" / "val2017"))
    with pytest.raises(ValueError, match=r"record 0 is of photo 11, not 10: .*prepare the split again"):
        photos[0]


def test_the_digest_covers_the_masks(split):
    before = annotated_photos.digest(split)
    path = split.annotations.parent / masks.FILE
    np.savez(path, photo_id=np.zeros(0, np.int64), start=np.zeros(0, np.int32), stop=np.zeros(0, np.int32))
    assert annotated_photos.digest(split) != before and annotated_photos.digest(split) != records.digest(split)


def test_splits_without_masks_are_refused(split):
    (split.annotations.parent / masks.FILE).unlink()
    with pytest.raises(ValueError, match=r"has no masks.npz"):
        annotated_photos.AnnotatedPhotos.of_split(split)


def test_splits_of_mpii_are_refused(tmp_path):
    root = made_mpii.write(tmp_path / "root")
    prepare.prepare_mpii(root, tmp_path / "out", ["valid"])
    with pytest.raises(ValueError, match=r"split 'valid' is of MPII, whose photos do not have everyone"):
        annotated_photos.AnnotatedPhotos.of_split(records.open_split(tmp_path / "out" / "valid"))


@pytest.mark.parametrize("name", ["images", "annotations"])
def test_damaged_annotations_are_refused(split, name):
    content = json.loads(split.annotations.read_text())
    del content[name]
    split.annotations.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"annotations.json is damaged"):
        annotated_photos.AnnotatedPhotos.of_split(split)
