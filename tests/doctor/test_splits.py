import pathlib

import cv2
import numpy as np

from hrnet_jax.datasets import coco
from hrnet_jax.datasets.photo_stores import Folder, Photo
from hrnet_jax.doctor import splits
from hrnet_jax.doctor.findings import Examination
from hrnet_jax.skeletons import COCO


def test_joints_labelled_at_the_corner_are_no_cues():
    person = {"id": 1, "image_id": 1, "bbox": [200, 200, 60, 60], "area": 900}
    keypoints = np.tile([220.0, 230.0, 2.0], (COCO.num_joints, 1))
    keypoints[3:5, :2] = 0
    table = coco.table([person | {"keypoints": keypoints.ravel().tolist()}], COCO)
    expected = np.full(COCO.num_joints, 2.0)
    expected[3:5] = 0
    part = Examination("val")
    located, _ = splits.examine_annotations(part, pathlib.Path("a.json"), table, COCO, {}, squares=False)
    np.testing.assert_array_equal(located.flags, [expected])
    assert [finding.kind for finding in part.findings] == ["joints_nowhere"]


def test_sizes_that_annotations_lack_or_have_wrong_are_those_of_the_files_or_unknown(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((20, 30, 3), np.uint8))
    photos = {
        1: Photo(1, "a.jpg"),
        2: Photo(2, "b.jpg", 7, 8),
        3: Photo(3, "a.jpg", 30, 20),
        4: Photo(4, "a.jpg", 9, 9),
    }
    _, found, _ = splits.examine_photos(Examination("val"), Folder(tmp_path, tmp_path), photos)
    assert [(photo.width, photo.height) for photo in found.values()] == [(30, 20), (7, 8), (30, 20), (0, 0)]
