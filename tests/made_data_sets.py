"""Small files in the published forms of data sets other than COCO, with their photos. Coordinates are made up."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.io
from made_coco import photo

from hrnet_jax import skeletons
from hrnet_jax.skeleton_tables import WHOLEBODY_PARTS

WIDTH, HEIGHT = 64, 48
HALPE_JOINTS = 136
WHOLEBODY_FIELDS = {"body": "keypoints", "foot": "foot_kpts"}  # others: PART_kpts


def place(root: pathlib.Path, name: str, content: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def photos(root: pathlib.Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number))


def keypoints(count: int, flag: int = 2) -> list[float]:
    """Joints one pixel apart: 20, 10; 21, 11; ..."""
    return [number for k in range(count) for number in (20 + k % 20, 10 + k % 20, flag)]


def images(*names: str, **fields: Any) -> list[dict]:
    return [
        {"id": 7 + k, "file_name": name, "width": WIDTH, "height": HEIGHT, **fields}
        for k, name in enumerate(names)
    ]


def person(count: int, image_id: int = 7, **fields: Any) -> dict:
    entry = {"id": 90 + image_id, "image_id": image_id, "category_id": 1, "bbox": [15, 5, 30, 40], "iscrowd": 0}
    return entry | {"keypoints": keypoints(count), "num_keypoints": count} | fields


def category(joints: Sequence[str], **fields: Any) -> dict:
    return {"id": 1, "name": "person", "supercategory": "person", "keypoints": [*joints], "skeleton": []} | fields


def write_crowdpose(root: pathlib.Path, split: str = "test", index: float = 0.33) -> None:
    """Without areas, with `crowdIndex`, and the head called otherwise than here. Counts visible joints alone."""
    joints = ["head" if name == "head_top" else name for name in skeletons.load("crowdpose").joints]
    annotation = person(len(joints), num_keypoints=3)
    content = {"images": images("106848.jpg", crowdIndex=index), "annotations": [annotation]}
    place(root, f"annotations/crowdpose_{split}.json", content | {"categories": [category(joints)]})
    photos(root / "images", ["106848.jpg"])


def write_aic(root: pathlib.Path, marks: Sequence[int] = (1, 2, 3)) -> None:
    """The authors' own list of photos."""
    joints = [n for k in range(14) for n in (20 + k, 10 + k, marks[k % len(marks)])]
    beside = [number + 18 * (k % 3 == 0) for k, number in enumerate(joints)]
    entry = {
        "image_id": "d8eeddddcc042544",
        "url": "http://example.org/1.jpg",
        "human_annotations": {"human1": [15, 5, 45, 45], "human2": [35, 5, 63, 45]},
        "keypoint_annotations": {"human1": joints, "human2": beside},
    }
    day = "20170902"
    folder = root / f"ai_challenger_keypoint_train_{day}"
    place(folder, f"keypoint_train_annotations_{day}.json", [entry])
    photos(folder / f"keypoint_train_images_{day}", [f"{entry['image_id']}.jpg"])


def write_wholebody(root: pathlib.Path) -> None:
    """The joints of feet, face and hands in fields of their own."""
    of_parts = {part: keypoints(len(joints)) for part, joints in WHOLEBODY_PARTS.items()}
    fields = {WHOLEBODY_FIELDS.get(part, f"{part}_kpts"): numbers for part, numbers in of_parts.items()}
    fields["lefthand_kpts"] = [0.0] * len(fields["lefthand_kpts"])
    entry = person(0, area=700.0) | fields | {"num_keypoints": 17, "face_valid": True, "lefthand_valid": False}
    content = {"images": images("000000000785.jpg"), "annotations": [entry]}
    content |= {"categories": [category(skeletons.COCO.joints)]}
    place(root, "annotations/coco_wholebody_val_v1.0.json", content)
    photos(root / "val2017", ["000000000785.jpg"])


def write_halpe(root: pathlib.Path) -> None:
    """All 136 joints, without names."""
    content = {"images": images("000000000785.jpg"), "annotations": [person(HALPE_JOINTS, area=700.0)]}
    place(root, "annotations/halpe_val_v1.json", content | {"categories": [category(())]})
    photos(root / "val2017", ["000000000785.jpg"])


