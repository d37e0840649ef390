"""From records to batches: read the photo, augment, cut out the crop. On the host, in numpy and OpenCV.

A batch is a dictionary of numpy arrays; B is this process's share of the batch size, K the number of joints:

=========  ===================  ==================================================================
image      [B, H, W, 3] uint8   the crop, RGB
joints     [B, K, 2] float32    (x, y) in crop pixels; of unlabelled joints meaningless
visible    [B, K] float32       1 for labelled joints, else 0
crop       [B, 2, 3] float32    photo pixels -> crop pixels, of the photo as it is on disk: where the
                                crop is of the mirrored photo, the map mirrors, too
index      [B] int32            row in the table of people
valid      [B] float32          1, or 0 for a row that only fills up the last batch of an evaluation
=========  ===================  ==================================================================

The position in training is the number of the step: batch s is the same whatever the step at which the run
started, the threads and the workers. Processes (hosts) each get consecutive rows of the one global batch, so
that put together in the order of the processes they are the batch that one process alone would see.
"""

import ctypes
import functools
import signal
import sys
from collections.abc import Callable
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags

from hrnet_jax import augment, geometry
from hrnet_jax.datasets import records
from hrnet_jax.skeletons import Skeleton

PR_SET_PDEATHSIG = 1  # Linux's prctl.h

Batch = dict[str, np.ndarray]
Person = dict[str, Any]  # an element of `records.PersonSource`; then also its `draw` and `valid`

