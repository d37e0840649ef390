import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import start


@pytest.fixture(scope="session")
def small() -> start.Start:
    """A tiny random network and four made-up people."""
    model = start.Tiny()
    people = start.made_up_people(4, (64, 64))
    return start.Start(model, start.random_variables(model), people, start.skeletons.COCO)


@pytest.fixture
def double(small):
    """The same in float64."""

    def widened(x):
        return jnp.asarray(x, jnp.float64 if np.issubdtype(x.dtype, np.floating) else x.dtype)

    with jax.enable_x64(True):
        variables, batch = jax.tree.map(widened, (small.variables, dict(small.batch)))
        model = small.model.clone(dtype=jnp.dtype("float64"))
        yield dataclasses.replace(small, model=model, variables=variables, batch=batch)
