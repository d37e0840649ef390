import fractions
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hrnet_jax import configuration, optimizer


@pytest.fixture(autouse=True)
def _optax_mixes_types():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_rate_drops_to_a_tenth_after_each_given_epoch():
    rate = optimizer.step_schedule(1e-3, (170, 200), steps_per_epoch=7)
    steps = [0, 170 * 7 - 1, 170 * 7, 200 * 7 - 1, 200 * 7, 209 * 7]
    np.testing.assert_allclose([rate(step) for step in steps], [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5], rtol=1e-6)


INVALID_EPOCHS = [None, "a", b"\x01", fractions.Fraction(3, 2), 10**12, float("nan"), -1, -(10**12), -0.5, True]


@pytest.mark.parametrize("drop", INVALID_EPOCHS)
def test_an_invalid_epoch_to_drop_after_is_rejected(drop):
    for drops in ((drop,), (9, drop), drop):
        with pytest.raises(ValueError, match=r"`learning_rate_drops` \(=.*\) must be a tuple of numbers"):
            optimizer.step_schedule(1e-3, drops, steps_per_epoch=7)


@pytest.mark.parametrize(("drop", "step"), [(1.5, 11), (np.int64(2), 14), (float("inf"), 10**9)])
def test_epochs_may_be_fractions_and_infinite(drop, step):
    rate = optimizer.step_schedule(1e-3, (drop,), steps_per_epoch=7)
    np.testing.assert_allclose([rate(step - 1), rate(step)], [1e-3, 1e-3 if drop > 9 else 1e-4], rtol=1e-6)


def test_warm_up_reaches_the_full_rate_and_keeps_the_drops():
    rate = optimizer.warm_up(optimizer.step_schedule(1e-3, (100,), steps_per_epoch=1), 10)
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


def settings(**changes):
    config = configuration.default()
    config.update_from_flattened_dict(changes)
    return config


TORCH = {
    "adam": lambda torch, p: torch.optim.Adam(p, lr=0.1),
    "adamw": lambda torch, p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
    "sgd": lambda torch, p: torch.optim.SGD(p, lr=0.1, momentum=0.8, weight_decay=0.3),
    "nesterov": lambda torch, p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True),
    "rmsprop": lambda torch, p: torch.optim.RMSprop(p, lr=0.1, momentum=0.8, weight_decay=0.3),
}
CHANGES = {
    "adam": {},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.3},
    "sgd": {"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.3},
    "nesterov": {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.8, "weight_decay": 0.3},
}


@pytest.mark.parametrize("clip", [0.0, 2.0])
@pytest.mark.parametrize("name", TORCH)
def test_steps_in_float64_are_pytorchs(torch, name, clip):
    """Three steps with a learning rate that drops to a tenth after the first."""
    random = np.random.default_rng(0)
    start, gradients = {"a": random.standard_normal(5), "b": random.standard_normal((2, 3))}, []
    for _ in range(3):
        gradients.append({key: random.standard_normal(value.shape) for key, value in start.items()})
    theirs = {key: torch.tensor(value, requires_grad=True) for key, value in start.items()}
    descent = TORCH[name](torch, list(theirs.values()))
    decay = torch.optim.lr_scheduler.MultiStepLR(descent, [1])
    for gradient in gradients:
        for key, weights in theirs.items():
            weights.grad = torch.tensor(gradient[key])
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip)
        descent.step()
        decay.step()
    with jax.enable_x64(True):
        config = settings(learning_rate=0.1, learning_rate_drops=(1,), gradient_clip=clip, **CHANGES[name])
        _, transform = optimizer.build(config, steps_per_epoch=1)
        ours = jax.tree.map(jnp.asarray, start)
        state = transform.init(ours)
        for gradient in gradients:
            updates, state = transform.update(jax.tree.map(jnp.asarray, gradient), state, ours)
            ours = optax.apply_updates(ours, updates)
    for key, weights in theirs.items():
        np.testing.assert_allclose(ours[key], weights.detach().numpy(), rtol=1e-13)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "rmsprop"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_nesterovs_momentum_needs_an_optimizer_with_momentum(changes):
    with pytest.raises(ValueError, match=r"`nesterov` \(=True\) needs `optimizer` sgd and a `momentum` above 0"):
        optimizer.build(settings(nesterov=True, **changes), steps_per_epoch=1)


def test_clipping_keeps_the_direction_and_limits_the_norm():
    gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    clipped, _ = optimizer.clip(2.0).update(gradients, optax.EmptyState())
    np.testing.assert_allclose(clipped["a"], [1.2, 0], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"], [[1.6]], rtol=1e-6)
    small, _ = optimizer.clip(6.0).update(gradients, optax.EmptyState())
    np.testing.assert_array_equal(small["a"], gradients["a"])


SHAPES = {  # by schedule: share of the run -> share of the learning rate
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "polynomial": lambda done: (1 - done) ** 0.9,
    "constant": lambda done: 1.0,
}


@pytest.mark.parametrize("name", SHAPES)
def test_schedules_span_the_run(name):
    rate, _ = optimizer.build(settings(schedule=name, epochs=10, learning_rate=0.5), steps_per_epoch=20)
    for step in (0, 1, 50, 100, 199):
        np.testing.assert_allclose(rate(step), 0.5 * SHAPES[name](step / 200), rtol=1e-5, atol=2e-8)


@pytest.mark.parametrize("name", ["steps", *SHAPES])
def test_each_schedule_warms_up(name):
    rate, _ = optimizer.build(settings(schedule=name, warmup_steps=100), steps_per_epoch=1000)
    full, _ = optimizer.build(settings(schedule=name), steps_per_epoch=1000)
    np.testing.assert_allclose([rate(0), rate(49)], [0.01 * full(0), 0.5 * full(49)], rtol=1e-6)
    assert rate(150) == full(150)


def test_cosine_is_pytorchs(torch):
    descent = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(descent, T_max=30)
    rate, _ = optimizer.build(settings(schedule="cosine", epochs=30, learning_rate=0.3), steps_per_epoch=1)
    for step in range(30):
        np.testing.assert_allclose(rate(step), descent.param_groups[0]["lr"], rtol=1e-5)
        descent.step()
        decay.step()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer": "lamb"},
            r"`optimizer` \(='lamb'\) must be one of adam, adamw, sgd, rmsprop, or `module:name`",
        ),
        ({"schedule": "linear"}, r"`schedule` \(='linear'\) must be one of steps, cosine, polynomial, constant"),
        ({"momentum": 1.0}, r"`momentum` \(=1.0\) must be at least 0 and less than 1"),
        ({"gradient_clip": -1.0}, r"`gradient_clip` \(=-1.0\) must be at least 0"),
        ({"gradient_clip": float("nan")}, r"`gradient_clip` \(=nan\)"),
    ],
)
def test_wrong_fields_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        optimizer.build(settings(**changes), steps_per_epoch=1)


@pytest.mark.parametrize("changes", [{"optimizer": "optax:lion"}, {"schedule": "optax:constant_schedule"}])
def test_functions_of_other_parameters_fail_with_the_way_out(changes):
    with pytest.raises(TypeError) as error:
        optimizer.build(settings(**changes), steps_per_epoch=10)
    ((field, name),) = changes.items()
    assert f"`{field}` (='{name}') is called with the configuration and" in "".join(error.value.__notes__)
