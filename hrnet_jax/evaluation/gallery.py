"""Pictures of `examples`: ground truth beside prediction, as JPEG in data URIs for a self-contained page."""

import base64
from collections.abc import Sequence

import numpy as np

from hrnet_jax import geometry, visualize
from hrnet_jax.datasets import records
from hrnet_jax.evaluation.examples import Example

SIDE = 256  # pixels of each of the two pictures
SMALLEST = 40  # photo pixels: smaller frames would be too blurred to see anything
QUALITY = 80
MOST_BYTES = 1_500_000  # of all pictures of a source of boxes


def draw(
    examples: dict[str, list[Example]], split: records.Split, people: records.People
) -> dict[str, list[tuple[str, str]]]:
    """Returns caption and data URI of each example by kind, as many as `MOST_BYTES` hold.

    `people` are the boxes of the predictions; with the split's own they say which record holds a photo.
    """
    rows = _photo_rows(people) | {
        photo: (split.people, row) for photo, (_, row) in _photo_rows(split.people).items()
    }
    pictures, size = {}, 0
    for rank in range(max(map(len, examples.values()), default=0)):  # the worst of each kind first
        for kind in examples:
            for example in examples[kind][rank : rank + 1]:
                uri = _data_uri(_picture(example, split, *rows[example.photo_id]))
                size += len(uri)
                if size <= MOST_BYTES:
                    caption = f"photo {example.photo_id}, {example.caption}"
                    pictures.setdefault(kind, []).append((caption, uri))
    return pictures


def _photo_rows(people: records.People) -> dict[int, tuple[records.People, int]]:
    """Returns a table and a row of it for each photo that it has people on."""
    photos, first = np.unique(people.photo_id, return_index=True)
    return {photo: (people, row) for photo, row in zip(photos.tolist(), first.tolist(), strict=True)}


def _picture(example: Example, split: records.Split, people: records.People, row: int) -> np.ndarray:
    photo = records.read_photo(split.photos, split.decoded, people, row)
    low, high = example.frame.min(axis=0), example.frame.max(axis=0)
    side = max((high - low).max(), SMALLEST)
    center, scale = geometry.box_to_center_scale(np.array([*(low + high - side) / 2, side, side]), 1.0)
    to_picture = geometry.photo_to_crop(center, scale, 0.0, (SIDE, SIDE))
    blank = geometry.warp(photo, to_picture, (SIDE, SIDE))
    sides = [(example.truth, example.visible), (example.predicted, np.ones(example.predicted.shape[:2]))]
    drawn = [_draw_people(blank, joints, visible, to_picture, example, split) for joints, visible in sides]
    gap = np.full((SIDE, 4, 3), visualize.PAPER, np.uint8)
    return np.hstack([drawn[0], gap, drawn[1]])


def _draw_people(
    picture: np.ndarray, joints: np.ndarray, visible: np.ndarray, to_picture: np.ndarray, example: Example, split
) -> np.ndarray:
    joints = geometry.apply(to_picture, joints.reshape(-1, 2)).reshape(joints.shape)
    for person, labelled in zip(joints[::-1], visible[::-1], strict=True):  # the first on top
        picture = visualize.draw_person(picture, person, split.skeleton, labelled)
    return visualize.draw_rings(picture, joints[0][example.marked]) if len(joints) else picture


def _data_uri(picture: np.ndarray) -> str:
    encoded: Sequence[int] = visualize.encode_jpeg(picture, QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(bytes(encoded)).decode()
