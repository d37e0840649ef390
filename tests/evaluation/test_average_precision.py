"""Compares average precision with pycocotools on random photos."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_jax import skeletons
from hrnet_jax.evaluation import coco, matching

COUNT = 10  # joints: numpy sums more than eight numbers in another order
SKELETON = skeletons.Skeleton(
    name="ten",
    joints=tuple(f"joint {k}" for k in range(COUNT)),
    flip_pairs=(),
    limbs=(),
    sigmas=tuple(np.linspace(0.025, 0.107, COUNT).tolist()),
    upper_body=(),
)


def pycocotools_metrics(content, found):
    """Returns the ten metrics of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(SKELETON.sigmas)
        evaluation.params.catIds = sorted({result["category_id"] for result in found})
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(coco.METRICS, map(float, evaluation.stats), strict=True))


def our_metrics(content, found, directory):
    path = directory / "annotations.json"
    path.write_text(json.dumps(content))
    return coco.average_precision(found, path, SKELETON)


def person(rng, number, photo_id, category_id=1, **fields):
    """Returns an annotation of any size with some or no labelled joints."""
    size = np.exp(rng.uniform(np.log(10), np.log(300)))
    corner = rng.uniform(0, 400, 2)
    joints = np.round(corner + rng.uniform(0, 1, (COUNT, 2)) * size * [0.5, 1])
    labels = rng.choice([0, 1, 2], COUNT) * (rng.random() < 0.8)
    return {
        "id": number,
        "image_id": photo_id,
        "category_id": category_id,
        "bbox": [*corner.tolist(), size / 2, size],
        "area": float(size**2 * rng.uniform(0.1, 0.4)),
        "iscrowd": int(rng.random() < 0.1),
        "num_keypoints": int(np.sum(labels > 0)),
        "keypoints": np.column_stack([joints * (labels > 0)[:, None], labels]).ravel().tolist(),
        **fields,
    }


def detect(rng, annotation, digits=8):
    """Returns a more or less exact detection of an annotation."""
    keypoints = np.array(annotation["keypoints"], float).reshape(COUNT, 3)
    size = annotation["bbox"][3]
    unlabelled = keypoints[:, 2] == 0
    keypoints[unlabelled, :2] = annotation["bbox"][:2] + rng.uniform(0, 1, (int(unlabelled.sum()), 2)) * size
    keypoints[:, :2] += rng.normal(0, 1, (COUNT, 2)) * size * rng.choice([0.0, 0.01, 0.05, 0.1, 0.3])
    return {
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "keypoints": keypoints.ravel().tolist(),
        "score": round(float(rng.random()), digits),
    }


def make(seed, photos, people, found, categories=(1,), digits=8):
    """Returns random annotations and detections. With few digits many scores are equal."""
    rng = np.random.default_rng(seed)
    photo_ids = (rng.permutation(3 * photos)[:photos] + 1).tolist()
    annotations = [
        person(rng, int(number), int(rng.choice(photo_ids)), int(rng.choice(categories)))
        for number in rng.permutation(people) + 1
    ]
    strangers = [person(rng, 0, int(rng.choice(photo_ids)), int(rng.choice(categories))) for _ in range(9)]
    results = [detect(rng, rng.choice(annotations + strangers), digits) for _ in range(found)]
    content = {
        "images": [{"id": photo_id} for photo_id in photo_ids],
        "categories": [{"id": number, "name": f"category {number}"} for number in categories],
        "annotations": annotations,
    }
    return content, results


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "shape",
    [
        {"photos": 30, "people": 60, "found": 200},
        {"photos": 30, "people": 60, "found": 200, "digits": 1},
        {"photos": 2, "people": 40, "found": 90},  # more than count
        {"photos": 40, "people": 5, "found": 40},
        {"photos": 9, "people": 70, "found": 6},
        {"photos": 1, "people": 1, "found": 1},
        {"photos": 12, "people": 40, "found": 120, "categories": (2, 3, 7)},
    ],
    ids=lambda shape: "-".join(map(str, shape.values())),
)
def test_metrics_equal_those_of_pycocotools_bit_for_bit(shape, seed, tmp_path):
    content, found = make(seed, **shape)
    assert our_metrics(content, found, tmp_path) == pycocotools_metrics(content, found)


