import os
import pathlib
import subprocess
import sys

import fsspec
import jax
import jax.numpy as jnp
import made_buckets
import numpy as np
import optax
import pytest

from configs import default
from hrnet_jax import buckets, checkpoint, checkpoint_files, console, sharding, state_hash, training
from hrnet_jax.run import directory, logger, manifest, replay, tensorboard

NETWORK = {"name": "hrnet", "width": 4}


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(request):
    with getattr(made_buckets, request.param)() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"{request.param}://runs"


@pytest.fixture
def run(bucket, request):
    return f"{bucket}/{request.node.originalname}"


@pytest.fixture
def state():
    """A state of few arrays, since each takes several requests."""
    params = {"conv1": jnp.arange(12.0).reshape(3, 4), "bn1": jnp.ones(4)}
    begun = training.init_state({"params": params, "batch_stats": {"bn1": jnp.zeros(4)}}, optax.sgd(1.0))
    return sharding.place_state(begun, sharding.make_mesh())


def files(run):
    """All objects in a folder, uncached as on another machine."""
    system = fsspec.filesystem(run[:2], skip_instance_cache=True)
    names = (name.removeprefix(f"{run[5:]}/") for name in system.find(run))
    return sorted(names)


def in_another_process(code, *arguments):
    root = pathlib.Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_local_paths_become_absolute_and_paths_in_buckets_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(buckets, "_PACKAGES", dict.fromkeys(buckets._PACKAGES, "fsspec"))
    assert os.fspath(buckets.path("runs/a")) == "runs/a" and buckets.absolute("runs/a") == tmp_path / "runs/a"
    for name in ("gs://runs/a", "s3://runs/a"):
        assert os.fspath(buckets.absolute(name) / "config.json") == f"{name}/config.json"
        assert buckets.is_in_bucket(name) and not buckets.is_in_bucket(name[5:])


@pytest.mark.parametrize(
    ("name", "reason"), [("a\\b", r"tensorstore takes for a slash .* /.*/a/b: keep"), ("\udcff", "UTF-8")]
)
def test_directories_that_lose_arrays_are_refused(tmp_path, name, reason):
    for check in (buckets.absolute, buckets.check_writable):
        with pytest.raises(ValueError, match=reason):
            check(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["gcs://runs/a", "S3://runs/a", "az://runs/a", "file:///runs/a", "gs:/runs/a", "gs://", "s3:///a"]
)
def test_other_schemes_and_urls_without_a_bucket_are_refused(name):
    for made in (buckets.path, buckets.absolute):
        with pytest.raises(
            ValueError, match=rf"^'{name}' is not a supported path: .* gs://BUCKET/... or s3://BUCKET/..."
        ):
            made(name)


def test_a_lost_connection_is_reported(monkeypatch, tmp_path):
    class Lost(Exception):
        """Like the stores' packages, not derived from a built-in error."""

    def lose(*_):
        raise Lost("no answer")

    monkeypatch.setattr(buckets, "_PACKAGES", dict.fromkeys(buckets._PACKAGES, "fsspec"))
    path = buckets.path("gs://runs/metrics.jsonl")
    monkeypatch.setattr(type(path), "write_bytes", lose)
    monkeypatch.setattr(type(path), "exists", lose)
    for write in (buckets.create, buckets.append_text):
        with pytest.raises(
            ValueError, match=r"metrics.jsonl cannot be written \(Lost\('no .*check that the"
        ) as caught:
            write(path, b"")
        assert console.is_user_error(caught.value)
    with pytest.raises(Lost), buckets.explain_write_errors(tmp_path / "a"):
        lose()


def test_a_growing_object_keeps_what_it_holds(tmp_path):
    path = tmp_path / "object"
    growing = buckets.BufferedObject(path, b"one ")
    assert path.read_bytes() == b"one "
    growing.write(b"two ")
    growing.write(b"three")
    assert path.read_bytes() == b"one "
    growing.close()
    assert path.read_bytes() == b"one two three"


def test_a_missing_package_is_reported(monkeypatch):
    monkeypatch.setattr(buckets, "_PACKAGES", {"s3://": "missing_s3fs"})
    with pytest.raises(ValueError, match="s3://runs/a needs the package missing_s3fs: `pip install missing_s3fs`"):
        buckets.path("s3://runs/a")


def test_a_state_is_restored_from_a_bucket(state, run):
    saved = checkpoint.Checkpoints(run, NETWORK)
    assert saved.restore(state) is None
    changed = jax.tree.map(lambda x: x + 1, state)
    saved.save(changed, 5, [{"loss": 1 / 3}])
    saved.close()
    again = checkpoint.Checkpoints(run, NETWORK)
    restored = again.restore(state)
    assert restored is not None and restored.unlogged == [{"loss": 1 / 3}]
    assert_equal(restored.state, changed)
    assert jax.tree.leaves(restored.state)[0].sharding == jax.tree.leaves(state)[0].sharding
    again.close()
    assert checkpoint_files.fingerprints(buckets.path(run) / "checkpoints/last") == {
        5: state_hash.compute(changed)
    }


