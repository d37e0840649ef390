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


@functools.partial(jax.jit, static_argnames=("order", "settings"))
def group_all(values, places, tags, order, settings=grouping.RELEASE):
    def one(*photo) -> compiled_grouping.Groups:
        return compiled_grouping.group(*photo, order, settings)

    return jax.vmap(one)(values, places, tags)


def assert_equal(groups: compiled_grouping.Groups, photo: int, people: np.ndarray) -> None:
    """Checks the people of a photo."""
    assert groups.is_finite[photo] and groups.count[photo] == len(people)
    np.testing.assert_array_equal(groups.people[photo, : len(people)], people, strict=True)
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
    groups = group_all(values, places, tags, order, settings)
    for photo, case in enumerate(cases):
        assert_equal(groups, photo, data[f"{case}/people"])


@pytest.mark.parametrize(("most", "size"), [(64, 1), (5, 2), (1, 2)])
def test_groups_are_those_of_numpy(most, size):
    candidates, settings = made_up(size), grouping.Grouping(most_people=most)
    groups = group_all(*candidates, ORDER, settings)
    for photo, arrays in enumerate(zip(*candidates, strict=True)):
        assert_equal(groups, photo, grouping.group(*arrays, ORDER, settings))


def test_all_candidates_may_found_people():
    """Nobody gets a second joint, so that there are more people than are compared."""
    values, places, tags = (array[0] for array in made_up(size=1))
    values, tags = np.ones_like(values), 5 * np.arange(tags.size, dtype=np.float32).reshape(tags.shape)
    groups = group_all(values[None], places[None], tags[None], ORDER, grouping.Grouping(most_people=64))
    assert groups.count[0] == tags.size == 72
    assert_equal(groups, 0, grouping.group(values, places, tags, ORDER))


def never(*arguments, **options) -> np.ndarray:
    raise AssertionError("this is not the way")


@pytest.mark.parametrize("settings", [grouping.RELEASE, grouping.CROWD])
def test_the_host_groups_by_the_program(settings, monkeypatch):
    photos = [*zip(*made_up(size=2), strict=True)][:20]
    expected = [grouping.group(*arrays, ORDER, settings) for arrays in photos]
    monkeypatch.setattr(grouping, "group", never)
    for arrays, people in zip(photos, expected, strict=True):
        found = compiled_grouping.group_on_host(*arrays, ORDER, settings)
        np.testing.assert_array_equal(found, people, strict=True)


def far_apart(people: int, candidates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates of two joints, each with the tag of one of so many people."""
    tags = np.resize(np.arange(people), (2, candidates, 1)).astype(np.float32) * 5
    values = np.full((2, candidates), 0.5, np.float32)
    return values, np.zeros((2, candidates, 2), np.int32), tags


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(("people", "candidates"), [(64, 64), (70, 64), (65, 65)])
def test_numpy_takes_over_for_more_than_can_be_compared(people, candidates, ignore):
    arrays = far_apart(people, candidates)
    arrays[2][1] = arrays[2][1, ::-1]
    settings = grouping.Grouping(most_people=people, ignore_too_much=ignore)
    found = compiled_grouping.group_on_host(*arrays, (0, 1), settings)
    np.testing.assert_array_equal(found, grouping.group(*arrays, (0, 1), settings), strict=True)


def test_a_crowd_of_more_than_can_be_compared_is_kept_together():
    """The last two joints have the same 64 people, of whom 32 were found after the first 64."""
    values, places, tags = far_apart(people=64, candidates=64)
    tags = np.stack([tags[0], tags[0] + 5 * 32, tags[0, ::-1] + 5 * 32])
    values, places = (array[[0, 1, 1]] for array in (values, places))
    people = compiled_grouping.group_on_host(values, places, tags, (0, 1, 2), grouping.CROWD)
    assert (people[..., 2] > 0).sum(axis=1).tolist() == [1] * 32 + [3] * 32 + [2] * 32


def test_numpy_takes_over_where_jax_has_no_cpu(monkeypatch):
    def devices(backend: str) -> list:
        raise RuntimeError(f"unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", devices)
    monkeypatch.setattr(compiled_grouping, "_group", never)
    arrays = far_apart(people=3, candidates=3)
    assert len(compiled_grouping.group_on_host(*arrays, (0, 1))) == 3


def test_candidates_that_are_not_finite_are_told_on_the_host():
    arrays = far_apart(people=3, candidates=3)
    arrays[2][1, 2] = np.nan
    with pytest.raises(ValueError, match="`tags` of joint 1, candidate 2"):
        compiled_grouping.group_on_host(*arrays, (0, 1))


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
    expected = group_all(**arrays, order=ORDER)
    for photo, value in ((0, np.nan), (2, -np.inf)):
        arrays[name][photo, 4, 5] = value
    groups = group_all(**arrays, order=ORDER)
    assert groups.is_finite[:4].tolist() == [False, True, False, True]
    assert groups.count[:4].tolist() == [0, expected.count[1], 0, expected.count[3]]
    np.testing.assert_array_equal(groups.people[1::2], expected.people[1::2])
    assert not np.any(groups.people[0]) and not np.any(groups.people[2])


@pytest.mark.parametrize(
    ("candidates", "most", "message"),
    [
        (65, 30, r"`candidates` \(=65\)"),
        (5, 80, r"`most_people` \(=80\)"),
        (5, None, r"`most_people` \(=None\)"),
    ],
)
def test_more_than_can_be_compared_is_told(candidates, most, message):
    arrays = far_apart(people=3, candidates=candidates)
    with pytest.raises(ValueError, match=message + ".* must be at most 64"):
        compiled_grouping.group(*arrays, order=(0, 1), settings=grouping.Grouping(most_people=most))
