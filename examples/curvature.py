"""Second derivatives: Hessian-vector products, and steps that seek flat minima (SAM)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from examples import functions, start
from hrnet_jax import console, training


def hessian_vector_product(loss: Callable[[Any], jax.Array], params: Any, vector: Any) -> Any:
    """Returns the product of the Hessian of ``loss(params)`` with a vector, both trees like `params`.

    The derivative of the gradient along the vector: one forward pass through the backward pass, no matrix.
    """
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


def largest_curvature(loss: Callable[[Any], jax.Array], params: Any, steps: int) -> jax.Array:
    """Returns the Hessian's eigenvalue of largest magnitude, by power iteration from the weights themselves."""

    def multiply(_: Any, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        vector, _ = carry
        product = hessian_vector_product(loss, params, vector)
        return _unit(product), jnp.asarray(optax.tree.vdot(vector, product))

    start = _unit(params)
    return jax.lax.fori_loop(0, steps, multiply, (start, optax.tree.vdot(start, start)))[1]


def _unit(tree: Any) -> Any:
    return optax.tree.scale(1 / optax.tree.norm(tree), tree)


def sharpness_aware(gradients: training.Gradients, radius: float) -> training.Gradients:
    """Turns the gradients of a training step into those of SAM (Foret et al., ICLR 2021, equation 3).

    These are the gradients where the loss is highest, to first order, within `radius` of the weights. Statistics
    and metrics are those at the weights.
    """

    def at_worst(params, batch_stats, batch):
        uphill, extras = gradients(params, batch_stats, batch)
        worst = jax.tree.map(lambda p, g: p + radius * g, params, _unit(uphill))
        return gradients(worst, batch_stats, batch)[0], extras

    return at_worst


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the sharpest curvature of the loss, and how far SAM's gradient turns away from the plain one."""
    at = start.run(__doc__, arguments)
    params, batch_stats = at.variables["params"], at.variables["batch_stats"]
    loss = functions.make_loss(functions.make_predict(at.model), batch_stats)

    @jax.jit
    def curvature(params: Any) -> jax.Array:
        return largest_curvature(lambda p: loss(p, at.batch).mean(), params, steps=10)

    print(f"largest curvature, after 10 products: {curvature(params):.3g}")
    gradients = training.make_gradients(functions.make_training_loss(at.model))
    plain, _ = jax.jit(gradients)(params, batch_stats, at.batch)
    aware_at = jax.jit(lambda radius: sharpness_aware(gradients, radius)(params, batch_stats, at.batch)[0])
    for radius in (0.01, 0.1, 1.0):
        aware = aware_at(radius)
        cosine = optax.tree.vdot(_unit(plain), _unit(aware))
        print(f"radius {radius}: cosine of SAM's gradient and the plain one {cosine:.4f}")


if __name__ == "__main__":
    console.run(main)
