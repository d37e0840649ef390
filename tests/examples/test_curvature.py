import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from examples import curvature, functions
from hrnet_jax import sharding, training

MATRIX = np.diag([3.0, -5.0, 1.0])
"""Of a loss with known derivatives: half of x M x."""


def quadratic(params):
    return 0.5 * params["x"] @ MATRIX @ params["x"]


@pytest.fixture
def loss(double):
    losses = functions.make_loss(functions.make_predict(double.model), double.variables["batch_stats"])
    return lambda params: losses(params, double.batch).mean()


def test_the_product_is_the_derivative_of_the_gradient_and_symmetric(double, loss):
    params, rng = double.variables["params"], np.random.default_rng(0)
    u, v = (jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params) for _ in range(2))
    product = jax.jit(lambda vector: curvature.hessian_vector_product(loss, params, vector))
    gradient, step = jax.jit(jax.grad(loss)), 1e-6
    higher, lower = (gradient(optax.tree.add_scale(params, change, v)) for change in (step, -step))
    differences = jax.tree.map(lambda a, b: (a - b) / (2 * step), higher, lower)
    error = optax.tree.norm(optax.tree.sub(product(v), differences))
    assert error < 1e-5 * optax.tree.norm(differences)
    np.testing.assert_allclose(optax.tree.vdot(u, product(v)), optax.tree.vdot(v, product(u)), rtol=1e-9)


def test_the_largest_curvature_is_the_largest_eigenvalue():
    with jax.enable_x64(True):
        params = {"x": jnp.array([0.3, 0.2, -0.7])}
        np.testing.assert_allclose(curvature.largest_curvature(quadratic, params, 60), -5, rtol=1e-9)


def test_sam_takes_the_gradient_at_the_worst_point():
    def gradients(params, batch_stats, batch):
        return jax.grad(quadratic)(params), (batch_stats, {"at": params["x"]})

    with jax.enable_x64(True):
        x = np.array([0.3, 0.2, -0.7])
        found, (_, metrics) = curvature.sharpness_aware(gradients, 0.1)({"x": jnp.asarray(x)}, {}, {})
    uphill = MATRIX @ x
    np.testing.assert_allclose(found["x"], MATRIX @ (x + 0.1 * uphill / np.linalg.norm(uphill)), rtol=1e-12)
    np.testing.assert_array_equal(metrics["at"], x)


def test_sam_takes_part_in_the_training_step(small):
    gradients = training.make_gradients(functions.make_training_loss(small.model))
    optimizer = optax.sgd(0.1)
    update = training.make_update(optimizer, sharding.replicated(sharding.make_mesh(jax.devices()[:1])))
    state = training.init_state(small.variables, optimizer)

    @jax.jit
    def step(radius):
        return training.TrainStep(curvature.sharpness_aware(gradients, radius), update)(state, small.batch)[0]

    plain, aware = step(0.0), step(0.5)
    expected, (stats, _) = jax.jit(gradients)(state.params, state.batch_stats, small.batch)
    for p, after, gradient in zip(*map(jax.tree.leaves, (state.params, plain.params, expected)), strict=True):
        np.testing.assert_allclose(after, p - 0.1 * np.asarray(gradient), atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), aware.batch_stats, stats)
    moved = [np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (aware.params, plain.params)), strict=True)]
    assert max(moved) > 1e-4
