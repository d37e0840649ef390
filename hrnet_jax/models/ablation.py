"""Variants of HRNet that the paper compares it with, each with one change (section 4.4 of the paper).

    final_exchange   branches exchange only in the last unit of the last stage: table 6, (a)
    across_stages    branches exchange only in the last unit of each stage: table 6, (b)
    four_branches    all four branches begin after the stem, and are as deep as the finest one
    bilinear         units go to a coarser branch by a 1x1 convolution and bilinear interpolation
    product          units multiply the branches instead of adding them

No code of the authors exists for any of them: these are the parts of `hrnet`, put together as the text says. Names
are those of the release, whose code also has the chains of convolutions that begin several branches at once.
"""

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import hrnet
from hrnet_jax.models.hrnet import ExchangeUnit
from hrnet_jax.models.layers import ConvNorm

FINAL, ACROSS, FOUR, BILINEAR, PRODUCT = VARIANTS = (
    "final_exchange",
    "across_stages",
    "four_branches",
    "bilinear",
    "product",
)


class SeparateUnit(ExchangeUnit):
    """Unit without exchange: the branches go on as its residual blocks leave them."""

    @nn.compact
    def __call__(self, branches: Sequence[jax.Array], train: bool) -> list[jax.Array]:
        """Maps one array per branch, finest first, to the same shapes."""
        return [self._branch(i, x, train) for i, x in enumerate(branches)]


class BilinearUnit(ExchangeUnit):
    """Unit that goes to a coarser branch as to a finer one: by a 1x1 convolution, then interpolation."""

    def _map(self, source: int, target: int, x: jax.Array, train: bool) -> jax.Array:
        if source >= target:
            return super()._map(source, target, x, train)
        name, features = f"fuse_layers.{target}.{source}", self.width * 2**target
        x = ConvNorm(features, kernel_size=1, norm=self.norm, dtype=self.dtype, name=name)(x, train)
        return shrink(x, 2 ** (target - source))


class ProductUnit(ExchangeUnit):
    """Unit that multiplies the branches."""

    combine = staticmethod(operator.mul)


def shrink(x: jax.Array, factor: int) -> jax.Array:
    """Divides the resolution of ``[B, H, W, C]`` by an even factor, by bilinear interpolation as PyTorch's.

    A new pixel lies between the four pixels in the middle of its block, and is their mean: nothing is smoothed
    before.
    """
    low, high = factor // 2 - 1, factor // 2
    rows = x[:, low::factor] + x[:, high::factor]
    return (rows[:, :, low::factor] + rows[:, :, high::factor]) * 0.25


class AblatedHRNet(hrnet.HRNet):
    """HRNet with one change.

    Attributes:
      variant: the change, one of `VARIANTS`.
      width, stem, units, blocks and others: as of `hrnet.HRNet`.
    """

    variant: str = FINAL

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown variant."""
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise ValueError(f"`model.variant` (={self.variant!r}) must be one of {', '.join(VARIANTS)}")

    def unit(self, stage: int, i: int, branches: int) -> tuple[type[ExchangeUnit], Sequence[int]]:
        """Returns class and outputs of an exchange unit."""
        usual, outputs = super().unit(stage, i, branches)
        units = {BILINEAR: BilinearUnit, PRODUCT: ProductUnit}
        return (units.get(self.variant, usual) if self._exchanges(stage, i) else SeparateUnit), outputs

    def _exchanges(self, stage: int, i: int) -> bool:
        """Returns whether a unit has an exchange."""
        last = i == self.units[stage - 2] - 1
        return {FINAL: last and stage == 4, ACROSS: last}.get(self.variant, True)

    def _add_branch(self, stage: int, branches: list[jax.Array], train: bool) -> list[jax.Array]:
        if self.variant != FOUR:
            return super()._add_branch(stage, branches, train)
        return self._begin(branches[0], train) if stage == 2 else branches

    def _begin(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Begins four branches with the features of stage 1; each halving is a convolution."""
        branches, options = super()._add_branch(2, [x], train), {"norm": self.norm, "dtype": self.dtype}
        for i in (2, 3):
            y = x
            for step in range(i):
                features = self.width * 2**i if step == i - 1 else x.shape[-1]
                name = f"transition1.{i}.{step}"
                y = ConvNorm(features, stride=2, relu=True, name=name, **options)(y, train)
            branches.append(y)
        return branches


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of HRNet, and the variant if there are other tensors than HRNet's. A product has none."""
    fields = hrnet.NETWORK.infer(tensors)
    if not fields:
        return {}
    exchanging = {name.partition(".fuse_layers.")[0] for name in tensors if ".fuse_layers." in name}
    last = [f"stage{stage}.{units - 1}" for stage, units in zip((2, 3, 4), fields["units"], strict=True)]
    some = len(exchanging) < sum(fields["units"])
    signs = {
        FINAL: some and exchanging == {last[-1]},
        ACROSS: some and exchanging == set(last),
        FOUR: "transition1.3.2.0.weight" in tensors,
        BILINEAR: "stage2.0.fuse_layers.1.0.0.weight" in tensors,
    }
    found = [variant for variant, is_there in signs.items() if is_there]
    return fields | ({"variant": found[0]} if found else {})


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_variants  # PyTorch is optional

    return torch_variants.AblatedHRNet(num_joints, **sizes)


NETWORK = dataclasses.replace(
    hrnet.NETWORK,
    module=AblatedHRNet,
    fields={**hrnet.NETWORK.fields, "variant": Field(FINAL, f"One of {', '.join(VARIANTS)}.", network=True)},
    title="HRNet-W{width}, {variant}",
    tag="hrnet_{variant}_w{width}",
    infer=_infer,
    torch_model=_torch_model,
)
