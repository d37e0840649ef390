import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from examples import nnx_bridge
from hrnet_jax.models import layers


def test_the_module_has_the_heatmaps_and_the_gradients_of_the_network(small):
    module = nnx_bridge.to_nnx(small.model, small.variables)
    image = layers.normalize(small.batch["image"])
    np.testing.assert_array_equal(module(image), small.model.apply(small.variables, image))

    def loss(params):
        variables = {**small.variables, "params": params}
        return jnp.square(small.model.apply(variables, image)).mean()

    found = nnx.jit(nnx.grad(lambda module: jnp.square(module(image)).mean()))(module)
    expected = jax.jit(jax.grad(loss))(small.variables["params"])
    found = nnx.to_pure_dict(found)
    assert set(found["bn1"]) == {"weight", "bias"}, "statistics are no parameters"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, dict(expected))
