"""Decoded photos on disk: `write` makes them, `read` opens them. They need much space, and save much time.

Decoding JPEGs is most of the host's work for a training batch. ``decoded.rgb`` holds the pixels of all photos one
after the other, and is memory-mapped: a crop touches only its own pages. ``decoded.npy``, written last, holds id,
height and width of each photo. The pixels are those of `photos.decode`.
"""

import functools
import io
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from hrnet_jax import buckets, validation
from hrnet_jax.datasets import photos as photo_records

PIXELS, TABLE = "decoded.rgb", "decoded.npy"


class Decoded:
    """The decoded photos of a prepared split, by row. `photo_id` is [P] int64. Picklable."""

    def __init__(self, path: pathlib.Path, table: np.ndarray):
        self.photo_id = table[:, 0]
        self._path, self._sizes, self._ends = path, table[:, 1:], _ends(table)

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        return np.memmap(self._path, np.uint8, mode="r")

    def __getstate__(self) -> dict:
        """Leaves out the mapped file. The receiver opens it again."""
        return {name: value for name, value in vars(self).items() if name != "_pixels"}

    def __len__(self) -> int:
        return len(self.photo_id)

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns [height, width, 3] uint8, RGB, a read-only view of the file."""
        height, width = self._sizes[row].tolist()
        end = int(self._ends[row])
        return self._pixels[end - height * width * 3 : end].reshape(height, width, 3)


def _ends(table: np.ndarray) -> np.ndarray:
    """Returns [P] the end of each photo's pixels in the file, in bytes."""
    return np.cumsum(table[:, 1] * table[:, 2] * 3)


def read(directory: pathlib.Path, photo_index: np.ndarray, photo_id: np.ndarray) -> Decoded | None:
    """Opens the decoded photos of a prepared split, or returns None if there are none.

    Raises ValueError if the files are damaged, or their photos are not those of the people: `photo_index` [N] are
    the rows and `photo_id` [N] the ids of the people's photos.
    """
    path = directory / TABLE
    if not path.is_file():
        return None
    try:
        table = np.asarray(np.load(path, allow_pickle=False))
        valid = table.shape[1:] == (3,) and table.dtype == np.int64
        valid = valid and ((table[:, 1:] > 0) & (table[:, 1:] <= photo_records.MAX_SIDE)).all()
        if not valid or not np.array_equal(table[photo_index, 0], photo_id):
            raise ValueError("it does not list the photos of the split")
        size, expected = (directory / PIXELS).stat().st_size, int(_ends(table)[-1])
        if size != expected:
            raise ValueError(f"{PIXELS} has {size:,} of {expected:,} bytes")
    except Exception as error:  # numpy raises many kinds
        raise ValueError(
            f"the decoded photos {path} are damaged ({validation.one_line(error)}): delete this file to do without"
            " them, or delete it and decode again: `python -m hrnet_jax.prepare ... --decoded`"
        ) from error
    return Decoded(directory / PIXELS, table)


def write(directory: pathlib.Path, photos: Sequence[dict], title: str) -> int:
    """Decodes all photos of a prepared split with a titled progress bar, and returns their size in bytes.

    The photos are the split's records, see `photos.read`. Raises ValueError, and leaves no file, if a photo cannot
    be decoded or the disk is too small.
    """
    names = ("photo_id", "height", "width")
    table = np.array([[record[name] for name in names] for record in _each(photos)], np.int64)
    total, free = int(_ends(table)[-1]), shutil.disk_usage(directory).free
    if total > free:
        raise ValueError(
            f"the decoded photos of {directory} need {total / 1e9:.1f} GB and {free / 1e9:.1f} GB are free:"
            " make room, or leave --decoded out"
        )
    partial = directory / f".{PIXELS}"
    try:
        with partial.open("wb") as file:
            for record in tqdm(_each(photos), title, len(photos), unit=" photos", leave=False, disable=None):
                file.write(photo_records.decode(record["image"], photo_id=int(record["photo_id"])).data)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ValueError(f"the decoded photos could not be written: {error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, directory / PIXELS)
    content = io.BytesIO()
    np.save(content, table)
    buckets.write_atomically(directory / TABLE, content.getvalue())
    return total


def _each(photos: Sequence[dict]) -> Iterator[dict]:
    return (photos[row] for row in range(len(photos)))
