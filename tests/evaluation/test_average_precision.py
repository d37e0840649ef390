"""Compares average precision with pycocotools on random photos."""

import json

import numpy as np
import pytest
from made_results import SKELETON, detect, make, person, pycocotools_metrics

from hrnet_jax.evaluation import coco, matching


def our_metrics(content, found, directory):
    path = directory / "annotations.json"
    path.write_text(json.dumps(content))
    return coco.average_precision(found, path, SKELETON)


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
