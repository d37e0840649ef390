"""What a split is made from and what those files say, in one form whatever their format: COCO's or MPII's."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence

from hrnet_jax.datasets import coco, detections, mpii, records
from hrnet_jax.datasets.photo_stores import Photo, Place
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a split is made from.

    Attributes:
      dataset: whose formats the files are in, one of `READERS`.
      split: its name.
      annotations: the file of people, or of photos only.
      photos: where they lie.
      with_people: False if the annotations are of photos only (COCO's test servers).
      detections: a detector's file (COCO).
      truth: MATLAB's file that PCKh is counted on (MPII).
    """

    dataset: str
    split: str
    annotations: pathlib.Path
    photos: Place
    with_people: bool = True
    detections: pathlib.Path | None = None
    truth: pathlib.Path | None = None

    @property
    def is_train(self) -> bool:
        """Whether the split is trained on: photos without people are of no use then."""
        return self.split.startswith("train")

    @property
    def files(self) -> dict[str, pathlib.Path]:
        """The files besides the photos, by what they are."""
        named = {"annotations": self.annotations, "detections": self.detections, "truth": self.truth}
        return {name: path for name, path in named.items() if path}


@dataclasses.dataclass(frozen=True)
class Boxes:
    """A detector's boxes, their photos not yet numbered, and how many were dropped and why."""

    people: records.People
    dropped: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Content:
    """What the files of a split say.

    Attributes:
      photos: by photo id.
      people: the people chosen, their photos not yet numbered.
      dropped: how many were not, by reason.
      boxes: a detector's, None without its file.
      write_truth: writes what the data set's figures are computed from into a directory, for the photos of
        the given ids.
    """

    photos: dict[int, Photo]
    people: records.People
    dropped: dict[str, int]
    boxes: Boxes | None
    write_truth: Callable[[pathlib.Path, Sequence[int]], None]


def read(sources: Sources, skeleton: Skeleton) -> Content:
    """Reads and checks the files of a split, apart from the photos.

    Raises:
      FileNotFoundError, ValueError: what is missing or wrong, in which file and field.
    """
    return READERS[sources.dataset](sources, skeleton)


def _read_coco(sources: Sources, skeleton: Skeleton) -> Content:
    annotations = coco.load(sources.annotations, skeleton, with_people=sources.with_people)
    people, dropped = coco.select_people(annotations, skeleton)
    boxes = None
    if sources.detections:
        boxes = Boxes(*detections.load(sources.detections, annotations, skeleton))
    return Content(annotations.photos, people, dropped, boxes, functools.partial(_write_coco_truth, annotations))


def _write_coco_truth(annotations: coco.Annotations, directory: pathlib.Path, photo_ids: Sequence[int]) -> None:
    save_json(directory / records.TRUTH["coco"], coco.ground_truth(annotations, list(photo_ids)))


def _read_mpii(sources: Sources, skeleton: Skeleton) -> Content:
    photos, people, dropped = mpii.load(sources.annotations, skeleton)
    truth = mpii.read_truth(sources.truth, skeleton) if sources.truth else None
    rows = len(people) + sum(dropped.values())
    if truth and len(truth) != rows:
        raise ValueError(
            f"{sources.truth} is of {len(truth)} people, but {sources.annotations} of {rows}: they must be of the"
            " same split, in the same order"
        )
    return Content(photos, people, dropped, None, functools.partial(_write_mpii_truth, truth))


def _write_mpii_truth(truth: mpii.Truth | None, directory: pathlib.Path, photo_ids: Sequence[int]) -> None:
    del photo_ids  # people are found in it by the number of their row
    if truth:
        mpii.save_truth(truth, directory / records.TRUTH["mpii"])


READERS = {"coco": _read_coco, "mpii": _read_mpii}


def save_json(path: pathlib.Path, content: dict) -> None:
    """Writes a JSON file, whole or not at all."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(content))
    os.replace(partial, path)
