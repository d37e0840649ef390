"""AI Challenger 2017 in its own format, as the content of a COCO file.

The file is a list of photos: ``image_id`` (the photo's name without ``.jpg``), ``human_annotations`` (a box of two
corners by name: ``human1``) and ``keypoint_annotations`` (x, y and a mark of each joint, by the same names).
"""

from typing import Any

from hrnet_jax import validation
from hrnet_jax.datasets import plain_values
from hrnet_jax.datasets.records import HIDDEN, SEEN
from hrnet_jax.skeletons import Skeleton

FLAGS = {1: SEEN, 2: HIDDEN, 3: 0}
"""COCO's flags of the marks in files: visible, occluded, not in the photo."""


def to_coco(content: Any, skeleton: Skeleton) -> Any:
    """Returns the content of a COCO file; content that is not a list is one already, as mmpose distributes it.

    Photos and people keep their names as ids. Raises ValueError for a malformed entry.
    """
    if not isinstance(content, list):
        return content
    images, annotations = [], []
    for row, entry in enumerate(content):
        where = f"entry {row}"
        name = validation.require(entry, "image_id", str, where)
        images.append({"id": name, "file_name": f"{name}.jpg"})
        boxes = validation.require(entry, "human_annotations", dict, where)
        for human, joints in validation.require(entry, "keypoint_annotations", dict, where).items():
            person = _person(boxes.get(human), joints, skeleton, f"{where} ({name}, {human})")
            annotations.append({"id": f"{name} {human}", "image_id": name, "category_id": 1, **person})
    categories = [{"id": 1, "name": "person", "keypoints": list(skeleton.joints)}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _person(box: Any, joints: Any, skeleton: Skeleton, where: str) -> dict[str, list[float]]:
    left, top, right, bottom = plain_values.numbers(box, 4, f"{where}: `human_annotations`")
    numbers = plain_values.numbers(joints, 3 * skeleton.num_joints, f"{where}: `keypoint_annotations`")
    keypoints: list[float] = []
    for x, y, mark in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        if mark not in FLAGS:
            marks = "1 (visible), 2 (occluded) or 3 (not in the photo)"
            raise ValueError(f"{where}: a joint's mark (={mark:g}) must be {marks}")
        keypoints += [x, y, FLAGS[int(mark)]] if FLAGS[int(mark)] else [0, 0, 0]
    return {"bbox": [left, top, right - left, bottom - top], "keypoints": keypoints}
