import json

import cv2
import made_predictor as made
import numpy as np
import pytest

from hrnet_jax import skeletons, visualize
from hrnet_jax.predict import writers


@pytest.fixture
def result():
    photo = made.noise(0)
    photo[0, 0] = 2
    (result,) = made.make_predictor(made.several, nms_threshold=1.0).results([photo], heatmaps=True)
    return result


def read(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


def test_pictures_are_the_drawn_photos(result, tmp_path):
    for name, expected in {"a.jpg": "a.jpg", "b.png": "b.png.jpg"}.items():
        writers.WRITERS["pictures"](result, tmp_path / "deep" / name, 0.2)
        drawn = visualize.encode_jpeg(result.poses.draw(result.photo, 0.2))
        assert (tmp_path / "deep" / expected).read_bytes() == drawn


def test_crops_are_kept_in_every_pixel(result, tmp_path):
    writers.WRITERS["crops"](result, tmp_path / "a.jpg", 0.2)
    for i, crop in enumerate(result.crops):
        np.testing.assert_array_equal(read(tmp_path / "a.jpg" / f"{i}.png"), crop)
    assert len(list((tmp_path / "a.jpg").iterdir())) == 2


def test_heatmaps_are_drawn_over_crops(result, tmp_path):
    writers.WRITERS["heatmaps"](result, tmp_path / "a.jpg", 0.2)
    assert read(tmp_path / "a.jpg" / "1.png").shape == (*made.SIZE, 3)


def test_openposes_form_says_which_joints_it_has(result, tmp_path):
    writers.WRITERS["openpose"](result, tmp_path / "a.jpg", 0.2)
    content = json.loads((tmp_path / "a.jpg_keypoints.json").read_text())
    assert (
        content["version"] == 1.3
        and "coco" in content["joint_set"]
        and "not those of OpenPose" in content["joint_set"]
    )
    assert content["joint_names"] == list(skeletons.COCO.joints)
    numbers = np.array(content["people"][1]["pose_keypoints_2d"], np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(numbers[:, :2], result.poses.joints[1])
    np.testing.assert_array_equal(numbers[:, 2], result.poses.scores[1])