def test_another_process_reads_the_weights(state, run):
    saved = checkpoint.Checkpoints(run, NETWORK)
    saved.save(state, 5)
    saved.close()
    code = """
import sys
from hrnet_jax import checkpoint_files
weights, network, _ = checkpoint_files.read_weights(sys.argv[1])
print(checkpoint_files.find(sys.argv[1]), network["width"], weights["params"]["conv1"].sum())
"""
    done = in_another_process(code, run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{run}/checkpoints/last/5", "4", str(state.params["conv1"].sum())]


def test_old_checkpoints_are_deleted_completely(state, run):
    saved = checkpoint.Checkpoints(run, NETWORK)
    for step in (2, 4, 6):
        saved.save(state, step)
    assert [saved.save_best(state, step, ap) for step, ap in ((2, 0.2), (4, 0.5), (6, 0.3))] == [True, True, False]
    assert saved.best_score() == 0.5
    saved.close()
    kept = {tuple(name.split("/")[1:3]) for name in files(run)}
    assert kept == {("last", "4"), ("last", "6"), ("best", "4")}
    assert os.fspath(checkpoint_files.find(run)) == f"{run}/checkpoints/best/4"


def test_an_incomplete_checkpoint_is_ignored_and_deleted(state, run):
    saved = checkpoint.Checkpoints(run, NETWORK)
    saved.save(state, 1)
    saved.close()
    last = buckets.path(run) / "checkpoints/last"
    for name in ("_CHECKPOINT_METADATA", "meta/metadata", "state/d/0123"):
        for step in ("2", "5"):
            (last / step / name).write_bytes((last / "1/meta/metadata").read_bytes())
    assert checkpoint_files.find(run).name == "1"
    assert checkpoint_files.fingerprints(last).keys() == {1}
    again = checkpoint.Checkpoints(run, NETWORK)
    assert_equal(again.restore(state).state, state)
    again.save(state, 2)  # orbax deletes in the background and waits for it here
    again.close()
    assert not any(name.endswith("state/d/0123") or "last/5/" in name for name in files(run))
    assert checkpoint_files.find(run).name == "2"


def test_damage_in_a_bucket_is_reported_with_its_path(state, run):
    weights = state.variables()
    written = checkpoint_files.write_weights(run, weights, NETWORK, {})
    assert_equal(checkpoint_files.read_weights(run)[0], weights)
    (written / "state" / "d").rmtree()
    with pytest.raises(ValueError, match=r"/0 is damaged .*: use another one"):
        checkpoint_files.read_weights(run)
    with pytest.raises(ValueError, match="exists and is not empty"):
        checkpoint_files.write_weights(run, weights, NETWORK, {})


def test_a_damaged_checkpoint_in_a_bucket_is_left_to_the_user(state, run):
    """The connection may have failed instead, so nothing is renamed or deleted."""
    saved = checkpoint.Checkpoints(run, NETWORK)
    for step in (1, 2):
        saved.save(state, step)
    saved.close()
    newest = buckets.path(run) / "checkpoints/last/2"
    (newest / "state" / "d").rmtree()
    before = files(run)
    again = checkpoint.Checkpoints(run, NETWORK)
    with pytest.raises(ValueError, match=r"last/2 is damaged .*: try again, or move it away to resume from"):
        again.restore(state)
    again.close()
    assert files(run) == before
    newest.rmtree()
    again = checkpoint.Checkpoints(run, NETWORK)
    assert_equal(again.restore(state).state, state)
    again.close()


def test_a_log_in_a_bucket_resumes_at_its_checkpoint(run):
    def steps():
        return [line["step"] for line in logger.read(workdir)]

    def shown():
        found = tensorboard.read(workdir / tensorboard.NAME)
        return [(event.step, value.tag) for _, event in found for value in event.summary.value]

    workdir = buckets.path(run)
    buckets.check_writable(workdir)
    log = logger.Logger(workdir, 0)
    for step in (1, 2):
        log.metrics(step, {"loss": 1 / step})
    log.upload()
    assert steps() == [1, 2] and shown() == [(1, "loss"), (2, "loss")]
    log.metrics(3, {"loss": 0.0})
    log.close()
    assert steps() == [1, 2, 3]
    log = logger.Logger(workdir, 2)
    log.metrics(4, {"loss": 9.0})
    log.picture(4, np.zeros((2, 2, 3), np.uint8))
    log.close()
    assert steps() == [1, 2, 4]
    assert shown() == [(1, "loss"), (2, "loss"), (4, "loss"), (4, "crops")]
    assert files(run) == [tensorboard.NAME, "metrics.jsonl", "pictures/0000004.png"]


def test_config_and_manifest_are_written_to_the_bucket(run):
    config, workdir = default.get_config(), buckets.path(run)
    with directory.hold(run):
        directory.claim(run, config)
        assert replay.read_config(workdir) == config
    assert manifest.add(workdir, {"step": 0, "code": "a"}) == []
    assert manifest.add(workdir, {"step": 3, "code": "b"}) == ["code was a and is b"]
    for text in ("one\n", "two\n"):
        buckets.append_text(workdir / "notes", text)
    assert (workdir / "notes").read_text() == "one\ntwo\n"
    assert files(run) == ["config.json", "manifest.json", "notes"]
    (workdir / "checkpoints/last/1/meta").write_text("{}")
    config.model.width = 48
    with pytest.raises(ValueError, match=r"belongs to another config: `model\.width` is 32 there and 48 here"):
        directory.claim(run, config)


def test_a_missing_bucket_is_not_created(bucket):
    with pytest.raises(ValueError, match=r"://runs-missing/run cannot be written to .*: check that the bucket"):
        buckets.check_writable(buckets.path(f"{bucket}-missing/run"))
    with pytest.raises(FileNotFoundError):
        files(f"{bucket}-missing")
