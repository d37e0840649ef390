"""COCO files of published data sets that differ from COCO's own: each is turned into COCO's form.

The functions take a file's content and the data set's skeleton, and return new content. What they do not expect
stays as it is for `coco.read` to refuse.
"""

from collections.abc import Callable
from typing import Any

from hrnet_jax.datasets.coco_categories import PERSON
from hrnet_jax.skeletons import Skeleton

FIRST_PIXEL = 1  # of JHMDB's files, written by MATLAB
WHOLEBODY_FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
HUMANART_FOLDER = "HumanArt/images/"  # begins the names of photos


def named(content: Any, skeleton: Skeleton) -> Any:
    """Gives the joints the skeleton's names."""
    return _changed(content, lambda entry: entry, _names(skeleton))


def wholebody(content: Any, skeleton: Skeleton) -> Any:
    """Joins the joints of body, feet, face and hands, which COCO-WholeBody has in fields of their own."""

    def joined(entry: dict) -> dict:
        parts = [entry.get(name) for name in WHOLEBODY_FIELDS]
        if not all(isinstance(part, list) for part in parts):
            return entry
        return _without_count(entry) | {"keypoints": [number for part in parts for number in part or ()]}

    return _changed(content, joined, _names(skeleton))


def halpe26(content: Any, skeleton: Skeleton) -> Any:
    """Takes the first joints of Halpe's 136. Its categories do not name them."""

    def first(entry: dict) -> dict:
        numbers = entry.get("keypoints")
        if not isinstance(numbers, list):
            return entry
        return _without_count(entry) | {"keypoints": numbers[: 3 * skeleton.num_joints]}

    return _changed(content, first, _names(skeleton))


def humanart(content: Any, skeleton: Skeleton) -> Any:
    """Names COCO's joints alone: the file names four more, which are in ``keypoints_21``."""
    return _map(named(content, skeleton), "images", _without_folder)


def _without_folder(entry: dict) -> dict:
    name = entry.get("file_name")
    return entry | {"file_name": name.removeprefix(HUMANART_FOLDER)} if isinstance(name, str) else entry


def ap10k(content: Any, skeleton: Skeleton) -> Any:
    """Makes one category of all species. Each animal keeps the name of its own as ``species``."""
    if not isinstance(content, dict) or not isinstance(content.get("categories"), list):
        return content
    names = {entry.get("id"): entry.get("name") for entry in content["categories"] if isinstance(entry, dict)}
    unknown = {
        entry.get("category_id") for entry in content.get("annotations") or () if isinstance(entry, dict)
    } - names.keys()
    if unknown:
        raise ValueError(f"`category_id` (={min(map(str, unknown))}) is not the `id` of any of `categories`")
    category = {"id": 1, "name": PERSON, "keypoints": list(skeleton.joints)}
    one = content | {"categories": [category]}
    return _map(
        one, "annotations", lambda entry: entry | {"category_id": 1, "species": str(names[entry["category_id"]])}
    )


def jhmdb(content: Any, skeleton: Skeleton) -> Any:
    """Counts pixels from 0."""
    del skeleton

    def shifted(entry: dict) -> dict:
        numbers, box = entry.get("keypoints"), entry.get("bbox")
        changes = {}
        if isinstance(numbers, list):
            is_flag = [index % 3 == 2 for index in range(len(numbers))]
            pairs = zip(numbers, is_flag, strict=True)
            changes["keypoints"] = [_before(number) if not flag else number for number, flag in pairs]
        if isinstance(box, list):
            changes["bbox"] = [*map(_before, box[:2]), *box[2:]]
        return entry | changes

    return _map(content, "annotations", shifted)


def _before(number: Any) -> Any:
    return number - FIRST_PIXEL if isinstance(number, int | float) else number


def _without_count(entry: dict) -> dict:
    """Leaves out the number of labelled joints, which is of other joints."""
    return {name: value for name, value in entry.items() if name != "num_keypoints"}


def _names(skeleton: Skeleton) -> Callable[[dict], dict]:
    return lambda category: category | {"keypoints": list(skeleton.joints)}


def _changed(content: Any, annotation: Callable[[dict], dict], category: Callable[[dict], dict]) -> Any:
    return _map(_map(content, "annotations", annotation), "categories", category)


def _map(content: Any, name: str, change: Callable[[dict], dict]) -> Any:
    """Changes the entries of a list. Anything else stays as it is."""
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        return content
    return content | {name: [change(entry) if isinstance(entry, dict) else entry for entry in content[name]]}
