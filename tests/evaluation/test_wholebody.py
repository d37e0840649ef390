"""COCO-WholeBody's metrics: each part as pycocotools evaluates its joints alone."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_jax import skeletons
from hrnet_jax.evaluation import wholebody
from hrnet_jax.skeleton_tables import WHOLEBODY_PARTS

SKELETON = skeletons.load("coco_wholebody")
COUNT = SKELETON.num_joints


def make(seed):
    rng, people, results = np.random.default_rng(seed), [], []
    parts = np.repeat(np.arange(5), [len(joints) for joints in WHOLEBODY_PARTS.values()])
    for number in range(1, 30):
        center, size = rng.uniform(50, 400, 2), rng.uniform(20, 200)
        flags = rng.integers(0, 3, COUNT) * (rng.random(5) < 0.7)[parts]  # whole parts are not labelled
        joints = center + rng.normal(0, 0.3, (COUNT, 2)) * size
        box = [*(center - size / 2).tolist(), size, 1.5 * size]
        person = {"id": number, "image_id": number % 9, "category_id": 1, "bbox": box, "area": size**2 * 0.4}
        numbers = np.column_stack([joints, flags])
        people.append(person | {"iscrowd": int(number == 5), "keypoints": numbers.ravel().tolist()})
        found = np.column_stack([joints + rng.normal(0, 0.03, (COUNT, 2)) * size * rng.random(), np.ones(COUNT)])
        result = {"image_id": number % 9, "category_id": 1, "keypoints": found.ravel().tolist()}
        results.append(result | {"score": float(rng.random())})
    images = [{"id": number} for number in range(9)]
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}, results


def pycocotools_metrics(content, results, joints):
    """Returns AP and AR of some joints alone."""
    content, results = copy.deepcopy((content, results))
    for entry in (*content["annotations"], *results):
        entry["keypoints"] = np.reshape(entry["keypoints"], (COUNT, 3))[joints].ravel().tolist()
    for entry in content["annotations"]:
        entry["num_keypoints"] = sum(flag > 0 for flag in entry["keypoints"][2::3])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(SKELETON.sigmas)[joints]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[5])


@pytest.mark.parametrize("seed", [0, 1])
def test_every_part_is_evaluated_alone(tmp_path, seed):
    content, results = make(seed)
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    found = wholebody.metrics(results, path, SKELETON)
    assert tuple(found) == wholebody.METRICS
    for part, names in {"": SKELETON.joints, **WHOLEBODY_PARTS}.items():
        joints = [SKELETON.joints.index(name) for name in names]
        mine = [found[f"{kind}_{part}" if part else kind] for kind in ("AP", "AR")]
        np.testing.assert_allclose(mine, pycocotools_metrics(content, results, joints), rtol=0, atol=1e-15)
    assert len({found[f"AP_{part}"] for part in WHOLEBODY_PARTS}) == 5


def test_no_results_score_0(tmp_path):
    assert wholebody.metrics([], tmp_path, SKELETON) == dict.fromkeys(wholebody.METRICS, 0.0)
