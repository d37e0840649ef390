import json

import pytest

from configs import default
from hrnet_jax.running import directory, replay


def write(workdir, lines, states=None):
    workdir.mkdir()
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, mark in (states or {}).items():
        folder = workdir / "checkpoints" / "last" / str(step) / "meta"
        folder.mkdir(parents=True)
        (folder / "metadata").write_text(json.dumps({"network": {}, "fingerprint": mark}))
    return workdir


LINES = [{"step": 2, "time": 1.0, "loss": 0.5}, {"step": 4, "time": 2.0, "loss": 0.25, "val/AP": float("nan")}]


def test_a_configuration_comes_back_as_it_was_written(tmp_path):
    config = default.get_config()
    directory.claim(tmp_path, config)
    assert replay.read_config(tmp_path) == config
    with pytest.raises(ValueError, match=r"gone/config\.json cannot be read"):
        replay.read_config(tmp_path / "gone")
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        replay.read_config(tmp_path)


def test_runs_that_are_the_same_differ_only_in_time(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(
        tmp_path / "b", [line | {"time": 9.0, "images_per_second": 3.0} for line in LINES], {2: "1b", 4: "0a"}
    )
    assert replay.compare(a, b) == []
    assert replay.count(a, b) == "5 logged figures and the state after step 4"


def test_the_first_difference_is_told(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(tmp_path / "b", [LINES[0], LINES[1] | {"loss": 0.25000001}], {4: "0b"})
    assert replay.compare(a, b) == [
        "1 of 5 logged figures, first at step 4: loss was 0.25 and is 0.25000001",
        "the state after step 4: its fingerprint was 0a and is 0b",
    ]


def test_what_is_no_configuration_is_refused(tmp_path):
    for content in ("{}", "[]", "3", "[" * 200_000):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json cannot be read .*: give the directory of a run"):
            replay.read_config(tmp_path)


def test_states_that_cannot_be_compared_are_not_the_same(tmp_path):
    a, b = write(tmp_path / "a", LINES, {2: "0a"}), write(tmp_path / "b", LINES, {4: "0b"})
    (said,) = replay.compare(a, b)
    assert said.startswith("the runs kept no state of the same step")


def test_what_was_not_logged_again_is_told(tmp_path):
    a = write(tmp_path / "a", LINES, {4: "0a"})
    b = write(tmp_path / "b", [LINES[0], {"step": 4, "loss": 0.25}], {4: "0a"})
    assert replay.compare(a, b) == ["1 figures were not logged again, first val/AP of step 4"]
    assert replay.compare(b, a) == []


def test_runs_with_nothing_in_common_are_not_the_same(tmp_path):
    found = replay.compare(write(tmp_path / "a", LINES, {4: "0a"}), write(tmp_path / "b", [], {4: "0a"}))
    assert found == ["the logs have no figure in common"]
