"""Weights of a tiny network as other programs keep them, and Hugging Face's file format."""

import functools
import json
import pathlib
from collections.abc import Mapping

import jax
import numpy as np
import reference

from hrnet_jax import convert, models, skeletons, state_dict

COCO, MPII = list(skeletons.COCO.joints), list(skeletons.MPII.joints)
TINY = {"name": "hrnet", "width": 4, "stem": 4, "units": [1, 1, 1], "blocks": 1, "colors": "RGB", "joints": COCO}
BASELINE = {"name": "simple_baseline", "depth": 50, "colors": "BGR", "joints": COCO}


def described(network: Mapping = TINY, **changes) -> dict:
    return {**network, **changes}


@functools.cache
def _shapes(fields: str, joints: int) -> dict:
    return models.shapes(models.create(json.loads(fields), joints), (32, 32))


def variables(description: Mapping) -> dict:
    """The reference's weights, in our layout."""
    fields = {name: value for name, value in description.items() if name != "joints"}
    return reference.seeded_variables(_shapes(json.dumps(fields), len(description["joints"])), np.float32)


def tensors(description: Mapping = TINY, count: int | None = 7) -> dict[str, np.ndarray]:
    """A state dict of the release with the reference's weights; PyTorch before 0.4.1 had no counters (None)."""
    arrays = {name: np.ascontiguousarray(x) for name, x in convert.to_pytorch(variables(description)).items()}
    norms = [name.removesuffix("running_var") for name in arrays if name.endswith("running_var")]
    counters = {norm + state_dict.COUNTER: np.array(count) for norm in norms if count is not None}
    return arrays | counters


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
