"""Input pipeline on the host: reads photos, augments them, extracts crops and forms batches.

A batch is a dictionary of numpy arrays. B is the process's share of the batch size, K the number of joints:

=========  ===================  ==================================================================
image      [B, H, W, 3] uint8   the crop, RGB; with V views ``[B, V, H, W, 3]``
joints     [B, K, 2] float32    (x, y) in crop pixels; undefined for unlabelled joints
visible    [B, K] float32       1 for labelled joints, 0 for others
seen       [B, K] float32       1 for labelled joints that are not hidden, if the split has its flags
                                (see `datasets.flags`), else 0
crop       [B, 2, 3] float32    map from pixels of the photo on disk to crop pixels; includes the
                                mirroring of a mirrored photo
index      [B] int32            row in the table of people
valid      [B] float32          1, or 0 for padding in the last batch of an evaluation
=========  ===================  ==================================================================

Batches for training depend only on the seed and the step, not on the first step of the run, threads or workers.
With several processes (hosts), each gets consecutive rows of the global batch. Concatenated in the order of the
processes, they equal the batch of a single process.
"""

import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import grain
import numpy as np
from absl import flags

from hrnet_jax import augment, geometry
from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton

Batch = dict[str, np.ndarray]
Shares = tuple[tuple[int, float], ...]
"""Consecutive groups of people: their number, and how often each is visited in an epoch, such as 2 or 0.5."""
Example = dict[str, Any]  # an element of a `Source`, later with `draw`
Person = Example  # of a `records.PersonSource`, later with `valid`, too


