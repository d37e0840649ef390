"""What all predictors have in common: photos in, poses out, one photo or a stream of them."""

import abc
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from hrnet_jax.predict import photos
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.poses import Poses
from hrnet_jax.skeletons import Skeleton

MAX_WAITING = 2**28
"""Bytes of photos that wait for a batch to fill. It is run unfilled when they are more."""

MAX_AHEAD = 16  # photos read ahead of the network

Photo = str | os.PathLike | np.ndarray | Item
OnError = Callable[[str, photos.PhotoError], None]
Prepared = TypeVar("Prepared")


@dataclasses.dataclass(frozen=True)
class Failed:
    """A photo that cannot be read or predicted."""

    source: str
    error: photos.PhotoError


class Predictor(abc.ABC):
    """Predicts the poses in photos; made by `opening.load`.

    Attributes:
      threads: that read and prepare photos while the network runs; 0 for none.
      max_pixels: larger photos are refused.
      notes: lines about what was loaded and assumed.
    """

    threads: int
    max_pixels: int
    notes: tuple[str, ...]

    @property
    @abc.abstractmethod
    def skeleton(self) -> Skeleton:
        """Of the joints."""

    @abc.abstractmethod
    def check_heatmaps(self) -> None:
        """Raises ValueError if results cannot have heatmaps."""

    @abc.abstractmethod
    def _results(
        self, items: Iterable[Photo], on_error: OnError | None, *, heatmaps: bool, threads: int
    ) -> Iterator[Result]:
        """Yields as `results` does."""

    def __call__(self, photo: Photo) -> Poses:
        """Returns the poses in a photo: a path, or an array ``[H, W, 3]`` uint8 RGB.

        Raises PhotoError for a file that is no readable photo, and ValueError for another array.
        """
        return self.result(photo).poses

    def result(self, photo: Photo, *, heatmaps: bool = False) -> Result:
        """Returns the poses in a photo with photo and crops, and the heatmaps if asked for."""
        return next(self._results([photo], None, heatmaps=heatmaps, threads=0))

    def stream(self, items: Iterable[Photo], on_error: OnError | None = None) -> Iterator[Poses]:
        """Yields the poses in each photo, in order and lazily.

        `on_error` is called with the path of a photo that cannot be read, and it is skipped. By default the
        PhotoError is raised.
        """
        return (result.poses for result in self.results(items, on_error))

    def results(
        self, items: Iterable[Photo], on_error: OnError | None = None, *, heatmaps: bool = False
    ) -> Iterator[Result]:
        """Yields as `stream` does, with photo and crops, and the heatmaps if asked for.

        Raises ValueError if there are no heatmaps.
        """
        if heatmaps:
            self.check_heatmaps()
        return self._results(items, on_error, heatmaps=heatmaps, threads=self.threads)

    def read(self, item: Item) -> tuple[np.ndarray, list[str]]:
        """Returns the photo of an item, and notes on what was changed to read it.

        Raises PhotoError for a file that is no readable photo, and ValueError for another array.
        """
        if item.photo is None:
            return photos.read_photo(item.source, self.max_pixels)
        return photos.check_array(item.photo), [*item.notes]


def as_item(photo: Photo) -> Item:
    """Returns a photo of any form as an item."""
    if isinstance(photo, Item):
        return photo
    return Item(photo=photo) if isinstance(photo, np.ndarray) else Item(os.fspath(photo))


def unless_failed(prepared: Iterable[Prepared | Failed], on_error: OnError | None) -> Iterator[Prepared]:
    """Yields the photos that could be read. Calls `on_error` for the others, or raises their errors."""
    for photo in prepared:
        if not isinstance(photo, Failed):
            yield photo
        elif on_error is None:
            raise photo.error
        else:
            on_error(photo.source, photo.error)
