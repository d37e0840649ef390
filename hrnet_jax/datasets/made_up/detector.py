"""Boxes of a made-up detector with given shares of misses and false alarms."""

from typing import Any

import numpy as np

PERSON = 1  # category
SHIFT = 0.03  # standard deviation of a box's edges, in its sides
NOT_EXACT = 0.999  # the highest score


def detect(
    boxes: np.ndarray,
    image_id: int,
    size: tuple[int, int],
    misses: float,
    false_alarms: float,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Returns detections of N people in a photo, as COCO's results.

    The same numbers are drawn for all shares: raising one adds misses or false alarms and changes nothing else.

    Args:
      boxes: [N, 4] exact boxes (x, y, width, height).
      image_id: of the photo.
      size: height and width of the photo.
      misses: share of the people who are not detected.
      false_alarms: boxes of nobody, relative to the people.
      rng: source of chance.
    """
    count, (height, width) = len(boxes), size
    is_found, is_false = rng.random(count) >= misses, rng.random(count) < false_alarms
    shifts = rng.normal(0, SHIFT, (count, 4)) * np.tile(boxes[:, 2:], 2)
    scores = np.minimum(rng.beta(9, 1.5, count), NOT_EXACT)
    tall = height * rng.uniform(0.2, 0.7, count)
    sides = np.stack([rng.uniform(0.25, 0.6, count) * tall, tall], axis=1)
    places, false_scores = rng.random((count, 2)) * [width, height] - sides / 2, rng.beta(3, 3, count)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) + shifts
    false_corners = np.concatenate([places, places + sides], axis=1)
    found = np.concatenate([corners[is_found], false_corners[is_false]])
    found = np.clip(found, 0, [width - 1, height - 1] * 2).round(2)
    of_found = np.concatenate([scores[is_found], false_scores[is_false]]).round(4)
    return [
        {
            "image_id": image_id,
            "category_id": PERSON,
            "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
            "score": s,
        }
        for (x0, y0, x1, y1), s in zip(found.tolist(), of_found.tolist(), strict=True)
    ]