def test_annotations_of_equal_similarity_are_matched_in_the_order_of_pycocotools(tmp_path):
    """Of equal annotations the last is matched. Some are crowds, or have an area at the limit of a size."""
    for seed in range(8):
        content, found = make(seed, photos=4, people=12, found=60, digits=2)
        doubles = [
            {**entry, "id": 100 + i, "iscrowd": i % 2, "area": [entry["area"], 32.0**2, 96.0**2][i % 3]}
            for i, entry in enumerate(content["annotations"])
        ]
        content["annotations"] += doubles
        assert our_metrics(content, found, tmp_path) == pycocotools_metrics(content, found)


def test_special_cases_equal_those_of_pycocotools(tmp_path):
    """NaN matches anything, and annotations of unlisted photos do not count."""
    content, found = make(1, photos=6, people=30, found=90)
    content["annotations"][5]["image_id"] = 1000
    found[0]["keypoints"][4] = found[7]["keypoints"][0] = float("nan")
    assert our_metrics(content, found, tmp_path) == pycocotools_metrics(content, found)


def test_an_annotation_of_id_0_counts_as_with_another_id(tmp_path):
    """pycocotools never matches it: there, an id is also the mark of a match."""
    content, found = make(1, photos=6, people=30, found=90)
    expected = pycocotools_metrics(content, found)
    content["annotations"][3]["id"] = 0
    assert our_metrics(content, found, tmp_path) == expected != pycocotools_metrics(content, found)


def test_metrics_do_not_depend_on_the_block_size(tmp_path, monkeypatch):
    content, found = make(2, photos=20, people=70, found=200)
    whole = our_metrics(content, found, tmp_path)
    monkeypatch.setattr(matching, "BLOCK_PAIRS", 1)
    assert our_metrics(content, found, tmp_path) == whole


def test_metrics_are_minus_one_without_annotations_and_zero_without_matches(tmp_path):
    content, found = make(3, photos=5, people=10, found=30)
    of_another_category = [{**result, "category_id": 9} for result in found]
    assert our_metrics(content, of_another_category, tmp_path) == dict.fromkeys(coco.METRICS, -1.0)
    lost = [{**result, "keypoints": (np.array(result["keypoints"]) + 1e5).tolist()} for result in found]
    assert our_metrics(content, lost, tmp_path)["AP"] == 0


def test_false_positives_of_lower_score_do_not_change_a_perfect_result(tmp_path):
    rng = np.random.default_rng(0)
    people = [person(rng, i + 1, 1 + i % 4, iscrowd=0) for i in range(20)]
    content = {"images": [{"id": i} for i in (1, 2, 3, 4)], "categories": [], "annotations": people}
    found = [
        {"image_id": one["image_id"], "category_id": 1, "keypoints": one["keypoints"], "score": 0.9}
        for one in people
        if one["num_keypoints"]
    ]
    worse = [detect(rng, one) | {"score": 0.1} for one in people]
    values = our_metrics(content, found + worse, tmp_path)
    assert values["AP"] == pytest.approx(1) and values["AR"] == 1


def test_refuses_results_of_another_skeleton(tmp_path):
    content, found = make(0, photos=3, people=5, found=5)
    found[2]["keypoints"] = found[2]["keypoints"][:-3]
    with pytest.raises(ValueError, match=r"\[27, 30\] numbers.*10 joints of skeleton 'ten'"):
        our_metrics(content, found, tmp_path)
    for entry in content["annotations"]:
        entry["keypoints"] = entry["keypoints"][:-3]
    with pytest.raises(ValueError, match="9 joints in the annotations and 10 in the results"):
        our_metrics(content, make(0, photos=3, people=5, found=5)[1], tmp_path)
