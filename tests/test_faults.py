"""Injects faults into training runs and checks their handling as documented in docs/faults.md, in this order.

Damaged configurations, logs, tables and records are covered by test_directory, test_logger, test_records,
test_decoded and test_fuzz.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import forking
import jax
import killing
import numpy as np
import pytest

from hrnet_jax import checkpoint, sharding, training
from hrnet_jax.run import logger

ROOT = pathlib.Path(__file__).resolve().parents[1]
DESCRIPTION = {"name": "made up"}

# When orbax detects damage in its own files, it leaves reads to a closed event loop. They raise when Python
# collects them, in any later test of this module.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def command(records: pathlib.Path, workdir: pathlib.Path, *changes: str) -> list[str]:
    start = [sys.executable, "train.py", "--config=configs/demo.py", f"--workdir={workdir}"]
    return [*start, f"--config.data.dir={records}", *killing.TINY, *changes]


def run(arguments: list[str], status: int, **options) -> str:
    """Runs a command and returns its output."""
    ended = forking.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=600, **options)
    assert ended.returncode == status, ended.stderr[-3000:]
    return ended.stdout + ended.stderr


def on_small_disk(arguments: list[str], mountpoint: pathlib.Path, options: str) -> list[str]:
    """Runs a command with a private file system. Skips the test where that is not allowed."""
    mountpoint.mkdir(parents=True)
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    script = 'mount -t tmpfs -o "$1" made_up "$2" && shift 2 && exec "$@"'
    try:
        subprocess.run([*mount, script, "sh", options, os.fspath(mountpoint), "true"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine does not let tests mount file systems")
    return [*mount, script, "sh", options, os.fspath(mountpoint), *arguments]


def test_a_damaged_record_stops_the_run_and_the_state_is_saved(made_up_records, tmp_path):
    damaged = tmp_path / "records"
    shutil.copytree(made_up_records, damaged)
    (file,) = (damaged / "train2017" / "photos").rglob("*.array_record*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    output = run(command(damaged, tmp_path / "run"), status=2)
    assert "cannot be read" in output and "prepare the split again" in output and "Traceback" not in output
    assert "which is saved" in output and any((tmp_path / "run" / "checkpoints" / "last").glob("[0-9]*"))


def test_a_full_disk_stops_the_run_with_a_remedy(made_up_records, tmp_path):
    """The disk has room for one checkpoint, not for three."""
    workdir = tmp_path / "run"
    arguments = on_small_disk(
        command(made_up_records, workdir, "--config.picture_every=1000"), workdir, "size=1200k"
    )
    output = run(arguments, status=2)
    assert "error: a checkpoint in" in output and "could not be written" in output and "make room" in output
    shutil.rmtree(workdir)
    output = run(on_small_disk(command(made_up_records, workdir), workdir, "size=4k"), status=2)
    assert "cannot be written (No space left on device): make room" in output and "Traceback" not in output


def test_checkpoints_that_cannot_be_written_are_reported_before_the_first_step(made_up_records, tmp_path):
    workdir = tmp_path / "run"
    output = run(on_small_disk(command(made_up_records, workdir), workdir / "checkpoints", "ro"), status=2)
    assert "not empty and has no config.json" in output  # no run has started here
    (workdir / "config.json").write_text("{}")
    shutil.rmtree(workdir / "checkpoints")
    output = run(on_small_disk(command(made_up_records, workdir), workdir / "checkpoints", "ro"), status=2)
    assert "checkpoints cannot be written to (Read-only file system): make it writable" in output
    assert not (workdir / "metrics.jsonl").exists()


def state(step: int) -> training.TrainState:
    random = np.random.default_rng(step)
    weights = {f"w{i}": random.standard_normal((32, 33), np.float32) for i in range(8)}
    made_up = training.TrainState(np.array(step, np.int32), weights, batch_stats={}, opt_state={})
    return sharding.place_state(made_up, sharding.make_mesh())


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    saved = checkpoint.Checkpoints(workdir, DESCRIPTION)
    for step in (5, 10):
        saved.save(state(step), step, [{"loss": step / 4}])
    saved.save_best(state(10), 10, 2.5)
    saved.close()
    return workdir


def damage(file: pathlib.Path, kind: str, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    place = draw.randrange(len(content)) if content else 0
    if kind == "gone":
        file.unlink()
    elif kind == "cut":
        file.write_bytes(content[:place])
    elif content:
        content[place] ^= 1 << draw.randrange(8)
        file.write_bytes(content)


@pytest.mark.parametrize("kind", ["gone", "cut", "flipped"])
def test_damage_to_the_newest_checkpoint_never_restores_a_wrong_state(two_checkpoints, tmp_path, capfd, kind):
    """Either the damage has no effect, or it is reported and the checkpoint before is restored."""
    draw, steps = random.Random(kind), []
    for trial in range(8):
        workdir = tmp_path / str(trial)
        shutil.copytree(two_checkpoints, workdir)
        files = [path for path in (workdir / "checkpoints" / "last" / "10").rglob("*") if path.is_file()]
        damage(draw.choice(sorted(files, key=lambda path: path.stat().st_size)[-12:]), kind, draw)
        saved = checkpoint.Checkpoints(workdir, DESCRIPTION)
        restored = saved.restore(state(0))
        assert restored is not None
        steps.append(int(restored.state.step))
        assert restored.unlogged == [{"loss": steps[-1] / 4}]
        jax.tree.map(np.testing.assert_array_equal, restored.state, state(steps[-1]))
        output = capfd.readouterr().out
        assert ("10 is damaged" in output and "it is kept as 10.damaged" in output) == (steps[-1] == 5)
        if steps[-1] == 5:
            saved.save(state(10), 10)
        saved.close()
        (workdir / "checkpoints" / "last" / "10" / "meta" / "metadata").write_text("")  # again, the same step
        again = checkpoint.Checkpoints(workdir, DESCRIPTION)
        assert int(again.restore(state(0)).state.step) == 5
        again.save(state(10), 10)
        again.close()
        capfd.readouterr()
        assert int(checkpoint.Checkpoints(workdir, DESCRIPTION).restore(state(0)).state.step) == 10
    assert 5 in steps


@pytest.mark.parametrize("folder", ["last/10", "best/10"])
def test_a_digit_changed_in_the_metadata_is_detected(two_checkpoints, tmp_path, folder):
    shutil.copytree(two_checkpoints, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / folder / "meta" / "metadata"
    path.write_text(path.read_text().replace("2.5", "9.5"))
    saved = checkpoint.Checkpoints(tmp_path / "run", DESCRIPTION)
    restored = saved.restore(state(0))
    assert restored is not None and int(restored.state.step) == (5 if folder == "last/10" else 10)
    assert saved.best_score() == (2.5 if folder == "last/10" else None)
    assert saved.save_best(state(12), 12, 2.0) == (folder == "best/10")
    saved.close()


def test_a_run_with_only_damaged_checkpoints_is_refused_and_not_overwritten(two_checkpoints, tmp_path):
    shutil.copytree(two_checkpoints, tmp_path / "run")
    for meta in (tmp_path / "run").glob("checkpoints/last/*/meta/metadata"):
        meta.write_text("{")
    with pytest.raises(ValueError, match=r"all checkpoints are damaged: .*last/10 .*last/5 .* none to resume"):
        checkpoint.Checkpoints(tmp_path / "run", DESCRIPTION).restore(state(0))
    assert {path.name for path in (tmp_path / "run/checkpoints/last").iterdir()} == {"5", "10"}


def test_a_non_finite_loss_stops_the_run_or_is_skipped(made_up_records, tmp_path):
    wild = ("--config.learning_rate=1e30", "--config.warmup_steps=0")
    output = run(command(made_up_records, tmp_path / "run", *wild), status=2)
    assert "a gradient or a statistic of step 1 (counted from 0) is not finite, at learning rate 1e+30" in output
    (line,) = (tmp_path / "run" / "not_finite.jsonl").read_text().splitlines()
    assert len(json.loads(line)["annotation_ids"]) == 4 and "Traceback" not in output
    output = run(command(made_up_records, tmp_path / "skipping", *wild, "--config.skip_not_finite=4"), status=2)
    assert output.count("it is skipped") == 4
    lines = (tmp_path / "skipping" / "not_finite.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]


def worker_of(parent: int) -> int:
    """Returns the ID of the loader process that a program started."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        status = (path / "status").read_text() if (path / "status").exists() else ""
        if f"\nPPid:\t{parent}\n" in status and b"spawn_main" in (path / "cmdline").read_bytes():
            return int(path.name)
    raise RuntimeError(f"process {parent} has no loader process")


