"""HRNet (Sun et al., CVPR 2019): high-resolution features from the first layer to the last.

The finest branch keeps a quarter of the image resolution through the whole network. Each stage adds a branch with
half the resolution and twice the channels of the one before, and exchange units fuse all branches repeatedly
(figure 1 of the paper). A 1x1 convolution turns the finest branch into heatmaps.

Modules are named as in the authors' PyTorch release, see `layers`.
"""

import functools
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import layers, network
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import BasicBlock, Bottleneck, Conv, ConvNorm, double, relu


class ExchangeUnit(nn.Module):
    """Runs residual blocks on parallel branches, then fuses the branches (section 3 of the paper).

    Branch ``i`` has ``width * 2**i`` channels at ``1 / 2**i`` of the finest resolution. Each output is the sum of
    all branches, resampled: to a coarser branch by one 3x3 convolution of stride 2 per halving, to a finer branch
    by a 1x1 convolution and nearest-neighbour upsampling.

    Attributes:
      width: channels of the finest branch.
      blocks: residual blocks per branch.
      outputs: the branches that have an output.
      norm: settings of batch normalisation.
      dtype: precision of the activations.
    """

    width: int
    blocks: int
    outputs: Sequence[int]
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    combine = staticmethod(operator.add)  # of two branches

    @nn.compact
    def __call__(self, branches: Sequence[jax.Array], train: bool) -> list[jax.Array]:
        """Maps one array per branch, finest first, to the branches of `outputs` in the same shapes."""
        branches = [self._branch(i, x, train) for i, x in enumerate(branches)]
        return [relu(self._fuse(i, branches, train)) for i in self.outputs]

    def _branch(self, i: int, x: jax.Array, train: bool) -> jax.Array:
        for block in range(self.blocks):
            name = f"branches.{i}.{block}"
            x = BasicBlock(self.width * 2**i, self.norm, self.dtype, name=name)(x, train)
        return x

    def _fuse(self, i: int, branches: Sequence[jax.Array], train: bool) -> jax.Array:
        """Sums all branches at the resolution of branch `i`.

        Coarser branches are summed on the way up, so that each step enlarges one array by two.
        """
        mapped = [self._map(j, i, x, train) for j, x in enumerate(branches)]
        finest = functools.reduce(self.combine, mapped[: i + 1])
        return functools.reduce(lambda coarse, fine: self.combine(fine, double(coarse)), [*mapped[:i:-1], finest])

    def _map(self, source: int, target: int, x: jax.Array, train: bool) -> jax.Array:
        """Maps branch `source` to the channels of branch `target`, and to its resolution if that is coarser."""
        name = f"fuse_layers.{target}.{source}"
        features = self.width * 2**target
        if source > target:
            return ConvNorm(features, kernel_size=1, norm=self.norm, dtype=self.dtype, name=name)(x, train)
        for step in range(target - source):
            last = step == target - source - 1
            conv = ConvNorm(
                features if last else self.width * 2**source,
                stride=2,
                relu=not last,
                norm=self.norm,
                dtype=self.dtype,
                name=f"{name}.{step}",
            )
            x = conv(x, train)
        return x


