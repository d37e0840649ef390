import cv2
import numpy as np
import pytest

from hrnet_jax.benchmark import photos, race
from hrnet_jax.predict import video


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        photo = np.random.default_rng(number).integers(0, 256, (60, 40, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), photo)
    return tmp_path


def test_contenders_predict_everyone(tiny_config, folder):
    result = photos.measure(tiny_config, str(folder), "whole", size=4, rounds=1)
    assert next(iter(result.rates)) == race.OURS and all(
        rate > 0 for rates in result.rates.values() for rate in rates
    )
    assert "3 photos with 3 people" in result.title and result.unit == "people"


def test_frames_of_a_video_are_counted(tiny_config, tmp_path):
    path = tmp_path / "clip.mp4"
    writer = video.Writer(path, rate=10)
    with writer:
        for number in range(3):
            writer.write(np.full((60, 40, 3), 80 * number, np.uint8), number / 10)
    result = photos.measure(tiny_config, str(path), "whole", size=4, rounds=1)
    assert "3 frames with 3 people" in result.title and result.unit == "frames"


def test_a_loop_predicts_the_same_joints(tiny_config, folder, monkeypatch):
    """Heatmaps of a network that gives each joint's number as its place."""
    written = []
    monkeypatch.setattr(photos.json, "dumps", written.append)
    settings = photos.Settings(photos.skeletons.COCO, tuple(tiny_config.image_size))
    height, width = (side // 4 for side in settings.image_size)

    def forward(images):
        heatmaps = np.zeros((len(images), 17, height, width), np.float32)
        heatmaps[:, range(17), np.arange(17) % height, 3] = 1
        return heatmaps

    paths = [str(path) for path in sorted(folder.iterdir())]
    assert photos._loop(paths, photos.boxes.whole, settings, forward, size=2)() == 3
    crops = photos._crops(paths, photos.boxes.whole, settings.image_size)
    for people, (_, photo_to_crop) in zip(written[0], crops, strict=True):
        in_crop = cv2.transform(np.array(people)[None, :, :2], photo_to_crop)[0] / 4
        np.testing.assert_allclose(in_crop[:, 0], 3, atol=0.3)
        np.testing.assert_allclose(in_crop[:, 1], np.arange(17) % height, atol=0.3)


def test_nobody_is_an_error(tiny_config, folder):
    (folder / "boxes.json").write_text('{"0.png": []}')
    with pytest.raises(ValueError, match=r"no person was found: give other photos or --boxes"):
        photos.measure(tiny_config, str(folder), str(folder / "boxes.json"), size=4, rounds=1)
