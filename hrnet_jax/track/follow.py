"""Follows the people of a sequence with several settings at once, which share photos, flow and the network."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from hrnet_jax.datasets.posetrack import JOINTS
from hrnet_jax.track.estimators import Estimator
from hrnet_jax.track.sequences import SIGMAS, Sequence
from hrnet_jax.tracking import flow, memory, shots, tracker
from hrnet_jax.tracking.settings import Settings
from hrnet_jax.tracking.tracker import Estimate, Tracks

Value = TypeVar("Value")


def follow(
    sequence: Sequence, rows: Mapping[str, Settings], estimator: Estimator, rate: float
) -> dict[str, list[Tracks]]:
    """Returns the people of each frame, by the name of the settings.

    Args:
      sequence: see there.
      rows: settings by name. They must have the same source of flow and limit of cuts.
      estimator: the network.
      rate: frames per second.

    Raises ValueError if sources of flow, or limits of cuts, differ.
    """
    sources = _shared("flow", {row.flow for row in rows.values() if row.needs_flow})
    (limit,) = _shared("cut_error", {row.cut_error for row in rows.values()})
    source = flow.open_source(*sources) if sources else None
    states, found = dict.fromkeys(rows, memory.start(len(JOINTS))), {name: [] for name in rows}
    earlier = None
    for number in range(len(sequence.photos)):
        photo = sequence.photo(number)
        change = shots.compare(earlier, photo) if earlier is not None else shots.NOTHING_IN_COMMON
        cut = change.error >= limit
        moves = None
        if source is not None and earlier is not None and not cut:
            moves = source(sequence.truth.frames[number - 1], earlier, photo)
        boxes, scores = sequence.boxes[number], sequence.scores[number]
        frame = tracker.Frame(number / rate, photo.shape[:2], boxes, scores, change.shift, moves, cut)
        estimate = remembering(estimator(sequence, number, photo))
        for name, settings in rows.items():
            states[name], tracks = tracker.step(states[name], frame, estimate, settings, SIGMAS)
            found[name].append(tracks)
        earlier = photo
    return found


def _shared(name: str, values: set[Value]) -> set[Value]:
    """Returns the values of a setting that rows share. Raises ValueError if they differ."""
    if len(values) > 1:
        listed = ", ".join(sorted(map(str, values)))
        raise ValueError(f"rows have different `{name}` ({listed}), which they share: give them to several runs")
    return values


def remembering(estimate: Estimate) -> Estimate:
    """Returns an estimator that estimates the pose in each box once."""
    known: dict[tuple[float, ...], np.ndarray] = {}

    def estimate_new(boxes: np.ndarray) -> np.ndarray:
        keys = [tuple(box) for box in boxes.tolist()]
        new = list(dict.fromkeys(key for key in keys if key not in known))
        if new:
            known.update(zip(new, estimate(np.array(new)), strict=True))
        return np.array([known[key] for key in keys])

    return estimate_new
