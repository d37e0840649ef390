"""The predictor of people in whole photos, without boxes. Photos with images of equal sizes share batches."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hrnet_jax.bottom_up import inference, resize
from hrnet_jax.bottom_up.inference import People
from hrnet_jax.predict import ahead, frames, photos
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.photo_network import DoesNotFit, PhotoNetwork
from hrnet_jax.predict.poses import Poses
from hrnet_jax.predict.predictor import (
    MAX_AHEAD,
    MAX_WAITING,
    Failed,
    OnError,
    Photo,
    Predictor,
    as_item,
    unless_failed,
)
from hrnet_jax.skeletons import Skeleton


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """A photo with its images, made ahead of the network."""

    item: Item
    photo: np.ndarray
    notes: list[str]
    plan: resize.Plan
    images: Sequence[np.ndarray]  # [1, H, W, 3] of each scale

    @property
    def bytes(self) -> int:
        """Of memory that it holds."""
        return self.photo.nbytes + sum(image.nbytes for image in self.images)


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoPredictor(Predictor):
    """Predicts the poses of all people in photos.

    Attributes:
      network: finds the people.
      person_score: people of lower score are left out.
      threads, max_pixels, notes: see `Predictor`.
    """

    network: PhotoNetwork
    person_score: float = 0.0
    threads: int = 4
    max_pixels: int = photos.MAX_PIXELS
    notes: tuple[str, ...] = ()

    @property
    def skeleton(self) -> Skeleton:
        """Of the joints."""
        return self.network.settings.skeleton

    def check_heatmaps(self) -> None:
        """Raises ValueError, since heatmaps of whole photos stay on the device."""
        raise ValueError("a network that finds all people of a photo gives no heatmaps of each: leave them out")

    def _results(
        self, items: Iterable[Photo], on_error: OnError | None, *, heatmaps: bool, threads: int
    ) -> Iterator[Result]:
        del heatmaps
        depth = min(self.network.batch_size, MAX_AHEAD) + threads
        prepared = ahead.map_ahead(self._try_prepare, items, threads=threads, depth=depth)
        checked = map(self._check_memory, unless_failed(prepared, on_error))
        waiting: collections.deque[_Prepared] = collections.deque()
        running: collections.deque[list[_Prepared]] = collections.deque()
        batches = self._batches(unless_failed(checked, on_error), waiting, running)
        found: dict[_Prepared, People] = {}
        network = self.network
        for people in inference.predict(network.forward, network.variables, batches, network.settings):
            found |= zip(running.popleft(), people, strict=True)
            while waiting and waiting[0] in found:
                photo = waiting.popleft()
                yield self._result(photo, found.pop(photo))

    def _try_prepare(self, photo: Photo) -> _Prepared | Failed:
        """Reads a photo and makes its images."""
        item = as_item(photo)
        try:
            pixels, notes = self.read(item)
            plan = self.network.plan(pixels.shape[:2])
        except photos.PhotoError as error:
            return Failed(item.source, error)
        except DoesNotFit as error:
            return _too_large(item, pixels, error)
        images = inference.make_batch([pixels], [""], self.network.settings).images
        return _Prepared(item, pixels, notes, plan, images)

    def _check_memory(self, photo: _Prepared) -> _Prepared | Failed:
        """Returns the photo if the memory suffices for it. Compiles the programs for its images."""
        try:
            self.network.check_memory(photo.plan)
        except DoesNotFit as error:
            return _too_large(photo.item, photo.photo, error)
        return photo

    def _batches(
        self,
        prepared: Iterable[_Prepared],
        waiting: "collections.deque[_Prepared]",
        running: "collections.deque[list[_Prepared]]",
    ) -> Iterator[inference.Batch]:
        """Yields batches of photos with images of equal sizes. Adds photos to those waiting and running.

        A batch is full, or the last one of its sizes, or of the first photo that waits while those waiting are
        large or many.
        """
        size, held = self.network.batch_size, 0
        groups: dict[tuple[resize.Size, ...], list[_Prepared]] = {}
        for photo in prepared:
            waiting.append(photo)
            group = groups.setdefault(photo.plan.sizes, [])
            group.append(photo)
            held += photo.bytes
            if len(group) < size and (held > MAX_WAITING or len(waiting) > 4 * size):
                group = next(iter(groups.values()))  # of the first photo that waits
            elif len(group) < size:
                continue
            held -= sum(each.bytes for each in group)
            yield self._start(groups.pop(group[0].plan.sizes), running)
        for group in groups.values():
            yield self._start(group, running)

    def _start(self, group: list[_Prepared], running: "collections.deque[list[_Prepared]]") -> inference.Batch:
        """Returns the batch of some photos, padded, and adds them to those running."""
        running.append(group)
        rows = [*group] + [group[-1]] * (self.network.batch_size - len(group))
        images = [np.concatenate(of_scale) for of_scale in zip(*(row.images for row in rows), strict=True)]
        return inference.Batch([_name(photo.item) for photo in group], [photo.plan for photo in group], images)

    def _result(self, photo: _Prepared, people: People) -> Result:
        item, crowd = photo.item, _crowd_notes(people, self.network.settings)
        kept = people.scores >= self.person_score
        people = People(*(array[kept] for array in people))
        poses = Poses(
            source=item.source,
            frame=item.frame,
            time=item.time,
            size=photo.photo.shape[:2],
            boxes=inference.boxes(people),
            box_scores=people.scores.astype(np.float32),
            joints=people.joints,
            scores=people.joint_scores,
            skeleton=self.skeleton,
            notes=(*photo.notes, *crowd),
            filled=people.filled,
        )
        return Result(poses, photo.photo, None, None)


def _crowd_notes(people: People, settings: inference.Settings) -> list[str]:
    """Returns a note if there may be more people than are looked for."""
    most = min(settings.candidates, settings.grouping.most_people or settings.candidates)
    if len(people.scores) < most:
        return []
    return [
        f"{most} or more people: some may be missing, and those beyond are in pieces; give a larger"
        f" --most_people than {most}"
    ]


def _name(item: Item) -> str:
    """Returns the name of a photo or frame for messages."""
    return frames.name(item) or "the photo"


def _too_large(item: Item, photo: np.ndarray, error: DoesNotFit) -> Failed:
    height, width = photo.shape[:2]
    text = f"{_name(item)}: a photo of {width}x{height} pixels does not fit: {error}"
    return Failed(item.source, photos.PhotoError(text))
