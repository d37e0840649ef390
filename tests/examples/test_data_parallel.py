"""On four devices and in float64, with plain gradient descent: Adam would hide a wrong scale."""

import functools

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from examples import data_parallel, functions
from hrnet_jax import sharding, training
from hrnet_jax.models.batch_norm import Norm

OPTIMIZER = optax.sgd(0.1)


@pytest.fixture
def loss(double):
    """Each device's person is normalized alone."""
    return functions.make_training_loss(double.model.clone(norm=Norm(group_size=1)))


@pytest.fixture
def inputs(double):
    mesh = sharding.make_mesh()
    with jax.numpy_dtype_promotion("standard"):
        state = training.init_state(double.variables, OPTIMIZER)
    batch = {name: np.asarray(x) for name, x in double.batch.items()}
    return sharding.place_state(state, mesh), sharding.place_batch(batch, mesh), mesh


def test_the_step_equals_the_one_that_jit_shards(loss, inputs):
    state, batch, mesh = inputs
    assert mesh.size == 4
    jit_step = jax.jit(training.make_train_step(loss, OPTIMIZER, sharding.replicated(mesh)))
    steps = (jit_step, data_parallel.make_step(loss, OPTIMIZER, mesh))
    (expected, expected_metrics), (found, metrics) = (step(*step(state, batch)[:1], batch) for step in steps)
    assert int(found.step) == 2
    np.testing.assert_allclose(metrics["loss"], expected_metrics["loss"], rtol=1e-12)
    for part in ("params", "batch_stats"):
        for a, b in zip(*(jax.tree.leaves(getattr(x, part)) for x in (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_averaging_the_gradients_instead_makes_them_as_many_times_too_large_as_there_are_devices(loss, inputs):
    """If this fails, JAX has changed and the docstring is wrong."""
    state, batch, mesh = inputs

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec()
    )
    def averaged(state, batch):
        gradients, _ = training.make_gradients(loss)(state.params, state.batch_stats, batch)
        return jax.lax.pmean(gradients, "data")

    right, _ = jax.jit(training.make_gradients(loss))(state.params, state.batch_stats, batch)
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(averaged)(state, batch), right)), strict=True):
        np.testing.assert_allclose(a, 4 * b, rtol=1e-8, atol=1e-10)
