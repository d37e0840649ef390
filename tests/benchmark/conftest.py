"""Fixtures of the benchmark's tests."""

import pytest

from configs import default
from hrnet_jax import sharding
from hrnet_jax.benchmark import workload
from hrnet_jax.run import setup


@pytest.fixture(scope="session")
def tiny_config():
    config = default.get_config()
    config.image_size, config.batch_size = (64, 32), 8
    config.model.update(width=4, stem=8, units=(1, 0, 0), blocks=1)
    return config


@pytest.fixture(scope="session")
def compiled_step(tiny_config):
    return setup.compile_step(tiny_config, workload.transformation(tiny_config), sharding.make_mesh())
