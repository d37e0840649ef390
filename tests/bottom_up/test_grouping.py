import dataclasses

import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.bottom_up import grouping

COCO_ORDER = grouping.joint_order(skeletons.COCO)
OPTIONS = {"distance_only": {"use_value": False}, "ignore_too_much": {"ignore_too_much": True}}


def release_order(joints: int) -> tuple[int, ...]:
    return grouping.joint_order(skeletons.load("crowdpose" if joints == 14 else "coco"))


def photo(*joints: list[tuple[float, ...]]):
    """Candidates (value, tag, ...) of each joint, as arrays. Candidate r of joint k is at (r, k)."""
    most = max(map(len, joints))
    size = max(len(candidate) for joint in joints for candidate in joint) - 1
    values, tags = np.zeros((len(joints), most), np.float32), np.zeros((len(joints), most, size), np.float32)
    for joint, candidates in enumerate(joints):
        for row, (value, *tag) in enumerate(candidates):
            values[joint, row], tags[joint, row] = value, tag
    places = np.stack(np.meshgrid(np.arange(most), np.arange(len(joints))), axis=-1)
    return values, places, tags


def members(*joints, **settings) -> list[list[int]]:
    """The candidate of each joint of each person found, or -1."""
    people = grouping.group(*photo(*joints), range(len(joints)), grouping.Grouping(**settings))
    return np.where(people[..., 2] > 0, people[..., 0], -1).astype(int).tolist()


def crowd(people: int, strays: int, seed: int):
    """Candidates of people with tags 2 apart, each joint seen in nine of ten, and of strays."""
    rng = np.random.default_rng(seed)
    joints = []
    for _ in range(skeletons.COCO.num_joints):
        seen = np.flatnonzero(rng.random(people) < 0.9)
        tags = np.append(2 * seen + rng.normal(0, 0.05, len(seen)), rng.uniform(0, 2 * people, strays))
        joints.append([(value, tag, tag) for value, tag in zip(rng.uniform(0.2, 1, len(tags)), tags, strict=True)])
    return photo(*joints)


def test_groups_are_those_of_the_release(shared):
    data = np.load(shared / "conformance" / "higher_hrnet" / "match.npz")
    for case in sorted({name.split("/")[0] for name in data if "/" in name}):
        values, places, tags, people = (data[f"{case}/{name}"] for name in ("val", "loc", "tag", "people"))
        settings = grouping.Grouping(**OPTIONS.get(str(data[f"{case}/kind"]), {}))
        found = grouping.group(values, places, tags, release_order(len(values)), settings)
        np.testing.assert_array_equal(found, people, case, strict=True)


def test_groups_of_whole_maps_are_those_of_the_release(shared):
    data = np.load(shared / "conformance" / "higher_hrnet" / "parse.npz")
    for case in sorted({name.split("/")[0] for name in data}):
        values, places, tags = (data[f"{case}/{name}"] for name in ("val_k", "loc_k", "tag_k"))
        found = grouping.group(values, places, tags, release_order(len(values)))
        np.testing.assert_array_equal(found, data[f"{case}/people"].reshape(found.shape), case)


def test_a_person_holds_places_values_and_tags():
    people = grouping.group(*photo([(0.9, 1, 2)], [(0.05, 1, 2), (0.8, 1.5, 2)], [(0.05, 1, 2)]), (1, 0, 2))
    assert people.dtype == np.float32
    np.testing.assert_array_equal(people, np.float32([[[0, 0, 0.9, 1, 2], [1, 1, 0.8, 1.5, 2], [0] * 5]]))


def test_people_take_the_candidate_with_the_nearest_tag():
    assert members([(0.9, 0), (0.9, 5)], [(0.9, 4.8), (0.9, 0.3)]) == [[0, 1], [1, 0]]
    assert members([(0.9, 0)], [(0.9, 0.3), (0.9, 1.5)]) == [[0, 0], [-1, 1]]


def test_the_largest_distance_is_excluded_and_not_rounded():
    assert members([(0.9, 0)], [(0.9, 1)]) == [[0, -1], [-1, 0]]
    assert members([(0.9, 0)], [(0.9, 1)], tag_threshold=1.1) == [[0, 0]]
    assert members([(0.9, 0, 0)], [(0.9, 0.75, 0.75)]) == [[0, -1], [-1, 0]]


def test_the_least_value_is_excluded_in_float64():
    assert members([(0.1, 0)]) == [[0]]  # as float32 it is 0.1000000015
    assert members([(0.5, 0)], joint_threshold=0.5) == []


def test_of_candidates_as_near_the_higher_is_kept_unless_only_distances_count():
    joints = [(0.9, 0)], [(0.5, 0.1), (0.6, 0.2)]
    assert members(*joints) == [[0, 1], [-1, 0]]
    assert members(*joints, use_value=False) == [[0, 0], [-1, 1]]


def test_distances_are_rounded_half_to_even():
    for distance, near in ((0.5, 1), (0.6, 0)):  # 0.5 is as near as 0, so the higher value wins
        assert members([(0.9, 0)], [(0.5, 0), (0.6, distance)])[0] == [0, near]


