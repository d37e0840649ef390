import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax.models import batch_norm


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def normalized(norm: batch_norm.Norm, x: np.ndarray, train: bool = True):
    module = batch_norm.BatchNorm(norm)
    variables = {
        "params": {
            "weight": np.full(x.shape[-1], 2, np.float32),
            "bias": np.full(x.shape[-1], 3, np.float32),
        },
        "batch_stats": {
            "running_mean": np.full(x.shape[-1], 0.5, np.float32),
            "running_var": np.full(x.shape[-1], 4, np.float32),
        },
    }
    y, updated = module.apply(variables, x, train, mutable=["batch_stats"])
    return np.asarray(y), updated["batch_stats"]


def test_batch_norm_uses_the_whole_batch_and_updates_unbiased():
    x = draw(6, 4, 3, 2) * 5 + 7
    y, stats = normalized(batch_norm.Norm(), x)
    flat = x.reshape(-1, 2)
    np.testing.assert_allclose(y, (x - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * 2 + 3, atol=1e-5)
    np.testing.assert_allclose(stats["running_mean"], 0.9 * 0.5 + 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["running_var"], 0.9 * 4 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_batch_norm_in_groups_equals_separate_batches_and_keeps_the_first_ones_statistics():
    x = draw(6, 4, 3, 2)
    y, stats = normalized(batch_norm.Norm(group_size=2), x)
    parts = [normalized(batch_norm.Norm(), x[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_allclose(y, np.concatenate([part[0] for part in parts]), atol=1e-6)
    for name, value in stats.items():
        np.testing.assert_allclose(value, parts[0][1][name], rtol=1e-6)


def test_a_batch_smaller_than_the_group_is_one_group():
    x = draw(3, 2, 2, 2)
    np.testing.assert_array_equal(
        normalized(batch_norm.Norm(group_size=32), x)[0], normalized(batch_norm.Norm(), x)[0]
    )


def test_group_size_must_divide_the_batch():
    with pytest.raises(ValueError, match=r"`norm_group_size` \(=4\) must divide .* \(=6\)"):
        normalized(batch_norm.Norm(group_size=4), draw(6, 2, 2, 2))


@pytest.mark.parametrize(("norm", "train"), [(batch_norm.Norm(frozen=True), True), (batch_norm.Norm(), False)])
def test_frozen_and_evaluation_use_running_statistics(norm, train):
    x = draw(2, 3, 3, 2)
    y, stats = normalized(norm, x, train)
    np.testing.assert_allclose(y, (x - 0.5) / np.sqrt(4 + 1e-5) * 2 + 3, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stats["running_mean"], np.full(2, 0.5, np.float32))


def test_frozen_gradient_is_that_of_an_affine_map():
    x, upstream = draw(2, 3, 4, 2), draw(2, 3, 4, 2, seed=1)
    module = batch_norm.BatchNorm(batch_norm.Norm(frozen=True))
    stats = {"running_mean": np.full(2, 0.5, np.float32), "running_var": np.full(2, 4, np.float32)}

    def total(params, x):
        return jnp.sum(module.apply({"params": params, "batch_stats": stats}, x, True) * upstream)

    ones = np.ones(2, np.float32)
    for_params, for_x = jax.grad(total, (0, 1))({"weight": 2 * ones, "bias": 3 * ones}, x)
    unit = (x - 0.5) / np.sqrt(4 + 1e-5)
    np.testing.assert_allclose(for_x, upstream * 2 / np.sqrt(4 + 1e-5), rtol=1e-5)
    np.testing.assert_allclose(for_params["weight"], (unit * upstream).sum((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(for_params["bias"], upstream.sum((0, 1, 2)), rtol=1e-4, atol=1e-5)


def test_variance_survives_a_large_mean():
    x = 1000 + 0.1 * draw(8, 16, 16, 1)
    y, _ = normalized(batch_norm.Norm(), x)
    assert abs(y.std() - 2) < 0.05


def plain_standardize(x, weight, bias, groups, epsilon):
    divided = x.reshape(groups, -1, *x.shape[1:])
    mean, var = divided.mean((1, 2, 3)), divided.var((1, 2, 3))
    shift, deviation, weight, bias = (
        a[:, None, None, None] for a in (mean, jnp.sqrt(var + epsilon), weight, bias)
    )
    return ((divided - shift) / deviation * weight + bias).reshape(x.shape), mean, var


@pytest.mark.parametrize("mean", [0, 100])
def test_the_float32_gradient_is_nearly_as_accurate_as_that_of_the_plain_formula(mean):
    """Both errors are measured against the plain formula in float64."""
    x, upstream = mean + draw(6, 4, 5, 2), draw(6, 4, 5, 2, seed=1)

    def gradient(function, dtype):
        with jax.enable_x64(dtype == np.float64):
            one, zero = jnp.ones((1, 2), dtype), jnp.zeros((1, 2), dtype)
            derived = jax.vjp(lambda x: function(x, one, zero, 2, 1e-5)[0], jnp.asarray(x, dtype))[1]
            return np.asarray(derived(jnp.asarray(upstream, dtype))[0])

    exact = gradient(plain_standardize, np.float64)
    ours, plain = (
        np.abs(gradient(function, np.float32) - exact).max()
        for function in (batch_norm.standardize, plain_standardize)
    )
    assert ours < 1e-6 * (1 + mean) and ours < 30 * plain


def test_derivatives_are_those_of_the_plain_formula():
    """Gradient, directional derivative and second derivative of all three results."""
    with jax.enable_x64(True):
        x, weights = (jnp.asarray(draw(6, 4, 5, 2, seed=seed)).astype(float) for seed in (0, 1))
        arguments = (x, *(jnp.asarray(draw(1, 2, seed=seed)).astype(float) for seed in (2, 3)))

        def total(function, *arguments):
            y, mean, var = function(*arguments, 2, 0.1)
            return jnp.sum(jnp.sin(y) * weights) + jnp.sum(mean**3) + jnp.sum(jnp.cos(var))

        ours, plain = (functools.partial(total, f) for f in (batch_norm.standardize, plain_standardize))
        for derived in (
            lambda f: jax.grad(f, (0, 1, 2))(*arguments),
            lambda f: jax.jvp(f, arguments, arguments),
            lambda f: jax.grad(lambda *a: jnp.sum(jax.grad(f)(*a) ** 3), (0, 1, 2))(*arguments),
        ):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), derived(ours), derived(plain)
            )


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_no_array_of_the_size_of_the_activations_is_reshaped(groups):
    """TPUs have people in the lanes of their vectors: a reshape that divides people would tear these apart."""
    x, channels = jax.ShapeDtypeStruct((6, 4, 5, 2), jnp.float32), jax.ShapeDtypeStruct((1, 2), jnp.float32)

    def total(*arguments):
        y, mean, var = batch_norm.standardize(*arguments, groups, 1e-5)
        return jnp.sum(y**2) + jnp.sum(mean) + jnp.sum(var)

    lowered = jax.jit(jax.grad(total, (0, 1, 2))).lower(x, channels, channels).as_text()
    reshapes = [line for line in lowered.splitlines() if "stablehlo.reshape" in line or "transpose" in line]
    assert reshapes and not [line for line in reshapes if "4x5" in line]


@pytest.mark.parametrize("mean", [0, 1, 30])
def test_the_variance_of_half_precision_is_as_exact_as_its_rounding(mean):
    """In one pass; the exact variance of the activations before they were rounded is the reference."""
    exact = mean + draw(8, 16, 12, 4).astype(np.float64)
    rounded = jnp.asarray(exact, jnp.bfloat16)
    ones = jnp.ones((1, 4), jnp.float32)
    y, found, var = batch_norm.standardize(rounded, ones, 0 * ones, 2, 1e-5)
    assert y.dtype == found.dtype == var.dtype == jnp.float32
    divided = np.asarray(rounded.astype(jnp.float32), np.float64).reshape(2, -1, 4)
    lost = np.abs(var - divided.var(axis=1)).max()
    by_rounding = np.abs(divided.var(axis=1) - exact.reshape(2, -1, 4).var(axis=1)).max()
    assert lost < max(0.1 * by_rounding, 1e-6)


def test_constant_activations_in_half_precision_stay_finite():
    x = jnp.full((4, 8, 6, 2), 300, jnp.bfloat16)
    y, stats = normalized(batch_norm.Norm(), x)
    np.testing.assert_array_equal(y.astype(np.float32), np.full(x.shape, 3))
    assert np.isfinite(stats["running_var"]).all()
