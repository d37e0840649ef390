"""The losses of the examples are those of the project."""

import jax
import numpy as np
import pytest

from examples import functions
from hrnet_jax import configuration
from hrnet_jax.models.batch_norm import Norm
from hrnet_jax.tasks import top_down


@pytest.fixture
def task_loss(double):
    def of(norm: Norm):
        config = configuration.default()
        config.image_size = (64, 64)
        task = top_down.TopDown(config, double.model.clone(norm=norm))
        return jax.jit(task.loss)(double.variables["params"], double.variables["batch_stats"], double.batch)

    return of


def test_the_loss_is_that_of_training_with_frozen_statistics(double, task_loss):
    loss = functions.make_loss(functions.make_predict(double.model), double.variables["batch_stats"])
    values = jax.jit(loss)(double.variables["params"], double.batch)
    assert values.shape == (4,)
    expected, _ = task_loss(Norm(frozen=True))
    np.testing.assert_allclose(values.mean(), expected, rtol=1e-12)


def test_the_training_loss_is_that_of_training(double, task_loss):
    loss = functions.make_training_loss(double.model)
    value, (stats, _) = jax.jit(loss)(double.variables["params"], double.variables["batch_stats"], double.batch)
    expected, (expected_stats, _) = task_loss(Norm())
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for name in ("bn1", "bn2"):
        np.testing.assert_allclose(stats[name]["running_mean"], expected_stats[name]["running_mean"], rtol=1e-12)
        assert (stats[name]["running_mean"] != double.variables["batch_stats"][name]["running_mean"]).all()
