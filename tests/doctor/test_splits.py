import numpy as np

from hrnet_jax.datasets import coco
from hrnet_jax.datasets.photo_stores import Photo
from hrnet_jax.doctor import splits
from hrnet_jax.doctor.pictures import Look
from hrnet_jax.skeletons import COCO


def test_joints_labelled_at_the_corner_are_no_cues():
    person = {"id": 1, "image_id": 1, "bbox": [200, 200, 60, 60], "area": 900}
    keypoints = np.tile([220.0, 230.0, 2.0], (COCO.num_joints, 1))
    keypoints[3:5, :2] = 0
    table = coco.table([person | {"keypoints": keypoints.ravel().tolist()}], COCO)
    expected = np.full(COCO.num_joints, 2.0)
    expected[3:5] = 0
    located, findings = splits.examine_coordinates(table, COCO, {}, squares=False)
    np.testing.assert_array_equal(located.flags, [expected])
    assert [finding.kind for finding in findings] == ["joints_nowhere"]


def test_sizes_that_annotations_lack_are_those_of_the_files():
    photos = {1: Photo(1, "a.jpg"), 2: Photo(2, "b.jpg"), 3: Photo(3, "c.jpg", 30, 20)}
    looks = {1: Look("", (640, 480), ""), 2: Look("missing", (0, 0), ""), 3: Look("", (30, 20), "")}
    found = splits.with_sizes(photos, looks)
    assert [(photo.width, photo.height) for photo in found.values()] == [(640, 480), (0, 0), (30, 20)]
