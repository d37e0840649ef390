"""One file of TensorBoard events for the whole life of a run, however often it is stopped.

Events are written at once and in order, unlike tensorboardX's own writer, which keeps them for two minutes in
another thread, where a killed run loses them; and the file's name does not tell the time, so that a clock set back
does not turn their order round.
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

_LENGTH, _CHECKSUM = 8, 4  # bytes; a record is its length, the length's checksum, the event, and its checksum


class Events:
    """Writes a run's events.

    Args:
      workdir: the run directory.
      wanted: which events of before to keep: a function of step and tag.
    """

    def __init__(self, workdir: buckets.Path, wanted: Callable[[int, str], bool]):
        path = workdir / NAME
        kept = [record for record, event in read(path) if _is_wanted(event, wanted)] if path.exists() else []
        first = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._file = buckets.create(path, b"".join(kept) or first)

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Writes figures by name."""
        for name, value in figures.items():
            shown = Summary(value=[Summary.Value(tag=name, simple_value=value)])
            self._file.write(_record(Event(wall_time=time.time(), step=step, summary=shown)))

    def picture(self, step: int, picture: np.ndarray, png: bytes) -> None:
        """Writes a picture ``[height, width, 3]``, encoded as `png`."""
        height, width, _ = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        shown = Summary(value=[Summary.Value(tag=PICTURE, image=image)])
        self._file.write(_record(Event(wall_time=time.time(), step=step, summary=shown)))

    def flush(self) -> None:
        """Returns when everything is on disk."""
        self._file.flush()

    def upload(self) -> None:
        """Returns when everything is in the bucket, if the file is in one."""
        self._file.upload()

    def close(self) -> None:
        """Writes out everything and closes the file."""
        self._file.close()


def _record(event: Event) -> bytes:
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def read(path: buckets.Path) -> Iterator[tuple[bytes, Event]]:
    """Yields the records of a file and the events in them, up to the first that a crash cut off."""
    data, start = path.read_bytes(), 0
    while start + _LENGTH <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        begin = start + _LENGTH + _CHECKSUM
        end = begin + length + _CHECKSUM
        if end > len(data):
            return
        try:
            event = Event.FromString(data[begin : begin + length])
        except DecodeError:  # after a power failure there may be anything
            return
        yield data[start:end], event
        start = end


def _is_wanted(event: Event, wanted: Callable[[int, str], bool]) -> bool:
    tags = [value.tag for value in event.summary.value]
    return all(wanted(event.step, tag) for tag in tags)
