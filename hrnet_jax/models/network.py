"""The description of a network: all that the rest of the package knows of it, in the network's own file."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field

FIELDS = {
    "colors": Field("RGB", 'Channel order the network reads, "RGB" or "BGR".', network=True),
    "dtype": Field("float32", 'Of activations, "float32" or "bfloat16"; weights are float32.'),
    "norm_group_size": Field(32, "People normalized together (original: those of a GPU); 0 is all.", minimum=0),
    "norm_frozen": Field(False, "Keep the running statistics, for fine-tuning."),
    "remat": Field(False, "Recompute activations: less memory, a third more arithmetic.", resumable=True),
}
"""Fields of every network, below ``config.model``."""

CLASSIFIER = "of the image classifier"
"""Why tensors of a network for ImageNet are not used."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that configurations can name.

    Attributes:
      module: its class. It maps normalized images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``. Its
        attributes are ``num_joints``, ``norm``, ``dtype``, ``remat`` and the `fields` that weights depend on.
      fields: its fields below ``config.model``, `FIELDS` among them.
      title: its usual name, with fields in braces: ``"HRNet-W{width}"``.
      tag: a short name for reference numbers, with fields in braces: ``"hrnet_w{width}"``.
      infer: (tensors by PyTorch's names) -> the fields that tensors reveal. Empty for other networks' tensors.
      torch_model: builds its PyTorch counterpart from ``num_joints`` and the fields of `infer`. None if there is
        none.
      heads: prefixes of the names of layers that weights trained for another task lack.
      unused: patterns of the names of tensors that related networks have in addition, by reason.
      published: fields of published networks, the one that identifies a network first. Weights of one of them with
        other fields are probably incomplete.
    """

    module: Callable[..., nn.Module]
    fields: Mapping[str, Field]
    title: str
    tag: str
    infer: Callable[[Mapping[str, np.ndarray]], dict[str, Any]] = lambda tensors: {}
    torch_model: Callable[..., Any] | None = None
    heads: tuple[str, ...] = ("final_layer.",)
    unused: Mapping[str, re.Pattern] = dataclasses.field(default_factory=dict)
    published: Sequence[Mapping[str, Any]] = ()


def count_parts(names: Mapping[str, Any], pattern: str) -> int:
    """Returns the number of different first groups of a pattern among names, such as the blocks of a stage."""
    return len({found.group(1) for name in names if (found := re.match(pattern, name))})