def test_people_are_compared_by_the_mean_of_their_tags():
    assert members([(0.9, 0)], [(0.9, 0.8)], [(0.9, 1.3)]) == [[0, 0, 0]]  # 0.9 from the mean


def test_a_founder_with_the_tag_of_another_replaces_its_joint_and_tags():
    twins = [(0.9, 3), (0.8, 3)]
    assert members(twins) == [[1]]
    assert members(twins, twins) == [[1, 1]]
    joints = [(0.9, 0)], [(0.9, 0.9)], [(0.9, 0.4), (0.8, 0)], [(0.9, 1)]
    assert members(*joints) == [[0, 0, 1, -1], [-1, -1, -1, 0]]


@pytest.mark.parametrize("size", [1, 2])
def test_mean_tags_are_those_of_numpy(size):
    tags = np.random.default_rng(size).normal(0, 0.1, (30, 1, size)).astype(np.float32)
    people = grouping._People(tags)
    for joint in range(len(tags)):
        people.add(joint, np.array([0]), [0 if joint else -1])
        np.testing.assert_array_equal(people.means(None)[0], np.mean(list(tags[: joint + 1, 0]), axis=0))


def test_people_beyond_those_compared_get_no_more_joints():
    joints = [(0.9, 0), (0.9, 5), (0.9, 9)], [(0.9, 5.1), (0.9, 9.1)]
    assert members(*joints) == [[0, -1], [1, 0], [2, 1]]
    assert members(*joints, most_people=2) == [[0, -1], [1, 0], [2, -1], [-1, 1]]


def test_a_joint_is_ignored_if_there_are_too_many_people():
    joints = [(0.9, 0), (0.9, 5)], [(0.9, 0), (0.9, 5), (0.9, 9)]
    assert members(*joints) == [[0, 0], [1, 1], [-1, 2]]
    assert members(*joints, most_people=2, ignore_too_much=True) == [[0, -1], [1, -1]]
    assert members(*joints, most_people=3, ignore_too_much=True) == members(*joints)


def test_a_crowd_does_not_fall_to_pieces():
    candidates = crowd(people=42, strays=1, seed=0)
    assert len(grouping.group(*candidates, COCO_ORDER)) > 150
    people = grouping.group(*candidates, COCO_ORDER, grouping.CROWD)
    assert len(people) < 42 + 17 + 5  # each stray founds a person
    assert ((people[..., 2] > 0).sum(axis=1) >= 3).sum() == 42


def test_up_to_thirty_people_are_grouped_alike_by_all_settings():
    candidates = crowd(people=20, strays=0, seed=1)
    people = grouping.group(*candidates, COCO_ORDER)
    assert 20 <= len(people) < 25
    np.testing.assert_array_equal(people, grouping.group(*candidates, COCO_ORDER, grouping.CROWD))


def test_joints_are_grouped_from_the_trunk_outwards():
    assert (*range(7), 11, 12, *range(7, 11), *range(13, 17)) == COCO_ORDER
    assert release_order(14) == COCO_ORDER[:-3]  # the release's numbers of COCO's joints
    assert grouping.joint_order(skeletons.MPII) == (2, 3, 6, 7, 8, 9, 12, 13, 0, 1, 4, 5, 10, 11, 14, 15)
    for skeleton in skeletons.SKELETONS.values():
        assert sorted(grouping.joint_order(skeleton)) == list(range(skeleton.num_joints))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["values", "tags"])
def test_what_is_not_finite_is_told(name, value):
    arrays = dict(zip(("values", "places", "tags"), photo([(0.9, 1), (0.9, 3)], [(0.9, 1)]), strict=True))
    arrays[name][1, 0] = value
    with pytest.raises(
        ValueError, match=rf"`{name}` of joint 1, candidate 0 .*must be finite.*earlier checkpoint"
    ):
        grouping.group(**arrays, order=(0, 1))


def test_arrays_that_do_not_fit_are_told():
    values, places, tags = photo([(0.9, 1)], [(0.9, 1)])
    with pytest.raises(ValueError, match=r"`order` \(=\(0, 0\)\) must name each of the 2 joints once"):
        grouping.group(values, places, tags, (0, 0))
    with pytest.raises(ValueError, match="must be"):
        grouping.group(values, places[:1], tags, (0, 1))
    with pytest.raises(ValueError, match="must be"):
        grouping.group(values, places, tags[:, :0], (0, 1))


@pytest.mark.parametrize(
    "change",
    [
        {"joint_threshold": -0.1},
        {"joint_threshold": np.nan},
        {"tag_threshold": 0.0},
        {"most_people": 0},
        {"ignore_too_much": True, "most_people": None},
    ],
    ids=str,
)
def test_settings_out_of_range_are_told(change):
    with pytest.raises(ValueError, match=f"`{next(iter(change))}`"):
        dataclasses.replace(grouping.RELEASE, **change)
