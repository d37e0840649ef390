"""The JSON of PoseTrack 2017: MATLAB's structure ``annolist``, with each value in a list of one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from hrnet_jax import validation
from hrnet_jax.datasets import plain_values, posetrack
from hrnet_jax.datasets.posetrack import JOINTS, NO_SCORE, Frame, Person

HEAD_BOX = ("x1", "y1", "x2", "y2")


def frames(content: dict[str, Any], path: str) -> Iterator[Frame]:
    """Yields the frames of a file. Raises ValueError that begins with `path` for an invalid entry."""
    for row, entry in enumerate(validation.require(content, "annolist", list, path)):
        where = f"{path}: annolist[{row}]"
        image = _only(entry, "image", where)
        name = validation.require(image, "name", str, f"{where}: `image`")
        rects = _some(entry, "annorect", where)
        people = [_person(rect, f"{where}: annorect[{place}]") for place, rect in enumerate(rects)]
        labelled = bool(_number(entry, "is_labeled", where)) if "is_labeled" in entry else None
        regions = tuple(_region(region, where) for region in _some(entry, "ignore_regions", where))
        image_id = int(_number(entry, "imgnum", where)) if "imgnum" in entry else row
        found = [person for person in people if person is not None]
        yield Frame(name, image_id, labelled, bool(rects), regions, found)


def _person(rect: Any, where: str) -> Person | None:
    """Returns a person, or None for one without a list of joints."""
    groups = _some(rect, "annopoints", where)
    if not groups or "point" not in groups[0]:
        return None
    joints, exists = np.zeros((len(JOINTS), 2)), np.zeros(len(JOINTS), bool)
    scores = np.full(len(JOINTS), NO_SCORE)
    for place, point in enumerate(_some(groups[0], "point", where)):
        spot = f"{where}: point[{place}]"
        joint = int(_number(point, "id", spot))
        if 0 <= joint < len(JOINTS) and not exists[joint]:
            joints[joint] = _number(point, "x", spot), _number(point, "y", spot)
            scores[joint] = _number(point, "score", spot) if "score" in point else NO_SCORE
            exists[joint] = True
    has_head = all(name in rect for name in HEAD_BOX)
    size = posetrack.head_size(*(_number(rect, name, where) for name in HEAD_BOX)) if has_head else np.nan
    track_id = posetrack.check_track_id(int(_number(rect, "track_id", where)), where)
    return Person(track_id, joints, exists, scores, size)


def _region(region: Any, where: str) -> np.ndarray:
    points = _some(region, "point", f"{where}: `ignore_regions`")
    return posetrack.polygon([[_number(point, axis, where) for axis in ("x", "y")] for point in points], where)


def _some(entry: Any, name: str, where: str) -> list:
    """Returns a list. A single structure stands for a list of one, and a missing one or null for none."""
    value = validation.require({"": entry}, "", dict, where).get(name)
    value = [value] if isinstance(value, dict) else value or []
    return validation.require({name: value}, name, list, where)


def _only(entry: Any, name: str, where: str) -> Any:
    """Returns the value in a list of one, or a value without its list."""
    if not isinstance(entry, dict) or name not in entry:
        raise ValueError(f"{where} has no `{name}`, but is {validation.short_repr(entry)}")
    value = entry[name]
    if isinstance(value, list) and len(value) != 1:
        raise ValueError(f"{where}: `{name}` (={validation.short_repr(value)}) must be a list of one")
    return value[0] if isinstance(value, list) else value


def _number(entry: Any, name: str, where: str) -> float:
    return plain_values.numbers([_only(entry, name, where)], 1, f"{where}: `{name}`")[0]
