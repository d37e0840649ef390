"""Weights of a tiny network in the formats of other programs."""

import functools
import json
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
import reference
from flax import linen as nn
from ml_collections import ConfigDict

from configs import default
from hrnet_jax import models, skeletons, training
from hrnet_jax.models import simple_baseline
from hrnet_jax.torch_interop import loading, state_dict

COCO, MPII = list(skeletons.COCO.joints), list(skeletons.MPII.joints)
TINY = {"name": "hrnet", "width": 4, "stem": 4, "units": [1, 1, 1], "blocks": 1, "colors": "RGB", "joints": COCO}
HIGHER = TINY | {"name": "higher_hrnet", "deconvolutions": 1}
W32 = TINY | {"width": 32, "stem": 64, "units": [1, 4, 3], "blocks": 4}
HOURGLASS = {
    **{"name": "hourglass", "stacks": 2, "features": 8, "depth": 2, "stem_features": [4, 8, 6]},
    **{"residual_before_head": True, "colors": "RGB", "joints": COCO},
}
CPN = {
    **{"name": "cpn", "depth": 50, "stem": 2, "features": 4, "projection": False},
    **{"colors": "RGB", "joints": COCO},
}
BASELINE = {
    **{"name": "simple_baseline", "depth": 50, "stem": 64, "features": 256},
    **{"colors": "BGR", "joints": COCO},
}

PUBLISHED = ("hrnet_w32", "hrnet_w48", "resnet50", "resnet152")
"""Networks with a list of all tensor names and shapes in the reference data."""


def small_config(image_size: tuple[int, int] = (64, 32), name: str = "hrnet", **fields) -> ConfigDict:
    """Returns the configuration of a small network, a tiny HRNet or a network built on it with these fields."""
    config = default.get_config()
    config.image_size, config.model = image_size, default.get_config(name).model
    if "hrnet" in name:
        config.model.update({"width": 4, "stem": 4, "units": (1, 1, 1), "blocks": 1} | fields)
    if name == "hourglass":
        sizes = {field: HOURGLASS[field] for field in ("stacks", "features", "depth")}
        config.model.update({**sizes, "stem_features": tuple(HOURGLASS["stem_features"])})
    if name in ("cpn", "simple_baseline"):
        config.model.update({"stem": CPN["stem"], "features": CPN["features"]})
    return config


def described(network: Mapping = TINY, **changes) -> dict:
    return {**network, **changes}


HEADS = simple_baseline.NETWORK.heads  # HRNet's among them


def known(path: pathlib.Path) -> dict:
    """Returns all that a file tells of its network."""
    weights = loading.read(path)
    return loading.infer(weights.tensors) | weights.description


@functools.cache
def _fresh(network: nn.Module) -> dict:
    return training.init_variables(network, (32, 32), seed=0)


@functools.cache
def _variables(network: nn.Module) -> dict:
    return reference.seeded_variables(models.shapes(network, (32, 32)), np.float32)


def variables(description: Mapping) -> dict:
    """Returns the reference's weights in our layout."""
    return _variables(loading.build(description))


def fresh(description: Mapping) -> dict:
    """Returns the weights of a network before training."""
    return _fresh(loading.build(description))


def tensors(description: Mapping = TINY, count: int | None = 7) -> dict[str, np.ndarray]:
    """Returns the reference's weights as a state dict, with step counters of `count` unless it is None."""
    arrays = {name: np.ascontiguousarray(x) for name, x in loading.to_pytorch(variables(description)).items()}
    norms = [name.removesuffix("running_var") for name in arrays if name.endswith("running_var")]
    counters = {norm + state_dict.COUNTER: np.array(count) for norm in norms if count is not None}
    return arrays | counters


def listed(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns a state dict with the names and shapes listed in a file, and a different value in every tensor."""
    return {
        name: np.array(3) if name.endswith(state_dict.COUNTER) else np.broadcast_to(np.float32(number), shape)
        for number, (name, shape) in enumerate(json.loads(path.read_text()).items())
    }


def file(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Writes a .safetensors file."""
    kinds = {kind: name for name, kind in state_dict._SAFE_TYPES.items()}
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        offsets = [offset, offset := offset + array.nbytes]
        header[name] = {"dtype": kinds[array.dtype.str], "shape": array.shape, "data_offsets": offsets}
    return raw_file(path, header, b"".join(array.tobytes() for array in arrays.values()))


def raw_file(path: pathlib.Path, header: object, content: bytes) -> pathlib.Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


def assert_equal(a: Mapping, b: Mapping) -> None:
    """Asserts equal types and bits of all arrays."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
    jax.tree.map(np.testing.assert_array_equal, dict(a), dict(b))


ARRAYS = {
    "conv1.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "bn1.running_var": np.array([0.5, 2.0], np.float32),
    "bn1.num_batches_tracked": np.array(2**40),
}


def as_torch(torch, arrays=ARRAYS, prefix="") -> dict:
    return {prefix + name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


class Evil:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made
