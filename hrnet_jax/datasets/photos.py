"""Photos as records: writing and reading.

A TFDS builder writes the encoded photos unchanged as ArrayRecord, ascending by photo id. It is a shard-based
builder, since these stream. General ones hold the first gigabyte in memory and then need TensorFlow.
"""

import collections
import concurrent.futures
import contextlib
import functools
import io
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.shard_utils import FileInstruction
from tqdm import tqdm

from hrnet_jax import validation
from hrnet_jax.datasets import image_headers, photo_stores
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore

SPLIT = "photos"  # the only TFDS split of a directory of records
SHARD_BYTES = 128 * 2**20  # TFDS holds a shard in memory while it writes

AS_ENCODED = {"image": tfds.decode.SkipDecoding()}


@functools.cache
def _features() -> tfds.features.FeaturesDict:
    """Returns the fields of a record."""
    return tfds.features.FeaturesDict(
        {
            "photo_id": np.int64,
            "file_name": tfds.features.Text(),
            "width": np.int32,
            "height": np.int32,
            "image": tfds.features.Image(shape=(None, None, 3)),
        }
    )


class Photos(tfds.core.ShardBasedBuilder):
    """The TFDS builder of `write`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, shards: Sequence[Callable[[], Iterator[tuple[int, dict]]]], **options: Any):
        self._shards = shards
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=_features(), disable_shuffling=True)

    def _shard_iterators_per_split(self, dl_manager: object) -> dict[str, Sequence[Callable[[], Iterator]]]:
        return {SPLIT: self._shards}


def write(directory: pathlib.Path, photos: Sequence[Photo], store: PhotoStore, title: str) -> dict[int, str]:
    """Writes the valid photos, in their order, to ``photos/1.0.0`` in `directory`, with a titled progress bar.

    Returns the problem of each photo that is left out, by photo id. Raises ValueError if no photo is valid, or one
    is a link out of the folder.
    """
    problems: dict[int, str] = {}
    with tqdm(total=len(photos), desc=title, unit=" photos", leave=False, disable=None) as bar:
        valid = _examples(photos, store, problems, bar)
        first = next(valid, None)
        if first is None:
            worst = ", ".join(f"{photo.file_name} ({problems[photo.id]})" for photo in photos[:3])
            raise ValueError(f"{store.path}: none of {len(photos)} photos could be read: {worst}, ...")
        sizes = (store.size(photo.file_name) for photo in photos)
        count = 1 + sum(min(size, image_headers.MAX_BYTES) for size in sizes) // SHARD_BYTES
        stream = itertools.chain([first], valid)
        share = -(-len(photos) // count)
        shards = [lambda: itertools.islice(stream, share)] * count
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints about downloads
            Photos(shards=shards, data_dir=os.fspath(directory)).download_and_prepare()
    shutil.rmtree(directory / "downloads", ignore_errors=True)  # TFDS creates it, though nothing is downloaded
    return problems


def _examples(
    photos: Sequence[Photo], store: PhotoStore, problems: dict[int, str], bar: tqdm
) -> Iterator[tuple[int, dict]]:
    """Yields a record for each valid photo, in order, and adds the others to `problems`."""
    checked = _in_order(lambda photo: photo_stores.read_checked(store, photo), photos)
    for photo, (image, (width, height), problem) in zip(photos, checked, strict=True):
        bar.update()
        if problem:
            problems[photo.id] = problem
            continue
        record = {"photo_id": photo.id, "file_name": photo.file_name, "width": width, "height": height}
        yield photo.id, record | {"image": image}


def _in_order(function: Callable, items: Sequence) -> Iterator:
    """Maps in threads, only a few items ahead of the consumer to save memory."""
    threads = os.cpu_count() or 1
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Records(Sequence[dict]):
    """Random access to the records that `write` made. Picklable.

    An element is ``{"photo_id", "file_name" (bytes), "width", "height", "image" (encoded bytes)}``. Reading it
    raises ValueError if the file is damaged, which ArrayRecord detects by checksums.
    """

    def __init__(self, shards: Sequence[FileInstruction]):
        self._shards = shards
        self._encoded: Any = grain.sources.ArrayRecordDataSource(shards)  # pyright: ignore[reportArgumentType]

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(row)
        try:
            return _features().deserialize_example_np(self._encoded[row], decoders=AS_ENCODED)
        except Exception as error:  # ArrayRecord and protobuf raise several kinds
            what = f"record {row} of {self._file(row)} cannot be read ({validation.one_line(error)})"
            raise ValueError(f"{what}: prepare the split again, with --force") from error

    def _file(self, row: int) -> str:
        ends = np.cumsum([shard.take for shard in self._shards])
        return self._shards[int(np.searchsorted(ends, row, "right"))].filename


def read(directory: pathlib.Path) -> Records:
    """Opens the records of a prepared split.

    Only the numbers of records are read from TFDS's metadata. The rest names modules, which TFDS would import, and
    files anywhere on the disk. Raises FileNotFoundError if a file of records is missing, and ValueError if the
    metadata is damaged.
    """
    path = directory / "photos" / "1.0.0" / "dataset_info.json"
    try:
        (split,) = validation.require(validation.read_json(path), "splits", list, "it")
        lengths = [int(length) for length in validation.names(split["shardLengths"], "`shardLengths`")]
        if not lengths or min(lengths) < 0 or not sum(lengths) < validation.INT64_LIMIT:
            raise ValueError(f"`shardLengths` (={validation.short_repr(lengths)}) must be numbers of records")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): prepare the split again, with --force") from error
    shards = []
    for number, length in enumerate(lengths):
        file = path.with_name(f"photos-{SPLIT}.array_record-{number:05d}-of-{len(lengths):05d}")
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: prepare the split again, with --force")
        shards.append(FileInstruction(os.fspath(file), skip=0, take=length, examples_in_shard=length))
    return Records(shards)
