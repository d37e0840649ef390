"""The training step over several devices with ``shard_map``, equal to the step that ``jit`` shards by itself."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from examples import functions, start
from hrnet_jax import console, sharding, training
from hrnet_jax.models.batch_norm import Norm


def mean_over_devices(loss: training.Loss) -> training.Loss:
    """Averages a loss over the devices, inside of what is differentiated.

    Under ``shard_map``, ``jax.grad`` by weights that all devices share adds up the gradients of all devices. With
    the mean taken before, this is the gradient of the mean. A mean of the gradients afterwards would change
    nothing: with N devices they would be N times too large, without any error.

    The loss must be a mean over as many terms on each device. Statistics are those of the first device, as the
    project keeps those of the first group. Metrics are averages.
    """

    def mean(params, batch_stats, batch):
        value, (batch_stats, metrics) = loss(params, batch_stats, batch)
        value, metrics = jax.lax.pmean((value, metrics), "data")
        return value, (_of_first_device(batch_stats), metrics)

    return mean


def _of_first_device(tree: Any) -> Any:
    first = jax.lax.axis_index("data") == 0
    return jax.lax.psum(jax.tree.map(lambda x: jnp.where(first, x, jnp.zeros_like(x)), tree), "data")


def make_step(
    loss: training.Loss, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable[[training.TrainState, training.Batch], tuple[training.TrainState, training.Metrics]]:
    """Returns a training step for a mesh: the state on every device, the people split over them."""
    gradients = training.make_gradients(mean_over_devices(loss))

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec()
    )
    def step(state: training.TrainState, batch: training.Batch) -> tuple[training.TrainState, training.Metrics]:
        direction, (batch_stats, metrics) = gradients(state.params, state.batch_stats, batch)
        return training.update(state, direction, batch_stats, optimizer), metrics

    return jax.jit(step)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the losses of a few steps of both kinds. ``JAX_NUM_CPU_DEVICES=2`` makes two devices of a CPU."""
    at, mesh = start.run(__doc__, arguments), sharding.make_mesh()
    people = len(at.batch["image"])
    sharding.check_batch_size("--people", people, 1, mesh)
    model = at.model.clone(norm=Norm(group_size=people // mesh.size))  # each device normalizes its own people
    loss, optimizer = functions.make_training_loss(model), optax.sgd(0.1)
    jit_step = jax.jit(training.make_train_step(loss, optimizer, sharding.replicated(mesh)))
    batch = sharding.place_batch({name: np.asarray(x) for name, x in at.batch.items()}, mesh)
    for name, step in {"jit": jit_step, "shard_map": make_step(loss, optimizer, mesh)}.items():
        state, losses = sharding.place_state(training.init_state(at.variables, optimizer), mesh), []
        for _ in range(3):
            state, metrics = step(state, batch)
            losses.append(f"{metrics['loss']:.6f}")
        print(f"{name:<10} on {mesh.size} devices: losses {', '.join(losses)}")


if __name__ == "__main__":
    console.run(main)
