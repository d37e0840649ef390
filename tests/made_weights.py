"""Weights of a tiny network as other programs keep them, and Hugging Face's file format."""

import functools
import json
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
import reference
from flax import linen as nn

from hrnet_jax import models, skeletons, training
from hrnet_jax.torch_interop import loading, state_dict

COCO, MPII = list(skeletons.COCO.joints), list(skeletons.MPII.joints)
TINY = {"name": "hrnet", "width": 4, "stem": 4, "units": [1, 1, 1], "blocks": 1, "colors": "RGB", "joints": COCO}
W32 = TINY | {"width": 32, "stem": 64, "units": [1, 4, 3], "blocks": 4}
BASELINE = {"name": "simple_baseline", "depth": 50, "colors": "BGR", "joints": COCO}

PUBLISHED = ("hrnet_w32", "hrnet_w48", "resnet50", "resnet152")
"""Networks of which the reference data list the names and shapes of all tensors."""


def described(network: Mapping = TINY, **changes) -> dict:
    return {**network, **changes}


def model(description: Mapping) -> nn.Module:
    fields = {name: value for name, value in description.items() if name != "joints"}
    return models.create(fields, len(description["joints"]))


@functools.cache
def _fresh(network: nn.Module) -> dict:
    return training.init_variables(network, (32, 32), seed=0)


def variables(description: Mapping) -> dict:
    """The reference's weights, in our layout."""
    return reference.seeded_variables(models.shapes(model(description), (32, 32)), np.float32)


def fresh(description: Mapping) -> dict:
    """The weights of a network before training."""
    return _fresh(model(description))


def tensors(description: Mapping = TINY, count: int | None = 7) -> dict[str, np.ndarray]:
    """A state dict of the release with the reference's weights; PyTorch before 0.4.1 had no counters (None)."""
    arrays = {name: np.ascontiguousarray(x) for name, x in loading.to_pytorch(variables(description)).items()}
    norms = [name.removesuffix("running_var") for name in arrays if name.endswith("running_var")]
    counters = {norm + state_dict.COUNTER: np.array(count) for norm in norms if count is not None}
    return arrays | counters


def listed(path: pathlib.Path) -> dict[str, np.ndarray]:
    """A state dict with the names and shapes that stand in a file, every tensor another."""
    return {
        name: np.array(3) if name.endswith(state_dict.COUNTER) else np.broadcast_to(np.float32(number), shape)
        for number, (name, shape) in enumerate(json.loads(path.read_text()).items())
    }


def file(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
    """Writes a .safetensors file, which needs no torch to be read."""
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
    """Both hold the same arrays to the bit, of the same kind."""
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
