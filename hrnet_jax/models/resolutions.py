"""HRNet with heatmaps from several resolutions of its last unit (figure 5 of the paper).

Each of the chosen branches has a 1x1 convolution of its own, from ``final_layer.0`` for the finest branch to
``final_layer.3``. Training compares the heatmaps of each with targets of its resolution. Those of the finest are
the prediction. A single head is trained alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import hrnet, layers
from hrnet_jax.models.batch_norm import at_least_float32
from hrnet_jax.models.hrnet import ExchangeUnit
from hrnet_jax.models.layers import Conv

BRANCHES = 4


class MultiResolutionHRNet(hrnet.HRNet):
    """HRNet whose heads read branches of several resolutions.

    Attributes:
      heads: branches with a head, from the finest of them; 0 is the finest of all.
      predicting: place in `heads` of the head whose heatmaps the network returns. All have the same weights.
      width, stem, units, blocks and others: as of `hrnet.HRNet`.
    """

    heads: tuple[int, ...] = tuple(range(BRANCHES))
    predicting: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for heads that cannot be."""
        super().__post_init__()
        heads = list(self.heads)
        if not heads or heads != sorted(set(heads) & set(range(BRANCHES))):
            raise ValueError(f"`model.heads` (={self.heads}) must be some of 0, 1, 2 and 3, in this order")
        if self.units[-1] < 1:
            raise ValueError(f"`model.units` (={self.units}) must end with a unit, which the heads read")

    def unit(self, stage: int, i: int, branches: int) -> tuple[type[ExchangeUnit], Sequence[int]]:
        """Returns class and outputs of an exchange unit."""
        last = stage == 4 and i == self.units[-1] - 1
        usual, outputs = super().unit(stage, i, branches)
        return usual, self.heads if last else outputs

    def head(self, branches: Sequence[jax.Array], train: bool) -> jax.Array:
        """Maps the branches of `heads` to heatmaps, keeps those of the others and returns those of one."""
        del train
        dtype = at_least_float32(self.dtype)
        found = [
            Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name=f"final_layer.{i}")(x)
            for i, x in zip(self.heads, branches, strict=True)
        ]
        prediction = found.pop(self.predicting)
        for heatmaps in found:
            layers.keep_heatmaps(self, heatmaps)
        return prediction


def _strides(sizes: Mapping[str, Any]) -> list[int]:
    first, *others = (layers.STRIDE * 2**i for i in sizes["heads"])
    return [*others, first]


def _alternatives(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the network with each of its coarser heads predicting, by resolution, such as ``2x``."""
    heads: tuple[int, ...] = model.heads  # pyright: ignore[reportAttributeAccessIssue]
    return {f"{2**head}x": model.clone(predicting=i) for i, head in enumerate(heads) if i > 0}


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of HRNet, and the heads if there are any, which an image classifier does not have."""
    fields = hrnet.NETWORK.infer(tensors)
    kernels = {i: tensors.get(f"final_layer.{i}.weight") for i in range(BRANCHES)}
    heads = [
        i for i, x in kernels.items()
        if fields and x is not None and x.ndim == 4 and x.shape[1] == fields["width"] * 2**i
    ]  # fmt: skip
    return fields | ({"heads": heads} if heads else {})


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_variants  # PyTorch is optional

    return torch_variants.MultiResolutionHRNet(num_joints, **sizes)


NETWORK = dataclasses.replace(
    hrnet.NETWORK,
    module=MultiResolutionHRNet,
    fields={
        **hrnet.NETWORK.fields,
        "heads": Field((0, 1, 2, 3), "Branches with heatmaps of their own, 0 is the finest.", network=True),
    },
    title="HRNet-W{width}, heads {heads}",
    tag="hrnet_heads_w{width}",
    infer=_infer,
    torch_model=_torch_model,
    strides=_strides,
    alternatives=_alternatives,
    joint_layers=tuple(f"final_layer.{i}." for i in range(BRANCHES)),
)
