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


linux = pytest.mark.skipif(not footprint.STATUS.is_file(), reason="only Linux reports the memory of a process")


@linux
def test_memory_stays_flat_while_loading(coco_data):
    """The crops of 300 batches alone are 5.5 MB."""
    split = records.open_split(coco_data / "val2017")
    readings = footprint.measure_loading(loader(split), batches=400, readings=4)
    assert [number for number, _ in readings] == [100, 200, 300, 400]
    assert readings[0][1] > 0.01 and readings[-1][1] - readings[0][1] < 1e-3


@linux
def test_anonymous_memory_counts_arrays_but_not_mapped_files(tmp_path):
    before = footprint.anonymous_memory()
    pages = mmap.mmap(-1, 2**26, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # fresh pages
    array = np.frombuffer(pages, np.uint8)
    array[:] = 1
    assert footprint.anonymous_memory() - before > 0.9 * array.size
    array.tofile(tmp_path / "file")
    before = footprint.anonymous_memory()
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert int(mapped.sum(dtype=np.int64)) == array.size
    assert footprint.anonymous_memory() - before < 0.1 * array.size


@pytest.fixture
def config():
    config = default.get_config()
    config.image_size, config.batch_size = (128, 96), 8
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1)
    return config


def test_recomputing_activations_needs_less_memory(config):
    result, needed = footprint.measure_step(config, rounds=2)
    assert needed[footprint.RECOMPUTED] < needed[footprint.KEPT]
    assert list(result.rates) == [footprint.KEPT, footprint.RECOMPUTED] and result.reference == footprint.KEPT
    assert "activations kept" in footprint.step_summary(needed)
    assert footprint.loading_summary([(1, 0.4), (2, 0.5)]) == (
        "  the host, after 2 batches 0.500 GB, after 2 0.500 GB"
    )


@pytest.mark.parametrize(("available", "contenders"), [(20, 2), (15, 1), (5, 0)])
def test_only_steps_that_fit_take_part(monkeypatch, config, available, contenders):
    lowered = types.SimpleNamespace(compile=lambda: None)
    needed = iter([20, 10])
    monkeypatch.setattr(footprint.setup, "lower_step", lambda *_: lowered)
    monkeypatch.setattr(footprint.memory, "needed", lambda _: next(needed))
    monkeypatch.setattr(footprint.memory, "available", lambda _: available)
    monkeypatch.setattr(footprint.workload, "train", lambda *_: lambda: 8)
    if contenders:
        result, _ = footprint.measure_step(config, rounds=1)
        assert list(result.rates) == [footprint.KEPT, footprint.RECOMPUTED][-contenders:]
    else:
        with pytest.raises(ValueError, match=r"no step fits: .*; take a smaller --batch"):
            footprint.measure_step(config, rounds=1)


def test_systems_other_than_linux_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(footprint, "STATUS", tmp_path / "nothing")
    with pytest.raises(ValueError, match="which has it on Linux only"):
        footprint.anonymous_memory()


def test_memory_is_in_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(footprint, "STATUS", tmp_path / "status")
    (tmp_path / "status").write_text("VmRSS:\t9 kB\nRssAnon:\t       3 kB\nRssFile:\t5 kB\n")
    assert footprint.anonymous_memory() == 3072
