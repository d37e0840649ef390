import mmap
import types

import numpy as np
import pytest

from configs import default
from hrnet_jax import augment, pipeline
from hrnet_jax.benchmark import footprint
from hrnet_jax.datasets import records


def loader(split: records.Split):
    return pipeline.train_batches(
        split, image_size=(64, 48), batch_size=2, seed=0, policy=augment.Policy(), threads=1
    )


linux = pytest.mark.skipif(not footprint.STATUS.is_file(), reason="only Linux tells the memory of a process")


@linux
def test_loading_does_not_grow(coco_data):
    """Were the crops alone left behind, 300 batches would leave 5.5 MB."""
    split = records.open_split(coco_data / "val2017")
    readings = footprint.host(loader(split), batches=400, readings=4)
    assert [number for number, _ in readings] == [100, 200, 300, 400]
    assert readings[0][1] > 0.01 and readings[-1][1] - readings[0][1] < 1e-3


@linux
def test_memory_is_that_of_arrays_and_not_of_mapped_files(tmp_path):
    before = footprint.anonymous()
    fetched = mmap.mmap(-1, 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # never reused
    held = np.frombuffer(fetched, np.uint8)
    held[:] = 1
    assert footprint.anonymous() - before > 0.9 * held.size
    held.tofile(tmp_path / "file")
    before = footprint.anonymous()
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert int(mapped.sum(dtype=np.int64)) == held.size
    assert footprint.anonymous() - before < 0.1 * held.size


@pytest.fixture
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (128, 96), 8
    config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    return config


def test_computing_again_needs_less_memory(config):
    found, needs = footprint.remat(config, rounds=2)
    assert needs[footprint.AGAIN] < needs[footprint.KEPT]
    assert list(found.rates) == [footprint.KEPT, footprint.AGAIN] and found.reference == footprint.KEPT
    assert "activations kept" in footprint.sizes(needs)
    assert footprint.growth([(1, 0.4), (2, 0.5)]) == "  the host, after 2 batches 0.500 GB, after 2 0.500 GB"


@pytest.mark.parametrize(("has", "taking_part"), [(20, 2), (15, 1), (5, 0)])
def test_only_what_fits_takes_part(monkeypatch, config, has, taking_part):
    lowered = types.SimpleNamespace(compile=lambda: None)
    needs = iter([20, 10])
    monkeypatch.setattr(footprint.memory, "lower_step", lambda *_: lowered)
    monkeypatch.setattr(footprint.memory, "needed", lambda _: next(needs))
    monkeypatch.setattr(footprint.memory, "available", lambda _: has)
    monkeypatch.setattr(footprint.step, "ours_training", lambda *_: lambda: 8)
    if taking_part:
        found = footprint.remat(config, rounds=1)[0]
        assert list(found.rates) == [footprint.KEPT, footprint.AGAIN][-taking_part:]
    else:
        with pytest.raises(ValueError, match=r"no step fits: .*; take a smaller --batch"):
            footprint.remat(config, rounds=1)


def test_a_system_that_does_not_tell_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(footprint, "STATUS", tmp_path / "nothing")
    with pytest.raises(ValueError, match="only Linux says"):
        footprint.anonymous()
