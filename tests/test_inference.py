import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from configs import default
from hrnet_jax import heatmap, inference, models
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers

SIZE = (64, 48)
FLIP_ORDER = np.array([0, 2, 1])


class Pooled(nn.Module):
    """Network with the mean of each colour over 4x4 pixels, times a weight, as heatmaps."""

    colors: str = "RGB"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image, train=False):
        assert not train
        weight = self.param("weight", nn.initializers.ones, (), jnp.float32)
        batch, height, width, colors = image.shape
        return image.reshape(batch, height // 4, 4, width // 4, 4, colors).mean((2, 4)) * weight


VARIABLES = {"params": {"weight": jnp.float32(1.5)}}


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def maps(count, seed=0):
    """Returns rotations and scalings with large offsets, as for small people far from the corner."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-1, 1, count), rng.uniform(0.3, 4, count)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = rng.uniform(-2000, 0, (count, 2, 1))
    return np.concatenate([linear.transpose(2, 0, 1), offset], axis=2).astype(np.float32)


@functools.cache  # so that each is compiled once
def step(decoder="quarter", flip=True, shift=1.0):
    return inference.compile_step(Pooled(), flip_order=FLIP_ORDER if flip else None, shift=shift, decoder=decoder)


def place(batch):
    return {name: jnp.asarray(array) for name, array in batch.items()}


def heatmaps_of(images) -> jax.Array:
    heatmaps = Pooled().apply(VARIABLES, layers.normalize(jnp.asarray(images)))
    assert isinstance(heatmaps, jax.Array)
    return heatmaps


@pytest.mark.parametrize("shift", [0.0, 0.75, 1.0])
def test_flip_test_averages_the_image_and_its_mirror_image(shift):
    images = crops(5)
    mirrored = heatmap.flip(heatmaps_of(images[:, :, ::-1]), FLIP_ORDER, shift)
    expected = (heatmaps_of(images) + mirrored) / 2
    found = inference.predict_heatmaps(
        Pooled(), VARIABLES, jnp.asarray(images), flip_order=FLIP_ORDER, shift=shift
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_images_are_read_in_the_networks_colours():
    images, options = jnp.asarray(crops(2)), {"flip_order": None, "shift": 0.0}
    found = inference.predict_heatmaps(Pooled(colors="BGR"), VARIABLES, images, **options)
    np.testing.assert_array_equal(
        found, inference.predict_heatmaps(Pooled(), VARIABLES, images[..., ::-1], **options)
    )


def test_a_mirrored_crop_gives_mirrored_joints_with_sides_swapped():
    """Without the shift the flip test treats both directions alike."""
    images, identity = crops(4), np.tile(np.eye(2, 3, dtype=np.float32), (4, 1, 1))
    predict = step("argmax", shift=0.0)
    joints, scores = predict(VARIABLES, images, identity)
    mirrored, mirrored_scores = predict(VARIABLES, images[:, :, ::-1], identity)
    width = SIZE[1] // 4
    expected = np.stack([4 * (width - 1) - joints[..., 0], joints[..., 1]], axis=-1)[:, FLIP_ORDER]
    np.testing.assert_allclose(mirrored, expected)
    np.testing.assert_allclose(mirrored_scores, np.asarray(scores)[:, FLIP_ORDER], rtol=1e-5)


@pytest.mark.parametrize("decoder", sorted(heatmap.DECODERS))
def test_joints_are_mapped_back_to_the_photo(decoder):
    images, matrices = crops(20), maps(20)
    joints, scores = step(decoder, flip=False)(VARIABLES, images, matrices)
    decode = jax.jit(heatmap.decode, static_argnums=1)
    in_heatmap, expected_scores = decode(heatmaps_of(images), decoder)
    linear, offset = matrices[:, None, :, :2].astype(float), matrices[:, None, :, 2].astype(float)
    in_crop = (linear @ np.asarray(joints, float)[..., None])[..., 0] + offset
    assert joints.shape == (20, 3, 2) and joints.dtype == jnp.float32
    np.testing.assert_allclose(in_crop, 4 * np.asarray(in_heatmap), atol=5e-3)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)


def test_the_inverse_map_is_accurate_to_a_thousandth_of_a_pixel():
    matrices = maps(200)
    points = np.random.default_rng(1).uniform(0, 256, (200, 17, 2)).astype(np.float32)
    found = heatmap.to_photo(jnp.asarray(points), jnp.asarray(matrices))
    wide = np.concatenate([matrices, np.tile([[[0, 0, 1]]], (200, 1, 1))], axis=1).astype(float)
    homogeneous = np.concatenate([points, np.ones((200, 17, 1))], axis=-1)
    expected = homogeneous @ np.linalg.inv(wide).transpose(0, 2, 1)
    np.testing.assert_allclose(found, expected[..., :2], atol=1e-3)


def test_joints_in_real_photos_are_the_originals(shared, coco_data):
    """Photo, crop, HRNet-W32 with the reference's weights, flip test, decoding, joints in the photo."""
    config = default.get_config()
    config.eval.batch_size = 4
    model = models.build(config)
    shapes = models.shapes(model, config.image_size)
    variables = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), reference.seeded_variables(shapes))
    split = records.open_split(coco_data / "val2017")
    step = evaluate.build_step(model, config)
    (outcome,) = evaluate.evaluate(step, variables, split, config, place, sources=(evaluate.GT_BOXES,))
    with np.load(shared / "conformance" / "coco_four" / "real.npz") as numbers:
        expected = numbers["e2e/gt_boxes_preds"]
    np.testing.assert_allclose(outcome.joints, expected[..., :2], atol=1e-3)
    # Rounding errors of sums in float32 are absolute: scores near zero have the same error as the largest ones,
    # 2e-5 of 90 on some processors.
    scores = expected[..., 2]
    np.testing.assert_allclose(outcome.scores, scores, rtol=1e-5, atol=5e-7 * np.abs(scores).max())


