import json
from typing import Any

import numpy as np
import pytest
from made_posetrack import content, content_2017, person, walk, write

from hrnet_jax import skeletons
from hrnet_jax.datasets import coco, posetrack_coco, posetrack_files
from hrnet_jax.evaluation import frame_ap, posetrack

SKELETON = skeletons.load("posetrack")


def prepared(path, folder):
    """Returns the file of ground truth that a prepared split has."""
    found = coco.load(path, SKELETON, lambda file: posetrack_coco.read(file, "val", SKELETON))
    truth = folder / "annotations.json"
    truth.write_text(json.dumps(coco.ground_truth(found, sorted(found.photos))))
    return truth


def results(document: dict) -> Any:
    """Returns the COCO results that mean the same as a file of predictions of 2018."""
    found = []
    for entry in document["annotations"]:
        table = np.array(entry["keypoints"], float).reshape(-1, 3)
        table[:, 2] = np.where(table.any(axis=1), entry["scores"], 0)
        found.append({"image_id": entry["image_id"], "keypoints": table.ravel().tolist()})
    return found


def columns(evaluation: posetrack.Evaluation) -> dict[str, float]:
    of_group = evaluation.metrics["AP"]
    return {name: of_group[posetrack.TOTAL if name == "mAP" else name[3:]] for name in frame_ap.COLUMNS}


def test_metrics_are_those_of_the_evaluation_of_files(tmp_path):
    truth, found = walk(np.random.default_rng(2))
    document = content(found)
    paths = write(tmp_path / "gt", content(truth)), write(tmp_path / "pred", document)
    expected = posetrack.evaluate(*([posetrack_files.read(path)] for path in paths))
    metrics = frame_ap.metrics(results(document), prepared(paths[0].parent, tmp_path), SKELETON)
    assert metrics == pytest.approx(columns(expected)) and 0 < metrics["mAP"] < 100


def test_several_sequences_equal_the_official_evaluation(shared, tmp_path):
    folder = shared / "conformance/posetrack"
    expected = json.loads((folder / "expected.json").read_text())["mixed_hard"]["ap"]
    found = [result for path in sorted((folder / "cases/mixed_hard/pred").glob("*.json"))
             for result in results(json.loads(path.read_text()))]  # fmt: skip
    metrics = frame_ap.metrics(found, prepared(folder / "cases/mixed_hard/gt", tmp_path), SKELETON)
    np.testing.assert_allclose([metrics[name] for name in frame_ap.COLUMNS], expected["groups"], rtol=0, atol=1e-8)


def test_photos_of_2017_are_known_by_their_names_and_here_by_numbers(tmp_path):
    frames = [[person(0), person(1, 700)]] * 2
    write(tmp_path / "gt", content_2017(frames))
    truth = prepared(tmp_path / "gt", tmp_path)
    found = results(content(frames))
    first = found[0]["image_id"]
    names = [f"images/bonn/000001_mpii/{row + 1:08d}.jpg" for row in range(2)]
    numbers = [image["id"] for image in json.loads(truth.read_text())["images"]]
    for ids in (names, numbers):
        renamed = [result | {"image_id": ids[result["image_id"] - first]} for result in found]
        assert frame_ap.metrics(renamed, truth, SKELETON)["mAP"] == 100


def test_joints_at_the_origin_without_a_score_are_not_predicted(tmp_path):
    """The first joint of this person is near the origin."""
    write(tmp_path / "gt", content([[person(0, 3, 3)]]))
    found = results(content([[person(0, 3, 3, missing=(0,))]]))
    metrics = frame_ap.metrics(found, prepared(tmp_path / "gt", tmp_path), SKELETON)
    assert metrics["AP_Ankl"] == 50 and metrics["AP_Knee"] == 100


def test_joints_that_nobody_labels_have_no_average_precision(tmp_path):
    write(tmp_path / "gt", content([[person(0, missing=(12, 13, 14))]]))
    metrics = frame_ap.metrics(results(content([[person(0)]])), prepared(tmp_path / "gt", tmp_path), SKELETON)
    assert metrics["AP_Head"] == frame_ap.UNDEFINED and metrics["mAP"] == 100


def test_truth_of_another_data_set_and_people_without_heads_are_told(tmp_path):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}))
    with pytest.raises(ValueError, match=r"annotations\.json: images\[0\] has no `posetrack`"):
        frame_ap.metrics([], path, SKELETON)
    document = content([[person(0)]])
    del document["annotations"][0]["bbox_head"]
    write(tmp_path / "gt", document)
    with pytest.raises(ValueError, match="has no head box"):
        frame_ap.metrics([], prepared(tmp_path / "gt", tmp_path), SKELETON)
