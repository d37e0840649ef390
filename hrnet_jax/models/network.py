"""The description of a network: all that the rest of the package knows of it, in the network's own file."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax.fields import Field
from hrnet_jax.models import layers

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


ORDER = (
    *("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample"),
    *("layer1", "transition1", "stage2", "transition2", "stage3", "transition3", "stage4"),
    *("layer2", "layer3", "layer4", "branches", "fuse_layers", "deconv_layers", "final_layer"),
)
"""Parts of names in the order of the release's state dicts."""


LABELS = ("joints", "visible")
"""The arrays of a batch that target heatmaps are made of; see `pipeline`. Some networks also need ``"seen"``."""

Targets = Callable[..., tuple[Any, Any]]
"""The arrays of `Network.labels` -> target heatmaps ``[B, h, w, K]`` and the weights of the joints ``[B, K]``.

Each is an array for all heatmaps that training compares, or a tuple with one for each of them.
"""

Terms = Sequence[tuple[str, float]]
"""Name and factor of a loss, for each of the heatmaps that training compares."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that configurations can name.

    Attributes:
      module: its class. It maps normalized images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``, or of
        another stride, see `strides`. Its attributes are ``num_joints``, ``norm``, ``dtype``, ``remat`` and the
        `fields` that weights depend on. If training compares other heatmaps with the targets, too, it keeps them
        with `layers.keep_heatmaps`.
      fields: its fields below ``config.model``, `FIELDS` among them.
      title: its usual name, with fields in braces: ``"HRNet-W{width}"``.
      tag: a short name for reference numbers, with fields in braces: ``"hrnet_w{width}"``.
      infer: (tensors by PyTorch's names) -> the fields that tensors reveal. Empty for other networks' tensors.
      labels: names of the arrays of a batch that its targets are made of.
      targets: makes the function that renders its targets from a configuration. None for those that
        ``heatmap.target`` names, the same for all of its heatmaps.
      terms: (``loss`` of the configuration) -> how training compares each of its heatmaps with the targets, the
        prediction last. Empty for that loss of all, added.
      torch_model: builds its PyTorch counterpart from ``num_joints`` and the fields of `infer`. None if there is
        none. A method ``predictions`` returns all heatmaps that training compares, as `layers.apply_in_training`.
      multiple: (fields that weights depend on) -> the number that divides the sides of its images.
      strides: (fields that weights depend on) -> image pixels per heatmap pixel: one number for all heatmaps that
        training compares, or one for each in the order of `layers.apply_in_training`.
      bottom_up: whether its images are whole photos. Then it returns a tuple with the output of each head, coarse
        to fine: of the first, the heatmaps of all joints and then their tags; of the others, heatmaps.
      alternatives: (network) -> the networks with the same weights that predict other heatmaps, by name. They are
        evaluated, too.
      joint_layers: prefixes of the names of layers with a channel for each joint. The first that there is, is one
        layer that predicts heatmaps.
      heads: prefixes of the names of layers that weights trained for another task lack.
      unused: patterns of the names of tensors that related networks have in addition, by reason.
      from_classifier: gives the tensors of an image classifier that is its trunk its own names, and leaves others.
      rename: gives tensors with the names of other code its own, and leaves those of other networks as they are.
      caveat: what to tell of weights that do not describe themselves, since other code saved them.
      dead: (tensors) -> zeros for what the authors' code has in addition, without effect.
      order: parts of names in the order of the authors' state dicts.
      published: fields of published networks, the one that identifies a network first. Weights of one of them with
        other fields are probably incomplete.
    """

    module: Callable[..., nn.Module]
    fields: Mapping[str, Field]
    title: str
    tag: str
    infer: Callable[[Mapping[str, np.ndarray]], dict[str, Any]] = lambda tensors: {}
    labels: tuple[str, ...] = LABELS
    targets: Callable[[ConfigDict], Targets] | None = None
    terms: Callable[[str], Terms] = lambda loss: ()
    torch_model: Callable[..., Any] | None = None
    multiple: Callable[[Mapping[str, Any]], int] = lambda sizes: layers.MULTIPLE
    strides: Callable[[Mapping[str, Any]], Sequence[int]] = lambda sizes: [layers.STRIDE]
    bottom_up: bool = False
    alternatives: Callable[[nn.Module], Mapping[str, nn.Module]] = lambda model: {}
    joint_layers: tuple[str, ...] = ("final_layer.",)
    heads: tuple[str, ...] = ("final_layer.",)
    unused: Mapping[str, re.Pattern] = dataclasses.field(default_factory=dict)
    from_classifier: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] = lambda tensors: tensors
    rename: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] = lambda tensors: tensors
    dead: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]] = lambda tensors: {}
    caveat: str = ""
    order: Sequence[str] = ORDER
    published: Sequence[Mapping[str, Any]] = ()

    def head(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Returns the kernel of a layer that predicts heatmaps, ``[K, in, 1, 1]``; None if tensors have none."""
        kernels = (tensors.get(f"{layer}weight") for layer in self.joint_layers)
        found = next((kernel for kernel in kernels if kernel is not None and kernel.ndim == 4), None)
        return found[: len(found) // 2] if found is not None and self.bottom_up else found  # without tags


def count_parts(names: Mapping[str, Any], pattern: str) -> int:
    """Returns the number of different first groups of a pattern among names, such as the blocks of a stage."""
    return len({found.group(1) for name in names if (found := re.match(pattern, name))})
