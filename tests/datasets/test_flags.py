import dataclasses
import json

import numpy as np
import pytest

from hrnet_jax import augment, pipeline
from hrnet_jax.datasets import flags, records


@pytest.fixture
def split(made_up_records):
    return records.open_split(made_up_records / "train2017")


def test_the_flags_are_those_of_the_annotations(split):
    entries = json.loads(split.annotations.read_text())["annotations"]
    expected = {entry["id"]: entry["keypoints"][2::3] for entry in entries}
    found = flags.with_flags(split).people
    np.testing.assert_array_equal(found.visible, [expected[number] for number in found.annotation_id.tolist()])
    assert set(np.unique(found.visible)) == {0, 1, 2}
    np.testing.assert_array_equal(found.visible > 0, split.people.visible > 0)


@pytest.mark.parametrize("policy", [None, augment.Policy(flip=1.0)], ids=["as it is", "mirrored"])
def test_batches_say_which_joints_are_seen(split, policy):
    for of, expected in ((split, 0), (flags.with_flags(split), records.SEEN)):
        batches = pipeline.train_batches(of, image_size=(64, 48), batch_size=4, seed=0, policy=policy, threads=0)
        batch = next(batches)
        marks = of.people.visible[batch["index"]]
        marks = marks if policy is None else marks[:, split.skeleton.flip_order]
        np.testing.assert_array_equal(batch["visible"], marks > 0)
        np.testing.assert_array_equal(batch["seen"], (marks == records.SEEN) if expected else np.zeros_like(marks))


def test_labelled_joints_are_seen_where_the_data_do_not_tell(split, tmp_path):
    content = json.loads(split.annotations.read_text())
    for entry in content["annotations"]:
        entry["keypoints"][2::3] = [min(flag, 1) for flag in entry["keypoints"][2::3]]
    other = tmp_path / records.TRUTH["coco"]
    other.write_text(json.dumps(content))
    mpii = tmp_path / records.TRUTH["mpii"]
    for annotations in (other, mpii):
        found = flags.with_flags(dataclasses.replace(split, annotations=annotations)).people.visible
        np.testing.assert_array_equal(found, records.SEEN * split.people.visible)


def test_joints_with_scores_for_flags_are_seen(split, tmp_path):
    content = json.loads(split.annotations.read_text())
    for entry in content["annotations"]:
        entry["keypoints"][2] *= 0.4
    path = tmp_path / records.TRUTH["coco"]
    path.write_text(json.dumps(content))
    found = flags.with_flags(dataclasses.replace(split, annotations=path)).people.visible
    usual = flags.with_flags(split).people.visible
    np.testing.assert_array_equal(found[:, 0], records.SEEN * (usual[:, 0] > 0))
    np.testing.assert_array_equal(found[:, 1:], usual[:, 1:])


def test_annotations_without_the_people_are_refused(split, tmp_path):
    path = tmp_path / records.TRUTH["coco"]
    path.write_text('{"annotations": []}')
    with pytest.raises(ValueError, match=r"annotations\.json is damaged .*prepare the split again, with --force"):
        flags.with_flags(dataclasses.replace(split, annotations=path))
