import numpy as np
import pytest

from configs import default
from hrnet_jax import augment, pipeline
from hrnet_jax.datasets import records
from hrnet_jax.performance import footprint


def loader(split: records.Split):
    return pipeline.train_batches(
        split, image_size=(64, 48), batch_size=2, seed=0, policy=augment.Policy(), threads=1
    )


def test_loading_does_not_grow(coco_data):
    """Were the crops alone left behind, 300 batches would leave 5.5 MB."""
    split = records.open_split(coco_data / "val2017")
    readings = footprint.host(loader(split), batches=400, readings=4)
    assert [number for number, _ in readings] == [100, 200, 300, 400]
    assert readings[0][1] > 0.01 and readings[-1][1] - readings[0][1] < 1e-3


def test_memory_is_that_of_arrays_and_not_of_mapped_files(tmp_path):
    before = footprint.anonymous()
    held = np.ones(2**24, np.uint8)
    assert footprint.anonymous() - before > 0.9 * held.size
    held.tofile(tmp_path / "file")
    before = footprint.anonymous()
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert int(mapped.sum(dtype=np.int64)) == held.size
    assert footprint.anonymous() - before < 0.1 * held.size


def test_computing_again_needs_less_memory():
    config = default.get_config()
    config.image_size, config.batch_size = (128, 96), 8
    config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    found, needs = footprint.remat(config, rounds=2)
    assert needs[footprint.AGAIN] < 0.9 * needs[footprint.KEPT]
    assert list(found.rates) == [footprint.KEPT, footprint.AGAIN] and found.reference == footprint.KEPT
    text = footprint.lines(needs, [(1, 0.5), (2, 0.5)])
    assert "activations kept" in text and "after 2 batches 0.500 GB" in text


def test_a_system_that_does_not_tell_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(footprint.pathlib, "Path", lambda _: tmp_path / "nothing")
    with pytest.raises(ValueError, match="only Linux says"):
        footprint.anonymous()
