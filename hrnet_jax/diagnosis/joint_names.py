"""What joints' names say about sides, however they are spelled: left_eye, LEFT_EYE, L_Eye, lEye, eye.l."""

import re

from hrnet_jax.skeletons import Skeleton

_SIDE = re.compile(r"[Ll]eft|LEFT|[Rr]ight|RIGHT|(?<![A-Za-z])[LlRr](?![a-z])")
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
_BETWEEN = "_-. "


def mirrored(name: str) -> str:
    """Returns a name with each side in it exchanged, itself if it has none."""
    return _SIDE.sub(lambda side: _like(side.group(), _OTHER[side.group().lower()]), name)


def _like(text: str, other: str) -> str:
    """Returns `other` in capitals where `text` is."""
    return other.upper() if text.isupper() else other.capitalize() if text[0].isupper() else other


def usual(skeleton: Skeleton) -> tuple[str, ...]:
    """Returns the names of a skeleton's joints as COCO spells them: left_eye."""
    return tuple(map(_usual, skeleton.joints))


def _usual(name: str) -> str:
    sides = _SIDE.findall(name)
    if len(sides) != 1:
        return name.lower()
    side = "left" if sides[0].lower().startswith("l") else "right"
    before, after = (part.strip(_BETWEEN) for part in _SIDE.split(name))
    return "_".join(part for part in (side, before, after) if part).lower()
