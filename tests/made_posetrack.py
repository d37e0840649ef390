"""Made-up people in PoseTrack's videos, for tests: built directly, or as files."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.io

from hrnet_jax.datasets import posetrack, posetrack18
from hrnet_jax.datasets.posetrack import JOINTS, Person, Video

K = len(JOINTS)
POSE = np.stack([np.arange(K) % 3 * 40.0, np.arange(K) * 25.0], axis=-1)  # no joint is near another
HEAD = 30.0  # a joint is correct within 15 pixels


def person(
    track_id: int, x: float = 100, y: float = 100, *, missing: Sequence[int] = (), score: float = 0.5
) -> Person:
    """Returns a person at a place; joints of lower numbers have slightly higher scores."""
    exists = ~np.isin(np.arange(K), missing)
    return Person(track_id, POSE + np.array([x, y]), exists, score - np.arange(K) * 1e-4, HEAD)


def video(
    frames: Sequence[Sequence[Person]], *, labelled: Sequence[bool] | None = None, regions=(), year=2018
) -> Video:
    """Returns a video of these people. `regions` are polygons of every frame."""
    marks = [None] * len(frames) if labelled is None else labelled
    polygons = tuple(np.array(region, float) for region in regions)
    made = [
        posetrack.Frame(f"images/val/000001_mpii_test/{row:06d}.jpg", row, mark, bool(people), polygons, people)
        for row, (people, mark) in enumerate(zip(frames, marks, strict=True))
    ]
    return posetrack.assemble(pathlib.Path("000001_mpii_test.json"), year, made)


def walk(
    rng: np.random.Generator, people: int = 4, frames: int = 8
) -> tuple[list[list[Person]], list[list[Person]]]:
    """Returns people of the ground truth and noisy results: gaps, false alarms, changing ids, joints missing."""
    truth, results, ids, new = [], [], np.arange(people), people
    places = rng.uniform(100, 400, (people, 2))
    for _ in range(frames):
        if rng.random() < 0.3:
            ids[rng.integers(people)] = new = new + 1
        truth.append([person(i, *place) for i, place in enumerate(places) if rng.random() < 0.9])
        results.append(
            [noisy(rng, int(i), place) for i, place in zip(ids, places, strict=True) if rng.random() < 0.8]
        )
        results[-1] += [noisy(rng, 90, rng.uniform(100, 400, 2))] * (rng.random() < 0.3)
        places = places + rng.normal(0, 20, places.shape)
    return truth, results


def noisy(rng: np.random.Generator, track_id: int, place: np.ndarray) -> Person:
    joints = POSE + place + rng.normal(0, 8, POSE.shape)
    return Person(track_id, joints, rng.random(K) < 0.9, rng.random(K), np.nan)


def entry(made: Person, image_id: int, number: int) -> dict:
    """Returns the entry of a person in a file of 2018."""
    keypoints, scores = [], []
    for name in posetrack18.FILE_JOINTS:
        joint = JOINTS.index(name) if name in JOINTS else -1
        exists = joint >= 0 and made.exists[joint]
        keypoints += [*made.joints[joint].tolist(), 1] if exists else [0, 0, 0]
        scores.append(float(made.scores[joint]) if exists else 0.0)
    side = HEAD / posetrack.HEAD_PART / np.sqrt(2)
    return {
        "image_id": image_id, "id": image_id * 100 + number, "category_id": 1, "track_id": made.track_id,
        "keypoints": keypoints, "scores": scores, "bbox_head": [10.0, 10.0, side, side],
    }  # fmt: skip


def content(frames: Sequence[Sequence[Person]], sequence: int = 1) -> dict:
    """Returns the content of a file of 2018."""
    first = 10**10 + sequence * 10**4
    images = [
        {"id": first + row, "frame_id": first + row, "is_labeled": True,
         "file_name": f"images/val/{sequence:06d}_mpii_test/{row:06d}.jpg"}
        for row in range(len(frames))
    ]  # fmt: skip
    annotations = [
        entry(made, first + row, n) for row, people in enumerate(frames) for n, made in enumerate(people)
    ]
    category = {"name": "person", "id": 1, "keypoints": list(posetrack18.FILE_JOINTS)}
    return {"images": images, "annotations": annotations, "categories": [category]}


def content_2017(frames: Sequence[Sequence[Person]], sequence: int = 1) -> dict:
    """Returns the content of a file of 2017."""
    annolist = []
    for row, people in enumerate(frames):
        rects = []
        for made in people:
            points = [
                {"id": [k], "x": [made.joints[k, 0]], "y": [made.joints[k, 1]], "score": [made.scores[k]]}
                for k in np.flatnonzero(made.exists).tolist()
            ]
            side = HEAD / posetrack.HEAD_PART / np.sqrt(2)
            head = {"x1": [10.0], "y1": [10.0], "x2": [10.0 + side], "y2": [10.0 + side]}
            rects.append({**head, "track_id": [made.track_id], "annopoints": [{"point": points}]})
        image = [{"name": f"images/bonn/{sequence:06d}_mpii/{row + 1:08d}.jpg"}]
        annolist.append({"image": image, "imgnum": [row + 1], "is_labeled": [1], "annorect": rects})
    return {"annolist": annolist}


def structures(value: object) -> object:
    """Returns what MATLAB has for JSON of 2017: structures with the same fields, empty where one is missing."""
    if isinstance(value, dict):
        return structures([value])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        names = [*dict.fromkeys(name for entry in value for name in entry)]
        made = np.empty((1, len(value)), [(name, object) for name in names])
        for column, entry in enumerate(value):
            made[0, column] = tuple(structures(entry.get(name, [])) for name in names)
        return made
    return np.array(value, float) if isinstance(value, list) else value


def write_matlab(folder: pathlib.Path, document: dict, sequence: int = 1) -> pathlib.Path:
    """Writes a file of 2017 as MATLAB's."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sequence:06d}_mpii.mat"
    scipy.io.savemat(path, {"annolist": structures(document["annolist"])})
    return path


def write(folder: pathlib.Path, document: object, sequence: int = 1) -> pathlib.Path:
    """Writes a file into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sequence:06d}_mpii_test.json"
    path.write_text(json.dumps(document))
    return path
