"""The category of people in a COCO annotation file, and its joints."""

import functools
import re

from hrnet_jax import validation
from hrnet_jax.datasets.identifiers import Numbering
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.validation import OnError

PERSON = "person"  # the category's name in COCO


def find(content: dict, skeleton: Skeleton, ids: Numbering, on_error: OnError) -> dict:
    """Returns the category of people, with its id as an integer; empty after an error."""
    try:
        categories = validation.require(content, "categories", list, "the file")
        rows = enumerate(categories)
        names = [validation.require(entry, "name", str, f"categories[{row}]") for row, entry in rows]
        category = _choose(categories, names, skeleton)
        return category | {"id": ids.number(category, "id", f"category {category['name']!r:.100}")}
    except ValueError as error:
        on_error("categories", "categories", str(error))
        return {}


def _choose(categories: list[dict], names: list[str], skeleton: Skeleton) -> dict:
    """Returns the category named `PERSON`, or else the only one with as many keypoints as the skeleton."""
    called = [row for row, name in enumerate(names) if name == PERSON]
    fitting = [
        row
        for row in (called if called else range(len(names)))
        if isinstance(joints := categories[row].get("keypoints"), list) and len(joints) == skeleton.num_joints
    ]
    chosen = called if len(called) == 1 else fitting
    if len(chosen) != 1:
        listed = ", ".join(names)[:200] or "none"
        wanted = f"{PERSON!r}, or just one with the {skeleton.num_joints} `keypoints` of {skeleton.name!r}"
        parts = {words(name) for name in names} & {words(joint) for joint in skeleton.joints}
        hint = "; these are joints: write one annotation for each person, with all joints in `keypoints`"
        problem = f"`categories` ({listed}) must have one named {wanted}: {len(fitting)} have these"
        raise ValueError(problem + hint * (2 * len(parts) > len(names)))
    return categories[chosen[0]]


def check_joints(category: dict, skeleton: Skeleton, is_guess: bool, on_error: OnError) -> bool:
    """Compares the keypoints with the skeleton's joints. Returns whether they are as many.

    Their order may never differ, and their names only if the skeleton was chosen.
    """
    title = f"category {category['name']!r:.100}"
    try:
        where = f"{title} (is it the file with the keypoints?)"
        names = validation.require(category, "keypoints", list, where)
        validation.names(names, f"{title}: `keypoints`")
    except ValueError as error:
        on_error("category_malformed", category["name"], str(error))
        return False
    found, wanted = ([*map(words, joints)] for joints in (names, skeleton.joints))
    is_reordered = found != wanted and {*map(frozenset, found)} == {*map(frozenset, wanted)}
    as_many = len(names) == skeleton.num_joints
    if not is_reordered and as_many and (found == wanted or not is_guess):
        return True
    has = f"{title} has {len(names)} keypoints ({', '.join(names):.500})"
    order = " in another order" * is_reordered
    joints = f"{skeleton.num_joints} joints{order} ({', '.join(skeleton.joints):.500})"
    advice = "give the skeleton of this data set with --skeleton FILE"
    if as_many and not is_reordered:
        advice += f", or --skeleton {skeleton.name} if these are other names of its joints in its order"
    message = f"{has}, but the skeleton {skeleton.name!r} has {joints}: {advice}"
    on_error("keypoint_names", category["name"], message)
    return as_many


@functools.cache
def words(name: str) -> tuple[str, ...]:
    """Returns the words of a joint's name, sorted: those of left_eye, LeftEye and Eye.L are equal."""
    words = (word.lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+|[^a-zA-Z_. -]+", name))
    sides = {"l": "left", "r": "right"}
    return tuple(sorted(sides.get(word, str(word)) for word in words))
