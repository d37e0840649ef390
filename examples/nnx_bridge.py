"""A network as a module of Flax NNX, through Flax's bridge."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import nnx
from flax.nnx.bridge.variables import linen_vars_to_nnx_attrs

from examples import start
from hrnet_jax import console
from hrnet_jax.models import layers


def to_nnx(model: nn.Module, variables: Any) -> nnx.bridge.ToNNX:
    """Wraps a network and its variables. Weights become `nnx.Param`, running statistics `nnx.BatchStat`."""
    module = nnx.bridge.ToNNX(model)
    for name, value in linen_vars_to_nnx_attrs(variables).items():
        setattr(module, name, value)
    return module


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares heatmaps of both modules, and takes a gradient in NNX."""
    at = start.run(__doc__, arguments)
    module = to_nnx(at.model, at.variables)
    image = layers.normalize(at.batch["image"], at.model.colors)  # pyright: ignore[reportAttributeAccessIssue]
    difference = jnp.abs(module(image) - at.model.apply(at.variables, image)).max()
    print(f"largest difference between the heatmaps of both modules: {difference:.3g}")
    gradients = nnx.jit(nnx.grad(lambda module: jnp.square(module(image)).mean()))(module)
    print(f"length of the gradient of {len(jax.tree.leaves(gradients))} weights: {optax.tree.norm(gradients):.3g}")


if __name__ == "__main__":
    console.run(main)
