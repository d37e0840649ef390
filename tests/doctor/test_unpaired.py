import dataclasses
import json

import made_coco
import pytest

from hrnet_jax.datasets import coco
from hrnet_jax.doctor import unpaired
from hrnet_jax.skeletons import COCO


@pytest.fixture(scope="module")
def people(made_up):
    path = made_up / "annotations" / "person_keypoints_val2017.json"
    entries = [entry for on_photo in coco.load(path, COCO).people.values() for entry in on_photo]
    return coco.table(entries, COCO)


@pytest.mark.parametrize(("left", "right"), [("gauche", "droite"), ("links", "rechts"), ("左", "右"), ("A", "B")])
def test_sides_are_found_in_any_language(people, left, right):
    joints = tuple(name.replace("left", left).replace("right", right) for name in COCO.joints)
    (finding,) = unpaired.examine(people, dataclasses.replace(COCO, joints=joints, flip_pairs=()))
    assert (finding.kind, finding.severity, finding.count) == ("flip_pairs", "warning", 8)
    assert unpaired.examine(people, dataclasses.replace(COCO, joints=joints)) == []


def test_fingers_are_no_sides(people):
    fingers = [f"{finger}_{part}" for finger in ("thumb", "index", "middle", "ring") for part in "abcd"]
    hand = dataclasses.replace(COCO, joints=("wrist", *fingers), flip_pairs=())
    assert unpaired.examine(people, hand) == []


def test_words_without_sides_in_the_pose_are_none():
    joints = tuple(name.replace("left", "front").replace("right", "hind") for name in COCO.joints)
    entry = made_coco.person(1, 1)
    entry["keypoints"] = json.loads(json.dumps([n for k in range(17) for n in (k * (-1) ** (k // 2), k, 2)]))
    table = coco.table([entry], COCO)
    assert unpaired.examine(table, dataclasses.replace(COCO, joints=joints, flip_pairs=())) == []