def test_a_killed_loader_stops_the_run_and_the_state_is_saved(made_up_records, tmp_path):
    workdir = tmp_path / "run"
    endless = [f"--config.{name}=99999" for name in ("epochs", "eval_every", "picture_every", "checkpoint_every")]
    arguments = command(made_up_records, workdir, "--config.loader.workers=1", *endless)
    process = forking.start(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killing.wait_for(lambda: len(logger.read(workdir)) >= 2, process)
    os.kill(worker_of(process.pid), signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2, errors[-3000:]
    assert "no batch came for step" in errors and "terminated unexpectedly with exit code -9" in errors
    (kept,) = (workdir / "checkpoints" / "last").glob("[0-9]*")
    assert f"resumes from step {int(kept.name):,}, which is saved" in errors


def test_a_clock_set_back_has_no_effect(made_up_records, whole_run, tmp_path):
    """The clock of the second half of a run is thirty years behind."""
    back = tmp_path / "back"
    back.mkdir()
    (back / "sitecustomize.py").write_text(
        "import time\nnow, now_ns = time.time, time.time_ns\n"
        "time.time, time.time_ns = lambda: now() - 1e9, lambda: now_ns() - 10**18\n"
    )
    halves = tmp_path / "halves"
    first = forking.start(
        command(made_up_records, halves), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    killing.wait_for(lambda: len(logger.read(halves)) >= 2, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 75
    run(command(made_up_records, halves), status=0, env=os.environ | {"PYTHONPATH": os.fspath(back)})
    times = [line["time"] for line in logger.read(halves)]
    assert max(times) - min(times) > 0.9e9 and times[0] > times[-1]
    assert killing.differences(whole_run, halves) == []
