import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from hrnet_jax.bottom_up import decoding

adjust, refine = jax.jit(decoding.adjust), jax.jit(decoding.refine)


@functools.cache
def find(window: int = 5, count: int = 30):
    return jax.jit(functools.partial(decoding.candidates, window=window, count=count))


@pytest.fixture(scope="module")
def release(shared):
    return dict(np.load(shared / "conformance" / "higher_hrnet" / "parse.npz"))


def kinds(release) -> list[str]:
    return sorted({name.split("/")[0] for name in release})


def maps_of(release, kind: str) -> np.ndarray:
    heatmaps = reference.stored_maps(release, f"{kind}/det")[0]
    tags = reference.stored_maps(release, f"{kind}/tag").swapaxes(0, 1)
    shape = len(heatmaps), tags.shape[1], *heatmaps.shape[1:]
    return np.concatenate([heatmaps[:, None], np.broadcast_to(tags, shape)], axis=1)


def draw_maps(seed: int = 0, shape: tuple[int, int] = (14, 11), joints: int = 3, tags: int = 2) -> np.ndarray:
    """Maps of noise in coarse steps, so that there are plateaus and equal values."""
    rng = np.random.default_rng(seed)
    heatmaps = rng.integers(-3, 8, (joints, 1, *shape)) / 8
    return np.concatenate([heatmaps, rng.normal(0, 1.5, (joints, tags, *shape))], axis=1, dtype=np.float32)


def draw_people(seed: int = 0, count: int = 6) -> np.ndarray:
    """People of `draw_maps`, of whom each has at least one joint."""
    rng = np.random.default_rng(seed)
    places, rest = rng.integers(0, (11, 14), (count, 3, 2)), rng.uniform(0.2, 1, (count, 3, 3))
    missing = rng.random((count, 3)) < 0.5
    missing[np.arange(count), rng.integers(0, 3, count)] = False
    return np.where(missing[..., None], 0, np.concatenate([places, rest], axis=-1)).astype(np.float32)


def test_candidates_are_those_of_the_release(release):
    """The order of equal values is not defined there."""
    for kind in kinds(release):
        values, places, tags = find(3 if kind == "nms_3" else 5)(maps_of(release, kind))
        np.testing.assert_array_equal(values, release[f"{kind}/val_k"], kind)
        if not release[f"{kind}/tied_values"]:
            used = release[f"{kind}/val_k"] > 0.1
            np.testing.assert_array_equal(places[used], release[f"{kind}/loc_k"][used], kind)
            np.testing.assert_array_equal(tags[used], release[f"{kind}/tag_k"][used], kind)


