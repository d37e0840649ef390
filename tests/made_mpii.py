"""Small data sets in MPII's layout for the tests: plain photos, people in the authors' JSON, MATLAB's truth."""

import json
import pathlib
import zipfile

import made_coco
import numpy as np
import scipy.io

from hrnet_jax.datasets import mpii
from hrnet_jax.skeletons import MPII

SHORT = {ours: theirs for theirs, ours in mpii.JOINT_NAMES.items()}


def person(row: int, image: str, **changes) -> dict:
    """One row of a JSON file; the first joint is not labelled."""
    joints = np.random.default_rng(row).uniform(10, 40, (MPII.num_joints, 2)).round(2).tolist()
    entry = {
        "image": image,
        "center": [30.0, 24.0],
        "scale": 0.2 + row / 100,
        "joints": [[-1.0, -1.0], *joints[1:]],
    }
    return entry | {"joints_vis": [0] + [1] * (MPII.num_joints - 1)} | changes


def people(count: int = 5) -> list[dict]:
    """Several on each photo, photos not in the order of their names."""
    return [person(row, f"{9 - row // 2:09d}.jpg") for row in range(count)]


def write(root: pathlib.Path, entries: list | None = None, split: str = "valid", zipped=False) -> pathlib.Path:
    """Writes the JSON file and its photos under `root`, and returns `root`."""
    entries = people() if entries is None else entries
    (root / "annot").mkdir(parents=True, exist_ok=True)
    (root / "annot" / f"{split}.json").write_text(json.dumps(entries))
    photos = {entry["image"]: made_coco.photo(int(entry["image"][:9])) for entry in entries}
    if zipped:
        with zipfile.ZipFile(root / "images.zip", "w") as file:
            for name, image in photos.items():
                file.writestr(f"images/{name}", image)
        return root
    (root / "images").mkdir(exist_ok=True)
    for name, image in photos.items():
        (root / "images" / name).write_bytes(image)
    return root


def truth(entries: list[dict], head: float = 10.0) -> dict[str, np.ndarray]:
    """The fields of MATLAB's file for people whose heads' boxes are squares of a side."""
    joints = np.array([entry["joints"] for entry in entries], float)
    missing = 1 - np.array([entry["joints_vis"] for entry in entries], float)
    corners = np.zeros((2, 2, len(entries)))
    corners[1] = head
    names = np.empty((1, MPII.num_joints), object)
    names[0] = [np.array([SHORT[name]]) for name in MPII.joints]
    return {
        "dataset_joints": names,
        "jnt_missing": missing.T,
        "pos_gt_src": joints.transpose(1, 2, 0),
        "headboxes_src": corners,
    }


def write_truth(root: pathlib.Path, entries: list | None = None, split: str = "valid", **changes) -> pathlib.Path:
    """Writes ``annot/gt_<split>.mat`` and returns it; a field changed to None is left out."""
    fields = truth(people() if entries is None else entries) | changes
    path = root / "annot" / f"gt_{split}.mat"
    scipy.io.savemat(path, {name: value for name, value in fields.items() if value is not None})
    return path
