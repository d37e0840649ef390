"""Small data sets in COCO's layout for the tests: plain photos, a person on each."""

import copy
import json
import pathlib
import zipfile

import cv2
import numpy as np

from hrnet_jax.skeletons import COCO

WIDTH, HEIGHT = 64, 48


def photo(number: int, extension: str = ".jpg") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.imencode(extension, pixels)[1].tobytes()


def person(annotation_id: int, photo_id: int, **changes) -> dict:
    keypoints = [value for joint in range(COCO.num_joints) for value in (20 + joint, 10 + joint, joint % 3)]
    entry = {"id": annotation_id, "image_id": photo_id, "category_id": 1, "bbox": [10.0, 5.0, 30.0, 40.0]}
    return entry | {"area": 600.0, "iscrowd": 0, "keypoints": keypoints, "segmentation": [[1, 2]]} | changes


def content(photo_ids=(30, 10, 20)) -> dict:
    """An annotation file, photos out of order, with a person on each photo."""
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": []}
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "width": WIDTH, "height": HEIGHT} for number in photo_ids
    ]
    people = [person(number + 1, number) for number in photo_ids]
    return copy.deepcopy({"images": images, "annotations": people, "categories": [category]})


def write(
    root: pathlib.Path, annotations: dict | None = None, split: str = "val2017", zipped=False
) -> pathlib.Path:
    """Writes annotations and their photos under `root`, and returns `root`."""
    annotations = content() if annotations is None else annotations
    prefix = "image_info" if split.startswith("test") else "person_keypoints"
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"{prefix}_{split}.json").write_text(json.dumps(annotations))
    folder = split.replace("test-dev", "test")
    photos = {image["file_name"]: photo(image["id"]) for image in annotations.get("images", [])}
    if zipped:
        with zipfile.ZipFile(root / f"{folder}.zip", "w") as file:
            for name, image in photos.items():
                file.writestr(f"{folder}/{name}", image)
        return root
    for name, image in photos.items():
        path = root / "images" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return root


def boxes(root: pathlib.Path, entries: object) -> pathlib.Path:
    """Writes a detector file."""
    path = root / "boxes.json"
    path.write_text(json.dumps(entries))
    return path


def box(photo_id: int, **changes) -> dict:
    return {"image_id": photo_id, "category_id": 1, "bbox": [1.5, 2.5, 20.0, 30.0], "score": 0.5} | changes
