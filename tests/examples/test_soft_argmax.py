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
        np.testing.assert_allclose(jax.jit(soft_argmax.soft_argmax)(heatmaps), joints / 4, atol=0.05)


def test_a_shift_of_the_heatmap_shifts_the_joint():
    heatmaps = np.zeros((1, 12, 10, 1), np.float32)
    heatmaps[0, 4:6, 3:6, 0] = [[1.0, 0.9, 0.8], [0.2, 0.7, 0.9]]
    moved = np.roll(heatmaps, (2, 3), (1, 2))
    before, after = map(jax.jit(soft_argmax.soft_argmax), (heatmaps, moved))
    np.testing.assert_allclose(after - before, [[[3, 2]]], atol=1e-3)


def test_joints_have_gradients():
    with jax.enable_x64(True):
        heatmaps = np.random.default_rng(0).uniform(size=(1, 6, 5, 2))
        test_util.check_grads(jax.jit(lambda x: soft_argmax.soft_argmax(x, 2.0)), (heatmaps,), order=1)


def test_training_brings_the_joints_to_their_labels(small):
    state, losses = soft_argmax.train(small.model, small.variables, small.batch, steps=60)
    assert int(state.step) == 60 and np.isfinite(losses).all()
    assert losses[-1] < 0.5 * losses[0]


def test_joints_without_labels_do_not_count_and_statistics_are_those_of_the_batch(small):
    @jax.jit
    def loss(batch):
        return soft_argmax.make_loss(small.model)(small.variables["params"], small.variables["batch_stats"], batch)

    visible, joints = (np.array(small.batch[name]) for name in ("visible", "joints"))
    third = (np.arange(17) == 3).astype(np.float32)
    hidden, moved = {"visible": visible * (1 - third)}, {"joints": joints + 50 * third[:, None]}
    assert loss({**small.batch, **hidden})[0] == loss({**small.batch, **hidden, **moved})[0]
    value, (stats, _) = loss(small.batch)
    assert loss({**small.batch, **moved})[0] > value
    training_loss = jax.jit(functions.make_training_loss(small.model))
    _, (expected, _) = training_loss(small.variables["params"], small.variables["batch_stats"], small.batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stats, expected)
