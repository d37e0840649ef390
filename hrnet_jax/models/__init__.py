"""The networks, and what they cost."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import skeletons
from hrnet_jax.models import hrnet, layers

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(config: ConfigDict) -> hrnet.HRNet:
    """Returns the network that a configuration describes (see ``configs/default.py``).

    Raises:
      ValueError: the image size does not fit the network, or the precision is not one of `DTYPES`.
    """
    fields = config.model
    hrnet.check_image_size(tuple(np.atleast_1d(config.image_size).tolist()))
    if fields.dtype not in DTYPES:
        raise ValueError(f"`model.dtype` (={fields.dtype!r}) must be one of {', '.join(DTYPES)}")
    return hrnet.HRNet(
        num_joints=skeletons.load(config.skeleton).num_joints,
        width=fields.width,
        stem=fields.stem,
        units=tuple(fields.units),
        blocks=fields.blocks,
        norm=layers.Norm(group_size=fields.norm_group_size or None, frozen=fields.norm_frozen),
        dtype=DTYPES[fields.dtype],
        remat=fields.remat,
    )


def shapes(model: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns the shapes of a network's ``params`` and ``batch_stats`` without computing anything."""
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), image)


def count_parameters(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns the number of trained numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, image_size)["params"]))


def count_multiply_adds(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns the multiply-adds of all convolutions on one image, as the paper counts them.

    The paper's "GFLOPs" are these divided by 1024 ** 3.
    """
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    return _multiply_adds(jax.make_jaxpr(model.apply)(shapes(model, image_size), image).jaxpr)


def _multiply_adds(jaxpr: Any) -> int:
    """Adds up convolutions and matrix products of a traced program, inner programs included."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            total += equation.outvars[0].aval.size * int(np.prod(kernel[:-1]))
        elif equation.primitive.name == "dot_general":
            left = equation.invars[0].aval.shape
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += equation.outvars[0].aval.size * int(np.prod([left[axis] for axis in contracted]))
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda value: hasattr(value, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += _multiply_adds(inner)
    return total
