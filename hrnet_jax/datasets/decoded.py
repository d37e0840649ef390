"""Photos decoded once, on disk, for those who grant the space: `write` makes them, `read` opens them.

Decoding JPEGs is most of what a training batch costs the host. ``decoded.rgb`` holds every photo's pixels, one
after the other as they are in memory, so that a crop touches only the pages that it is cut from; ``decoded.npy``,
written last, says where each photo begins and what its size is. Pixels are those that `places.decode` gives.
"""

import functools
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from hrnet_jax.datasets import places

PIXELS, TABLE = "decoded.rgb", "decoded.npy"
_COLUMNS = 3  # of the table: offset in bytes, height, width


class Decoded:
    """The decoded photos of a prepared split, by row; can be sent to another process."""

    def __init__(self, path: pathlib.Path, table: np.ndarray):
        self._path, self._table = path, table

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        return np.memmap(self._path, np.uint8, mode="r")

    def __getstate__(self) -> dict:
        """Leaves the mapped file behind: where it arrives it is opened again."""
        return {name: value for name, value in vars(self).items() if name != "_pixels"}

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns [height, width, 3] uint8, RGB: a view of the file, to be read only."""
        offset, height, width = self._table[row].tolist()
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)


def read(directory: pathlib.Path, count: int) -> Decoded | None:
    """Opens the decoded photos of a prepared split of `count` photos; None if there are none.

    Raises:
      ValueError: they are damaged, or of other photos.
    """
    table_path, path = directory / TABLE, directory / PIXELS
    if not table_path.is_file():
        return None
    again = f"delete {table_path}, or decode the photos again: `python -m hrnet_jax.prepare ... --decoded`"
    try:
        table = np.load(table_path, allow_pickle=False).reshape(count, _COLUMNS)
        size = path.stat().st_size
    except (ValueError, EOFError, FileNotFoundError) as error:
        raise ValueError(f"the decoded photos {path} are damaged or of other photos ({error}): {again}") from error
    if size != _ends(table)[-1]:
        whole = f"{size:,} of {_ends(table)[-1]:,} bytes"
        raise ValueError(f"the decoded photos {path} are cut short or of other photos ({whole}): {again}")
    return Decoded(path, table)


def _ends(table: np.ndarray) -> np.ndarray:
    """Returns where each photo's pixels end."""
    return np.cumsum(table[:, 1] * table[:, 2] * 3)


def write(directory: pathlib.Path, photos: Sequence[dict], title: str) -> int:
    """Decodes all photos of a prepared split, with a progress bar; returns how many bytes they take.

    An interrupted run leaves nothing that looks finished.

    Args:
      directory: of the split.
      photos: its records, see `photos.read`.
      title: stands before the progress bar.

    Raises:
      ValueError: a photo cannot be decoded, or the disk has no room.
    """
    (directory / TABLE).unlink(missing_ok=True)
    rows = range(len(photos))
    table = np.array([(0, photos[row]["height"], photos[row]["width"]) for row in rows], np.int64)
    table[1:, 0] = _ends(table)[:-1]
    total = int(_ends(table)[-1])
    _require_room(directory, total)
    with (directory / PIXELS).open("wb") as file:
        for row in tqdm(rows, desc=title, unit=" photos", leave=False, disable=None):
            record = photos[row]
            file.write(places.decode(record["image"], photo_id=int(record["photo_id"])).data)
    partial = directory / f".{TABLE}"
    np.save(partial, table)
    os.replace(partial, directory / TABLE)
    return total


def _require_room(directory: pathlib.Path, needed: int) -> None:
    before = directory / PIXELS
    free = shutil.disk_usage(directory).free + (before.stat().st_size if before.is_file() else 0)
    if needed > free:
        raise ValueError(
            f"the decoded photos of {directory} need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free:"
            " make room, or leave --decoded out"
        )
