"""HRNet for pose (Sun et al., CVPR 2019): high resolution from the first layer to the last.

The network keeps a branch at a quarter of the image's resolution all the way, adds a branch of half the
resolution and twice the channels at each stage, and lets the branches exchange what they know again and again
(the paper's figure 1). Heatmaps are read off the finest branch.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrnet_jax.models import layers
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import BasicBlock, Bottleneck, Conv, ConvNorm, relu


def _upsample(x: jax.Array, times: int) -> jax.Array:
    """Repeats every pixel of ``[B, H, W, C]`` `times` times in both directions."""
    return x.repeat(times, axis=1).repeat(times, axis=2)


class ExchangeUnit(nn.Module):
    """Parallel branches of residual blocks, then every output sums all branches (section 3 of the paper).

    Branch ``i`` has ``width * 2**i`` channels at a ``2**i``-th of the resolution. Going to a coarser branch is
    a 3x3 convolution of stride 2 for each halving; to a finer one, a 1x1 convolution and nearest upsampling.

    Attributes:
      width: channels of the finest branch.
      blocks: residual blocks in each branch.
      outputs: how many of the branches, from the finest, get an output.
    """

    width: int
    blocks: int
    outputs: int
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, branches: Sequence[jax.Array], train: bool) -> list[jax.Array]:
        """Maps one array a branch, finest first, to `outputs` arrays of the same shapes."""
        branches = [self._branch(i, x, train) for i, x in enumerate(branches)]
        return [relu(self._fuse(i, branches, train)) for i in range(self.outputs)]

    def _branch(self, i: int, x: jax.Array, train: bool) -> jax.Array:
        for block in range(self.blocks):
            name = f"branches.{i}.{block}"
            x = BasicBlock(self.width * 2**i, self.norm, self.dtype, name=name)(x, train)
        return x

    def _fuse(self, i: int, branches: Sequence[jax.Array], train: bool) -> jax.Array:
        total = self._resample(0, i, branches[0], train)
        for j, x in enumerate(branches[1:], start=1):
            total = total + self._resample(j, i, x, train)
        return total

    def _resample(self, source: int, target: int, x: jax.Array, train: bool) -> jax.Array:
        """Brings branch `source` to the resolution and channels of branch `target`."""
        name = f"fuse_layers.{target}.{source}"
        features = self.width * 2**target
        if source > target:
            conv = ConvNorm(features, kernel_size=1, norm=self.norm, dtype=self.dtype, name=name)
            return _upsample(conv(x, train), 2 ** (source - target))
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
    """The pose network: stem, four stages of exchange units, heatmaps.

    Attributes:
      num_joints: heatmaps to produce (K).
      width: channels of the finest branch; 32 and 48 are published.
      stem: channels of the stem, a quarter of stage 1's; 64 in all that is published.
      units: exchange units in stages 2, 3 and 4.
      blocks: residual blocks in each branch of a unit.
      colors: the order in which the network reads an image's colours, see `layers.normalize`.
      norm: whose statistics batch normalisation uses.
      dtype: precision of the activations; the heatmaps are at least float32.
      remat: compute the activations of each exchange unit again in the backward pass instead of keeping them;
        less memory for a third more arithmetic.
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
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name="final_layer")(branches[0])

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Two convolutions of stride 2 and stage 1: a quarter of the resolution, ``4 * stem`` channels."""
        for i in (1, 2):
            x = Conv(self.stem, stride=2, dtype=self.dtype, name=f"conv{i}")(x)
            x = relu(BatchNorm(self.norm, name=f"bn{i}")(x, train))
        for block in range(4):
            x = Bottleneck(self.stem, norm=self.norm, dtype=self.dtype, name=f"layer1.{block}")(x, train)
        return x

    def _add_branch(self, stage: int, branches: list[jax.Array], train: bool) -> list[jax.Array]:
        """Brings branches to the stage's channels and starts one of half the resolution."""
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

    def _stage(self, stage: int, units: int, branches: list[jax.Array], train: bool) -> list[jax.Array]:
        unit_class = nn.remat(ExchangeUnit, static_argnums=(2,)) if self.remat else ExchangeUnit
        for i in range(units):
            # Only the finest branch is read after the last unit of the last stage.
            last = stage == 4 and i == units - 1
            outputs = 1 if last else len(branches)
            unit = unit_class(self.width, self.blocks, outputs, self.norm, self.dtype, name=f"stage{stage}.{i}")
            branches = unit(branches, train)
        return branches
