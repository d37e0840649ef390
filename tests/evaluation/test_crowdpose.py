"""CrowdPose's metrics, compared with the authors' tool."""

import json

import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.evaluation import coco, crowdpose

SKELETON = skeletons.load("crowdpose")
INDEX = (0.0, 0.2, 0.1, 0.5, 0.8, 1.0, 0.79)  # both limits among them

# What crowdposetools (github.com/Jeff-sjtu/CrowdPose, October 2021) returns for `make(seed)`.
TOOL = {
    0: (
        0.4561933747892577,
        0.5662903974723381,
        0.5170290458327564,
        0.576056338028169,
        0.6408450704225352,
        0.6267605633802817,
        0.4437,
        0.4788,
        0.4677,
    ),
    1: (
        0.4265447650771077,
        0.5239319729719631,
        0.4900397941206942,
        0.5801418439716313,
        0.6524822695035462,
        0.6382978723404256,
        0.4803,
        0.427,
        0.4012,
    ),
    2: (
        0.45326357875607415,
        0.5369721982038396,
        0.5079586604736582,
        0.6056338028169014,
        0.6549295774647887,
        0.6408450704225352,
        0.4498,
        0.4469,
        0.5245,
    ),
}


def make(seed):
    """Returns the content of an annotation file and results on it."""
    rng = np.random.default_rng(seed)
    images, people, results = [], [], []
    for row in range(40):
        images.append({"id": row * 7 % 41 + 1, "crowdIndex": INDEX[row % len(INDEX)]})
        for _ in range(int(rng.integers(0, 26 if row % 9 == 0 else 5))):
            add_person(rng, images[-1]["id"], people, results)
    category = {"id": 1, "name": "person", "keypoints": list(SKELETON.joints), "skeleton": []}
    return {"images": images, "annotations": people, "categories": [category]}, results


def add_person(rng, photo_id, people, results):
    """Adds a person, some crowds or without joints, and up to two results, some with equal scores."""
    center, size = rng.uniform(50, 400, 2), rng.uniform(10, 200)
    flags = rng.integers(0, 3, 14) * (rng.random() > 0.05)
    joints = np.round(center + rng.normal(0, 0.3, (14, 2)) * size, 2) * (flags > 0)[:, None]
    box = np.round([*(center - size / 2), size, size * rng.uniform(0.8, 2)], 2)
    person = {"id": len(people) + 1, "image_id": photo_id, "category_id": 1, "bbox": box.tolist()}
    person |= {"keypoints": np.column_stack([joints, flags]).ravel().tolist(), "area": rng.uniform(10, 9000)}
    person |= {"iscrowd": int(rng.random() < 0.03), "num_keypoints": int((flags > 1).sum())}
    people.append(person)
    for _ in range(int(rng.integers(0, 3))):
        moved = joints + rng.normal(0, 0.08 * rng.random(), (14, 2)) * size
        score = float(rng.choice([0.5, 0.7, rng.random()]))
        keypoints = np.column_stack([moved, rng.random(14)]).ravel().tolist()
        results.append({"image_id": photo_id, "category_id": 1, "keypoints": keypoints, "score": score})


@pytest.mark.parametrize("seed", TOOL)
def test_metrics_equal_those_of_the_authors_tool_to_the_last_digit(tmp_path, seed):
    content, results = make(seed)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    assert crowdpose.metrics(results, path, SKELETON) == dict(zip(crowdpose.METRICS, TOOL[seed], strict=True))


def test_kinds_without_people_and_no_results(tmp_path):
    content, results = make(0)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content | {"images": [image | {"crowdIndex": 0.9} for image in content["images"]]}))
    found = crowdpose.metrics(results, path, SKELETON)
    assert (found["AP_easy"], found["AP_medium"]) == (-1, -1)
    assert found["AP_hard"] == round(found["AP"], 4)
    assert crowdpose.metrics([], path, SKELETON) == dict.fromkeys(crowdpose.METRICS, 0.0)


def test_photos_without_crowd_index_are_told(tmp_path):
    content, results = make(0)
    del content["images"][3]["crowdIndex"]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"1 photos \(id 22, \.\.\.\) have no `crowdIndex`"):
        crowdpose.metrics(results, path, SKELETON)
    assert coco.average_precision(results, path, SKELETON)["AP"] > 0
