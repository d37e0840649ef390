"""What joints' names say about sides, spelled as left_eye, LEFT_EYE, leftEye, L_Eye, lEye, leye, eye.l or eyeL.

Letters alone say little, so what a side is told from is that the skeleton has the other side's name, too.
"""

import re
from collections.abc import Collection

from hrnet_jax.skeletons import Skeleton

_SIDE = re.compile(r"[Ll]eft|LEFT|[Rr]ight|RIGHT|(?<![A-Za-z])[LlRr]|(?<=[a-z])[LR](?![a-z])")
_OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
_BETWEEN = "_-. "


def mirrored(name: str, names: Collection[str]) -> str:
    """Returns which of a skeleton's names is that of the other side, the name itself if there is none."""
    others = [_SIDE.sub(_opposite, name), *(_exchanged(name, side) for side in _SIDE.finditer(name))]
    return next((other for other in others if other in names), name)


def _exchanged(name: str, side: re.Match[str]) -> str:
    return name[: side.start()] + _opposite(side) + name[side.end() :]


def _opposite(side: re.Match[str]) -> str:
    """Returns the other side, in capitals where this one is."""
    text = side.group()
    other = _OTHER[text.lower()]
    return other.upper() if text.isupper() else other.capitalize() if text[0].isupper() else other


def usual(skeleton: Skeleton) -> tuple[str, ...]:
    """Returns the names of a skeleton's joints as COCO spells them: left_eye."""
    return tuple(_usual(name, skeleton.joints) for name in skeleton.joints)


def _usual(name: str, names: Collection[str]) -> str:
    sides = [side for side in _SIDE.finditer(name) if _exchanged(name, side) in names]
    if len(sides) != 1:
        return name.lower()
    (side,) = sides
    word = "left" if side.group().lower().startswith("l") else "right"
    around = (name[: side.start()].strip(_BETWEEN), name[side.end() :].strip(_BETWEEN))
    return "_".join(part for part in (word, *around) if part).lower()
