"""The source files of a split, read into one form for all formats: COCO's and MPII's."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Collection, Container, Sequence
from typing import Any

from hrnet_jax import buckets
from hrnet_jax.datasets import coco, detections, masks, mpii, photo_stores, records
from hrnet_jax.datasets.photo_stores import Photo, PhotoStore
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Sources:
    """The files and photos of a split."""

    dataset: str  # one of `READERS`
    split: str
    annotations: pathlib.Path  # of people, or of photos only
    photos: PhotoStore
    with_people: bool = True  # False if the annotations are of photos only (COCO's test servers)
    detections: pathlib.Path | None = None  # a detector's file (COCO)
    truth: pathlib.Path | None = None  # the MATLAB file for PCKh (MPII)
    is_guess: bool = False  # nobody chose the skeleton (COCO)
    published: str = ""  # a data set in `catalog`
    read: Callable[[pathlib.Path], Any] | None = None  # makes COCO's content of another file

    @property
    def files(self) -> dict[str, pathlib.Path]:
        """The files besides the photos, by purpose."""
        named = {"annotations": self.annotations, "detections": self.detections, "truth": self.truth}
        return {name: path for name, path in named.items() if path}


Selection = tuple[records.People, dict[str, int]]
"""People without `photo_index` (-1), and the number of dropped entries by reason."""


@dataclasses.dataclass(frozen=True)
class SplitContent:
    """The content of a split's source files: photos by id, selected people, and a detector's boxes or None.

    `reordered` are rows of the detector's file whose corners were put in order. `source` is the file of people.
    `write_truth` writes the ground truth of the metrics and the masks into a directory, for the given photo ids.
    `missed` returns how many people on these photos evaluation expects although they are dropped, by reason.
    `annotated` are the ids of photos with annotations of any kind, also of crowds and of people without joints.
    """

    photos: dict[int, Photo]
    ground_truth: Selection
    detections: Selection | None
    source: coco.Annotations | mpii.Rows
    write_truth: Callable[[pathlib.Path, Sequence[int]], None]
    missed: Callable[[Container[int]], dict[str, int]]
    reordered: Sequence[int] = ()
    annotated: Collection[int] = ()


def read(sources: Sources, skeleton: Skeleton) -> SplitContent:
    """Reads and validates the files of a split, except the photos.

    Raises FileNotFoundError if a file is missing, and ValueError for an invalid entry.
    """
    return READERS[sources.dataset](sources, skeleton)


def _read_coco(sources: Sources, skeleton: Skeleton) -> SplitContent:
    options = {"with_people": sources.with_people, "is_guess": sources.is_guess}
    size_of = functools.partial(photo_stores.read_size, sources.photos)
    annotations = coco.load(sources.annotations, skeleton, sources.read, **options, size_of=size_of)
    people, boxes, reordered = coco.select_people(annotations, skeleton), None, []
    if sources.detections:
        kept, dropped, reordered = detections.load(sources.detections, annotations, skeleton)
        boxes = (kept, dropped)

    def write_truth(directory: pathlib.Path, photo_ids: Sequence[int]) -> None:
        content = coco.ground_truth(annotations, photo_ids)
        buckets.write_atomically(directory / records.TRUTH["coco"], json.dumps(content))
        masked = {} if sources.published in masks.WITHOUT else annotations.people
        masks.write(directory, [annotations.photos[number] for number in photo_ids], masked)

    missed = functools.partial(coco.missed, annotations)
    annotated = annotations.people.keys()
    return SplitContent(annotations.photos, people, boxes, annotations, write_truth, missed, reordered, annotated)


def _read_mpii(sources: Sources, skeleton: Skeleton) -> SplitContent:
    rows = mpii.load(sources.annotations, skeleton)
    truth = mpii.read_truth(sources.truth, skeleton) if sources.truth else None
    if truth and len(truth) != len(rows.people):
        counts = f"{len(truth)} people, but {sources.annotations} of {len(rows.people)}"
        raise ValueError(f"{sources.truth} is of {counts}: they must be of the same split, in the same order")

    def write_truth(directory: pathlib.Path, photo_ids: Sequence[int]) -> None:
        del photo_ids  # rows keep their numbers, so the truth is written whole
        if truth:
            mpii.save_truth(truth, directory / records.TRUTH["mpii"])

    return SplitContent(rows.photos, mpii.select_people(rows), None, rows, write_truth, lambda photo_ids: {})


READERS = {"coco": _read_coco, "mpii": _read_mpii}