class HRNet(nn.Module):
    """Pose network of a stem, four stages and a heatmap head.

    Attributes:
      num_joints: number of heatmaps, K.
      width: channels of the finest branch; 32 for HRNet-W32, 48 for HRNet-W48.
      stem: channels of the stem, a quarter of the channels of stage 1; 64 in the paper.
      units: exchange units in stages 2, 3 and 4.
      blocks: residual blocks per branch of an exchange unit.
      colors: channel order of the input, see `layers.normalize`.
      norm: settings of batch normalisation.
      dtype: precision of the activations. Heatmaps are at least float32.
      remat: whether to recompute the activations of each exchange unit in the backward pass. Saves memory and
        costs a third more arithmetic.
      head_branches: branches that the head reads, counted from the finest.
    """

    num_joints: int
    width: int = 32
    stem: int = 64
    units: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    colors: str = "RGB"
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False
    head_branches: int = 1

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``.

        Raises:
          ValueError: a side of the image is not a multiple of 32.
        """
        layers.check_image_size(image.shape[1:3])
        branches = [self._stem(image, train)]
        for stage, units in enumerate(self.units, start=2):
            branches = self._add_branch(stage, branches, train)
            branches = self._stage(stage, units, branches, train)
        return self.head(branches, train)

    def head(self, branches: Sequence[jax.Array], train: bool) -> jax.Array:
        """Maps the branches of the last unit, finest first, to heatmaps. Subclasses may have another head."""
        del train
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name="final_layer")(branches[0])

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the stem and stage 1: ``[B, H / 4, W / 4, 4 * stem]``."""
        for i in (1, 2):
            x = Conv(self.stem, stride=2, dtype=self.dtype, name=f"conv{i}")(x)
            x = relu(BatchNorm(self.norm, name=f"bn{i}")(x, train))
        for block in range(4):
            x = Bottleneck(self.stem, norm=self.norm, dtype=self.dtype, name=f"layer1.{block}")(x, train)
        return x

    def _add_branch(self, stage: int, branches: list[jax.Array], train: bool) -> list[jax.Array]:
        """Adjusts the channels of existing branches and adds a branch at half the coarsest resolution."""
        name = f"transition{stage - 1}"
        options = {"relu": True, "norm": self.norm, "dtype": self.dtype}
        kept = [
            x if x.shape[-1] == self.width * 2**i
            else ConvNorm(self.width * 2**i, name=f"{name}.{i}", **options)(x, train)
            for i, x in enumerate(branches)
        ]  # fmt: skip
        new = len(branches)
        start = ConvNorm(self.width * 2**new, stride=2, name=f"{name}.{new}.0", **options)
        return [*kept, start(branches[-1], train)]

    def unit(self, stage: int, i: int, branches: int) -> tuple[type[ExchangeUnit], Sequence[int]]:
        """Returns class and outputs of an exchange unit. Subclasses may have others."""
        last = stage == 4 and i == self.units[-1] - 1
        return ExchangeUnit, range(self.head_branches if last else branches)

    def _stage(self, stage: int, units: int, branches: list[jax.Array], train: bool) -> list[jax.Array]:
        for i in range(units):
            unit_class, outputs = self.unit(stage, i, len(branches))
            unit_class = nn.remat(unit_class, static_argnums=(2,)) if self.remat else unit_class
            unit = unit_class(self.width, self.blocks, outputs, self.norm, self.dtype, name=f"stage{stage}.{i}")
            branches = unit(branches, train)
        return branches


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    stem, branch = (tensors.get(name) for name in ("conv1.weight", "stage2.0.branches.0.0.conv1.weight"))
    if stem is None or branch is None or not stem.ndim == branch.ndim == 4:
        return {}
    return {
        "width": len(branch),
        "stem": len(stem),
        "units": [network.count_parts(tensors, rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4)],
        "blocks": network.count_parts(tensors, r"stage2\.0\.branches\.0\.(\d+)\."),
    }


def _torch_model(num_joints: int, *, width: int, stem: int, units: Sequence[int], blocks: int) -> Any:
    from hrnet_jax.models import torch_models  # PyTorch is optional

    return torch_models.HRNet(num_joints, width, stem, units, blocks)


NETWORK = network.Network(
    HRNet,
    fields=network.FIELDS
    | {
        "width": Field(32, "Channels of the finest branch: 32 or 48 in the paper.", minimum=1, network=True),
        "stem": Field(64, "Channels of the stem, a quarter of those of stage 1.", minimum=1, network=True),
        "units": Field((1, 4, 3), "Exchange units in stages 2, 3 and 4.", network=True),
        "blocks": Field(4, "Residual blocks in each branch of a unit.", minimum=1, network=True),
    },
    title="HRNet-W{width}",
    tag="hrnet_w{width}",
    infer=_infer,
    torch_model=_torch_model,
    unused={
        network.CLASSIFIER: re.compile(r"(incre_modules|downsamp_modules|classifier|fc|final_layer\.\d)\b"),
        "of coarser outputs, which the pose network does not have": re.compile(r"stage4\.2\.fuse_layers\.[123]\."),
    },
    published=[{"width": width, "stem": 64, "units": [1, 4, 3], "blocks": 4} for width in (32, 48)],
)
