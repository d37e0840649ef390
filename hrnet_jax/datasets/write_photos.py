"""Writing of photos as records.

A TFDS builder writes the encoded photos unchanged as ArrayRecord, ascending by photo id. It is a shard-based
builder, since these stream. General ones hold the first gigabyte in memory and then need TensorFlow.
"""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from tqdm import tqdm

from hrnet_jax.datasets import odd_photos, photo_stores
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.photo_stores import Checked, Photo, PhotoStore

SHARD_BYTES = 128 * 2**20  # TFDS holds a shard in memory while it writes


class Photos(tfds.core.ShardBasedBuilder):
    """The TFDS builder of `write`."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, shards: Sequence[Callable[[], Iterator[tuple[int, dict]]]], **options: Any):
        self._shards = shards
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=photo_records.features(), disable_shuffling=True)

    def _shard_iterators_per_split(self, dl_manager: object) -> dict[str, Sequence[Callable[[], Iterator]]]:
        return {photo_records.SPLIT: self._shards}


class Report(NamedTuple):
    """What became of photos: the problem of each that is left out, and names of odd ones by kind.

    `marked` are those with an orientation mark, by id as the problems, also if they are left out.
    """

    problems: dict[int, str]
    odd: dict[str, list[str]]
    marked: dict[int, Photo]


def write(directory: pathlib.Path, photos: Sequence[Photo], store: PhotoStore, title: str) -> Report:
    """Writes the valid photos, in their order, to ``photos/1.0.0`` in `directory`, with a titled progress bar.

    Raises ValueError if no photo is valid, or one is a link out of the folder.
    """
    report = Report({}, collections.defaultdict(list), {})
    with tqdm(total=len(photos), desc=title, unit=" photos", leave=False, disable=None) as bar:
        valid = _examples(photos, store, report, bar)
        first = next(valid, None)
        if first is None:
            worst = ", ".join(f"{photo.file_name} ({report.problems[photo.id]})" for photo in photos[:3])
            raise ValueError(f"{store.path}: none of {len(photos)} photos could be read: {worst}, ...")
        sizes = (store.size(photo.file_name) for photo in photos)
        count = 1 + sum(min(size, photo_records.MAX_BYTES) for size in sizes) // SHARD_BYTES
        stream = itertools.chain([first], valid)
        share = -(-len(photos) // count)
        shards = [lambda: itertools.islice(stream, share)] * count
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints about downloads
            Photos(shards=shards, data_dir=os.fspath(directory)).download_and_prepare()
    shutil.rmtree(directory / "downloads", ignore_errors=True)  # TFDS creates it, though nothing is downloaded
    return report


def _examples(photos: Sequence[Photo], store: PhotoStore, report: Report, bar: tqdm) -> Iterator[tuple[int, dict]]:
    """Yields a record for each valid photo, in order, and adds the others to the report."""

    def check(photo: Photo) -> tuple[Checked, str]:
        checked = photo_stores.read_checked(store, photo)
        return checked, "" if checked.problem else odd_photos.kind(checked.image)

    for photo, (checked, odd) in zip(photos, _in_order(check, photos), strict=True):
        bar.update()
        if checked.photo.mark != odd_photos.UPRIGHT:
            report.marked[photo.id] = checked.photo
        if checked.problem:
            report.problems[photo.id] = checked.problem
            continue
        if odd:
            report.odd[odd].append(photo.file_name)
        width, height = checked.size
        record = {"photo_id": photo.id, "file_name": photo.file_name, "width": width, "height": height}
        yield photo.id, record | {"image": checked.image}


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
