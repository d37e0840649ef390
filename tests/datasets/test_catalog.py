"""Data sets in their published forms, prepared by name."""

import json

import made_data_sets
import numpy as np
import pytest
import scipy.io

from hrnet_jax import configuration, prepare, skeletons
from hrnet_jax.datasets import catalog, layouts, matlab, records
from hrnet_jax.evaluation import caveats, protocols

SPLITS = {
    "crowdpose": "test", "aic": "train", "coco_wholebody": "val2017", "halpe26": "val", "humanart": "val",
    "ochuman": "val", "jhmdb": "test_sub1", "ap10k": "val-split1", "lspet": "train",
    "posetrack": "val",
}  # fmt: skip


@pytest.fixture(autouse=True)
def matlab_files_are_read_here(request, monkeypatch):
    """Reads MATLAB files without the subprocess, which imports scipy for seconds."""
    if "in_a_process" not in request.node.name:
        monkeypatch.setattr(matlab, "read", lambda path, names: scipy.io.loadmat(path, variable_names=names))


def prepared(tmp_path, name, **options):
    made_data_sets.WRITERS[name](tmp_path / name)
    summaries = prepare.prepare_published(name, tmp_path / name, tmp_path / "out", **options)
    return {split: records.open_split(tmp_path / "out" / split) for split in summaries}


@pytest.mark.parametrize("name", catalog.DATA_SETS)
def test_every_data_set_is_prepared_from_its_published_form(tmp_path, capsys, name):
    splits = prepared(tmp_path, name)
    assert set(splits) == {"train", "test"} if name == "lsp" else {*splits} == {SPLITS[name]}
    for split in splits.values():
        skeleton = skeletons.load(catalog.DATA_SETS[name].skeleton)
        assert split.skeleton == skeleton and len(split.people) == {
            "aic": 2,
            "ap10k": 2,
            "lsp": 2,
            "lspet": 2,
        }.get(name, 1)
        assert records.published(split.summary) == name and records.dataset(split.summary) == "coco"
        assert split.photos[0]["image"]
        severities = {finding["severity"] for finding in split.summary["findings"]}
        assert severities <= {"note"}, split.summary["findings"]
        truth = caveats.truth_of_split(split)
        assert truth is None if name in ("jhmdb", "lsp") else truth and truth.is_perfect  # those have no AP
    assert "keypoint_names" not in capsys.readouterr().out


def test_crowdpose_keeps_crowd_index_counts_and_areas_of_boxes(tmp_path):
    (split,) = prepared(tmp_path, "crowdpose").values()
    content = json.loads(split.annotations.read_text())
    assert content["images"][0]["crowdIndex"] == 0.33
    assert (content["annotations"][0]["num_keypoints"], content["annotations"][0]["area"]) == (3, 0.53 * 1200)


def test_marks_and_corners_of_ai_challenger_are_read(tmp_path):
    (split,) = prepared(tmp_path, "aic").values()
    content = json.loads(split.annotations.read_text())
    person = content["annotations"][0]
    assert person["keypoints"][2::3] == [2, 1, 0] * 4 + [2, 1] and person["keypoints"][6:8] == [0, 0]
    assert person["bbox"] == [15, 5, 30, 40]
    assert content["images"][0]["source_id"] == "d8eeddddcc042544"
    assert person["source_id"] == "d8eeddddcc042544 human1"
    np.testing.assert_array_equal(split.people.visible[0], [1, 1, 0] * 4 + [1, 1])


def test_parts_of_whole_bodies_are_joined(tmp_path):
    (split,) = prepared(tmp_path, "coco_wholebody").values()
    names = np.array(split.skeleton.joints)
    labelled = split.people.visible[0] > 0
    assert labelled.sum() == 133 - 21
    assert not labelled[[name.startswith("left_") and name[5:7] in ("ha", "th", "ri") for name in names]].any()
    foot = split.skeleton.joints.index("left_big_toe")
    np.testing.assert_array_equal(split.people.joints[0, [foot, foot + 1]], [[20, 10], [21, 11]])
    assert json.loads(split.annotations.read_text())["annotations"][0]["num_keypoints"] == 133 - 21


