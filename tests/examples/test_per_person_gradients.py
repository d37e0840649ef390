import jax
import numpy as np

from examples import functions, per_person_gradients


def test_each_is_the_gradient_of_a_batch_of_one_and_their_mean_that_of_the_batch(double):
    params = double.variables["params"]
    loss = functions.make_loss(functions.make_predict(double.model), double.variables["batch_stats"])
    gradient = jax.jit(jax.grad(lambda params, batch: loss(params, batch).mean()))
    found = jax.jit(per_person_gradients.per_person_gradients(loss))(params, double.batch)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(found))

    def assert_close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * largest)

    for person in range(4):
        alone = {name: x[person : person + 1] for name, x in double.batch.items()}
        jax.tree.map(lambda a, b, i=person: assert_close(a[i], b), found, gradient(params, alone))
    jax.tree.map(lambda a, b: assert_close(a.mean(0), b), found, gradient(params, double.batch))
