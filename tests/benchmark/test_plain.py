"""The original's loader on made-up people. `test_batches` compares it with the original's numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import default
from hrnet_jax import augment, heatmap
from hrnet_jax.benchmark import batches, plain
from hrnet_jax.datasets import records


@pytest.fixture
def original(made_up_records, tmp_path):
    config = default.get_config()
    config.image_size = (64, 48)
    return plain.OriginalLoader(config, records.open_split(made_up_records / "train2017"), tmp_path)


def test_crops_are_ours_in_every_pixel(original):
    found = batches._compare_crops(original)
    assert found["compared"] >= 258 * 64 * 48 and (found["different"], found["max_difference"]) == (0, 0)


def test_targets_are_ours_in_every_bit(original):
    """Joints in and around the crop, since those of made-up people are inside."""
    random = np.random.default_rng(0)
    joints = random.uniform(-0.5, 1.5, (200, 17, 2)) * [48, 64]
    visible = (random.random((200, 17)) < 0.8).astype(float)
    joints = joints.astype(np.float32).astype(float)
    ours = heatmap.render(
        jnp.asarray(joints, jnp.float32),
        jnp.asarray(visible, jnp.float32),
        image_size=(64, 48),
        heatmap_size=(16, 12),
        sigma=2.0,
    )
    found = [original.targets(*person) for person in zip(joints, visible, strict=True)]
    targets, weights = map(np.stack, zip(*found, strict=True))
    np.testing.assert_array_equal(weights, ours[1])
    np.testing.assert_array_equal(targets.transpose(0, 2, 3, 1), ours[0])


def test_a_person_is_normalised_and_drawn(original):
    person = original.split.people
    original.policy = augment.Policy(scale=0, rotation=0, rotation_probability=0, flip=0, half_body=0)
    found = original.person(2)
    crop, _, visible = original.crop(2, augment.Draw())
    pixels = found["image"].transpose(1, 2, 0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(255 * pixels, crop, atol=1e-3)
    np.testing.assert_array_equal(found["weights"], visible)
    np.testing.assert_array_equal(visible, person.visible[2])
