import contextlib

import jax
import numpy as np
import pytest
from made_weights import small_config

from configs import default
from hrnet_jax import checkpoint_files, configuration, models, tasks, training
from hrnet_jax.compare import problem
from hrnet_jax.models import layers
from hrnet_jax.tasks import top_down


@pytest.fixture
def config():
    return small_config((64, 96), width=8)


def test_names_and_seed_determine_weights_and_batch(config):
    one, again, other = (problem.make_setup(config, 3, seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one.variables, again.variables)
    for a, b in zip(jax.tree.leaves(one.variables), jax.tree.leaves(other.variables), strict=True):
        assert a.dtype == np.float64 and (a != b).any()
    for field in ("image", "targets", "weights"):
        a, b, c = (getattr(setup.batch, field) for setup in (one, again, other))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_a_codec_that_is_not_for_the_network_is_refused():
    config = configuration.default("cpn")
    config.codec = "udp_offset"
    with pytest.raises(ValueError, match=r"`codec` \(='udp_offset'\) is not for CPN .*: leave it at 'original'"):
        problem.make_setup(config)


def test_weights_are_as_large_as_their_inputs_are_few():
    weights = problem.draw_tensor("conv.weight", (256, 16, 3, 3))
    assert weights.std() == pytest.approx((2 / (16 * 3 * 3)) ** 0.5, rel=0.02)


def test_a_random_batch_has_labelled_and_unlabelled_joints(config):
    batch = problem.random_batch(config, 8)
    joints = 17
    assert batch.image.shape == (8, 64, 96, 3) and batch.targets.shape == (8, 16, 24, joints)
    assert {0.0, 1.0} == set(np.unique(batch.weights))
    assert batch.targets.max() == 1 and batch.targets.min() == 0
    assert not batch.targets[batch.weights.astype(bool)[:, None, None].repeat(16, 1).repeat(24, 2) == 0].any()


def test_a_perturbation_changes_the_last_bits_of_weights_and_images_only(config):
    setup = problem.make_setup(config)
    perturbed = problem.perturb(setup)
    pairs = [(setup.batch.image, perturbed.batch.image)]
    pairs += zip(*map(jax.tree.leaves, (setup.variables, perturbed.variables)), strict=True)
    for before, after in pairs:
        assert 0 < np.abs(after / before - 1).max() <= 1.1e-14
    np.testing.assert_array_equal(setup.batch.targets, perturbed.batch.targets)


@pytest.mark.parametrize(("change", "expected"), [({}, "hrnet_w8_64x96"), ({"width": 48}, "hrnet_w48_64x96")])
def test_a_network_has_a_short_name(config, change, expected):
    config.model.update(change)
    assert problem.tag(config) == expected
    config.model = default.get_config("simple_baseline").model
    assert problem.tag(config) == "resnet50_64x96"


@pytest.mark.parametrize("colors", layers.COLORS)
def test_a_data_batch_is_the_first_training_batch(made_up_records, config, colors):
    config.data.dir = str(made_up_records)
    config.model.colors, config.batch_size, config.loader.threads = colors, 3, 0
    task = tasks.build(config)
    with contextlib.closing(task.examples().batches(0)) as batches:
        expected = next(batches)
    image = expected["image"] if colors == "RGB" else expected["image"][..., ::-1]
    batch = problem.data_batch(config, 3)
    assert batch.image.dtype == np.float64 and "train2017" in batch.title
    np.testing.assert_allclose(
        batch.image, (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], rtol=1e-5, atol=1e-6
    )
    targets, weights = top_down.make_target_fn(config)(expected["joints"], expected["visible"])
    np.testing.assert_array_equal(batch.targets, targets)
    np.testing.assert_array_equal(batch.weights, weights)
    assert batch.weights.any() and not batch.weights.all()


def test_weights_are_loaded_from_a_checkpoint_or_drawn(config, tmp_path):
    variables = training.init_variables(models.build(config), config.image_size, seed=3)
    checkpoint_files.write_weights(tmp_path / "some", variables, models.describe(config), {})
    found, title = problem.load_weights(config, str(tmp_path / "some"))
    assert title == str(tmp_path / "some")
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype(np.float64)), found, variables)
    drawn, title = problem.load_weights(config, "", seed=2)
    assert "seed 2" in title and drawn["params"].keys() == found["params"].keys()


def test_a_network_for_whole_photos_has_noise_as_targets_of_all_heads():
    config = small_config(name="higher_hrnet")
    batch, again, other = (problem.random_batch(config, 3, seed) for seed in (0, 0, 1))
    assert [x.shape for x in batch.targets] == [(3, 16, 8, 34), (3, 32, 16, 17)]
    assert [x.shape for x in batch.weights] == [(3, 34), (3, 17)]
    for a, b, c in zip(batch.targets, again.targets, other.targets, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    with pytest.raises(ValueError, match=r"`model.name` \(='higher_hrnet'\) is compared on noise only"):
        problem.data_batch(config, 3)


def test_a_run_with_a_network_for_whole_photos_is_compared_by_the_loss_of_heatmaps():
    config = default.get_config("higher_hrnet")
    config.update(image_size=(64, 64), learning_rate=0.5)
    config.model.update(width=4, stem=4, units=(1, 1, 1), blocks=1)
    found = problem.make_setup(config).config
    assert found.loss == "mse" and (found.model, found.learning_rate) == (config.model, 0.5)


def test_targets_of_several_levels_are_kept_in_a_file(shallow_resnet):
    config = small_config(name="cpn")
    batch = problem.random_batch(config, 2)
    assert len(batch.targets) == len(batch.weights) == 5
    labels = batch.labels()
    assert list(labels)[:2] == ["targets.0", "targets.1"] and len(labels) == 10
    moved = {name: array + 1 for name, array in labels.items()}
    found = batch.with_labels(moved)
    for part in ("targets", "weights"):
        for ours, expected in zip(getattr(found, part), getattr(batch, part), strict=True):
            np.testing.assert_array_equal(ours, expected + 1)
    np.testing.assert_array_equal(found.image, batch.image)
    some_hidden = [x.max((1, 2)) > 0 for x in (batch.targets[0], batch.targets[-1])]
    assert (some_hidden[0] < some_hidden[1]).any() and not (some_hidden[0] > some_hidden[1]).any()
