"""Names of the tensors of stacked Hourglasses in public code: Princeton's, which are ours, and bearpaw's.

Princeton's code (princeton-vl/pytorch_stacked_hourglass) builds a shortcut convolution in every residual block and
uses it only where the number of channels changes. The others are read and written, and have no effect.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hrnet_jax.models import network

_SIZED = ("pre.0.conv", "pre.1.conv3.conv", "pre.3.conv3.conv", "pre.4.conv3.conv")
_LAST = "conv3.conv.weight"  # of a residual block
_PLACES = ("up1", "low1", "low3", "low2")  # in the order of bearpaw's lists

_BEARPAW = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\.conv(\d)\.", r".conv\1.conv."),
        (r"\.downsample\.0\.", ".skip_layer.conv."),
        (r"^conv1\.", "pre.0.conv."),
        (r"^bn1\.", "pre.0.bn."),
        (r"^layer1\.0\.", "pre.1."),
        (r"^layer2\.0\.", "pre.3."),
        (r"^layer3\.0\.", "pre.4."),
        (r"^res\.", "features."),
        (r"^fc\.(\d+)\.0\.", r"features.\1.1.conv."),
        (r"^fc\.(\d+)\.1\.", r"features.\1.1.bn."),
        (r"^score\.(\d+)\.", r"outs.\1.conv."),
        (r"^fc_\.(\d+)\.", r"merge_features.\1.conv.conv."),
        (r"^score_\.(\d+)\.", r"merge_preds.\1.conv.conv."),
    )
)
"""Patterns of names of bearpaw/pytorch-pose, and what stands for them in Princeton's."""

_SCALE = re.compile(r"hg\.(\d+)\.hg\.(\d+)\.([0-3])\.0\.")  # bearpaw's scales are counted from the coarsest


def infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of the network that tensors are of; empty if they are of another."""
    found = [tensors.get(f"{name}.weight") for name in (*_SIZED, "outs.0.conv")]
    sizes = [len(tensor) for tensor in found if tensor is not None and tensor.ndim == 4]
    if len(sizes) < len(found):
        return {}
    inner = (re.match(r"hgs\.0\.0((?:\.low2)+)\.bn1\.", name) for name in tensors)
    return {
        "stacks": network.count_parts(tensors, r"hgs\.(\d+)\.0\."),
        "features": sizes[3],
        "depth": max((match[1].count(".") for match in inner if match), default=1),
        "stem_features": sizes[:3],
        "residual_before_head": "features.0.0.conv1.conv.weight" in tensors,
    }


def rename(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the tensors of bearpaw/pytorch-pose Princeton's names; leaves those of other networks as they are."""
    scales = [int(match[2]) for name in tensors if (match := _SCALE.match(name))]
    if not scales:
        return dict(tensors)
    return {_renamed(name, max(scales)): tensor for name, tensor in tensors.items()}


def _renamed(name: str, finest: int) -> str:
    if match := _SCALE.match(name):
        stack, scale, part = map(int, match.groups())
        inner = ["low2"] * (finest - scale)
        name = ".".join([f"hgs.{stack}.0", *inner, _PLACES[part], name[match.end() :]])
    return functools.reduce(lambda text, rule: rule[0].sub(rule[1], text), _BEARPAW, name)


def dead(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the shortcuts without effect that Princeton's code has beside these tensors, as zeros."""
    blocks = {name.removesuffix(_LAST): len(x) for name, x in tensors.items() if name.endswith(_LAST)}
    shapes = {
        f"{block}skip_layer.conv.{leaf}": shape
        for block, features in blocks.items()
        for leaf, shape in (("weight", (features, features, 1, 1)), ("bias", (features,)))
    }
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name not in tensors}
