import jax
import jax.numpy as jnp
import numpy as np
from jax import test_util

from examples import functions, soft_argmax
from hrnet_jax import heatmap


def test_the_mean_of_a_gaussian_is_its_centre():
    joints = np.array([[[30.0, 41.5], [61.25, 20.0]]])
    with jax.enable_x64(True):
        options = {"image_size": (96, 96), "heatmap_size": (24, 24), "sigma": 2.0, "unbiased": True}
        heatmaps, _ = heatmap.render(jnp.asarray(joints), jnp.ones((1, 2)), **options)
        np.testing.assert_allclose(soft_argmax.soft_argmax(heatmaps), joints / 4, atol=0.01)
        decoded, _ = heatmap.decode(heatmaps, "dark")
        np.testing.assert_allclose(soft_argmax.soft_argmax(heatmaps), decoded, atol=0.01)


def test_a_shift_of_the_heatmap_shifts_the_joint():
    heatmaps = np.zeros((1, 12, 10, 1), np.float32)
    heatmaps[0, 4:6, 3:6, 0] = [[1.0, 0.9, 0.8], [0.2, 0.7, 0.9]]
    moved = np.roll(heatmaps, (2, 3), (1, 2))
    difference = soft_argmax.soft_argmax(moved) - soft_argmax.soft_argmax(heatmaps)
    np.testing.assert_allclose(difference, [[[3, 2]]], atol=1e-3)


def test_joints_have_gradients():
    with jax.enable_x64(True):
        heatmaps = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 6, 5, 2)))
        test_util.check_grads(lambda x: soft_argmax.soft_argmax(x, 2.0), (heatmaps,), order=2)


def test_training_brings_the_joints_to_their_labels(small):
    state, losses = soft_argmax.train(small.model, small.variables, small.batch, steps=60)
    assert int(state.step) == 60 and np.isfinite(losses).all()
    assert losses[-1] < 0.5 * losses[0]


def test_joints_without_labels_do_not_count(small):
    loss = soft_argmax.make_loss(small.model)
    arguments = small.variables["params"], small.variables["batch_stats"]
    hidden = small.batch["visible"].at[:, 3].set(0.0)
    moved = small.batch["joints"].at[:, 3].add(50.0)
    (first, _), (second, _) = (
        loss(*arguments, {**small.batch, "visible": hidden, "joints": joints})
        for joints in (small.batch["joints"], moved)
    )
    assert first == second
    assert loss(*arguments, {**small.batch, "joints": moved})[0] > loss(*arguments, small.batch)[0]


def test_the_head_keeps_the_statistics_of_the_batch(small):
    _, (stats, _) = soft_argmax.make_loss(small.model)(
        small.variables["params"], small.variables["batch_stats"], small.batch
    )
    _, (expected, _) = functions.make_training_loss(small.model)(
        small.variables["params"], small.variables["batch_stats"], small.batch
    )
    jax.tree.map(np.testing.assert_array_equal, stats, expected)
