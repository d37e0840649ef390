import json
import resource

import cv2
import numpy as np
import pytest

from hrnet_jax.run import logger, tensorboard


def lines(workdir):
    return [{name: line[name] for name in line if name != "time"} for line in logger.read(workdir)]


def events(workdir):
    found = [event for _, event in tensorboard.read(workdir / tensorboard.NAME)]
    return [(event.step, value.tag) for event in found for value in event.summary.value]


def test_resuming_deletes_later_entries(tmp_path):
    log = logger.Logger(tmp_path, 0)
    for step in (1, 2, 3):
        log.metrics(step, {"loss": 1 / step})
        log.picture(step, np.zeros((4, 4, 3), np.uint8))
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')  # truncated by a crash
    log = logger.Logger(tmp_path, 2)
    log.metrics(3, {"loss": 9.0})
    log.close()
    assert lines(tmp_path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 9.0}]
    assert events(tmp_path) == [(1, "loss"), (1, "crops"), (2, "loss"), (2, "crops"), (3, "loss")]


def test_tensorboard_holds_the_entries_of_the_log(tmp_path):
    """A run killed between the two writes of a metric resumes with neither or both."""
    log = logger.Logger(tmp_path, 0)
    log.metrics(4, {"loss": 1.0})
    log.metrics(4, {"val/AP": 0.5})
    log.close()
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    again = logger.Logger(tmp_path, 4)
    assert again.logged_at_start("loss") and not again.logged_at_start("val/AP")
    again.close()
    assert events(tmp_path) == [(4, "loss")]


def test_entries_are_on_disk_immediately(tmp_path):
    log = logger.Logger(tmp_path, 0)
    log.metrics(1, {"loss": 0.25})
    assert lines(tmp_path) == [{"step": 1, "loss": 0.25}] and events(tmp_path) == [(1, "loss")]
    log.close()


def test_a_log_that_cannot_be_written_is_reported_with_its_path(tmp_path):
    log = logger.Logger(tmp_path, 0)
    log.metrics(1, {"loss": 0.25})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "metrics.jsonl").stat().st_size, before[1]))
    try:
        with pytest.raises(ValueError, match=r"metrics\.jsonl cannot be written \(File too large\): make room"):
            log.metrics(2, {"loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.close()


def test_metrics_and_pictures_are_written_to_tensorboard(tmp_path):
    log = logger.Logger(tmp_path, 0)
    log.metrics(4, {"val/AP": 0.5})
    path = log.picture(4, np.full((8, 6, 3), 200, np.uint8))
    log.close()
    assert path == tmp_path / "pictures/0000004.png" and path.stat().st_size > 0
    found = [event for _, event in tensorboard.read(tmp_path / tensorboard.NAME)]
    tags = {value.tag: value for event in found for value in event.summary.value}
    assert tags["val/AP"].simple_value == 0.5
    assert (tags["crops"].image.height, tags["crops"].image.width) == (8, 6)


def test_red_stays_red_in_a_picture(tmp_path):
    log = logger.Logger(tmp_path, 0)
    path = log.picture(4, np.full((2, 2, 3), (200, 40, 10), np.uint8))
    log.close()
    assert cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)[0, 0].tolist() == [200, 40, 10]


def test_lines_without_a_step_are_ignored(tmp_path):
    good = json.dumps({"step": 3, "loss": 1.0})
    (tmp_path / "metrics.jsonl").write_text(
        f'[]\n{{"loss": 1}}\n{{"step": "x"}}\n{good}\n\x00\x00\n{"[" * 100_000}\n'
    )
    assert lines(tmp_path) == [{"step": 3, "loss": 1.0}]