def test_adjusted_and_filled_joints_are_those_of_the_release(release):
    for kind in set(kinds(release)) - {"empty"}:
        maps, people = maps_of(release, kind), release[f"{kind}/people"]
        adjusted = people if kind == "no_adjust" else adjust(maps, people)
        np.testing.assert_array_equal(adjusted, release[f"{kind}/adjusted"], kind)
        final = adjusted if kind == "no_refine" else refine(maps, adjusted)
        np.testing.assert_array_equal(final, release[f"{kind}/final"], kind)


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_the_highest_maxima_of_their_squares(seed, window):
    maps, reach = draw_maps(seed), window // 2
    values, places, tags = find(window)(maps)
    for joint, heatmap in enumerate(maps[:, 0]):
        peaks = np.zeros_like(heatmap)
        for y, x in np.ndindex(heatmap.shape):
            square = heatmap[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
            peaks[y, x] = heatmap[y, x] if heatmap[y, x] == square.max() else 0
        order = np.argsort(-peaks.ravel(), kind="stable")[:30]
        np.testing.assert_array_equal(values[joint], peaks.ravel()[order])
        np.testing.assert_array_equal(places[joint], np.stack([order % 11, order // 11], axis=-1))
        np.testing.assert_array_equal(tags[joint], maps[joint, 1:].reshape(2, -1)[:, order].T)


def test_plateaus_are_candidates_as_a_whole():
    maps = np.zeros((1, 2, 9, 9), np.float32)
    maps[0, 0, 2:4, 3:6] = 0.5
    values, places, _ = find(5, 8)(maps)
    np.testing.assert_array_equal(values[0], [0.5] * 6 + [0, 0])
    np.testing.assert_array_equal(places[0, :6], [[3, 2], [4, 2], [5, 2], [3, 3], [4, 3], [5, 3]])


def test_each_candidate_may_be_in_another_row():
    maps = np.zeros((1, 2, 20, 9), np.float32)
    maps[0, 0, [2, 9, 16], [7, 1, 4]] = 0.7, 0.9, 0.8
    values, places, _ = find(5, 3)(maps)
    np.testing.assert_array_equal(values[0], np.float32([0.9, 0.8, 0.7]))
    np.testing.assert_array_equal(places[0], [[1, 9], [4, 16], [7, 2]])


def test_there_are_no_more_candidates_than_pixels():
    values, *_ = find(3, 30)(np.ones((2, 2, 3, 4), np.float32))
    assert values.shape == (2, 12)


def test_values_below_zero_are_not_above_the_rest():
    maps = np.full((1, 2, 9, 9), -1, np.float32)
    maps[0, 0, 4, 4] = -0.5
    values, *_ = find(5, 3)(maps)
    np.testing.assert_array_equal(values, [[0, 0, 0]])


@pytest.mark.parametrize("seed", range(3))
def test_joints_move_towards_the_higher_neighbour(seed):
    maps, people = draw_maps(seed), draw_people(seed)
    adjusted = np.asarray(adjust(maps, people))
    for (person, joint), value in np.ndenumerate(people[..., 2]):
        x, y = people[person, joint, :2].astype(int)
        padded = np.pad(maps[joint, 0], 1, mode="edge")
        right, left, below, above = padded[y + 1, x + 2], padded[y + 1, x], padded[y + 2, x + 1], padded[y, x + 1]
        moved = [x + (0.75 if right > left else 0.25), y + (0.75 if below > above else 0.25)]
        np.testing.assert_array_equal(adjusted[person, joint, :2], moved if value else [0, 0])
    np.testing.assert_array_equal(adjusted[..., 2:], people[..., 2:])


@pytest.mark.parametrize("shape", [(14, 11), (16, 32), (50, 37)])
@pytest.mark.parametrize("seed", range(3))
def test_missing_joints_are_filled_at_the_best_pixel(seed, shape):
    maps, people = draw_maps(seed, shape), draw_people(seed)
    expected = fill(maps, people)
    assert (expected[..., 2] > 0).sum() > (people[..., 2] > 0).sum()
    np.testing.assert_array_equal(refine(maps, people), expected)


def fill(maps, people) -> np.ndarray:
    """Searches all pixels for each missing joint."""
    filled = people.copy()
    for person, joint in np.argwhere(people[..., 2] == 0):
        mean = people[person, people[person, :, 2] > 0, 3:].mean(axis=0)
        distance = np.sqrt(np.square(maps[joint, 1:] - mean[:, None, None]).sum(axis=0))
        y, x = np.unravel_index(np.argmax(maps[joint, 0] - np.round(distance)), distance.shape)
        if maps[joint, 0, y, x] > 0:
            filled[person, joint, :3] = x, y, maps[joint, 0, y, x]
            filled[person, joint] = adjust(maps, np.zeros_like(people[:1]) + filled[person])[0, joint]
    return filled


@pytest.mark.parametrize("seed", range(3))
def test_the_best_pixel_is_found_whatever_block_it_is_in(seed):
    """Few blocks can have it where maps are smooth, as a network's are."""
    y, x = np.mgrid[:70, :90]
    waves = np.random.default_rng(seed).normal(0, 0.15, (3, 3, 3))
    maps = np.sin(waves[..., :1, None] * y + waves[..., 1:2, None] * x + 9 * waves[..., 2:, None])
    maps[:, 1:] *= 4
    maps, people = maps.astype(np.float32), draw_people(seed, 30)
    people[..., 3:] *= np.where(people[..., 2:3] > 0, np.random.default_rng(seed).normal(0, 5, (30, 1, 2)), 0)
    np.testing.assert_array_equal(refine(maps, people), fill(maps, people))


def test_of_equal_pixels_the_first_is_filled():
    """It is in the last of six blocks with one each, which are not searched all at once."""
    maps, people = np.zeros((2, 3, 40, 96), np.float32), np.zeros((1, 2, 5), np.float32)
    maps[:, 0, 10, 5:80:16] = maps[:, 0, 3, 90] = 0.5
    people[0, 0, :3] = 5, 6, 0.9
    np.testing.assert_array_equal(refine(maps, people)[0, 1, :3], [90.25, 3.25, 0.5])


def test_blocks_are_searched_up_to_the_edge_of_rounding():
    """A distance of a little less than 1.5 counts as 1."""
    maps, people = np.zeros((2, 3, 32, 96), np.float32), np.zeros((1, 2, 5), np.float32)
    maps[:, 1] = 9
    maps[:, :2, 0, 5:80:16] = np.array([[0.5], [1]])
    maps[:, :2, 3, 90] = 0.9, np.nextafter(np.float32(1.5), np.float32(0))
    people[0, 0, :3] = 5, 6, 0.9
    np.testing.assert_array_equal(refine(maps, people)[0, 1, :3], np.float32([90.25, 3.25, 0.9]))


def test_tags_beyond_all_bounds_are_at_a_pixel_of_the_map():
    people = np.zeros((1, 3, 5), np.float32)
    people[0, 0, 2:] = 0.9, 1e30, 1e30
    found = np.asarray(refine(draw_maps() ** 2, people))[0]
    assert (found[:, :2] < [11, 14]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_searches_end_where_maps_are_not_finite_and_other_joints_are_filled(value):
    people = draw_people()
    expected = fill(draw_maps(shape=(40, 40)), people)
    for channel in range(3):
        maps = draw_maps(shape=(40, 40))
        maps[1, channel, 30, 2] = value
        np.testing.assert_array_equal(refine(maps, people)[:, ::2], expected[:, ::2])
    found = people[..., 2] > 0
    np.testing.assert_array_equal(refine(np.full_like(maps, value), people)[found], people[found])


def test_joints_without_a_positive_value_stay_missing():
    maps, people = draw_maps(), draw_people()
    maps[:, 0] = np.minimum(maps[:, 0], 0)
    np.testing.assert_array_equal(refine(maps, people), people)


def test_padding_stays_padding():
    maps, people = draw_maps(), np.concatenate([draw_people(), np.zeros((3, 3, 5), np.float32)])
    found = refine(maps, adjust(maps, people))
    np.testing.assert_array_equal(found[6:], people[6:])
    np.testing.assert_array_equal(found[:6], refine(maps, adjust(maps, people[:6])))


def test_photos_of_a_batch_do_not_mix():
    maps = np.stack([draw_maps(seed, (50, 37)) for seed in range(3)])
    people = np.stack([draw_people(seed) for seed in range(3)])
    candidates = jax.jit(jax.vmap(decoding.candidates))(maps)
    completed = jax.jit(jax.vmap(lambda *photo: refine(photo[0], adjust(*photo))))(maps, people)
    for row in range(3):
        alone = refine(maps[row], adjust(maps[row], people[row]))
        np.testing.assert_array_equal(completed[row], alone)
        for found, expected in zip(candidates, find()(maps[row]), strict=True):
            np.testing.assert_array_equal(found[row], expected)


def test_float64_stays():
    maps, people = draw_maps(shape=(50, 37)).astype(np.float64) / 3, draw_people().astype(np.float64) / 7
    with jax.enable_x64(True):
        found = jax.eval_shape(decoding.candidates, jnp.array(maps))
        adjusted, filled = adjust(maps, people), refine(maps, people)
        expected = fill(maps, people)
    assert {found.values.dtype, found.tags.dtype, adjusted.dtype, filled.dtype} == {maps.dtype}
    np.testing.assert_array_equal(filled, expected)
