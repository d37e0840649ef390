import struct

import pytest
from tensorboardX.record_writer import masked_crc32c

from hrnet_jax.run import tensorboard


def everything(step, tag):
    return True


def shown(path):
    return [(e.step, v.tag, v.simple_value) for _, e in tensorboard.read(path) for v in e.summary.value]


def written(workdir, steps, wanted=everything):
    events = tensorboard.Events(workdir, wanted)
    for step in steps:
        events.metrics(step, {"loss": step / 4, "pck": 1.0})
    events.close()
    return workdir / tensorboard.NAME


def test_the_file_is_what_tensorboard_reads(tmp_path):
    """Length, its checksum, the event, its checksum, as TensorFlow's record files have them; the version first."""
    data = written(tmp_path, [3]).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert struct.unpack_from("<I", data, 8)[0] == masked_crc32c(data[:8])
    assert struct.unpack_from("<I", data, 12 + length)[0] == masked_crc32c(data[12 : 12 + length])
    (_, first), *_ = tensorboard.read(tmp_path / tensorboard.NAME)
    assert first.file_version == "brain.Event:2"


def test_starting_again_keeps_what_is_wanted_and_the_order(tmp_path):
    written(tmp_path, [1, 2, 3])
    path = written(tmp_path, [3], lambda step, tag: step <= 2 and (step, tag) != (2, "pck"))
    assert shown(path) == [
        (1, "loss", 0.25),
        (1, "pck", 1.0),
        (2, "loss", 0.5),
        (3, "loss", 0.75),
        (3, "pck", 1.0),
    ]
    assert [path.name for path in tmp_path.iterdir()] == [tensorboard.NAME]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_file_that_was_cut_off_is_read_up_to_there(tmp_path, cut):
    path = written(tmp_path, [1, 2])
    whole = shown(path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert shown(path) == whole[: len(shown(path))] and 2 <= len(shown(path)) < 4


def test_rubbish_at_the_end_is_left_out(tmp_path):
    path = written(tmp_path, [1])
    whole = shown(path)
    path.write_bytes(path.read_bytes() + struct.pack("<QI", 5, 0) + b"\xff" * 9)
    assert shown(path) == whole
