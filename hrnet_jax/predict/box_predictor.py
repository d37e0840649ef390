"""The predictor of people in boxes. People of several photos share batches of the size compiled once."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hrnet_jax.evaluation import coco, oks
from hrnet_jax.predict import ahead, boxes, network, photos
from hrnet_jax.predict.items import Item, Result
from hrnet_jax.predict.poses import JOINT_SCORE, Poses
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

NMS_THRESHOLD = 0.9  # OKS above which the lower-scored of two people is a duplicate, as in the evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """A photo with its boxes and crops, read ahead of the network."""

    item: Item
    photo: np.ndarray
    notes: list[str]
    boxes: np.ndarray  # [N, 4] float64
    box_scores: np.ndarray  # [N]
    crops: np.ndarray  # [N, h, w, 3], or [N, V, h, w, 3] with views
    photo_to_crop: np.ndarray  # [N, 2, 3] float32


_Person = tuple[np.ndarray, ...]  # joints, scores, heatmaps of one person


@dataclasses.dataclass(frozen=True, eq=False)
class BoxPredictor(Predictor):
    """Predicts the poses of people in boxes.

    Attributes:
      network: what predicts: crops in, joints in the photo out.
      find_boxes: where the people are.
      batch_size: people that the network gets at a time. Batches that are not full are padded.
      nms_threshold: OKS above which the lower-scored of two people is left out as a duplicate; 1 for none.
      threads, max_pixels, notes: see `Predictor`.
    """

    network: network.Network
    find_boxes: boxes.Finder
    batch_size: int
    threads: int = 4
    max_pixels: int = photos.MAX_PIXELS
    nms_threshold: float = NMS_THRESHOLD
    notes: tuple[str, ...] = ()

    @property
    def skeleton(self) -> Skeleton:
        """Of the joints."""
        return self.network.skeleton

    def check_heatmaps(self) -> None:
        """Raises ValueError if the network does not give heatmaps."""
        if not self.network.has_heatmaps:
            raise ValueError("exported programs give no heatmaps: predict with the checkpoint, or leave them out")

    def _results(
        self, items: Iterable[Photo], on_error: OnError | None, *, heatmaps: bool, threads: int
    ) -> Iterator[Result]:
        depth = min(self.batch_size, MAX_AHEAD) + threads
        prepared = ahead.map_ahead(self._try_prepare, items, threads=threads, depth=depth)
        waiting: collections.deque[_Prepared] = collections.deque()
        people: collections.deque[_Person] = (
            collections.deque()
        )  # predicted people of the waiting photos, in order
        for batch in ahead.one_late(map(self._launch, self._batches(unless_failed(prepared, on_error), waiting))):
            people.extend(self._fetch(batch, heatmaps))
            while waiting and len(people) >= len(waiting[0].boxes):
                photo = waiting.popleft()
                yield self._result(photo, [people.popleft() for _ in photo.boxes])

    def _try_prepare(self, photo: Photo) -> _Prepared | Failed:
        """Reads a photo, finds its boxes and cuts the crops out."""
        item = as_item(photo)
        try:
            pixels, notes = self.read(item)
        except photos.PhotoError as error:
            return Failed(item.source, error)
        found = boxes.check(self.find_boxes(item.source, pixels) if item.found is None else item.found)
        size, views = self.network.image_size, (len(self.network.views),) * bool(self.network.views)
        cut = [self.network.crop(pixels, box) for box in found[0]]
        crops = np.array([image for image, _ in cut], np.uint8).reshape(-1, *views, *size, 3)
        matrices = np.array([matrix for _, matrix in cut], np.float32).reshape(-1, 2, 3)
        return _Prepared(item, pixels, notes, *found, crops, matrices)

    def _batches(
        self, prepared: Iterable[_Prepared], waiting: "collections.deque[_Prepared]"
    ) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """Yields crops and matrices of up to `batch_size` people in order. Adds their photos to those waiting.

        A batch is full, or the last one, or the photos waiting are large or many.
        """
        rows: list[tuple[np.ndarray, np.ndarray]] = []
        held = 0  # bytes of photos since the last batch
        for photo in prepared:
            waiting.append(photo)
            rows += zip(photo.crops, photo.photo_to_crop, strict=True)
            held += photo.photo.nbytes
            while len(rows) >= self.batch_size:
                yield rows[: self.batch_size]
                rows, held = rows[self.batch_size :], 0
            if held > MAX_WAITING or len(waiting) > 4 * self.batch_size:
                yield rows
                rows, held = [], 0
        yield rows

    def _launch(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Any, int]:
        """Starts the network on a padded batch, unless it is empty. Returns outputs and number of people."""
        if not rows:
            return None, 0
        padding = [rows[-1]] * (self.batch_size - len(rows))
        images, matrices = (np.stack(column) for column in zip(*rows, *padding, strict=True))
        return self.network.step(images, matrices), len(rows)

    def _fetch(self, batch: tuple[Any, int], heatmaps: bool) -> list[_Person]:
        """Waits for a batch and returns its people."""
        outputs, count = batch
        if not count:
            return []
        wanted = [np.asarray(output)[:count] for output in outputs[: 3 if heatmaps else 2]]
        return list(zip(*wanted, strict=True))

    def _result(self, photo: _Prepared, people: Sequence[_Person]) -> Result:
        skeleton, item = self.network.skeleton, photo.item
        joints = np.array([person[0] for person in people], np.float32).reshape(-1, skeleton.num_joints, 2)
        scores = np.array([person[1] for person in people], np.float32).reshape(-1, skeleton.num_joints)
        kept = self._kept(photo, joints, scores)
        heatmaps = np.array([people[i][2] for i in kept]) if people and len(people[0]) > 2 else None
        poses = Poses(
            source=item.source,
            frame=item.frame,
            time=item.time,
            size=photo.photo.shape[:2],
            boxes=photo.boxes[kept].astype(np.float32),
            box_scores=photo.box_scores[kept].astype(np.float32),
            joints=joints[kept],
            scores=scores[kept],
            skeleton=skeleton,
            notes=tuple(photo.notes),
        )
        crops = photo.crops[:, 0] if self.network.views else photo.crops
        return Result(poses, photo.photo, crops[kept], heatmaps)

    def _kept(self, photo: _Prepared, joints: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Returns the rows of the people who are no duplicates."""
        areas = coco.padded_areas(photo.boxes, self.network.image_size)
        person_scores = oks.rescore(photo.box_scores, scores, JOINT_SCORE)
        sigmas, one_photo = self.network.skeleton.sigmas, np.zeros(len(joints), int)
        if not len(joints):
            return one_photo
        return np.sort(oks.suppress(one_photo, joints, person_scores, areas, sigmas, self.nms_threshold))
