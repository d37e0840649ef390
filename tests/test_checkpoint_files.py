import shutil
import string

import jax
import numpy as np
import pytest
import tensorstore

from hrnet_jax import buckets, checkpoint_files

WEIGHTS = {
    "params": {"stage2.0": {"conv1": {"kernel": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)}}},
    "batch_stats": {"stage2.0": {"bn1": {"mean": np.arange(4, dtype=np.float32)}}},
}
NETWORK = {"name": "hrnet", "width": 4}


@pytest.fixture
def written(tmp_path):
    return checkpoint_files.write_weights(tmp_path / "weights", WEIGHTS, NETWORK, {})


def test_exported_weights_are_a_checkpoint(tmp_path):
    counters = {"bn1.num_batches_tracked": 2**40}
    written = checkpoint_files.write_weights(tmp_path / "w4", WEIGHTS, NETWORK, counters)
    assert checkpoint_files.find(tmp_path / "w4") == written
    weights, network, restored_counters = checkpoint_files.read_weights(tmp_path / "w4")
    jax.tree.map(np.testing.assert_array_equal, weights, WEIGHTS)
    assert network == NETWORK and restored_counters == counters
    with pytest.raises(ValueError, match="exists and is not empty"):
        checkpoint_files.write_weights(tmp_path / "w4", WEIGHTS, NETWORK, counters)


@pytest.mark.parametrize(
    "name", [*("lr[1e-3]", "[!a]", "a*b", "a?b", " a b ", "é日本", "~", "n" * 200), string.printable[:94]]
)
def test_every_directory_name_holds_weights(tmp_path, name):
    """Stars and question marks would also match the directory beside."""
    directory = tmp_path / name.replace("/", "").replace("\\", "") / "a"
    checkpoint_files.write_weights(tmp_path / "axb" / "a", {"params": {"other": np.ones(3)}}, NETWORK, {})
    written = checkpoint_files.write_weights(directory, WEIGHTS, NETWORK, {})
    jax.tree.map(np.testing.assert_array_equal, checkpoint_files.read_weights(directory)[0], WEIGHTS)
    assert not checkpoint_files.has_unmerged_arrays(written)


def test_weights_without_orbax_last_step_are_completed_when_read(written):
    """As version 0.1 left them in directories with brackets."""
    shutil.rmtree(written / "state" / "d")
    (written / "state" / "manifest.ocdbt").unlink()
    assert checkpoint_files.has_unmerged_arrays(written)
    assert checkpoint_files.find_damage(written) is None
    jax.tree.map(np.testing.assert_array_equal, checkpoint_files.read_weights(written)[0], WEIGHTS)
    assert not checkpoint_files.has_unmerged_arrays(written)


def test_weights_that_cannot_be_read_back_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "find_damage", lambda checkpoint: ValueError("lost"))
    with pytest.raises(
        ValueError, match=r"a/0 was written, but cannot be read back .*lost.* write to another one"
    ):
        checkpoint_files.write_weights(tmp_path / "a", WEIGHTS, NETWORK, {})


def test_a_checkpoint_that_does_not_describe_its_network_is_refused(written):
    for content in ("{", "[]", '{"figures": {}}', '{"network": 3}'):
        (written / "meta" / "metadata").write_text(content)
        with pytest.raises(ValueError, match="does not describe a network"):
            checkpoint_files.read_weights(written)


def test_damaged_weights_are_reported_with_their_path(written):
    assert checkpoint_files.find_damage(written) is None
    shutil.rmtree(written / "state" / "d")
    assert checkpoint_files.find_damage(written) is not None
    with pytest.raises(ValueError, match=r"weights/0 is damaged .*: use another one"):
        checkpoint_files.read_weights(written.parent)


def test_a_missing_part_of_an_array_is_damage_and_not_read_as_zeros(written):
    store = {"driver": "ocdbt", "base": buckets.kvstore_spec(written / "state")}
    opened = tensorstore.KvStore.open(store).result()
    part = next(key for key in opened.list().result() if b"kernel" in key and not key.endswith(b".zarray"))
    opened.delete_range(tensorstore.KvStore.KeyRange(part, part + b"\0")).result()
    assert checkpoint_files.find_damage(written) is not None


@pytest.mark.parametrize(("shape", "chunk"), [(2**40, 2**20), (1, 2**40)])
def test_arrays_larger_than_any_memory_are_refused(written, shape, chunk):
    store = {"driver": "ocdbt", "base": buckets.kvstore_spec(written / "state"), "path": "params.b/"}
    metadata = {"shape": [shape], "chunks": [chunk], "dtype": "<f4", "compressor": None, "fill_value": None}
    metadata |= {"order": "C", "filters": None, "zarr_format": 2}
    tensorstore.open({"driver": "zarr", "kvstore": store, "metadata": metadata}, create=True).result()
    message = r"weights/0 is damaged .*4,398,046,511,216 bytes, but at most 8,589,934,592 are"
    with pytest.raises(ValueError, match=message):
        checkpoint_files.read_weights(written.parent)


def test_the_best_takes_precedence_and_the_newest_of_several_steps(tmp_path):
    for name in ("last/9", "last/10", "last/11", "best/9", "best/10"):
        meta = tmp_path / "checkpoints" / name / "meta"
        meta.mkdir(parents=True)
        (meta / "metadata").write_text("{}")
    (tmp_path / "checkpoints" / "last" / "11" / "meta" / "metadata").unlink()
    assert checkpoint_files.complete_steps(tmp_path / "checkpoints" / "last") == [9, 10]
    assert checkpoint_files.find(tmp_path / "checkpoints" / "last").name == "10"
    assert checkpoint_files.find(tmp_path) == tmp_path / "checkpoints" / "best" / "10"


def test_a_missing_checkpoint_is_reported_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint in {tmp_path}"):
        checkpoint_files.find(tmp_path)
