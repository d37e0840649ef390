import dataclasses

import jax
import numpy as np
import pytest

from configs import default
from hrnet_jax import models
from hrnet_jax.compare import problem
from hrnet_jax.models import layers


@pytest.fixture
def config():
    config = default.get_config()
    config.image_size = (64, 96)
    config.model.update(width=8, stem=4, units=(1, 1, 1), blocks=1)
    return config


def test_everything_is_drawn_from_names_and_seed(config):
    shapes = models.shapes(models.build(config), config.image_size)
    one, again, other = (problem.draw_variables(shapes, seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == np.float64 and (a != b).any()
    batches = [problem.random_batch(config, 3, seed) for seed in (0, 0, 1)]
    for field in ("image", "targets", "weights"):
        a, b, c = (getattr(batch, field) for batch in batches)
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_a_random_batch_has_joints_of_all_kinds(config):
    batch = problem.random_batch(config, 8)
    joints = 17
    assert batch.image.shape == (8, 64, 96, 3) and batch.targets.shape == (8, 16, 24, joints)
    assert {0.0, 1.0} == set(np.unique(batch.weights))
    assert batch.targets.max() == 1 and batch.targets.min() == 0
    assert not batch.targets[batch.weights.astype(bool)[:, None, None].repeat(16, 1).repeat(24, 2) == 0].any()


def test_a_nudge_changes_the_last_bits_of_everything_and_nothing_else(config):
    weights, title = problem.weights_of(config, "")
    posed = problem.Problem(config, weights, title, problem.random_batch(config, 2))
    nudged = problem.perturbed(posed)
    pairs = [(posed.batch.image, nudged.batch.image)]
    pairs += zip(*map(jax.tree.leaves, (posed.variables, nudged.variables)), strict=True)
    for before, after in pairs:
        assert 0 < np.abs(after / before - 1).max() <= 1.1e-14
    np.testing.assert_array_equal(posed.batch.targets, nudged.batch.targets)


@pytest.mark.parametrize(("change", "expected"), [({}, "hrnet_w8_64x96"), ({"width": 48}, "hrnet_w48_64x96")])
def test_a_network_has_a_short_name(config, change, expected):
    config.model.update(change)
    assert problem.tag(config) == expected
    config.model = default.simple_baseline()
    assert problem.tag(config) == "resnet50_64x96"


@pytest.mark.parametrize("colors", layers.COLORS)
def test_data_is_what_training_sees_first(coco_data, config, colors):
    config.data.update(dir=str(coco_data), train_split="val2017")
    config.model.colors = colors
    batch = problem.data_batch(config, 3)
    assert batch.image.shape == (3, 64, 96, 3) and batch.image.dtype == np.float64
    assert batch.weights.any() and "val2017" in batch.title
    brightest = (1 - layers.IMAGENET_MEAN.max()) / layers.IMAGENET_STD.max()
    assert batch.image.max() <= 2.7 and batch.image.max() > brightest / 2
    again = problem.data_batch(config, 3)
    np.testing.assert_array_equal(batch.image, again.image)


def test_weights_come_from_a_checkpoint_if_one_is_given(config, tmp_path):
    from hrnet_jax import checkpoint_files, training

    variables = training.init_variables(models.build(config), config.image_size, seed=3)
    checkpoint_files.write_weights(tmp_path / "some", variables, models.describe(config), {})
    found, title = problem.weights_of(config, str(tmp_path / "some"))
    assert title == str(tmp_path / "some")
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float64)), found, variables)
    drawn, title = problem.weights_of(config, "", seed=2)
    assert "seed 2" in title
    assert dataclasses.is_dataclass(problem.Batch) and drawn["params"].keys() == found["params"].keys()
