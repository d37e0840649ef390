import fractions

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hrnet_jax import optimizer


@pytest.fixture(autouse=True)
def _optax_mixes_types():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_rate_drops_to_a_tenth_after_each_given_epoch():
    rate = optimizer.schedule(1e-3, (170, 200), steps_per_epoch=7)
    steps = [0, 170 * 7 - 1, 170 * 7, 200 * 7 - 1, 200 * 7, 209 * 7]
    np.testing.assert_allclose([rate(step) for step in steps], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)


INVALID_EPOCHS = [None, "a", b"\x01", fractions.Fraction(3, 2), 10**12, float("nan"), -1, -(10**12), -0.5, True]


@pytest.mark.parametrize("drop", INVALID_EPOCHS)
def test_an_invalid_epoch_to_drop_after_is_rejected(drop):
    for drops in ((drop,), (9, drop), drop):
        with pytest.raises(ValueError, match=r"`learning_rate_drops` \(=.*\) must be a tuple of numbers"):
            optimizer.schedule(1e-3, drops, steps_per_epoch=7)


@pytest.mark.parametrize(("drop", "step"), [(1.5, 11), (np.int64(2), 14), (float("inf"), 10**9)])
def test_epochs_may_be_fractions_and_infinite(drop, step):
    rate = optimizer.schedule(1e-3, (drop,), steps_per_epoch=7)
    np.testing.assert_allclose([rate(step - 1), rate(step)], [1e-3, 1e-3 if drop > 9 else 1e-4], rtol=1e-6)


def test_warm_up_reaches_the_full_rate_and_keeps_the_drops():
    rate = optimizer.schedule(1e-3, (100,), steps_per_epoch=1, warmup_steps=10)
    np.testing.assert_allclose([rate(s) for s in (0, 4, 9, 50, 100)], [1e-4, 5e-4, 1e-3, 1e-3, 1e-4], rtol=1e-6)


def test_adam_is_pytorchs():
    """Adam's formula (Kingma & Ba 2015, algorithm 1) with epsilon 1e-8 outside the root, in float64."""
    gradients = np.random.default_rng(0).standard_normal((5, 3))
    transform = optimizer.adam(optax.constant_schedule(1e-3), 0.0)
    weights = jnp.zeros(3)
    state = transform.init(weights)
    expected, first, second = np.zeros(3), np.zeros(3), np.zeros(3)
    for step, gradient in enumerate(gradients, start=1):
        updates, state = transform.update(jnp.asarray(gradient, jnp.float32), state, weights)
        weights = optax.apply_updates(weights, updates)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected -= 1e-3 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_adams_epsilon_is_added_to_the_root():
    """A gradient as large as epsilon moves a weight by half the rate."""
    transform = optimizer.adam(optax.constant_schedule(1e-3), 0.0)
    updates, _ = transform.update(jnp.full(2, 1e-8), transform.init(jnp.zeros(2)), jnp.zeros(2))
    np.testing.assert_allclose(updates, [-5e-4, -5e-4], rtol=1e-4)


def test_weight_decay_is_added_to_the_gradient_and_warns():
    with pytest.warns(UserWarning, match="60 AP"):
        transform = optimizer.adam(optax.constant_schedule(1e-3), 0.5)
    weights = jnp.full(2, 3.0)
    updates, _ = transform.update(jnp.zeros(2), transform.init(weights), weights)
    np.testing.assert_allclose(updates, [-1e-3, -1e-3], rtol=1e-4)
