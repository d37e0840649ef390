"""Networks by name, built from a configuration, and their number of parameters and multiply-adds."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import codecs, fields, skeletons
from hrnet_jax.models import (
    ablation,
    batch_norm,
    cpn,
    higher_hrnet,
    hourglass,
    hrnet,
    layers,
    resolutions,
    simple_baseline,
)
from hrnet_jax.models.network import Network

NETWORKS = {
    "hrnet": hrnet.NETWORK,
    "simple_baseline": simple_baseline.NETWORK,
    "hourglass": hourglass.NETWORK,
    "cpn": cpn.NETWORK,
    "hrnet_ablation": ablation.NETWORK,
    "hrnet_resolutions": resolutions.NETWORK,
    "higher_hrnet": higher_hrnet.NETWORK,
}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def find(name: str) -> Network:
    """Returns a network by its name in `NETWORKS`, or as ``module:name``. Raises ValueError if there is none."""
    return fields.find("model.name", name, NETWORKS)


def check_task(name: str, task: str, *, bottom_up: bool) -> None:
    """Raises ValueError if a task is bottom-up and the network of this name is not, or the other way round."""
    if find(name).bottom_up == bottom_up:
        return
    network, data = "finds all people of a photo", "for one person in a crop"
    other, fitting = "bottom_up", "another network"
    if bottom_up:
        network, data, other = "finds one person in a crop", "for whole photos", "top_down"
        fitting = " or ".join(known for known, network in NETWORKS.items() if network.bottom_up)
    raise ValueError(
        f"`model.name` (={name!r}) {network}, and `task` (={task!r}) is {data}: set `task` to {other!r}, or choose"
        f" {fitting}"
    )


def build(config: ConfigDict) -> nn.Module:
    """Builds the network of a configuration, see `hrnet_jax.configuration`.

    Raises:
      ValueError: the network cannot have images of this size, or a field has an unknown value.
    """
    model = config.model
    layers.check_image_size(tuple(np.atleast_1d(config.image_size).tolist()), multiple(architecture(config)))
    for name, possible in (("dtype", DTYPES), ("colors", layers.COLORS)):
        if model[name] not in possible:
            raise ValueError(f"`model.{name}` (={model[name]!r}) must be one of {', '.join(possible)}")
    return create(
        architecture(config),
        count_heatmaps(config),
        norm=batch_norm.Norm(group_size=model.norm_group_size or None, frozen=model.norm_frozen),
        dtype=DTYPES[model.dtype],
        remat=model.remat,
    )


def count_heatmaps(config: ConfigDict) -> int:
    """Returns the number of heatmaps that a network predicts: one or more for each joint, as the codec has."""
    return skeletons.load(config.skeleton).num_joints * _codec(config).maps


def _codec(config: ConfigDict) -> codecs.Codec:
    """Returns the codec of a configuration. Tasks without a choice have heatmaps as in the original."""
    return codecs.find(config.get("codec", codecs.ORIGINAL))


def create(architecture: Mapping[str, Any], num_joints: int, **options: Any) -> nn.Module:
    """Builds a network from the result of `architecture` and further attributes of its class."""
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in architecture.items()}
    return find(str(sizes.pop("name"))).module(num_joints=num_joints, **sizes, **options)


def build_torch(config: ConfigDict) -> Any:
    """Builds the PyTorch counterpart of a configuration's network, in training mode and float32.

    Batch normalization is PyTorch's own and covers the whole batch. Only the fields of the architecture count: the
    caller chooses precision and input.

    Raises:
      ValueError: the network has no counterpart.
    """
    sizes = architecture(config)
    build, _ = find(sizes.pop("name")).torch_model, sizes.pop("colors")
    if build is None:
        raise ValueError(f"`model.name` (={config.model.name!r}) has no counterpart in PyTorch to compare with")
    return build(count_heatmaps(config), **sizes)


def architecture(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields that weights depend on: name of the network, sizes and channel order of the input."""
    known = find(config.model.name).fields
    names = [name for name in config.model if name == "name" or (name in known and known[name].network)]
    return {name: config.model[name] for name in names}


def multiple(architecture: Mapping[str, Any]) -> int:
    """Returns the number that divides the sides of a network's images, from the result of `architecture`."""
    return find(str(architecture["name"])).multiple(architecture)


def strides(architecture: Mapping[str, Any]) -> list[int]:
    """Returns the strides of a network's heatmaps from the result of `architecture`; see `Network.strides`."""
    return list(find(str(architecture["name"])).strides(architecture))


def describe(config: ConfigDict) -> dict[str, Any]:
    """Returns the network of a configuration as a checkpoint describes it: its `architecture` and its joints.

    Where heatmaps do not lie in crops as in the original, the codec is named, too.
    """
    joints, by_corners = skeletons.load(config.skeleton).joints, _codec(config).by_corners
    codec = {"codec": config.codec} if by_corners else {}
    return json.loads(json.dumps({**architecture(config), "joints": joints, **codec}))


def title(architecture: Mapping[str, Any]) -> str:
    """Returns the usual name of a network, such as ``HRNet-W32``, from the result of `architecture`."""
    return find(architecture["name"]).title.format(**architecture)


def summary(config: ConfigDict, model: nn.Module) -> str:
    """Returns network, parameters and multiply-adds of a configuration in words."""
    size = tuple(config.image_size)
    giga = count_multiply_adds(model, size) / 1024**3
    return (
        f"{title(config.model)}, {count_parameters(model, size):,} parameters,"
        f" {giga:.3f} G (1024^3) multiply-adds at {size[0]}x{size[1]}, {config.model.dtype}"
    )


def shapes(model: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """Returns the shapes of ``params`` and ``batch_stats`` without computing values."""
    return jax.tree.map(lambda leaf: leaf, _shapes(model, tuple(image_size)))  # a copy that callers may change


@functools.lru_cache(maxsize=8)
def _shapes(model: nn.Module, image_size: tuple[int, int]) -> dict[str, Any]:
    """Cached because tracing takes a second or more and several callers need it before a run starts."""
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), image)


def count_parameters(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns the number of trainable parameters."""
    return _counts(model, tuple(image_size))[0]


def count_multiply_adds(model: nn.Module, image_size: tuple[int, int], *, done: bool = False) -> int:
    """Returns the multiply-adds of all convolutions for one image, as counted in the paper.

    Counts every weight once per output pixel. For transposed convolutions of stride 2 this is four times the work
    that is `done`. The paper's "GFLOPs" are this number divided by ``1024 ** 3``.
    """
    return _counts(model, tuple(image_size))[2 if done else 1]


def count_outputs(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Returns how many numbers all convolutions put out for one image, which training keeps at least."""
    return _counts(model, tuple(image_size))[3]


@functools.lru_cache(maxsize=8)
def _counts(model: nn.Module, image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Returns parameters, multiply-adds as counted in the paper and as done, and outputs, from one trace."""
    counted, done, outputs = [], [], []

    def count(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if isinstance(context.module, layers.Conv | layers.ConvTranspose) and context.method_name == "__call__":
            counted.append(context.module.variables["params"]["weight"].size * result.shape[1] * result.shape[2])
            done.append(counted[-1] // (4 if isinstance(context.module, layers.ConvTranspose) else 1))
            outputs.append(result.size)
        return result

    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    with nn.intercept_methods(count):
        variables = jax.eval_shape(model.init, jax.random.key(0), image)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return parameters, sum(counted), sum(done), sum(outputs)
