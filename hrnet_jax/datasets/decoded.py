"""Photos decoded once, on disk, for those who grant the space: `write` makes them, `read` opens them.

Decoding JPEGs is most of what a training batch costs the host. ``decoded.rgb`` holds every photo's pixels, one
after the other as they are in memory, so that a crop touches only the pages that it is cut from; ``decoded.npy``,
written last, has each photo's id, height and width. Pixels are those that `places.decode` gives.
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
from hrnet_jax.datasets import image_headers, photo_stores

PIXELS, TABLE = "decoded.rgb", "decoded.npy"


class Decoded:
    """The decoded photos of a prepared split, by row; can be sent to another process.

    Attributes:
      photo_id: [P] int64.
    """

    def __init__(self, path: pathlib.Path, table: np.ndarray):
        self.photo_id = table[:, 0]
        self._path, self._sizes, self._ends = path, table[:, 1:], _ends(table)

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        return np.memmap(self._path, np.uint8, mode="r")

    def __getstate__(self) -> dict:
        """Leaves the mapped file behind: where it arrives it is opened again."""
        return {name: value for name, value in vars(self).items() if name != "_pixels"}

    def __len__(self) -> int:
        return len(self.photo_id)

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns [height, width, 3] uint8, RGB: a view of the file, to be read only."""
        height, width = self._sizes[row].tolist()
        end = int(self._ends[row])
        return self._pixels[end - height * width * 3 : end].reshape(height, width, 3)


def _ends(table: np.ndarray) -> np.ndarray:
    """Returns [P]: where each photo's pixels end in the file, in bytes."""
    return np.cumsum(table[:, 1] * table[:, 2] * 3)


def read(directory: pathlib.Path, photo_index: np.ndarray, photo_id: np.ndarray) -> Decoded | None:
    """Opens the decoded photos of a prepared split; None if there are none.

    Args:
      directory: of the split.
      photo_index: [N] rows of photos that are needed.
      photo_id: [N] their ids.

    Raises:
      ValueError: they are damaged, or of other photos.
    """
    path = directory / TABLE
    if not path.is_file():
        return None
    try:
        table = np.asarray(np.load(path, allow_pickle=False))
        found = table.shape[1:] == (3,) and table.dtype == np.int64
        found = found and ((table[:, 1:] > 0) & (table[:, 1:] <= image_headers.MAX_SIDE)).all()
        if not found or not np.array_equal(table[photo_index, 0], photo_id):
            raise ValueError("it does not list the photos of the split")
        size, whole = (directory / PIXELS).stat().st_size, int(_ends(table)[-1])
        if size != whole:
            raise ValueError(f"{PIXELS} has {size:,} of {whole:,} bytes")
    except Exception as error:  # numpy raises what its parser happens to
        raise ValueError(
            f"the decoded photos {path} are damaged ({validation.one_line(error)}): delete this file to do without"
            " them, or do so and decode the photos again: `python -m hrnet_jax.prepare ... --decoded`"
        ) from error
    return Decoded(directory / PIXELS, table)


def write(directory: pathlib.Path, photos: Sequence[dict], title: str) -> int:
    """Decodes all photos of a prepared split, with a progress bar; returns how many bytes they take.

    Args:
      directory: of the split.
      photos: its records, see `photos.read`.
      title: stands before the progress bar.

    Raises:
      ValueError: a photo cannot be decoded, or there is no room for all. Nothing is left then.
    """
    table = np.array(
        [[record[name] for name in ("photo_id", "height", "width")] for record in _each(photos)], np.int64
    )
    total = int(_ends(table)[-1])
    _require_room(directory, total)
    partial = directory / f".{PIXELS}"
    try:
        with partial.open("wb") as file:
            for record in tqdm(_each(photos), title, len(photos), unit=" photos", leave=False, disable=None):
                file.write(photo_stores.decode(record["image"], photo_id=int(record["photo_id"])).data)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ValueError(f"the decoded photos could not be written: {error}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, directory / PIXELS)
    content = io.BytesIO()
    np.save(content, table)
    buckets.replace_bytes(directory / TABLE, content.getvalue())
    return total


def _each(photos: Sequence[dict]) -> Iterator[dict]:
    return (photos[row] for row in range(len(photos)))


def _require_room(directory: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise ValueError(
            f"the decoded photos of {directory} need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free:"
            " make room, or leave --decoded out"
        )
