import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax.bottom_up import aggregation

FLIP_ORDER = (0, 2, 1)
SIZE = (6, 8)
TOLERANCE = 1e-5  # `jax.image.resize` rounds its weights


def draw(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), jnp.float32)


def heads(seed: int = 0, tags: int = 3, finer_tags: int = 0) -> tuple[jax.Array, jax.Array]:
    """The outputs for two images, of which the finest have the size `SIZE`."""
    return draw(2, 3, 4, 3 + tags, seed=seed), draw(2, *SIZE, 3 + finer_tags, seed=seed)


def enlarged(maps: jax.Array, size: tuple[int, int]) -> jax.Array:
    return jax.image.resize(maps, (len(maps), *size, maps.shape[-1]), "bilinear", antialias=False)


def planes(maps: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(maps), -1, 1)


def mirrored(output: jax.Array) -> jax.Array:
    """The output of a network that knows left from right, for the mirrored image."""
    channels = np.array(FLIP_ORDER)
    order = [*channels, *(channels + 3)] if output.shape[-1] == 6 else [*channels, *range(3, output.shape[-1])]
    return output[:, :, ::-1][..., np.array(order)]


@pytest.mark.parametrize("size", [(12, 8), (7, 9), (3, 20), (6, 4), (1, 1)])
def test_resizing_is_bilinear_between_pixel_centres(size):
    maps = draw(2, 6, 4, 5)
    found = jax.jit(functools.partial(aggregation.resize, size=size, axes=(1, 2)))(maps)
    np.testing.assert_allclose(found, enlarged(maps, size), atol=TOLERANCE)


def test_resizing_of_a_size_to_itself_changes_nothing():
    maps = draw(2, 6, 4, 5)
    np.testing.assert_array_equal(aggregation.resize(maps, (6, 4), (1, 2)), maps)


def test_heatmaps_are_averaged_over_heads_and_tags_are_of_the_first():
    coarse, fine = heads()
    found = aggregation.merge_passes([(coarse, fine)], FLIP_ORDER)
    large = enlarged(coarse, SIZE)
    np.testing.assert_allclose(found[:, :, 0], planes((large[..., :3] + fine) / 2), atol=TOLERANCE)
    np.testing.assert_allclose(found[:, :, 1], planes(large[..., 3:]), atol=TOLERANCE)
    assert found.shape == (2, 3, 2, *SIZE)


def test_a_single_head_is_read_as_it_is():
    output = draw(2, *SIZE, 6)
    found = aggregation.merge_passes([(output,)], FLIP_ORDER)
    np.testing.assert_array_equal(found, np.stack([planes(output[..., :3]), planes(output[..., 3:])], axis=2))


def test_tags_shared_by_all_joints_stand_at_each():
    coarse, fine = heads(tags=1)
    found = aggregation.merge_passes([(coarse, fine)] * 2, FLIP_ORDER)
    tags = planes(enlarged(coarse[..., 3:], SIZE))[:, 0]
    for joint in range(3):
        np.testing.assert_allclose(found[:, joint, 1], tags, atol=TOLERANCE)
        np.testing.assert_allclose(found[:, joint, 2], tags[..., ::-1], atol=TOLERANCE)


@pytest.mark.parametrize("finer_tags", [0, 3])
def test_mirrored_images_add_nothing_if_the_network_is_symmetric(finer_tags):
    outputs = heads(finer_tags=finer_tags)
    alone = aggregation.merge_passes([outputs], FLIP_ORDER)
    both = aggregation.merge_passes([outputs, [mirrored(output) for output in outputs]], FLIP_ORDER)
    np.testing.assert_allclose(both[:, :, 0], alone[:, :, 0], atol=TOLERANCE)
    np.testing.assert_allclose(both[:, :, 1:], np.concatenate([alone[:, :, 1:]] * 2, axis=2), atol=TOLERANCE)


def test_mirrored_heatmaps_are_averaged_and_their_tags_kept_apart():
    outputs, others = heads(), heads(seed=1)
    first, second = (aggregation.merge_passes([part], FLIP_ORDER) for part in (outputs, others))
    both = aggregation.merge_passes([outputs, [mirrored(output) for output in others]], FLIP_ORDER)
    np.testing.assert_allclose(both[:, :, 0], (first[:, :, 0] + second[:, :, 0]) / 2, atol=TOLERANCE)
    np.testing.assert_allclose(both[:, :, 1], first[:, :, 1], atol=TOLERANCE)
    np.testing.assert_allclose(both[:, :, 2], second[:, :, 1], atol=TOLERANCE)


@pytest.mark.parametrize("size", [None, (10, 14)])
def test_scales_are_averaged_and_tags_are_of_scale_one(size):
    merged = [draw(1, 3, 3, *shape, seed=i) for i, shape in enumerate([(12, 16), (6, 8), (3, 4)])]
    found = jax.jit(functools.partial(aggregation.merge_scales, scales=(2, 1, 0.5), size=size))(merged)
    shape = (1, 3, 3, *(size or (12, 16)))
    large = [jax.image.resize(maps, shape, "bilinear", antialias=False) for maps in merged]
    np.testing.assert_allclose(found[:, :, 0], sum(large)[:, :, 0] / 3, atol=TOLERANCE)
    np.testing.assert_allclose(found[:, :, 1:], large[1][:, :, 1:], atol=TOLERANCE)


def test_photos_of_a_batch_do_not_mix():
    outputs, others = heads(), heads(seed=1)
    together = aggregation.merge_passes([outputs, others], FLIP_ORDER)
    for row in range(2):
        alone = [[output[row : row + 1] for output in of_pass] for of_pass in (outputs, others)]
        np.testing.assert_allclose(together[row], aggregation.merge_passes(alone, FLIP_ORDER)[0], atol=TOLERANCE)
