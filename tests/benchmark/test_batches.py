import json
import shutil

import numpy as np
import pytest

from configs import default
from hrnet_jax import augment
from hrnet_jax.benchmark import batches, plain
from hrnet_jax.datasets import decoded, records


@pytest.fixture(scope="module")
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (64, 48), 4
    return config


@pytest.fixture(scope="module")
def split(coco_data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("decoded") / "val2017"
    shutil.copytree(coco_data / "val2017", directory)
    decoded.write(directory, records.open_split(directory).photos, "val2017")
    return records.open_split(directory)


@pytest.fixture(scope="module")
def measured(config, split):
    return batches.measure(config, split, rounds=2, batches=1)


def test_crops_equal_the_originals_in_every_pixel(measured):
    assert measured["pixels"] == {"compared": 258 * 64 * 48, "different": 0, "max_difference": 0}


def test_all_contenders_run_and_stages_add_up_to_the_whole(measured):
    race = measured["race"]
    assert list(race.rates) == ["ours, decoded photos", "ours, JPEG records", "the original's way"]
    assert all(len(rates) == 2 and min(rates) > 0 for rates in race.rates.values())
    assert "decode" in measured["stages"]["JPEG records"] and "decode" not in measured["stages"]["decoded photos"]
    for stages in measured["stages"].values():
        parts = sum(value for name, value in stages.items() if name != "whole")
        assert parts == pytest.approx(stages["whole"])


def test_the_reference_loader_equals_the_originals(shared, split, tmp_path):
    """Crops without augmentation equal the original loader's. Targets peak at the joints."""
    expected = np.load(shared / "conformance" / "coco_four" / "real.npz")
    original = plain.OriginalLoader(default.get_config(), split, tmp_path)
    for index in range(11):
        crop, joints, visible = original.crop(index, augment.Draw())
        np.testing.assert_array_equal(crop, expected["gt/crops_rgb_uint8"][index])
        targets, weights = original.targets(joints, visible)
        peaks = [(np.argmax(heatmap) % 48, np.argmax(heatmap) // 48) for heatmap in targets[weights > 0]]
        np.testing.assert_array_equal(peaks, np.floor(joints[weights > 0] / 4 + 0.5).astype(int).clip(0))


def test_the_summary_lists_differences_and_stages(measured):
    text = batches.summary(measured)
    assert "0 of 792,576 pixels differ" in text and "JPEG records" in text and "the original's way" in text
    json.dumps(measured["stages"])


def test_photos_must_be_decoded(coco_data, config):
    with pytest.raises(ValueError, match=r"'val2017' has no decoded photos .*`--decoded`"):
        batches.measure(config, records.open_split(coco_data / "val2017"), 1)
