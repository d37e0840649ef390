"""Finds the side in joint names such as left_eye, LEFT_EYE, leftEye, L_Eye, lEye, leye, eye.l or eyeL.

A single letter is ambiguous. A name has a side only if the skeleton also has the name of the other side.
"""

import dataclasses
import re
from collections.abc import Collection
from typing import Any

from hrnet_jax.skeletons import Skeleton

_SIDE = re.compile(r"[Ll]eft|LEFT|[Rr]ight|RIGHT|(?<![A-Za-z])[LlRr]|(?<=[a-z])[LR](?![a-z])")
_OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SEPARATORS = "_-. "


def mirror_name(name: str, names: Collection[str]) -> str:
    """Returns the name of the mirror joint, or `name` itself if `names` has none."""
    candidates = [_SIDE.sub(_opposite, name), *(_exchange(name, side) for side in _SIDE.finditer(name))]
    return next((candidate for candidate in candidates if candidate in names), name)


def _exchange(name: str, side: re.Match[str]) -> str:
    return name[: side.start()] + _opposite(side) + name[side.end() :]


def _opposite(side: re.Match[str]) -> str:
    """Returns the other side with the same capitalization."""
    text = side.group()
    other = _OPPOSITE[text.lower()]
    return other.upper() if text.isupper() else other.capitalize() if text[0].isupper() else other


def coco_style(skeleton: Skeleton) -> tuple[str, ...]:
    """Returns the names of a skeleton's joints in COCO's spelling: left_eye."""
    return tuple(_coco_style(name, skeleton.joints) for name in skeleton.joints)


def _coco_style(name: str, names: Collection[str]) -> str:
    sides = [side for side in _SIDE.finditer(name) if _exchange(name, side) in names]
    if len(sides) != 1:
        return name.lower()
    (side,) = sides
    word = "left" if side.group().lower().startswith("l") else "right"
    parts = (word, name[: side.start()].strip(_SEPARATORS), name[side.end() :].strip(_SEPARATORS))
    return "_".join(part for part in parts if part).lower()


def named_as(skeleton: Skeleton, names: Any) -> Skeleton:
    """Returns a skeleton with the names in a file, if these contradict its own: then only they tell what is where.

    It has no mirror pairs and limbs. Other spellings and unknown names contradict nothing. Nor do the same names
    in another order: the mistake may be in the list of names as well as in the joints.
    """
    if not isinstance(names, list) or not len(set(map(str, names))) == len(names) == skeleton.num_joints:
        return skeleton
    other = dataclasses.replace(skeleton, joints=tuple(map(str, names)), flip_pairs=(), limbs=())
    known = coco_style(skeleton)
    if set(known) == set(coco_style(other)):
        return skeleton
    moved = (name != at for name, at in zip(coco_style(other), known, strict=True) if name in known)
    return other if any(moved) else skeleton