cv2.setNumThreads(0)  # the loader's threads and workers are the parallelism; OpenCV's own would fight them


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
) -> grain.DatasetIterator[Batch]:
    """Endless batches for training: each epoch goes through all people once, in an order of its own.

    Args:
      split: whose ground-truth people to train on.
      image_size: (height, width) of the crop.
      batch_size: people in a step, of all processes together.
      seed: decides order and augmentation.
      policy: how to augment; None shows every person as it is.
      start_step: the number of the first batch; resuming is starting there.
      process_index: which share of each batch is this process's.
      process_count: how many processes (hosts) share a batch.
      threads: that load in parallel, a batch each; per worker. 0 loads only when asked.
      workers: processes that load in parallel, for hosts with more cores than threads can use.

    Returns:
      An iterator, to be closed with ``close()``.

    Raises:
      ValueError: there are no people, or the batch cannot be shared out evenly. While iterating: a photo
        cannot be decoded.
    """
    local_size = _local_batch_size(batch_size, process_count)
    source = _source(split, _some(split, split.people))
    shuffled = functools.partial(_shuffled, source=source, seed=seed)
    draw = functools.partial(_with_draw, policy=policy, skeleton=split.skeleton)
    dataset = grain.MapDataset.range(sys.maxsize).seed(seed).map(shuffled)
    dataset = dataset.random_map(draw).map(cutter(split, image_size))
    # Endless data has no remainder to drop, but a length that grain rounds up beyond 64 bits otherwise.
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
) -> grain.DatasetIterator[Batch]:
    """Batches with every person exactly once, in the table's order, not augmented.

    The last batch is filled up with rows whose `valid` is 0 (the last person again), so that all batches are
    full and all processes take the same number of steps.

    Args:
      split: where the photos are.
      people: of this split: ``split.people`` or ``split.detections``.
      image_size: (height, width) of the crop.
      batch_size: people in a step, of all processes together.
      process_index: which share of each batch is this process's.
      process_count: how many processes (hosts) share a batch.
      threads: that load in parallel, a batch each. 0 loads only when asked.

    Returns:
      An iterator, to be closed with ``close()``.

    Raises:
      ValueError: as `train_batches`.
    """
    local_size = _local_batch_size(batch_size, process_count)
    people = _some(split, people)
    num_rows = -(-len(people.box) // batch_size) * batch_size
    read = functools.partial(_person_or_padding, source=_source(split, people))
    dataset = grain.MapDataset.range(num_rows).map(read).map(cutter(split, image_size))
    dataset = dataset.batch(local_size)[process_index::process_count]
    return iter(_prefetched(dataset, threads, workers=0))


def steps_per_epoch(num_people: int, batch_size: int) -> int:
    """Steps until everyone has been seen, the original's count; the last reaches into the next epoch."""
    return -(-num_people // batch_size)


def _local_batch_size(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        lower = max(1, batch_size // process_count) * process_count
        raise ValueError(
            f"`batch_size` (={batch_size}) must be a positive multiple of the {process_count} processes that"
            f" share it: nearest are {lower} and {lower + process_count}"
        )
    return batch_size // process_count


def _some(split: records.Split, people: records.People | None) -> records.People:
    if people is None or not len(people.box):
        raise ValueError(
            f"split {split.name!r} has no such people; {split.name}/summary.json in the prepared data says"
            " how many were dropped and why"
        )
    return people


def _source(split: records.Split, people: records.People) -> records.PersonSource:
    return records.PersonSource(split.photos, people, split.decoded)


def _prefetched(dataset: grain.MapDataset[Batch], threads: int, workers: int) -> grain.IterDataset[Batch]:
    """Loads ahead: two batches for each thread, besides two for each worker."""
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    prefetched = dataset.to_iter_dataset(ahead)
    if not workers:
        return prefetched
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads absl's flags to start workers, from notebooks, too
    return prefetched.mp_prefetch(grain.MultiprocessingOptions(workers, per_worker_buffer_size=2), _follow)


def _follow(worker: int, workers: int) -> None:
    """Lets a worker end when the program does, even if that is killed, and leaves Ctrl-C to the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _shuffled(position: int, *, source: records.PersonSource, seed: int) -> Person:
    epoch, place = divmod(position, len(source))
    return source[int(_order(len(source), seed, epoch)[place])]


@functools.lru_cache(maxsize=4)  # threads and batches may reach from one epoch into the next
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch. (Grain's own shuffle takes longer than all the rest for a hundred people.)"""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _with_draw(
    person: Person, rng: np.random.Generator, *, policy: augment.Policy | None, skeleton: Skeleton
) -> Person:
    draw = augment.sample(rng, person["visible"], policy, skeleton) if policy else augment.Draw()
    return person | {"draw": draw, "valid": 1}


def _person_or_padding(row: int, *, source: records.PersonSource) -> Person:
    last = len(source) - 1
    return source[min(row, last)] | {"draw": augment.Draw(), "valid": row <= last}


def cutter(split: records.Split, image_size: tuple[int, int]) -> Callable[[Person], Batch]:
    """`_cut` with what does not change from person to person; can be sent to a worker."""
    return functools.partial(
        _cut,
        skeleton=split.skeleton,
        image_size=image_size,
        precision=records.PRECISION[records.dataset(split.summary)],
    )


def _cut(
    person: Person,
    *,
    skeleton: Skeleton,
    image_size: tuple[int, int],
    precision: type[np.floating],
) -> Batch:
    """One row of a batch: the person, seen as drawn."""
    height, width = image_size
    photo = person["photo"]
    view = augment.apply(
        person["draw"],
        person["joints"],
        person["visible"],
        person["box"],
        photo_width=photo.shape[1],
        aspect_ratio=width / height,
        skeleton=skeleton,
        precision=precision,
    )
    matrix = geometry.photo_to_crop(view.center, view.scale, view.rotation, image_size)
    from_photo = geometry.compose(geometry.mirror(photo.shape[1]), matrix) if view.flip else matrix
    labelled = view.visible[:, None] > 0  # the original leaves the others where they were
    joints = np.where(labelled, geometry.apply(matrix, view.joints), view.joints)
    return {
        "image": geometry.warp(photo, matrix, image_size, mirrored=view.flip),
        "joints": joints.astype(np.float32),
        "visible": view.visible.astype(np.float32),
        "crop": from_photo.astype(np.float32),
        "index": np.array(person["index"], np.int32),
        "valid": np.array(person["valid"], np.float32),
    }
