import json

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from configs import default
from hrnet_jax import logbook


def test_a_run_directory_belongs_to_its_config(tmp_path):
    config = default.get_config()
    workdir = logbook.claim(tmp_path / "run", config)
    assert json.loads((workdir / "config.json").read_text())["model"]["width"] == 32
    (workdir / "checkpoints/last/1").mkdir(parents=True)
    config.loader.threads = 7
    config.eval.decoder = "dark"
    logbook.claim(workdir, config)
    config.model.width = 48
    with pytest.raises(ValueError, match=r"belongs to another config: `model\.width` is 32 there and 48 here"):
        logbook.claim(workdir, config)


def test_a_run_that_never_got_anywhere_is_free(tmp_path):
    config = default.get_config()
    logbook.claim(tmp_path, config)
    config.model.width = 48
    logbook.claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["width"] == 48


def test_a_damaged_config_and_a_file_are_named(tmp_path):
    (tmp_path / "checkpoints/last/1").mkdir(parents=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        logbook.claim(tmp_path, default.get_config())
    with pytest.raises(ValueError, match=r"is a file: give a directory"):
        logbook.claim(tmp_path / "config.json", default.get_config())


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match=r"not empty and has no config\.json"):
        logbook.claim(tmp_path, default.get_config())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_resuming_forgets_what_came_after(tmp_path):
    log = logbook.Logbook(tmp_path, 0)
    for step in (1, 2, 3):
        log.figures(step, {"loss": 1 / step})
    log.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')  # cut off by a crash
    log = logbook.Logbook(tmp_path, 2)
    log.figures(3, {"loss": 9.0})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}, {"step": 3, "loss": 9.0}]


def test_figures_and_pictures_reach_tensorboard(tmp_path):
    log = logbook.Logbook(tmp_path, 0)
    log.figures(4, {"val/AP": 0.5})
    path = log.picture(4, np.full((8, 6, 3), 200, np.uint8))
    log.close()
    assert path == tmp_path / "pictures/0000004.png" and path.stat().st_size > 0
    (events,) = tmp_path.glob("events.*")
    tags = {value.tag: value for event in read_events(events) for value in event.summary.value}
    assert tags["val/AP"].simple_value == 0.5
    assert (tags["crops"].image.height, tags["crops"].image.width) == (8, 6)


def read_events(path):
    """Splits TensorBoard's file: length (8 bytes), checksum (4), event, checksum (4)."""
    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        yield event_pb2.Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_waiting_for_photos_is_complained_of_once_and_with_the_way_out():
    watch = logbook.Watch(8)
    assert watch.complaint(0.1, False) is None
    complaint = watch.complaint(0.6, False)
    assert complaint is not None and complaint.startswith("60% of the time") and "--decoded" in complaint
    assert watch.complaint(0.9, False) is None
    assert "--decoded" not in (logbook.Watch(8).complaint(0.9, True) or "--decoded")
