import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrnet_jax import sharding
from hrnet_jax.bottom_up import targets

SETS = {"coco_512": 2.0, "crowdpose_512": 2.0, "coco_512_sigma_default": None}
"""Standard deviations of the reference's sets, None where it follows the size."""

SIZE = (24, 16)


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, np.ndarray]:
    return dict(np.load(shared / "conformance/higher_hrnet/targets.npz"))


@functools.partial(jax.jit, static_argnums=3)
def render(joints: jax.Array, visible: jax.Array, sigma: jax.Array, size: tuple[int, int]) -> jax.Array:
    return targets.render(joints, visible, heatmap_size=size, sigma=sigma)


locate = jax.jit(targets.locate, static_argnums=2)


def to_float32(joints: np.ndarray) -> np.ndarray:
    """Rounds toward zero, as the host does."""
    nearest = joints.astype(np.float32)
    return np.where(np.abs(nearest) > np.abs(joints), np.nextafter(nearest, np.float32(0)), nearest)


def rendered(joints: np.ndarray, visible: np.ndarray, sigma: float | np.ndarray = 2.0, size=SIZE) -> np.ndarray:
    """Renders joints that are given in float64."""
    return np.asarray(render(to_float32(joints), visible.astype(np.float32), np.float32(sigma), size))


def expected_heatmaps(joints: np.ndarray, visible: np.ndarray, sigmas: np.ndarray, size=SIZE) -> np.ndarray:
    """The rules, one Gaussian after another."""
    maps = np.zeros((*size, joints.shape[1]))
    for person, k in np.argwhere(visible > 0):
        x, y = (int(value) for value in joints[person, k])
        if not (0 <= x < size[1] and 0 <= y < size[0]):
            continue
        reach = 3 * sigmas[person] + 1
        starts = [round(center - reach) for center in (x, y)]
        columns, rows = (
            np.arange(max(start, 0), min(round(center + reach + 1), side))
            for start, center, side in zip(starts, (x, y), size[::-1], strict=True)
        )
        squared = (columns - starts[0] - reach) ** 2 + (rows[:, None] - starts[1] - reach) ** 2
        window = maps[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, k]
        np.maximum(window, np.exp(-squared / (2 * sigmas[person] ** 2)), out=window)
    return maps


def people(seed: int, count: int = 4, joints: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Draws people in and around the heatmaps, close to each other, two of three joints labelled."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-2, np.array(SIZE[::-1]) + 2, (count, joints, 2))
    xy[1] = xy[0] + rng.uniform(-3, 3, xy[0].shape)
    return xy, (rng.random((count, joints)) < 0.67) * rng.integers(1, 3, (count, joints))


@pytest.mark.parametrize("resolution", [0, 1])
@pytest.mark.parametrize("name", SETS)
def test_heatmaps_are_the_originals(numbers, name, resolution):
    joints, maps = (
        numbers[f"{name}/joints{resolution}"],
        numbers[f"{name}/heatmaps{resolution}"].transpose(1, 2, 0),
    )
    size = maps.shape[:2]
    sigma = SETS[name] or targets.proportional_sigma(size)
    found = rendered(joints[..., :2], joints[..., 2], sigma, size)
    np.testing.assert_allclose(found, maps, rtol=0, atol=1.5e-7)
    with jax.enable_x64(True):
        exact = render(joints[..., :2], joints[..., 2], np.float64(sigma), size)
    assert exact.dtype == np.float32
    np.testing.assert_array_equal(exact, maps)


def test_heatmaps_with_a_sigma_for_each_person_are_the_originals(numbers):
    joints, maps = numbers["scale_aware/joints"], numbers["scale_aware/heatmaps"].transpose(1, 2, 0)
    sigma, size = joints[:, 0, 3], maps.shape[:2]
    assert maps.shape[0] == numbers["scale_aware/size"] and len(set(sigma)) == len(sigma)
    found = rendered(joints[..., :2], joints[..., 2], sigma, size)
    np.testing.assert_allclose(found, maps, rtol=0, atol=1e-6)
    with jax.enable_x64(True):
        exact = render(joints[..., :2], joints[..., 2], sigma, size)
    np.testing.assert_array_equal(exact, maps)


@pytest.mark.parametrize("resolution", [0, 1])
@pytest.mark.parametrize("name", SETS)
def test_usable_joints_and_their_pixels_are_the_originals(numbers, name, resolution):
    """The original's rows of flat indices have the usable joints of a person first, then zeros."""
    joints, size = numbers[f"{name}/joints{resolution}"], numbers[f"{name}/heatmaps{resolution}"].shape[1:]
    pixel, usable = locate(to_float32(joints[..., :2]), joints[..., 2].astype(np.float32), size)
    pixel, usable = np.asarray(pixel), np.asarray(usable)
    assert not pixel[~usable].any()
    of_joint = np.arange(joints.shape[1]) * size[0] * size[1]
    in_map = pixel[..., 1] * size[1] + pixel[..., 0]
    for flat, key in ((in_map + of_joint, "indices"), (in_map, "indices_shared_tag")):
        packed = np.zeros_like(numbers[f"{name}/{key}{resolution}"])
        for person, (row, kept) in enumerate(zip(flat, usable, strict=True)):
            packed[person, : kept.sum()] = np.stack([row[kept], np.ones(kept.sum())], -1)
        np.testing.assert_array_equal(packed, numbers[f"{name}/{key}{resolution}"])


@pytest.mark.parametrize("sigmas", [(2.0, 2.0, 2.0, 2.0), (0.7, 1.5, 2.5, 3.4)])
@pytest.mark.parametrize("seed", range(5))
def test_heatmaps_follow_the_rules(seed, sigmas):
    joints, visible = people(seed)
    found = rendered(joints, visible, np.array(sigmas))
    np.testing.assert_allclose(found, expected_heatmaps(joints, visible, sigmas), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "column"), [(-1.0, None), (-0.999, 0), (0.999, 0), (1.0, 1), (15.999, 15), (16.0, None), (np.nan, None)]
)
def test_joints_are_truncated_toward_zero(x, column):
    for joint, size in ((np.array([[[x, 3.7]]]), SIZE), (np.array([[[3.7, x]]]), SIZE[::-1])):
        pixel, usable = locate(joint.astype(np.float32), np.ones((1, 1), np.float32), size)
        other = 0 if column is None else 3
        assert usable.item() == (column is not None)
        assert sorted(pixel.ravel().tolist()) == sorted([column or 0, other])
        maps = rendered(joint, np.ones((1, 1)), size=size)
        assert (maps.max() == 1) == (column is not None)