def test_halpe_has_its_first_joints(tmp_path):
    (split,) = prepared(tmp_path, "halpe26").values()
    assert split.people.joints.shape == (1, 26, 2)
    assert json.loads(split.annotations.read_text())["annotations"][0]["num_keypoints"] == 26


def test_pixels_of_jhmdb_are_counted_from_0(tmp_path):
    (split,) = prepared(tmp_path, "jhmdb").values()
    np.testing.assert_array_equal(split.people.joints[0, 0], [19, 9])
    annotation = json.loads(split.annotations.read_text())["annotations"][0]
    assert annotation["bbox"] == [14, 4, 30, 40] and annotation["keypoints"][2] == 2


def test_animals_keep_their_species(tmp_path):
    (split,) = prepared(tmp_path, "ap10k").values()
    content = json.loads(split.annotations.read_text())
    assert {entry["id"]: entry["species"] for entry in content["annotations"]} == {97: "lion", 98: "argali sheep"}
    assert len(split.people) == 2 and len(content["categories"]) == 1


def test_lsp_is_halved_and_hidden_joints_are_labelled(tmp_path):
    splits = prepared(tmp_path, "lsp")
    assert [splits[name].people.photo_id.tolist() for name in ("train", "test")] == [[1, 2], [3, 4]]
    assert splits["test"].photos[0]["file_name"] == b"im0003.jpg"
    flags = json.loads(splits["train"].annotations.read_text())["annotations"][0]["keypoints"][2::3]
    assert flags == [1] + [2] * 13
    assert splits["train"].people.visible.all()


def test_joints_of_the_extended_lsp_read_in_a_process_may_be_missing(tmp_path):
    (split,) = prepared(tmp_path, "lspet").values()
    np.testing.assert_array_equal(split.people.visible, [[0] + [1] * 13] * 2)


BEST = {"coco": 1, "crowdpose": 1, "coco_wholebody": 1, "ap10k": 1, "jhmdb": 100, "lsp": 100, "posetrack": 100}


@pytest.mark.parametrize("name", [name for name in BEST if name in catalog.DATA_SETS])
def test_perfect_predictions_have_the_best_score(tmp_path, name):
    split, *_ = prepared(tmp_path, name).values()
    protocol, config = protocols.of_split(split), configuration.default()
    found = protocols.Predictions("gt_boxes", split.people, split.people.joints, split.people.visible * 0.5 + 0.25)
    results = protocol.results(split, found, config)
    metrics = protocol.metrics(split, found, results)
    assert metrics[protocol.main_metric] == pytest.approx(BEST[name], abs=1e-6)
    assert set(protocol.columns) <= set(metrics)
    outcome = protocols.Outcome(**vars(found), split=split.name, results=results, metrics=metrics)
    assert json.loads(protocol.write(outcome, tmp_path).read_text()) == results
    assert len(protocol.error_report(split, found).captions) == len(split.people)
    assert protocol.analyse is not None and protocol.analyse(split, outcome).numbers["errors"]
    if name == "ap10k":
        assert {result["species"] for result in results} == {"lion", "argali sheep"}
    moved = protocols.Predictions("gt_boxes", split.people, split.people.joints + 99, found.scores)
    assert protocol.metrics(split, moved, protocol.results(split, moved, config))[protocol.main_metric] == 0


def test_the_protocol_is_that_of_the_data_set(tmp_path):
    (split,) = prepared(tmp_path, "crowdpose").values()
    assert protocols.of_split(split) is protocols.PROTOCOLS["crowdpose"]
    assert {*protocols.PROTOCOLS} <= {*catalog.DATA_SETS, "coco", "mpii"}
    (other,) = prepared(tmp_path / "other", "humanart").values()
    assert protocols.of_split(other) is protocols.COCO


