"""Values as other programs write them: ``448.0`` or ``"448"`` for 448, ``false`` or null for 0, null for no joint.

Each function returns the value that COCO's format asks for, and raises ValueError as `validation` does for values
without a plain meaning.
"""

import math
import re
from typing import Any

from hrnet_jax import validation
from hrnet_jax.datasets.records import SEEN

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,19}(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?\s*")
_WORDS = {"true": True, "false": False}
EXACT = 2**53  # floats below it count one by one


def whole(entry: Any, name: str, where: str) -> int:
    """Returns a field that holds an integer, also as a whole float or as text."""
    value = _number(entry.get(name)) if isinstance(entry, dict) else None
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        value = int(value)
    return validation.require(entry if type(value) is not int else {name: value}, name, int, where)


def real(entry: Any, name: str, where: str) -> float:
    """Returns a field that holds a number, also as text."""
    value = _number(entry.get(name)) if isinstance(entry, dict) else None
    is_number = type(value) in (int, float)
    return validation.require({name: value} if is_number else entry, name, (int, float), where)


def flag(entry: dict, name: str, where: str) -> int:
    """Returns a field that is 0 or 1, also as a boolean or its word, or null or missing for 0."""
    value = entry.get(name)
    value = _WORDS.get(value.lower(), value) if isinstance(value, str) else value
    return int(value or 0) if value is None or isinstance(value, bool) else whole(entry, name, where)


def numbers(value: Any, count: int, where: str) -> list[float]:
    """Returns a list of finite numbers, unchanged unless some are text."""
    return validation.numbers([*map(_number, value)] if isinstance(value, list) else value, count, where)


def keypoints(value: Any, joints: int, where: str) -> list[float]:
    """Returns x, y and flag of each joint in one list, unchanged unless some are not numbers.

    Null or an empty list is nobody's joints. A joint whose x or y is null or NaN is not labelled, and flags may be
    booleans.
    """
    if value is None or value == []:
        return [0] * (3 * joints)
    if isinstance(value, list) and all(isinstance(joint, list) and len(joint) == 3 for joint in value):
        value = [number for joint in value for number in joint]
    if isinstance(value, list) and len(value) == 3 * joints and not all(map(_is_number, value)):
        triples = zip(value[::3], value[1::3], value[2::3], strict=True)
        value = [number for triple in triples for number in _joint(*triple)]
    if isinstance(value, list) and len(value) == 2 * joints:
        where += " (x, y, flag of each joint)"
    return validation.numbers(value, 3 * joints, where)


def _joint(x: Any, y: Any, mark: Any) -> tuple[Any, Any, Any]:
    if _is_missing(x) or _is_missing(y):
        return 0, 0, 0
    mark = SEEN * mark if isinstance(mark, bool) else 0 if _is_missing(mark) else mark
    return _number(x), _number(y), _number(mark)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value == value


def _is_missing(value: Any) -> bool:
    return value is None or value != value


def _number(value: Any) -> Any:
    """Returns the number that a text holds, and any other value unchanged."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    return int(value) if value.strip().lstrip("+-").isdigit() else _finite(float(value), value)


def _finite(number: float, text: str) -> float | str:
    return number if math.isfinite(number) else text