def batches_of(images, matrices, size):
    """Yields batches with the last one padded as by the pipeline."""
    rows = np.arange(-(-len(images) // size) * size)
    index = np.minimum(rows, len(images) - 1)
    for part in np.split(np.arange(len(rows)), len(rows) // size):
        yield {
            "image": images[index[part]],
            "crop": matrices[index[part]],
            "index": index[part].astype(np.int32),
            "valid": (rows[part] < len(images)).astype(np.float32),
        }


@pytest.mark.parametrize("size", [1, 3, 4, 11, 16])
def test_everyone_is_predicted_once_for_any_batch_size(size):
    images, matrices = crops(11), maps(11)
    expected = step("argmax")(VARIABLES, images, matrices)
    found = inference.predict(step("argmax"), VARIABLES, batches_of(images, matrices, size), 11, place)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-3)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_a_missing_or_repeated_person_is_an_error():
    images, matrices = crops(8), maps(8)
    batches = list(batches_of(images, matrices, 4))
    for wrong_batches in (batches[:1], [*batches, batches[0]]):
        with pytest.raises(RuntimeError, match="4 of 8 people"):
            inference.predict(step("argmax"), VARIABLES, wrong_batches, 8, place)


@pytest.mark.parametrize("decoder", sorted(heatmap.DECODERS))
def test_devices_share_a_batch_without_communication(decoder):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    variables = jax.device_put(VARIABLES, NamedSharding(mesh, PartitionSpec()))
    images, matrices = crops(8), maps(8)
    split = [jax.device_put(array, rows) for array in (images, matrices)]
    program = step(decoder).lower(variables, *split).compile()  # pyright: ignore[reportFunctionMemberAccess]
    collectives = re.findall(r"all-\w+|collective-\w+|reduce-scatter", program.as_text())
    assert not collectives
    for shared, alone in zip(program(variables, *split), step(decoder)(VARIABLES, images, matrices), strict=True):
        assert shared.sharding.is_equivalent_to(rows, shared.ndim)
        np.testing.assert_allclose(shared, alone, rtol=1e-5, atol=1e-3)


def test_an_ensemble_predicts_the_mean_of_its_members():
    images, matrices = jnp.asarray(crops(2)), jnp.asarray(maps(2))
    options = {"flip_order": FLIP_ORDER, "shift": 1.0}
    members = [{"params": {"weight": jnp.float32(weight)}} for weight in (1.0, 3.0, 0.5)]
    alone = [inference.predict_heatmaps(Pooled(), member, images, **options) for member in members]
    for model in (Pooled(), [Pooled()] * 3):
        together = inference.predict_heatmaps(model, members, images, **options)
        np.testing.assert_allclose(together, np.mean(alone, 0), rtol=1e-5)
    _, scores = inference.predict_step(Pooled(), members, images, matrices, decoder="argmax", **options)
    np.testing.assert_allclose(scores, np.mean(alone, 0).max((1, 2)), rtol=1e-5)


def test_an_ensemble_of_different_networks_reads_the_colors_of_each():
    images, options = jnp.asarray(crops(2)), {"flip_order": None, "shift": 0.0}
    networks = [Pooled(colors="RGB"), Pooled(colors="BGR")]
    alone = [inference.predict_heatmaps(network, VARIABLES, images, **options) for network in networks]
    together = inference.predict_heatmaps(networks, [VARIABLES] * 2, images, **options)
    assert not np.allclose(*alone)
    np.testing.assert_allclose(together, np.mean(alone, 0), rtol=1e-5)