class Source(Protocol):
    """Random access to examples, such as `records.PersonSource`."""

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Returns an example by its row."""
        ...


cv2.setNumThreads(0)  # OpenCV's threads would compete with those of the loader


def train_batches(
    split: records.Split,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    seed: int,
    policy: augment.Policy | None,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
    shares: Shares = (),
    by_corners: bool = False,
) -> grain.DatasetIterator[Batch]:
    """Returns an infinite iterator over training batches. Each epoch visits all people once in a new order.

    Close the iterator with ``close()``.

    Args:
      split: data set with ground-truth people.
      image_size: (height, width) of the crop.
      batch_size: people per step in all processes together.
      seed: of order and augmentation.
      policy: augmentation, or None for no augmentation.
      start_step: step of the first batch, for resuming.
      process_index: index of this process.
      process_count: number of processes (hosts) that share a batch.
      threads: loader threads per worker, each with a batch of its own. 0 loads on demand.
      workers: loader processes, for hosts with more cores than threads can use.
      shares: of an epoch; by default everyone once.
      by_corners: how crops lie in the photo, see `geometry.extract`.

    Raises:
      ValueError: there are no people, or `batch_size` is not a multiple of `process_count`. While iterating: a
        photo cannot be decoded.
    """
    return endless_batches(
        _source(split, split.people),
        functools.partial(_with_draw, policy=policy, skeleton=split.skeleton),
        cutter(split, image_size, by_corners),
        batch_size=batch_size,
        seed=seed,
        start_step=start_step,
        process_index=process_index,
        process_count=process_count,
        threads=threads,
        workers=workers,
        shares=shares,
    )


def endless_batches(
    source: Source,
    draw: Callable[[Example, np.random.Generator], Example],
    make: Callable[[Example], Batch],
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
    shares: Shares = (),
) -> grain.DatasetIterator[Batch]:
    """Returns an infinite iterator over batches of examples in random order; see `train_batches`.

    `draw` adds what is random to an example, and `make` turns it into a row of a batch. Both must be picklable.
    """
    local_size = local_batch_size(batch_size, process_count)
    shuffled = functools.partial(_shuffled, source=source, seed=seed, shares=shares or ((len(source), 1.0),))
    dataset = grain.MapDataset.range(sys.maxsize).seed(seed).map(shuffled).random_map(draw).map(make)
    # Infinite data has no remainder, but without this option grain rounds its length up beyond 64 bits.
    dataset = dataset.batch(local_size, drop_remainder=True)[process_index::process_count][start_step:]
    return iter(_prefetched(dataset, threads, workers))


def eval_batches(
    split: records.Split,
    people: records.People,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    by_corners: bool = False,
    views: Sequence[augment.Draw] = (),
) -> grain.DatasetIterator[Batch]:
    """Returns an iterator over batches with every person exactly once, in the table's order and not augmented.

    `people` is ``split.people`` or ``split.detections``, and `views` are those of `views.make`. The last batch is
    padded with copies of the last person with `valid` 0. All batches therefore have the same size and all
    processes take the same number of steps. Other arguments and errors are those of `train_batches`. Close the
    iterator with ``close()``.
    """
    local_size = local_batch_size(batch_size, process_count)
    source = _source(split, people)
    num_rows = steps_per_epoch(len(source), batch_size) * batch_size
    read = functools.partial(_person_or_padding, source=source)
    dataset = grain.MapDataset.range(num_rows).map(read).map(cutter(split, image_size, by_corners, views))
    dataset = dataset.batch(local_size)[process_index::process_count]
    return iter(_prefetched(dataset, threads, workers=0))


def steps_per_epoch(num_people: int, batch_size: int) -> int:
    """Returns the steps to visit everyone, as in the original. The last one extends into the next epoch."""
    return -(-num_people // batch_size)


def local_batch_size(batch_size: int, process_count: int) -> int:
    """Returns a process's share of a batch. Raises ValueError if the processes cannot share it equally."""
    if batch_size < 1 or batch_size % process_count:
        lower = max(1, batch_size // process_count) * process_count
        raise ValueError(
            f"`batch_size` (={batch_size}) must be a positive multiple of the {process_count} processes that"
            f" share it; the nearest are {lower} and {lower + process_count}"
        )
    return batch_size // process_count


def _source(split: records.Split, people: records.People | None) -> records.PersonSource:
    if people is None or not len(people.box):
        raise ValueError(
            f"split {split.name!r} has no people to load: see {split.name}/summary.json in the prepared data for"
            " the number of dropped people and the reasons"
        )
    return records.PersonSource(split.photos, people, split.decoded)


def _prefetched(dataset: grain.MapDataset[Batch], threads: int, workers: int) -> grain.IterDataset[Batch]:
    """Prefetches two batches per thread and two per worker."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    prefetched = dataset.to_iter_dataset(options)
    if not workers:
        return prefetched
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads absl's flags to start workers, also in notebooks
    return prefetched.mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=2), _init_worker)


def _init_worker(worker: int, workers: int) -> None:
    """Makes a worker ignore Ctrl-C and end with its parent even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Makes this process end with its parent.

    Linux's PR_SET_PDEATHSIG would wait for the thread that started the process. That of a loader's worker ends
    when the iterator is closed, and a worker killed then leaves batches in ``/dev/shm``.
    """

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def visits(shares: Shares) -> int:
    """Returns the number of visits to people in an epoch."""
    return sum(round(count * weight) for count, weight in shares)


def _shuffled(position: int, *, source: Source, seed: int, shares: Shares) -> Example:
    epoch, offset = divmod(position, visits(shares))
    return source[int(_order(shares, seed, epoch)[offset])]


@functools.lru_cache(maxsize=4)  # threads and batches may extend into the next epoch
def _order(shares: Shares, seed: int, epoch: int) -> np.ndarray:
    """Returns the rows of an epoch. For small data sets, grain's own shuffle would dominate the loading time.

    The fraction of a weight is for other people in each epoch.
    """
    rng, start, rows = np.random.default_rng([seed, epoch]), 0, []
    for count, weight in shares:
        group, times = np.arange(start, start + count), int(weight)
        rest = round(count * weight) - count * times
        rows += [group] * times + ([rng.choice(group, rest, replace=False)] if rest else [])
        start += count
    return rng.permutation(np.concatenate(rows))


def _with_draw(
    person: Person, rng: np.random.Generator, *, policy: augment.Policy | None, skeleton: Skeleton
) -> Person:
    draw = augment.sample(rng, person["visible"], policy, skeleton) if policy else augment.Draw()
    return person | {"draw": draw, "valid": 1}


def _person_or_padding(row: int, *, source: records.PersonSource) -> Person:
    last = len(source) - 1
    return source[min(row, last)] | {"draw": augment.Draw(), "valid": row <= last}


def cutter(
    split: records.Split,
    image_size: tuple[int, int],
    by_corners: bool = False,
    views: Sequence[augment.Draw] = (),
) -> Callable[[Person], Batch]:
    """Returns a picklable function that extracts the crop of a person, or all `views` of it."""
    precision = records.PRECISION[records.dataset(split.summary)]
    cut = functools.partial(
        _crop, skeleton=split.skeleton, image_size=image_size, precision=precision, by_corners=by_corners
    )
    return functools.partial(_crop_views, cut=cut, views=tuple(views)) if views else cut


def _crop_views(person: Person, *, cut: Callable[[Person], Batch], views: Sequence[augment.Draw]) -> Batch:
    """Returns one row of a batch: that of the first view, with the images of all."""
    rows = [cut(person | {"draw": view}) for view in views]
    return rows[0] | {"image": np.stack([row["image"] for row in rows])}


def _crop(
    person: Person,
    *,
    skeleton: Skeleton,
    image_size: tuple[int, int],
    precision: type[np.floating],
    by_corners: bool,
) -> Batch:
    """Returns one row of a batch."""
    height, width = image_size
    photo = person["photo"]
    view = augment.apply(
        *(person[name] for name in ("draw", "joints", "visible", "box")),
        photo_width=photo.shape[1],
        aspect_ratio=width / height,
        skeleton=skeleton,
        precision=precision,
    )
    where = view.center, view.scale, view.rotation, image_size
    image, matrix = geometry.extract(photo, *where, mirrored=view.flip, by_corners=by_corners)
    from_photo = geometry.compose(geometry.mirror(photo.shape[1]), matrix) if view.flip else matrix
    labelled = view.visible[:, None] > 0  # the original does not map the others
    joints = np.where(labelled, geometry.apply(matrix, view.joints), view.joints)
    return {
        "image": image,
        "joints": joints.astype(np.float32),
        "visible": (view.visible > 0).astype(np.float32),
        "seen": (view.visible >= records.SEEN).astype(np.float32),
        "crop": from_photo.astype(np.float32),
        "index": np.array(person["index"], np.int32),
        "valid": np.array(person["valid"], np.float32),
    }
