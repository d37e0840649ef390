import json
import shutil

import numpy as np
import pytest

from hrnet_jax import augment
from hrnet_jax.benchmark import batches
from hrnet_jax.datasets import decoded, records


@pytest.fixture(scope="module")
def task(coco_data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("decoded") / "val2017"
    shutil.copytree(coco_data / "val2017", directory)
    decoded.write(directory, records.open_split(directory).photos, "val2017")
    return batches.Task(records.open_split(directory), augment.Policy(), (64, 48), 2.0, 4)


@pytest.fixture(scope="module")
def measured(task):
    return batches.measure(task, rounds=2, batches=1)


def test_crops_are_those_of_the_originals_way_in_every_pixel(measured):
    assert measured["pixels"] == {"compared": 258 * 64 * 48, "different": 0, "by": 0}


def test_every_contender_runs_and_its_stages_are_told(measured):
    race = measured["race"]
    assert list(race.rates) == ["ours, decoded photos", "ours, JPEG records", "the original's way"]
    assert all(len(rates) == 2 and min(rates) > 0 for rates in race.rates.values())
    assert "decode" in measured["stages"]["JPEG records"] and "decode" not in measured["stages"]["decoded photos"]
    for stages in measured["stages"].values():
        parts = sum(value for name, value in stages.items() if name != "whole")
        assert parts == pytest.approx(stages["whole"])


def test_the_originals_way_makes_what_the_network_is_trained_on(shared, task):
    """Images, targets and weights as the original's own loader gives them, for people who are not augmented."""
    expected = np.load(shared / "conformance" / "coco_four" / "real.npz")
    task = batches.Task(task.split, task.policy, (256, 192), 2.0, 4)
    with batches.Original.opened(task) as original:
        for index in range(11):
            crop, joints, visible = original.crop(index, augment.Draw())
            np.testing.assert_array_equal(crop, expected["gt/crops_rgb_uint8"][index])
            targets, weights = original.targets(joints, visible)
            peaks = [(np.argmax(heatmap) % 48, np.argmax(heatmap) // 48) for heatmap in targets[weights > 0]]
            np.testing.assert_array_equal(peaks, np.floor(joints[weights > 0] / 4 + 0.5).astype(int).clip(0))


def test_lines_say_what_was_found(measured):
    text = batches.lines(measured)
    assert "0 of 792,576 pixels differ" in text and "JPEG records" in text and "the original's way" in text
    json.dumps(measured["stages"])


def test_photos_must_be_decoded(coco_data, task):
    plain = batches.Task(records.open_split(coco_data / "val2017"), task.policy, (64, 48), 2.0, 4)
    with pytest.raises(ValueError, match=r"'val2017' has no decoded photos .*`--decoded`"):
        batches.measure(plain, 1)
