"""The networks, and what they cost."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import configuration, skeletons
from hrnet_jax.models import batch_norm, hrnet, layers, simple_baseline

NETWORKS = {"hrnet": hrnet.HRNet, "simple_baseline": simple_baseline.SimpleBaseline}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build(config: ConfigDict) -> nn.Module:
    """Returns the network that a configuration describes (see ``configs/default.py``).

    Raises:
      ValueError: the image size does not fit the network, or a field is not one of those possible.
    """
    fields = config.model
    layers.check_image_size(tuple(np.atleast_1d(config.image_size).tolist()))
    for name, possible in (("name", NETWORKS), ("dtype", DTYPES), ("colors", layers.COLORS)):
        if fields[name] not in possible:
            raise ValueError(f"`model.{name}` (={fields[name]!r}) must be one of {', '.join(possible)}")
    return create(
        architecture(config),
        skeletons.load(config.skeleton).num_joints,
        norm=batch_norm.Norm(group_size=fields.norm_group_size or None, frozen=fields.norm_frozen),
        dtype=DTYPES[fields.dtype],
        remat=fields.remat,
    )


def create(described: Mapping[str, Any], num_joints: int, **options: Any) -> nn.Module:
    """Returns a network by what `architecture` says of it; `options` are further attributes of its class."""
    fields = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in described.items()
        if name != "name"
    }
    return NETWORKS[described["name"]](num_joints=num_joints, **fields, **options)


def architecture(config: ConfigDict) -> dict[str, Any]:
    """Returns what weights must have been made for: the network's name, its sizes, the order of colours."""
    return {name: value for name, value in config.model.items() if configuration.is_of_network(f"model.{name}")}


def describe(config: ConfigDict) -> dict[str, Any]:
    """Returns the network of a configuration as a checkpoint describes it: its `architecture` and its joints."""
    joints = skeletons.load(config.skeleton).joints
    return json.loads(json.dumps({**architecture(config), "joints": joints}))


def title(described: Mapping[str, Any]) -> str:
    """Returns what people call a network that `architecture` describes, such as ``HRNet-W32``."""
    if described["name"] == "hrnet":
        return f"HRNet-W{described['width']}"
    if described["name"] == "simple_baseline":
        return f"SimpleBaseline ResNet-{described['depth']}"
    return str(described["name"])


def shapes(model: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns the shapes of a network's ``params`` and ``batch_stats`` without computing anything."""
    return jax.tree.map(lambda leaf: leaf, _shapes(model, tuple(image_size)))  # the caller may change what it gets


@functools.lru_cache(maxsize=8)
def _shapes(model: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """As `shapes`: it takes a second or more, and is asked for several times before a run begins."""
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), image)


def count_parameters(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns the number of trained numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model, image_size)["params"]))


def count_multiply_adds(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns the multiply-adds of all convolutions on one image, as the paper counts them.

    That is every weight once for each pixel of the output; for transposed convolutions of stride 2 four times
    what has to be computed. The paper's "GFLOPs" are these divided by 1024 ** 3.
    """
    counts = []

    def count(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if isinstance(context.module, layers.Conv | layers.ConvTranspose) and context.method_name == "__call__":
            counts.append(context.module.variables["params"]["weight"].size * result.shape[1] * result.shape[2])
        return result

    variables, image = shapes(model, image_size), jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    with nn.intercept_methods(count):
        jax.eval_shape(model.apply, variables, image)
    return sum(counts)