def write_humanart(root: pathlib.Path) -> None:
    """17 joints under the names of 21, and photos named from above the root."""
    joints = [*skeletons.COCO.joints, "left_finger", "right_finger", "left_toe", "right_toe"]
    entry = person(17, area=700.0, keypoints_21=keypoints(21), num_keypoints_21=21)
    content = {"images": images("HumanArt/images/real_human/acrobatics/000000000590.jpg"), "annotations": [entry]}
    place(root, "annotations/validation_humanart.json", content | {"categories": [category(joints)]})
    photos(root / "images", ["real_human/acrobatics/000000000590.jpg"])


def write_ochuman(root: pathlib.Path) -> None:
    content = {"images": images("003799.jpg"), "annotations": [person(17, area=700.0)]}
    content |= {"categories": [category(skeletons.COCO.joints)]}
    place(root, "annotations/ochuman_coco_format_val_range_0.00_1.00.json", content)
    photos(root / "images", ["003799.jpg"])


def write_jhmdb(root: pathlib.Path) -> None:
    """Pixels counted from 1, neither areas nor `iscrowd`."""
    name = "Frisbee_catch_f_cm_np1_ri_med_0/00001.png"
    entry = person(15, keypoints=keypoints(15), track_id=0, scores=[])
    del entry["iscrowd"], entry["num_keypoints"]
    content = {"images": images(name, frame_id=1), "annotations": [entry]}
    content |= {"categories": [category(skeletons.load("jhmdb").joints)]}
    place(root, "annotations/Sub1_test.json", content)
    photos(root, [name])


def write_ap10k(root: pathlib.Path) -> None:
    """Each species is a category."""
    joints = skeletons.load("ap10k").joints
    animals = [person(17, 7, category_id=26, area=1200), person(17, 8, category_id=2, area=1200)]
    species = [category(joints, id=2, name="argali sheep"), category(joints, id=26, name="lion")]
    content = {"images": images("000000037516.jpg", "000000000004.jpg"), "annotations": animals}
    place(root, "annotations/ap10k-val-split1.json", content | {"categories": species})
    photos(root / "data", ["000000037516.jpg", "000000000004.jpg"])


def write_lsp(root: pathlib.Path) -> None:
    """joints.mat of [3, 14, people], the third row 1 for hidden joints."""
    joints = np.array(keypoints(14, 0), float).reshape(14, 3).T[..., None] + [0, 0, 0, 0]
    joints[2, 0] = 1
    root.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    photos(root / "images", [f"im{number:04d}.jpg" for number in range(1, 5)])


def write_lspet(root: pathlib.Path) -> None:
    """joints.mat of [14, 3, people], the third column 1 for labelled joints."""
    joints = np.array(keypoints(14, 1), float).reshape(14, 3)[..., None] + [0, 0]
    joints[0] = 0
    root.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(root / "joints.mat", {"joints": joints})
    photos(root / "images", ["im00001.jpg", "im00002.jpg"])


def write_posetrack(root: pathlib.Path) -> None:
    """A folder of sequences. Ears at (0, 0, 0), no boxes, no size of the photos, a frame without labels."""
    joints = skeletons.load("posetrack").joints
    first = 10003420000
    names = [f"images/val/000342_mpii_test/{frame:06d}.jpg" for frame in range(2)]
    frames = [
        {"id": first + k, "frame_id": first + k, "file_name": name, "vid_id": "000342", "is_labeled": k == 0}
        for k, name in enumerate(names)
    ]
    numbers = [0 if "ear" in joints[k // 3] else number for k, number in enumerate(keypoints(len(joints), 1))]
    person = {"id": 100 * first, "image_id": first, "category_id": 1, "track_id": 3, "keypoints": numbers}
    person |= {"bbox_head": [18, 8, 6, 8], "scores": []}
    content = {"images": frames, "annotations": [person], "categories": [category(joints)]}
    place(root, "annotations/val/000342_mpii_test.json", content)
    photos(root, names)


WRITERS = {
    "crowdpose": write_crowdpose, "aic": write_aic, "coco_wholebody": write_wholebody, "halpe26": write_halpe,
    "humanart": write_humanart, "ochuman": write_ochuman, "jhmdb": write_jhmdb, "ap10k": write_ap10k,
    "lsp": write_lsp, "lspet": write_lspet, "posetrack": write_posetrack,
}  # fmt: skip
