"""One file of TensorBoard events for the whole life of a run, across restarts.

Events are written immediately and in order. TensorboardX's own writer buffers them in another thread for two
minutes, and a killed run loses them. The file name has no timestamp, so that a clock set back does not change
their order.
"""

import struct
import time
from collections.abc import Callable, Iterator

import numpy as np
from google.protobuf.message import DecodeError
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import masked_crc32c

from hrnet_jax import buckets

NAME = "events.out.tfevents.0000000000.hrnet_jax"
PICTURE = "crops"

_LENGTH, _CHECKSUM = 8, 4  # bytes; a record is a length, its checksum, the event, and its checksum


class Events:
    """Writes the events of a run. Existing events are kept where `keep`, given step and tag, is true."""

    def __init__(self, workdir: buckets.Path, keep: Callable[[int, str], bool]):
        path = workdir / NAME
        records = read(path) if path.exists() else ()
        kept = [record for record, event in records if all(keep(event.step, x.tag) for x in event.summary.value)]
        header = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._file = buckets.create(path, b"".join(kept) or header)

    def metrics(self, step: int, metrics: dict[str, float]) -> None:
        """Writes metrics by name."""
        for name, value in metrics.items():
            self._write(step, Summary.Value(tag=name, simple_value=value))

    def picture(self, step: int, picture: np.ndarray, png: bytes) -> None:
        """Writes a picture ``[height, width, 3]``, encoded as `png`."""
        height, width, _ = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._write(step, Summary.Value(tag=PICTURE, image=image))

    def _write(self, step: int, value: Summary.Value) -> None:
        self._file.write(_record(Event(wall_time=time.time(), step=step, summary=Summary(value=[value]))))

    def flush(self) -> None:
        """Blocks until everything is on disk."""
        self._file.flush()

    def upload(self) -> None:
        """Blocks until everything is in the bucket, if the file is in one."""
        self._file.upload()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._file.close()


def _record(event: Event) -> bytes:
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + checksums[0] + data + checksums[1]


def read(path: buckets.Path) -> Iterator[tuple[bytes, Event]]:
    """Yields the records of a file and their events, up to the first one truncated by a crash."""
    data, start = path.read_bytes(), 0
    while start + _LENGTH <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        content = start + _LENGTH + _CHECKSUM
        end = content + length + _CHECKSUM
        if end > len(data):
            return
        try:
            event = Event.FromString(data[content : content + length])
        except DecodeError:  # possible after a power failure
            return
        yield data[start:end], event
        start = end
