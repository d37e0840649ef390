import struct

import pytest
from tensorboardX.record_writer import masked_crc32c

from hrnet_jax.run import tensorboard


def keep_all(step, tag):
    return True


def events(path):
    return [(e.step, v.tag, v.simple_value) for _, e in tensorboard.read(path) for v in e.summary.value]


def written(workdir, steps, keep=keep_all):
    events = tensorboard.Events(workdir, keep)
    for step in steps:
        events.metrics(step, {"loss": step / 4, "pck": 1.0})
    events.close()
    return workdir / tensorboard.NAME


def test_the_file_has_tensorboards_format(tmp_path):
    """Length, its checksum, event and its checksum as in TensorFlow's record files. The version comes first."""
    data = written(tmp_path, [3]).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert struct.unpack_from("<I", data, 8)[0] == masked_crc32c(data[:8])
    assert struct.unpack_from("<I", data, 12 + length)[0] == masked_crc32c(data[12 : 12 + length])
    (_, first), *_ = tensorboard.read(tmp_path / tensorboard.NAME)
    assert first.file_version == "brain.Event:2"


def test_restarting_keeps_selected_events_in_order(tmp_path):
    written(tmp_path, [1, 2, 3])
    path = written(tmp_path, [3], lambda step, tag: step <= 2 and (step, tag) != (2, "pck"))
    assert events(path) == [
        (1, "loss", 0.25),
        (1, "pck", 1.0),
        (2, "loss", 0.5),
        (3, "loss", 0.75),
        (3, "pck", 1.0),
    ]
    assert [path.name for path in tmp_path.iterdir()] == [tensorboard.NAME]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_truncated_file_is_read_up_to_the_damage(tmp_path, cut):
    path = written(tmp_path, [1, 2])
    whole = events(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert events(path) == whole[: len(events(path))] and 2 <= len(events(path)) < 4


def test_garbage_at_the_end_is_ignored(tmp_path):
    path = written(tmp_path, [1])
    whole = events(path)
    path.write_bytes(path.read_bytes() + struct.pack("<QI", 5, 0) + b"\xff" * 9)
    assert events(path) == whole
