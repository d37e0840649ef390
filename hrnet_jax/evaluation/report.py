"""What an evaluation shows people: tables for the terminal, pictures of the best and the worst."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from hrnet_jax import geometry, visualize
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols

PICTURED = 12  # people on a sheet
PICTURE_SIZE = (320, 320)  # of each person, (height, width)


def figure_table(outcomes: Collection[evaluate.Outcome], columns: Mapping[str, str]) -> str:
    """Returns the figures named in `columns`, a line for each source; ``-`` where there is nobody to count."""
    rows = [["", *columns.values()]]
    for outcome in outcomes:
        name = f"{outcome.split}/{outcome.source}"
        values = [outcome.metrics.get(f"{name}/{figure}", -1.0) for figure in columns]
        rows.append([name, *(f"{value:.3f}" if value >= 0 else "-" for value in values)])
    return _aligned(rows)


def joint_table(errors: Mapping[str, Mapping[str, float | None]]) -> str:
    """Returns the figures of a review's joints, a line for each joint."""
    rows = [["joint", *next(iter(errors.values()))]]
    for joint, figures in errors.items():
        rows.append([joint, *map(_number, figures.values())])
    return _aligned(rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lays out rows of cells in columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def best_and_worst(
    split: records.Split, outcome: evaluate.Outcome, review: protocols.ErrorReport
) -> dict[str, np.ndarray]:
    """Returns two sheets, ``best`` and ``worst``, of up to `PICTURED` people by how near they are to the truth.

    Each person stands twice on its part of the photo: the truth on the left, the prediction on the right.

    Args:
      split: where the photos are.
      outcome: on ground-truth boxes, of people some of whose joints are labelled.
      review: of it.
    """
    worst = np.argsort(review.goodness, kind="stable")  # those who are not numbers last
    worst = worst[: np.isfinite(review.goodness).sum()]
    orders = {"best": worst[::-1][:PICTURED], "worst": worst[:PICTURED]}
    return {name: _sheet(split, outcome, rows, review.captions) for name, rows in orders.items()}


def _sheet(split, outcome, rows, captions) -> np.ndarray:
    pictures = []
    for row in rows:
        truth, found = _truth_and_prediction(split, outcome, row)
        person = f"photo {outcome.people.photo_id[row]}, person {outcome.people.annotation_id[row]}"
        pictures += [
            visualize.caption(truth, f"{person}: truth"),
            visualize.caption(found, f"predicted, {captions[row]}"),
        ]
    return visualize.grid(pictures, columns=4)


def _truth_and_prediction(split, outcome, row) -> list[np.ndarray]:
    """Draws one person twice, on the part of the photo around its box."""
    people = outcome.people
    photo = records.read_photo(split.photos, split.decoded, people, row)
    center, scale = geometry.box_to_center_scale(people.box[row], PICTURE_SIZE[1] / PICTURE_SIZE[0])
    to_picture = geometry.photo_to_crop(center, scale, 0.0, PICTURE_SIZE)
    picture = geometry.warp(photo, to_picture, PICTURE_SIZE)
    return [
        visualize.draw_person(picture, geometry.apply(to_picture, joints), split.skeleton, visible)
        for joints, visible in ((people.joints[row], people.visible[row]), (outcome.joints[row], None))
    ]
