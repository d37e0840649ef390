"""Several data sets as one."""

import dataclasses

import made_coco
import made_data_sets
import numpy as np
import pytest

from hrnet_jax import pipeline, prepare, skeletons
from hrnet_jax.datasets import mixing, records

COCO, AIC = skeletons.COCO, skeletons.load("aic")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Three people of COCO, two of AI Challenger."""
    root = tmp_path_factory.mktemp("mixed")
    prepare.prepare_coco(made_coco.write(root / "coco", split="train2017"), root / "out" / "coco")
    made_data_sets.write_aic(root / "aic")
    prepare.prepare_published("aic", root / "aic", root / "out" / "aic")
    return [records.open_split(root / "out" / name) for name in ("coco/train2017", "aic/train")]


def test_joints_are_mapped_by_name_as_mmpose_maps_them():
    """The pairs (source, target) are those of mmpose's mixtures."""

    def pairs(name, target):
        found = skeletons.sources_of_joints(skeletons.load(target).joints, skeletons.load(name).joints)
        return {(source, k) for k, source in enumerate(found) if source >= 0}

    arms = {
        (0, 6),
        (1, 8),
        (2, 10),
        (3, 5),
        (4, 7),
        (5, 9),
        (6, 12),
        (7, 14),
        (8, 16),
        (9, 11),
        (10, 13),
        (11, 15),
    }
    assert pairs("aic", "coco") == arms
    assert pairs("aic", "halpe26") == arms | {(12, 17), (13, 18)}
    assert pairs("crowdpose", "coco") == {(k, k + 5) for k in range(12)}
    mpii = {
        (0, 16),
        (1, 14),
        (2, 12),
        (3, 11),
        (4, 13),
        (5, 15),
        (10, 10),
        (11, 8),
        (12, 6),
        (13, 5),
        (14, 7),
        (15, 9),
    }
    assert pairs("mpii", "coco") == mpii
    assert pairs("mpii", "halpe26") == mpii | {(8, 18), (9, 17)}
    assert pairs("halpe26", "coco") == {(k, k) for k in range(17)}
    assert {(17, 20), (19, 24), (22, 25)} < pairs("coco_wholebody", "halpe26")


def test_people_of_another_skeleton_have_no_labels_of_joints_that_they_lack(splits):
    joined = mixing.join(splits, COCO)
    assert (len(joined.people), len(joined.photos)) == (5, 4)
    np.testing.assert_array_equal(joined.people.visible[:3], splits[0].people.visible)
    aic = joined.people.select(np.array([3, 4]))
    assert not aic.visible[:, :5].any() and not aic.joints[:, :5].any()
    of = AIC.joints.index
    for name in ("left_shoulder", "right_ankle"):
        k = COCO.joints.index(name)
        np.testing.assert_array_equal(aic.joints[:, k], splits[1].people.joints[:, of(name)])
        np.testing.assert_array_equal(aic.visible[:, k], splits[1].people.visible[:, of(name)])
    source = records.PersonSource(joined.photos, joined.people)
    own = records.PersonSource(splits[1].photos, splits[1].people)
    np.testing.assert_array_equal(source[4]["photo"], own[1]["photo"])


def test_sequences_are_joined_in_order():
    joined = mixing.Joined(["ab", "", "cde"])
    assert [joined[row] for row in range(len(joined))] == list("abcde")
    for row in (5, -1):
        with pytest.raises(IndexError):
            joined[row]


def test_the_table_names_the_joints_of_each_set_and_what_is_not_used(splits):
    lines = mixing.describe(splits, mixing.shares(splits, (1, 0.5)), COCO).splitlines()
    assert lines[0] == "training on 2 data sets"
    assert lines[1].split() == ["joint", "coco/train2017", "aic/train"]
    assert lines[2].split() == ["nose", "nose", "-", "(weight", "0)"]
    assert lines[7].split() == ["left_shoulder"] * 3
    assert lines[19].split() == ["people", "3", "2"]
    assert lines[20].split() == ["visits", "in", "an", "epoch", "3", "1"]
    assert lines[21:] == ["aic/train: not trained on: head_top, neck"]


def test_shared_ids_are_told(splits):
    same = dataclasses.replace(splits[0])
    (note,) = mixing.notes([splits[0], same])
    assert note.startswith(
        "3 photo ids are in both coco/train2017 and coco/train2017, and 3 of the first 3 have one"
    )
    assert note.endswith("such as 000000000010.jpg: are these the same photos?")
    people = splits[1].people
    other = dataclasses.replace(splits[1], people=dataclasses.replace(people, photo_id=np.array([20, 20])))
    (note,) = mixing.notes([splits[0], other])
    assert note.startswith(
        "1 photo ids are in both coco/train2017 and aic/train, for different photos (20: 0000000"
    )
    assert mixing.notes(splits) == []


def test_contradictions_are_refused(splits):
    tails = dataclasses.replace(skeletons.load("ap10k"), joints=tuple(f"joint {k}" for k in range(17)))
    stranger = dataclasses.replace(splits[1], skeleton=tails)
    with pytest.raises(ValueError, match=r"no joint of .*aic/train \(joint 0.*all would be without labels"):
        mixing.join([splits[0], stranger], COCO)
    with pytest.raises(ValueError, match="coco/train2017 is there twice"):
        mixing.join([splits[0], splits[0]], COCO)
    for weights in [(1.0,), (1, 0), (1, float("nan"))]:
        with pytest.raises(ValueError, match=r"`data.weights` .* must be \(\) or 2 numbers above 0"):
            mixing.shares(splits, weights)
    with pytest.raises(ValueError, match=r"0\.1 of the 2 people of aic/train is nobody"):
        mixing.shares(splits, (1, 0.1))


def test_digests_are_of_all_parts_and_of_one_alone_as_ever(splits):
    assert mixing.digest(splits[:1]) == records.digest(splits[0])
    assert len({mixing.digest(splits), mixing.digest(splits[::-1]), mixing.digest(splits[:1])}) == 3


def test_weights_are_visits_in_an_epoch(splits):
    joined = mixing.join(splits, COCO)
    options = {"image_size": (64, 64), "batch_size": 5, "seed": 0, "policy": None, "threads": 0}
    shares = mixing.shares(splits, (1, 1))
    once = _epochs(joined, 2, shares=shares, **options)
    assert once == _epochs(joined, 2, **options)
    assert [sorted(epoch) for epoch in once] == [[0, 1, 2, 3, 4]] * 2
    half = _epochs(joined, 4, shares=mixing.shares(splits, (1.3333334, 0.5)), **options)
    assert all({0, 1, 2} < set(epoch) and len({3, 4} & set(epoch)) == 1 for epoch in half)
    assert {row for epoch in half for row in epoch} == {0, 1, 2, 3, 4}


def _epochs(split, count, **options):
    batches = pipeline.train_batches(split, **options)
    rows = [next(batches)["index"].tolist() for _ in range(count)]
    batches.close()
    return rows
