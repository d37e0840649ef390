import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax import skeletons
from hrnet_jax.bottom_up import compiled_grouping, grouping

OPTIONS = {"distance_only": {"use_value": False}, "ignore_too_much": {"ignore_too_much": True}}
ORDER = (4, 0, 1, 2, 3, 8, 7, 6, 5)
OPTIMIZED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


def made_up(size: int):
    """Candidates in 60 photos, with many ties and equal tags."""
    rng = np.random.default_rng(size)
    shape = 60, 9, 8  # photos, joints, candidates
    tags = rng.choice(np.arange(0, 6, 0.25, np.float32), (*shape, size))
    values = np.round(rng.uniform(0, 0.6, shape), 1).astype(np.float32)
    return values, rng.integers(0, 500, (*shape, 2)).astype(np.int32), tags


@functools.partial(jax.jit, static_argnames=("order", "settings", "max_people"))
def group_all(values, places, tags, order, settings=grouping.RELEASE, max_people=64):
    def one(*photo) -> compiled_grouping.Groups:
        return compiled_grouping.group(*photo, order, settings, max_people)

    return jax.vmap(one)(values, places, tags)


def assert_equal(groups: compiled_grouping.Groups, photo: int, people: np.ndarray) -> None:
    """Checks the people of a photo. Of too many, the first are kept."""
    kept = groups.people[photo, : len(people)]
    assert groups.is_finite[photo]
    assert groups.count[photo] > len(kept) if len(people) > len(kept) else groups.count[photo] == len(people)
    np.testing.assert_array_equal(kept, people[: len(kept)], strict=True)
    assert not np.any(groups.people[photo, len(people) :])


@pytest.mark.parametrize(
    ("kinds", "joints", "size"),
    [
        (("plain", "many", "over_30", "ties", "close_tags", "few"), 17, 2),
        (("one_tag", "ties_one_tag", "equal_tags", "half_way"), 17, 1),
        (("crowdpose",), 14, 2),
        (("ignore_too_much",), 17, 2),
        (("distance_only",), 17, 2),
    ],
)
def test_groups_are_those_of_the_release(shared, kinds, joints, size):
    data = np.load(shared / "conformance" / "higher_hrnet" / "match.npz")
    cases = [name.split("/")[0] for name in data if name.endswith("/kind") and str(data[name]) in kinds]
    values, places, tags = (np.stack([data[f"{case}/{name}"] for case in cases]) for name in ("val", "loc", "tag"))
    assert values.shape[1:] == (joints, 30) and tags.shape[3] == size
    order = grouping.joint_order(skeletons.load("crowdpose" if joints == 14 else "coco"))
    settings = grouping.Grouping(**OPTIONS.get(kinds[0], {}))
    groups = group_all(values, places, tags, order, settings, max_people=200)
    for photo, case in enumerate(cases):
        assert_equal(groups, photo, data[f"{case}/people"])


@pytest.mark.parametrize(
    ("settings", "size", "max_people"), [(grouping.CROWD, 1, 64), (grouping.Grouping(max_compared=5), 2, 20)]
)
def test_groups_are_those_of_the_host(settings, size, max_people):
    candidates = made_up(size)
    groups = group_all(*candidates, ORDER, settings, max_people)
    for photo, arrays in enumerate(zip(*candidates, strict=True)):
        assert_equal(groups, photo, grouping.group(*arrays, ORDER, settings))
    assert (groups.count.max() > max_people) == (max_people == 20)


def test_distances_are_rounded_as_on_the_host():
    rng = np.random.default_rng(0)
    tags, total = rng.normal(0, 3, (2, 100, 2)).astype(np.float32)
    count = rng.integers(1, 17, 100, np.int32)
    with jax.enable_x64(True):
        sums = compiled_grouping._Sums(count, total, np.zeros((100, 8), np.float32))
        found = jax.jit(compiled_grouping._distances, compiler_options=OPTIMIZED)(tags, sums)
    means = total / count[:, None].astype(np.float32)
    np.testing.assert_array_equal(found, np.linalg.norm(tags.astype(np.float64)[:, None] - means, axis=2))


@pytest.mark.parametrize("size", [1, 2])
def test_mean_tags_are_those_of_numpy(size):
    tags = np.random.default_rng(size).normal(0, 0.1, (60, 1, size)).astype(np.float32)
    sums = compiled_grouping._nobody(max_people=1, compared=1, size=size).sums
    for number, tag in enumerate(tags, start=1):
        sums = compiled_grouping._add_tag(sums, tag, jnp.array([True]))
        assert sums.count.tolist() == [number]
        mean = np.asarray(sums.total)[0] / np.float32(number)
        np.testing.assert_array_equal(mean, np.mean(list(tags[:number, 0]), axis=0))


@pytest.mark.parametrize("name", ["values", "tags"])
def test_a_photo_that_is_not_finite_is_told_and_others_are_grouped(name):
    arrays = dict(zip(("values", "places", "tags"), made_up(size=1), strict=True))
    expected = group_all(**arrays, order=ORDER, settings=grouping.CROWD)
    for photo, value in ((0, np.nan), (2, -np.inf)):
        arrays[name][photo, 4, 5] = value
    groups = group_all(**arrays, order=ORDER, settings=grouping.CROWD)
    assert groups.is_finite[:4].tolist() == [False, True, False, True]
    assert groups.count[:4].tolist() == [0, expected.count[1], 0, expected.count[3]]
    np.testing.assert_array_equal(groups.people[1::2], expected.people[1::2])
    assert not np.any(groups.people[0]) and not np.any(groups.people[2])


def test_more_than_can_be_compared_is_told():
    arrays = np.zeros((2, 65), np.float32), np.zeros((2, 65, 2), np.int32), np.zeros((2, 65, 1), np.float32)
    with pytest.raises(ValueError, match="65 candidates and 30 people to compare must be at most 64"):
        compiled_grouping.group(*arrays, order=(0, 1))
    few = [array[:, :5] for array in arrays]
    with pytest.raises(ValueError, match="5 candidates and 80 people"):
        compiled_grouping.group(*few, order=(0, 1), settings=grouping.CROWD, max_people=80)
