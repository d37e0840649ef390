import types

import made_damage
import numpy as np
import pytest
from made_damage import Damage, labelled, some, swap

from hrnet_jax.doctor import sides
from hrnet_jax.doctor.binomial_test import Checks
from hrnet_jax.skeletons import COCO


def swap_pairs(content, rng, pairs=COCO.flip_pairs):
    for person in content["annotations"]:
        person["keypoints"] = swap(person["keypoints"], pairs, 3)


def swap_one_pair(content, rng):
    swap_pairs(content, rng, [COCO.flip_pairs[rng.integers(len(COCO.flip_pairs))]])


def swap_some_pairs(content, rng):
    count = rng.integers(2, len(COCO.flip_pairs))
    chosen = rng.choice(len(COCO.flip_pairs), count, replace=False)
    swap_pairs(content, rng, [COCO.flip_pairs[k] for k in chosen])


def swap_half_the_people(content, rng):
    for person in some(labelled(content), rng, 0.5):
        person["keypoints"] = swap(person["keypoints"], COCO.flip_pairs, 3)


DAMAGES = [
    Damage("all swapped", swap_pairs, "sides_swapped"),
    Damage("one pair swapped", swap_one_pair, "sides_swapped"),
    Damage("some pairs swapped", swap_some_pairs, "sides_swapped"),
    Damage("half the people swapped", swap_half_the_people, "sides_mirrored", ("sides_partly",)),
]


@made_damage.cases(DAMAGES)
def test_finds_swapped_sides(base, tmp_path, damage, seed):
    made_damage.check_annotations(base, tmp_path / "root", damage, seed)


@pytest.mark.parametrize(("left_is_at", "expected"), [(+1, []), (-1, ["sides_behind"])])
def test_most_people_are_seen_from_the_front(left_is_at, expected):
    """The left shoulder of a person seen from the front is on the right."""
    count, left, right = 400, COCO.joints.index("left_shoulder"), COCO.joints.index("right_shoulder")
    joints = np.zeros((count, COCO.num_joints, 2))
    joints[:, left, 0], joints[:, right, 0] = 20 * left_is_at, -20 * left_is_at
    seen = np.zeros((count, COCO.num_joints), bool)
    seen[:, [left, right]] = True
    people = types.SimpleNamespace(
        joints=joints, labelled=seen, crowd=np.zeros(count, bool), annotation_id=np.arange(count)
    )
    assert [finding.kind for finding in sides._from_behind(people, COCO, [])] == expected


def test_the_fewer_of_linked_pairs_are_taken_as_swapped():
    """Without a face it is not known which side is which, only that the ankles differ from the others."""
    links = {"hip": True, "knee": True, "ankle": False}
    cues = [
        types.SimpleNamespace(
            pair=pair, reference="shoulder", checks=Checks(np.full(400, same), np.arange(400), 0.9)
        )
        for pair, same in links.items()
    ]
    assert sides.swapped_pairs(cues) == (["ankle"], True)