def test_the_same_file_prepared_as_coco_is_prepared_again(tmp_path):
    made_data_sets.write_ochuman(tmp_path)
    choices = layouts.Choices(
        tmp_path / "annotations/ochuman_coco_format_val_range_0.00_1.00.json", tmp_path / "images"
    )
    prepare.prepare_coco(tmp_path, tmp_path / "out", ["val"], choices=choices)
    assert records.published(records.read_summary(tmp_path / "out" / "val")) == "coco"
    prepare.main(["ochuman", "--root", str(tmp_path), "--out", str(tmp_path / "out")])
    assert records.published(records.read_summary(tmp_path / "out" / "val")) == "ochuman"


def test_a_detectors_file_is_found_or_given(tmp_path, capsys):
    made_data_sets.write_crowdpose(tmp_path)
    box = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 20, 30], "score": 0.5}
    made_data_sets.place(tmp_path, "annotations/det_for_crowd_test_0.1_0.5.json", [box, box])
    made_data_sets.place(tmp_path, "mine.json", [box])
    command = ["crowdpose", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    prepare.main(command)
    assert records.read_summary(tmp_path / "out" / "test")["detections"] == 2
    prepare.main([*command, "--detections", str(tmp_path / "mine.json")])
    assert records.read_summary(tmp_path / "out" / "test")["detections"] == 1
    with pytest.raises(SystemExit):  # no boxes but the annotated ones
        prepare.main(["jhmdb", "--root", str(tmp_path), "--out", "x", "--detections", "y"])


def test_files_elsewhere_are_given_for_one_split(tmp_path):
    made_data_sets.write_crowdpose(tmp_path / "a")
    (tmp_path / "a" / "annotations" / "crowdpose_test.json").rename(tmp_path / "file.json")
    choices = layouts.Choices(tmp_path / "file.json", tmp_path / "a" / "images")
    with pytest.raises(ValueError, match="name it with --splits, one of train, val, trainval, test"):
        prepare.prepare_published("crowdpose", tmp_path, tmp_path / "out", choices=choices)
    prepare.prepare_published("crowdpose", tmp_path, tmp_path / "out", ["val"], choices=choices)
    assert len(records.open_split(tmp_path / "out" / "val").people) == 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("aic", lambda root: made_data_sets.write_aic(root, [4]), r"human1\): a joint's mark \(=4\) must be 1"),
        ("lsp", made_data_sets.write_lspet, r"joints\.mat: `joints` must be numbers of shape \(3, 14\).*`lspet`"),
        ("ochuman", lambda root: None, r"ochuman_coco_format_val_range_0\.00_1\.00\.json"),
    ],
)
def test_malformed_and_missing_files_are_named(tmp_path, name, change, message):
    tmp_path.mkdir(exist_ok=True)
    change(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare.prepare_published(name, tmp_path, tmp_path / "out")


def test_other_malformed_entries_are_refused_with_their_file(tmp_path):
    made_data_sets.place(tmp_path, "keypoint_train_annotations_20170902.json", [{"image_id": 3}])
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"annotations_20170902\.json: entry 0: `image_id`"):
        prepare.prepare_published("aic", tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"`splits` \(=val2017\): aic has train, val"):
        prepare.prepare_published("aic", tmp_path, tmp_path / "out", ["val2017"])
    made_data_sets.write_ap10k(tmp_path)
    path = tmp_path / "annotations" / "ap10k-val-split1.json"
    path.write_text(path.read_text().replace('"category_id": 26', '"category_id": 60'))
    with pytest.raises(ValueError, match=r"`category_id` \(=60\) is not the `id` of any of `categories`"):
        prepare.prepare_published("ap10k", tmp_path, tmp_path / "out")
