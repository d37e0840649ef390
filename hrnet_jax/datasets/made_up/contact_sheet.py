"""Contact sheet of a made-up data set."""

import os
import pathlib
from typing import Any

import cv2
import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import photos as photo_records
from hrnet_jax.datasets.made_up import dataset, labels

TILE = 320  # side of the square for one photo, in pixels
BOX = (60, 200, 255)
LIMB = (225, 225, 225)
SIDES = {"left": (80, 220, 80), "right": (255, 120, 40)}
MIDDLE = (255, 255, 255)


def write(root: str | os.PathLike, split: str, path: str | os.PathLike, columns: int = 6, rows: int = 4) -> None:
    """Draws the first photos of a split, with boxes and joints, side by side into a PNG or JPEG file.

    The person's left is green and right is orange. Hidden joints are rings.

    Raises:
      FileNotFoundError: the annotations or a photo are missing.
    """
    root = pathlib.Path(root)
    file = dataset.annotation_file(root, split)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: write it with `dataset.write` first")
    content = validation.read_json(file)
    tiles = []
    for photo in content["images"][: columns * rows]:
        photo_file = root / "images" / split / photo["file_name"]
        picture = cv2.imread(str(photo_file), photo_records.DECODE_FLAGS)
        if picture is None:
            raise FileNotFoundError(f"{photo_file} is missing or cannot be decoded: write the data set again")
        people = [person for person in content["annotations"] if person["image_id"] == photo["id"]]
        tiles.append(_tile(picture, people))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)])
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def _tile(picture: np.ndarray, people: list[dict[str, Any]]) -> np.ndarray:
    """Returns an RGB photo with its people drawn, centred in a white square."""
    scale = (TILE - 8) / max(picture.shape[:2])
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for person in people:
        _draw_person(picture, np.array(person["bbox"]) * scale, np.reshape(person["keypoints"], (-1, 3)), scale)
    (top, bottom), (left, right) = ((gap // 2, gap - gap // 2) for gap in np.subtract(TILE, picture.shape[:2]))
    return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def _draw_person(picture: np.ndarray, box: np.ndarray, keypoints: np.ndarray, scale: float) -> None:
    x, y, width, height = box
    cv2.rectangle(picture, (round(x), round(y)), (round(x + width), round(y + height)), BOX, 1)
    points = [(round(float(x)), round(float(y))) for x, y in keypoints[:, :2] * scale]
    flags = keypoints[:, 2]
    for a, b in labels.SKELETON.limbs:
        if flags[a] and flags[b]:
            cv2.line(picture, points[a], points[b], LIMB, 1, cv2.LINE_AA)
    for name, point, flag in zip(labels.SKELETON.joints, points, flags, strict=True):
        if flag:
            colour = SIDES.get(name.split("_")[0], MIDDLE)
            cv2.circle(picture, point, 2, colour, -1 if flag == labels.VISIBLE else 1, cv2.LINE_AA)
