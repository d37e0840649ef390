"""Pictures of `examples`: ground truth beside prediction, and heatmaps, as JPEG for a self-contained page."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hrnet_jax import geometry, visualize
from hrnet_jax.datasets import annotated_photos, records
from hrnet_jax.evaluation.error_analysis import finite
from hrnet_jax.evaluation.examples import Example
from hrnet_jax.evaluation.protocols import Predictions

SIDE = 256  # pixels of each of the two pictures
SMALLEST = 40  # photo pixels: smaller frames would be too blurred to see anything
QUALITY = 80
MOST_BYTES = 2_000_000  # of all pictures of a source of boxes

Look = Callable[[records.People], Iterator[tuple[np.ndarray, np.ndarray]]]
"""People -> the crop ``[H, W, 3]`` and the heatmaps ``[h, w, K]`` of each, as they are decoded."""


class Picture(NamedTuple):
    """An example on the page. Pictures are data URIs."""

    caption: str
    people: str  # ground truth left, prediction right
    heatmaps: str  # of all joints, and of those with the error; empty for people who were not found


def draw(
    examples: Mapping[str, Sequence[Example]], split: records.Split, predictions: Predictions, look: Look | None
) -> dict[str, list[Picture]]:
    """Returns the pictures of examples by kind, as many as `MOST_BYTES` hold, the worst of each kind first.

    Without `look` there are no heatmaps.
    """
    # Of MPII there are examples of given people alone, of COCO also of people and on photos without predictions.
    is_coco = records.dataset(split.summary) == "coco"
    table = annotated_photos.list_all(split) if is_coco else split.people
    rows = dict(zip(table.photo_id.tolist(), range(len(table.photo_id)), strict=True))
    most = max(map(len, examples.values()), default=0)
    order = [(kind, one) for rank in range(most) for kind in examples for one in examples[kind][rank : rank + 1]]
    shown = [example for _, example in order]
    heatmaps = _draw_heatmaps(shown, predictions, look) if look else [""] * len(shown)
    pictures, size = {}, 0
    for (kind, example), uri in zip(order, heatmaps, strict=True):
        people = _data_uri(_picture(example, split, table, rows[example.photo_id]))
        size += len(people) + len(uri)
        if size <= MOST_BYTES:
            caption = f"photo {example.photo_id}, {example.caption}"
            pictures.setdefault(kind, []).append(Picture(caption, people, uri))
    return pictures


def _draw_heatmaps(examples: Sequence[Example], predictions: Predictions, look: Look) -> Iterator[str]:
    """Yields the picture of each example's heatmaps."""
    rows = [_row(example, predictions) for example in examples if example.has_prediction]
    seen = look(predictions.people.select(np.array(rows, int)))
    for example in examples:
        yield _data_uri(_heatmaps(example, *next(seen))) if example.has_prediction else ""


def _row(example: Example, predictions: Predictions) -> int:
    """Returns the row of the prediction: the one in the photo with the same joints."""
    rows = np.flatnonzero(predictions.people.photo_id == example.photo_id)
    distance = np.abs(finite(predictions.joints[rows]) - example.predicted[0]).max(axis=(1, 2))
    return int(rows[np.argmin(distance)])


def _heatmaps(example: Example, crop: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Draws the heatmaps of all joints and, to the right, of those with the error, if there are any."""
    stride = SIDE / heatmaps.shape[0]
    crop, _ = visualize.enlarge(crop, np.zeros(2), SIDE / crop.shape[0])
    shown = [heatmaps, heatmaps[..., example.marked]] if example.marked.any() else [heatmaps]
    return _side_by_side([visualize.draw_heatmap(crop, maps, stride) for maps in shown])


def _picture(example: Example, split: records.Split, table: records.HasPhotos, row: int) -> np.ndarray:
    photo = records.read_photo(split.photos, split.decoded, table, row)
    low, high = example.frame.min(axis=0), example.frame.max(axis=0)
    side = max((high - low).max(), SMALLEST)
    center, scale = geometry.box_to_center_scale(np.array([*(low + high - side) / 2, side, side]), 1.0)
    to_picture = geometry.photo_to_crop(center, scale, 0.0, (SIDE, SIDE))
    blank = geometry.warp(photo, to_picture, (SIDE, SIDE))
    sides = [(example.truth, example.visible), (example.predicted, example.found)]
    return _side_by_side(
        [_draw_people(blank, joints, visible, to_picture, example, split) for joints, visible in sides]
    )


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(pictures[0]), 4, 3), visualize.PAPER, np.uint8)
    return np.hstack([pictures[0], *(part for picture in pictures[1:] for part in (gap, picture))])


def _draw_people(
    picture: np.ndarray, joints: np.ndarray, visible: np.ndarray, to_picture: np.ndarray, example: Example, split
) -> np.ndarray:
    joints = geometry.apply(to_picture, joints.reshape(-1, 2)).reshape(joints.shape)
    for person, labelled in zip(joints[::-1], visible[::-1], strict=True):  # the first on top
        picture = visualize.draw_person(picture, person, split.skeleton, labelled)
    return visualize.draw_rings(picture, joints[0][example.marked & (visible[0] > 0)]) if len(joints) else picture


def _data_uri(picture: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(visualize.encode_jpeg(picture, QUALITY)).decode()
