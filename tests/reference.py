"""Weights and inputs that the reference numbers were computed with; both are drawn from names."""

import zlib

import numpy as np
from flax import traverse_util


def _random(text: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(text.encode()) & 0xFFFFFFFF)


def seeded_tensor(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The reference's float64 tensor of a PyTorch state-dict key, in PyTorch's layout."""
    random, part = _random("hrnet/" + key), key.rsplit(".", 1)[-1]
    if part in ("running_mean", "bias"):
        return 0.1 * random.standard_normal(shape)
    if part == "running_var":
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.uniform(0.25, 0.75, shape)
    return random.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))


def seeded_variables(shapes: dict, dtype=np.float64) -> dict:
    """The reference's weights for a network with these (abstract) variables, in our layout."""

    def draw(path: tuple[str, ...], leaf) -> np.ndarray:
        shape = leaf.shape
        if len(shape) == 4:  # [out, in, height, width] in PyTorch
            tensor = seeded_tensor(".".join(path[1:]), (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
        else:
            tensor = seeded_tensor(".".join(path[1:]), shape)
        return tensor.astype(dtype)

    flat = traverse_util.flatten_dict(shapes)
    return traverse_util.unflatten_dict({path: draw(path, leaf) for path, leaf in flat.items()})


def seeded_images(tag: str, shape: tuple[int, ...] = (2, 3, 256, 192)) -> np.ndarray:
    """The reference's float64 input images, NHWC."""
    return _random("hrnet/input/" + tag).standard_normal(shape).transpose(0, 2, 3, 1)
