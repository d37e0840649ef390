"""The interface of tasks, with a second task that is not heatmaps: coordinate regression in one file."""

import json
import os
import pathlib
import sys

import coordinates
import forking
import killing
import pytest

from hrnet_jax import configuration, tasks
from hrnet_jax.run import logger
from hrnet_jax.tasks import top_down

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = "--config=tests/coordinates.py"


@pytest.fixture(scope="module")
def flags(made_up_records):
    os.environ["PYTHONPATH"] = os.fspath(ROOT / "tests")
    yield [CONFIG, f"--config.data.dir={made_up_records}"]
    del os.environ["PYTHONPATH"]


@pytest.fixture(scope="module")
def uninterrupted(flags, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("coordinates") / "run"
    killing.finish(killing.start(flags, workdir))
    return workdir


def test_a_task_outside_the_package_trains(uninterrupted):
    lines = logger.read(uninterrupted)
    distances = [line["distance"] for line in lines if "distance" in line]
    found = [line["val2017/found"] for line in lines if "val2017/found" in line]
    assert len(distances) == 5 and distances[-1] < 0.7 * distances[0]
    assert len(found) == 2 and found[1] > found[0]
    assert (uninterrupted / "pictures" / "0000004.png").is_file()


def test_it_is_killed_and_resumes_with_the_same_bits(flags, uninterrupted, tmp_path):
    kills = killing.train_with_kills(
        flags, tmp_path / "killed", uninterrupted, [("compiling", 0.0), ("saving", 0.0)]
    )
    assert [kill.reached for kill in kills] == [True, True]
    assert killing.differences(uninterrupted, tmp_path / "killed") == []


def test_it_is_evaluated_by_the_same_program(flags, uninterrupted):
    command = [sys.executable, "eval.py", *flags, f"--workdir={uninterrupted}"]
    done = forking.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((uninterrupted / "eval" / "metrics.json").read_text())
    assert metrics["val2017/found"] == max(
        line["val2017/found"] for line in logger.read(uninterrupted) if "val2017/found" in line
    )


def test_its_checkpoints_fit_no_other_network(flags, uninterrupted):
    command = [sys.executable, "eval.py", *flags, "--config.model.width=4", f"--workdir={uninterrupted}"]
    done = forking.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "`model.width` is 8 there and 4 here" in done.stderr


def test_tasks_are_found_by_name():
    assert tasks.find("top_down") is top_down.TopDown
    assert tasks.find("coordinates:Coordinates") is coordinates.Coordinates
    for name in ("bottom_down", "coordinates:Missing", "no_such_module:Task", ""):
        message = rf"`task` \(='{name}'\) must be one of top_down, bottom_up, or `module:name`"
        with pytest.raises(ValueError, match=message):
            tasks.find(name)
    with pytest.raises(ValueError, match="is not a class with the attributes of"):
        tasks.find("coordinates:get_config")


def test_a_task_checks_its_own_fields():
    config = configuration.default()
    config.eval.decoder = "median"
    with pytest.raises(ValueError, match="median"):
        tasks.build(config)
