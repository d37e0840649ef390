"""Several processes as one run, as on several machines. `fleet.py` is the long version."""

import pathlib
import signal

import fleet
import killing
import pytest

from hrnet_jax.run import logger

pytestmark = pytest.mark.long


def wait_for_lines(workdir: pathlib.Path, count: int, started: list) -> None:
    killing.wait_for(lambda: len(logger.read(workdir)) >= count, *started)


def test_two_processes_stop_together_and_a_single_one_resumes(tiny, whole_run, tmp_path):
    """Two processes of two devices with fsdp. The second gets SIGTERM. One process of one device resumes."""
    workdir = tmp_path / "run"
    started = fleet.start([*tiny, "--config.fsdp=True"], workdir, processes=2, devices=2)
    wait_for_lines(workdir, 2, started)
    started[1].send_signal(signal.SIGTERM)
    assert fleet.finish(started) == [75, 75]
    assert "stopped after step" in fleet.output(workdir, 0).read_text()
    assert "stopped after step" not in fleet.output(workdir, 1).read_text()
    fleet.run(tiny, workdir)
    assert fleet.farthest(whole_run, workdir, "loss") < 1e-5
    assert fleet.farthest(whole_run, workdir, fleet.AP) == 0
    assert "note: since the run was started, devices.count was 4 and is 1" in fleet.output(workdir, 0).read_text()


def test_a_lost_process_ends_the_others_with_a_message(tiny, tmp_path):
    workdir = tmp_path / "run"
    endless = [f"--config.{name}=99999" for name in ("epochs", "eval_every", "picture_every", "checkpoint_every")]
    started = fleet.start([*tiny, *endless], workdir, processes=2)
    wait_for_lines(workdir, 2, started)
    started[1].kill()
    assert fleet.finish(started, timeout=200) == [75, -9]
    printed = fleet.output(workdir, 0).read_text()
    assert "error: another process of the run, or the connection to it, was lost" in printed
    assert "Traceback" not in printed


def test_losing_process_0_ends_the_others(tiny, tmp_path):
    """Process 0 is the coordinator. Without it JAX may abort the others before this project does."""
    workdir = tmp_path / "run"
    started = fleet.start([*tiny, "--config.epochs=99999"], workdir, processes=2)
    wait_for_lines(workdir, 2, started)
    started[0].kill()
    assert fleet.finish(started, timeout=200)[1] in (75, -signal.SIGABRT)
    printed = fleet.output(workdir, 1).read_text()
    assert "error: another process of the run" in printed or "another task died" in printed


def test_a_mistake_of_one_process_ends_the_other_with_an_error(tiny, tmp_path):
    started = fleet.start(tiny, tmp_path / "run", processes=2, second=["--config.data.dir=gone"])
    assert fleet.finish(started, timeout=200)[1] == 2 and started[0].returncode not in (0, 2)
    assert "error: gone/train2017 does not exist" in fleet.output(tmp_path / "run", 1).read_text()


def test_a_mistake_ends_all_processes(tiny, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "thesis.tex").write_text("...")
    statuses = fleet.finish(fleet.start(tiny, workdir, processes=2), timeout=200)
    assert statuses[0] == 2 and statuses[1] != 0
    assert "not empty and has no config.json" in fleet.output(workdir, 0).read_text()
