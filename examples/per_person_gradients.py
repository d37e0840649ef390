"""Gradients of each person of a batch, all at once: ``vmap(grad)``."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from examples import functions, start
from hrnet_jax import console, training


def per_person_gradients(loss: functions.Loss) -> Callable[[Any, training.Batch], Any]:
    """Returns (params, batch) -> the gradient of each person's loss: a tree like `params`, with a leading axis."""

    def of_one(params: Any, person: training.Batch) -> jax.Array:
        batch_of_one = jax.tree.map(lambda x: x[None], person)
        return loss(params, batch_of_one)[0]

    return jax.vmap(jax.grad(of_one), in_axes=(None, 0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints whose labels would change the weights most: hard people, and wrong labels."""
    at = start.run(__doc__, arguments)
    loss = functions.make_loss(functions.make_predict(at.model), at.variables["batch_stats"])
    gradients = jax.jit(per_person_gradients(loss))(at.variables["params"], at.batch)
    lengths = jax.vmap(optax.tree.norm)(gradients)
    for person in (-lengths).argsort():
        print(f"person {person}: length of the gradient {lengths[person]:.3g}")


if __name__ == "__main__":
    console.run(main)