def test_windows_end_three_sigma_and_a_pixel_from_the_joint():
    maps = rendered(np.array([[[8.5, 12.5]]]), np.ones((1, 1)))[..., 0]
    rows, columns = np.nonzero(maps)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 19, 1, 15)


def test_the_original_knows_thirty_people(numbers):
    assert numbers["error_at_31_people"] == 1
    joints, visible = people(0, count=40)
    np.testing.assert_allclose(
        rendered(joints, visible), expected_heatmaps(joints, visible, [2.0] * 40), rtol=0, atol=1e-6
    )


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_order_padding_and_unlabelled_joints_change_nothing(seed):
    rng = np.random.default_rng(seed)
    joints, visible = people(seed)
    before = rendered(joints, visible)
    order = rng.permutation(len(joints))
    np.testing.assert_array_equal(rendered(joints[order], visible[order]), before)
    elsewhere = np.where(visible[..., None] > 0, joints, rng.choice([np.nan, np.inf, -1e30, 5.0], joints.shape))
    np.testing.assert_array_equal(rendered(elsewhere, visible), before)
    empty = np.concatenate([visible, np.zeros_like(visible)])
    np.testing.assert_array_equal(rendered(np.concatenate([joints, joints]), empty), before)


def test_photos_without_people_have_empty_heatmaps():
    assert not rendered(people(0)[0], np.zeros((4, 3))).any()
    assert rendered(np.zeros((0, 3, 2)), np.zeros((0, 3))).shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("size", "sigma"), [((128, 128), 2), ((256, 256), 4), ((160, 192), 2.5), ((192, 160), 2.5)]
)
def test_sigma_may_follow_the_size(size, sigma):
    assert targets.proportional_sigma(size) == sigma


def test_masks_are_packed_by_numpy_along_x():
    mask = np.random.default_rng(0).random((3, 16, 24)) < 0.5
    found = jax.jit(jax.vmap(targets.unpack_mask))(np.packbits(mask, axis=-1))
    assert found.dtype == bool
    np.testing.assert_array_equal(found, mask)


def test_heatmaps_of_a_batch_are_rendered_where_it_is():
    """Without communication, and without an array of all heatmaps of all people."""
    mesh, size = sharding.make_mesh(), (128, 128)
    batch = jax.ShapeDtypeStruct((8, 30, 5, 2), jnp.float32), jax.ShapeDtypeStruct((8, 30, 5), jnp.float32)
    split = sharding.by_person(mesh)
    draw = jax.vmap(functools.partial(targets.render, heatmap_size=size))
    compiled = jax.jit(draw, in_shardings=split, out_shardings=split).lower(*batch).compile()
    text = compiled.as_text() or ""
    assert not any(name in text for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * (8 // mesh.size) * 128 * 128 * 5 * 4
