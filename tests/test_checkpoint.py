import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import checkpoint, checkpoint_files, models, optimizer, sharding, state_hash, training

TESTS = pathlib.Path(__file__).parent


def small():
    config = default.get_config()
    config.image_size = (32, 32)
    config.model.update(width=4, stem=4, units=(1, 0, 0), blocks=1, norm_group_size=0)
    return config


def begin(config, fsdp: bool = False):
    """A new state on all devices."""
    variables = training.init_variables(models.build(config), config.image_size, seed=3)
    adam = optimizer.adam(optimizer.step_schedule(1e-3, (), 1), 0.0)
    with jax.numpy_dtype_promotion("standard"):
        return sharding.place_state(training.init_state(variables, adam), sharding.make_mesh(), fsdp)


def show_restored(workdir: str) -> None:
    """Restores a state and prints its number of devices and its fingerprint."""
    restored = checkpoint.Checkpoints(workdir, models.describe(small())).restore(begin(small(), fsdp=True))
    assert restored is not None
    (split,) = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(restored.state)}
    print(split, state_hash.compute(restored.state))


@pytest.fixture(scope="module")
def config():
    return small()


@pytest.fixture
def state(config):
    return begin(config)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_restores_the_whole_state(config, state, tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    assert saved.restore(state) is None
    changed = jax.tree.map(lambda x: x + 1, state)
    saved.save(changed, 5, [{"loss": 0.1, "pck": 1 / 3}])
    saved.close()
    again = checkpoint.Checkpoints(tmp_path, models.describe(config))
    restored = again.restore(state)
    assert restored is not None and restored.unlogged == [{"loss": 0.1, "pck": 1 / 3}]
    assert_equal(restored.state, changed)
    assert jax.tree.leaves(restored.state)[0].sharding == jax.tree.leaves(state)[0].sharding
    again.close()


def test_a_run_in_brackets_resumes(config, state, tmp_path):
    workdir = tmp_path / "lr[1e-3]"
    saved = checkpoint.Checkpoints(workdir, models.describe(config))
    saved.save(state, 5)
    saved.save_best(state, 5, 0.1)
    saved.close()
    again = checkpoint.Checkpoints(workdir, models.describe(config))
    restored = again.restore(state)
    again.close()
    assert restored is not None and checkpoint_files.find(workdir) == workdir / "checkpoints/best/5"
    assert_equal(restored.state, state)


def test_the_first_checkpoint_is_read_back(config, state, tmp_path, monkeypatch):
    """And only the first."""
    read: list[str] = []
    monkeypatch.setattr(checkpoint_files, "find_damage", lambda folder: read.append(folder.name))
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    saved.save(state, 1)
    saved.save(state, 2)
    saved.close()
    assert read == ["1"]
    monkeypatch.setattr(checkpoint_files, "find_damage", lambda folder: ValueError("no arrays"))
    again = checkpoint.Checkpoints(tmp_path, models.describe(config))
    with pytest.raises(ValueError, match=r"last/3 was written, but cannot be read back .*no arrays"):
        again.save(state, 3)
    again.close()


def test_restores_the_newest_state_and_none_of_another_fingerprint(config, state, tmp_path, capfd):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    for step in (9, 10):
        saved.save(jax.tree.map(lambda x, step=step: x + step, state), step)
    saved.close()
    path = tmp_path / "checkpoints" / "last" / "10" / "meta" / "metadata"
    for fingerprint, step in ((None, 10), ("0123456789abcdef", 9)):
        if fingerprint:
            meta = json.loads(path.read_text()) | {"fingerprint": fingerprint}
            path.write_text(json.dumps(meta | {checkpoint_files.DIGEST: checkpoint_files.digest(meta)}))
        again = checkpoint.Checkpoints(tmp_path, models.describe(config))
        restored = again.restore(state)
        again.close()
        assert restored is not None
        assert_equal(restored.state, jax.tree.map(lambda x, step=step: x + step, state))
    assert "10 is damaged" in capfd.readouterr().out


def test_a_state_is_restored_bit_for_bit_on_another_number_of_devices(config, tmp_path):
    """Four devices save a state split by `fsdp`. One and eight devices restore it."""
    state = jax.tree.map(lambda x: x + 1, begin(config, fsdp=True))
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    saved.save(state, 1)
    saved.close()
    for devices in (1, 8):
        command = [sys.executable, "-c", f"import test_checkpoint as t; t.show_restored({str(tmp_path)!r})"]
        paths = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": paths}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.stdout.split() == [str(devices), state_hash.compute(state)], done.stderr[-3000:]


def test_keeps_the_best_and_the_last_two(config, state, tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    assert [saved.save_best(state, step, ap) for step, ap in [(1, 0.2), (2, 0.5), (3, 0.5), (4, 0.3)]] == [
        True, True, False, False,
    ]  # fmt: skip
    for step in (2, 4, 6):
        saved.save(state, step)
    assert saved.best_score() == 0.5
    saved.close()
    assert [p.name for p in (tmp_path / "checkpoints/best").iterdir()] == ["2"]
    assert sorted(p.name for p in (tmp_path / "checkpoints/last").iterdir()) == ["4", "6"]
    assert checkpoint_files.find(tmp_path) == tmp_path / "checkpoints/best/2"
    assert checkpoint_files.find(tmp_path / "checkpoints/last") == tmp_path / "checkpoints/last/6"


def test_a_better_checkpoint_of_an_older_step_replaces_the_best(config, state, tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    assert saved.save_best(state, 10, 0.3) and saved.save_best(state, 6, 0.5)
    assert saved.best_score() == 0.5
    saved.close()
    assert checkpoint_files.find(tmp_path).name == "6"


def test_reads_only_the_weights(config, state, tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    saved.save(state, 1)
    saved.close()
    weights, network, counters = checkpoint_files.read_weights(tmp_path)
    assert set(weights) == {"params", "batch_stats"}
    assert network == models.describe(config) and counters == {}
    assert_equal(weights["params"], state.params)
    assert_equal(weights["batch_stats"], state.batch_stats)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(weights))


def test_another_architecture_is_refused(config, state, tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, models.describe(config))
    saved.save(state, 1)
    saved.close()
    other = config.copy_and_resolve_references()
    other.model.width = 8
    again = checkpoint.Checkpoints(tmp_path, models.describe(other))
    with pytest.raises(ValueError, match="another network: `width` is 4 there and 8 here"):
        again.restore(state)
    again.close()
