"""Stacked Hourglass (Newell et al., ECCV 2016): hourglasses one after another, each with heatmaps of its own.

An hourglass halves the resolution of its features several times and adds what it finds at each scale on the way
back. Heatmaps and features of one are added to the input of the next. Training compares the heatmaps of all with
the targets; those of the last are the prediction.

Modules are named as in Princeton's PyTorch code (princeton-vl/pytorch_stacked_hourglass), see `layers`. All
convolutions have biases.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import hourglass_names, layers, network
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import Conv, double, relu


def _halve(x: jax.Array) -> jax.Array:
    """Keeps the maximum of each 2x2 pixels of ``[B, H, W, C]``."""
    return nn.max_pool(x, (2, 2), strides=(2, 2))  # pyright: ignore[reportReturnType]


class Residual(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions, each after normalization and ReLU (He et al., ECCV 2016).

    The shortcut has a convolution only where the number of channels changes.
    """

    features: int
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H, W, features]``."""
        y, half = x, self.features // 2
        for i, (features, kernel_size) in enumerate([(half, 1), (half, 3), (self.features, 1)], start=1):
            y = relu(BatchNorm(self.norm, name=f"bn{i}")(y, train))
            y = Conv(features, kernel_size, use_bias=True, dtype=self.dtype, name=f"conv{i}.conv")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, use_bias=True, dtype=self.dtype, name="skip_layer.conv")(x)
        return x + y


class Hourglass(nn.Module):
    """Features at full resolution, plus those that an hourglass of one scale less finds at half of it.

    Attributes:
      depth: how many times the resolution is halved.
      features: channels.
      norm: settings of batch normalization.
      dtype: precision of the activations.
    """

    depth: int
    features: int
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, features]`` to the same shape; ``2 ** depth`` divides H and W."""
        options = {"norm": self.norm, "dtype": self.dtype}
        up = Residual(self.features, name="up1", **options)(x, train)
        low = Residual(self.features, name="low1", **options)(_halve(x), train)
        inner = (
            Hourglass(self.depth - 1, self.features, name="low2", **options)
            if self.depth > 1
            else Residual(self.features, name="low2", **options)
        )
        low = Residual(self.features, name="low3", **options)(inner(low, train), train)
        return up + double(low)


class StackedHourglass(nn.Module):
    """Pose network of a stem and several hourglasses.

    Attributes:
      num_joints: number of heatmaps, K.
      stacks: number of hourglasses.
      features: channels of the hourglasses.
      depth: how many times each hourglass halves the resolution.
      stem_features: channels of the first convolution and of the two residual blocks after it.
      residual_before_head: whether a residual block follows each hourglass; not in Newell's network of June 2016.
      colors: channel order of the input, see `layers.normalize`.
      norm: settings of batch normalization.
      dtype: precision of the activations. Heatmaps are at least float32.
      remat: whether to recompute the activations of each hourglass in the backward pass. Saves memory and costs a
        third more arithmetic.
    """

    num_joints: int
    stacks: int = 8
    features: int = 256
    depth: int = 4
    stem_features: tuple[int, int, int] = (64, 128, 128)
    residual_before_head: bool = True
    colors: str = "RGB"
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for channels that cannot be halved."""
        super().__post_init__()
        if self.features % 2 or len(self.stem_features) != 3 or any(n % 2 for n in self.stem_features[1:]):
            raise ValueError(
                f"`model.features` (={self.features}) and the last two of the three `model.stem_features`"
                f" (={tuple(self.stem_features)}) must be even"
            )

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``.

        Keeps the heatmaps of the stacks before the last for `layers.apply_in_training`.

        Raises:
          ValueError: a side of the image is not a multiple of ``4 * 2 ** depth``.
        """
        layers.check_image_size(image.shape[1:3], _multiple({"depth": self.depth}))
        x = self._stem(image, train)
        for i in range(self.stacks - 1):
            features, heatmaps = self._stack(i, x, train)
            layers.keep_heatmaps(self, heatmaps)
            x = x + self._conv(f"merge_preds.{i}.conv.conv")(heatmaps)
            x = x + self._conv(f"merge_features.{i}.conv.conv")(features)
        return self._stack(self.stacks - 1, x, train)[1]

    def _conv(self, name: str) -> Conv:
        return Conv(self.features, 1, use_bias=True, dtype=self.dtype, name=name)

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the stem: ``[B, H / 4, W / 4, features]``."""
        first, *middle = self.stem_features
        x = Conv(first, 7, stride=2, use_bias=True, dtype=self.dtype, name="pre.0.conv")(x)
        x = relu(BatchNorm(self.norm, name="pre.0.bn")(x, train))
        for i, features in zip((1, 3, 4), (*middle, self.features), strict=True):
            x = Residual(features, self.norm, self.dtype, name=f"pre.{i}")(x, train)
            x = _halve(x) if i == 1 else x
        return x

    def _stack(self, i: int, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        """Applies hourglass `i` and what follows it, and returns features and heatmaps."""
        hourglass = nn.remat(Hourglass, static_argnums=(2,)) if self.remat else Hourglass
        x = hourglass(self.depth, self.features, self.norm, self.dtype, name=f"hgs.{i}.0")(x, train)
        if self.residual_before_head:
            x = Residual(self.features, self.norm, self.dtype, name=f"features.{i}.0")(x, train)
        x = self._conv(f"features.{i}.1.conv")(x)
        x = relu(BatchNorm(self.norm, name=f"features.{i}.1.bn")(x, train))
        dtype = at_least_float32(self.dtype)
        return x, Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name=f"outs.{i}.conv")(x)


def _multiple(sizes: Mapping[str, Any]) -> int:
    return layers.STRIDE * 2 ** sizes["depth"]


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_models  # PyTorch is optional

    return torch_models.StackedHourglass(num_joints, **sizes)


NETWORK = network.Network(
    StackedHourglass,
    fields=network.FIELDS
    | {
        "stacks": Field(8, "Hourglasses one after another.", minimum=1, network=True),
        "features": Field(256, "Channels of the hourglasses.", minimum=2, network=True),
        "depth": Field(4, "Times that an hourglass halves the resolution.", minimum=1, network=True),
        "stem_features": Field(
            (64, 128, 128), "Channels of the stem's first three parts; (64, 128, 256) in bearpaw's.", network=True
        ),
        "residual_before_head": Field(True, "False: without, as Newell's network of June 2016.", network=True),
    },
    title="{stacks}-stack Hourglass",
    tag="hourglass{stacks}",
    infer=hourglass_names.infer,
    torch_model=_torch_model,
    multiple=_multiple,
    joint_layers=("outs.0.conv.", "outs.", "merge_preds."),
    heads=("outs.", "merge_preds."),
    unused={"a shortcut that Princeton's code has but does not use": re.compile(r".*\bskip_layer\.")},
    rename=hourglass_names.rename,
    caveat="images are normalized by ImageNet's mean and deviation here; Princeton's code reads RGB / 255, and"
    " bearpaw's takes a mean off that: fine-tune weights of theirs",
    dead=hourglass_names.dead,
    order=(
        *("pre", "hgs", "features", "outs", "merge_features", "merge_preds", "up1", "low1", "low2", "low3"),
        *("bn1", "conv1", "bn2", "conv2", "bn3", "conv3", "skip_layer", "conv", "bn"),
    ),
)
