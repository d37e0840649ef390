"""HigherHRNet (Cheng et al., CVPR 2020): the joints of all people in a photo, as heatmaps and tags.

The trunk is HRNet, and the image is a whole photo instead of a crop of one person. A 1x1 convolution turns the
finest branch into a heatmap and a tag map of each joint. Joints of one person have similar tags, those of others
different ones (associative embedding, Newell et al., NIPS 2017). A deconvolution reads the features and these
maps, and predicts heatmaps of twice the resolution, for small people (figure 2 of the paper).

Modules are named as in the authors' PyTorch release, see `layers`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import hrnet, layers, network
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import BasicBlock, Conv, ConvTranspose, relu

BLOCKS = 4
"""Residual blocks of a deconvolution."""

MOST_DECONVOLUTIONS = 2
"""With so many the finest heatmaps have the resolution of the image."""


class Deconvolution(nn.Module):
    """Doubles the resolution by a transposed convolution, then applies residual blocks.

    Attributes:
      features: channels of the output.
      norm: settings of batch normalization.
      dtype: precision of the activations.
    """

    features: int
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, 2 H, 2 W, features]``."""
        x = ConvTranspose(self.features, dtype=self.dtype, name="0.0")(x)
        x = relu(BatchNorm(self.norm, name="0.1")(x, train))
        for block in range(1, BLOCKS + 1):
            x = BasicBlock(self.features, self.norm, self.dtype, name=f"{block}.0")(x, train)
        return x


class HigherHRNet(hrnet.HRNet):
    """HRNet that predicts heatmaps and tags of all people in a photo.

    Maps normalized images ``[B, H, W, 3]``, whose sides are multiples of 32, to a tuple with the output of each
    head: ``[B, H / 4, W / 4, 2 K]``, the heatmaps of all joints before their tags, then ``[B, H / 2, W / 2, K]``,
    heatmaps alone, and so on for further deconvolutions. Outputs are linear.

    With 17 joints the network of width 32 has 28.6 M parameters, that of width 48 63.8 M, as published. At 512x512
    and 640x640 the paper gives them 47.9 and 154.3 GFLOPs. These are multiply-adds, in units of 1e9, as
    `models.count_multiply_adds` counts them: transposed convolutions four times.

    Attributes:
      num_joints: number of joints, K.
      deconvolutions: heads after the first, each of twice the resolution. 1 in the release. Without any it is the
        HRNet for bottom-up pose estimation that the paper compares with.
      remat: whether to recompute the activations of each exchange unit and deconvolution in the backward pass.
      width, stem, units, blocks and others: as of `hrnet.HRNet`.
    """

    deconvolutions: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError for heatmaps finer than the image."""
        super().__post_init__()
        if not 0 <= self.deconvolutions <= MOST_DECONVOLUTIONS:
            raise ValueError(
                f"`model.deconvolutions` (={self.deconvolutions}) must be 0, 1 or {MOST_DECONVOLUTIONS}: more"
                " would make the heatmaps finer than the image"
            )

    def head(self, branches: Sequence[jax.Array], train: bool) -> tuple[jax.Array, ...]:  # pyright: ignore
        """Maps the finest branch to the outputs of all heads, coarse to fine."""
        deconvolution = nn.remat(Deconvolution, static_argnums=(2,)) if self.remat else Deconvolution
        x = branches[0]
        outputs = [self._predict(0, 2 * self.num_joints, x)]
        for i in range(self.deconvolutions):
            x = jnp.concatenate([x, outputs[-1].astype(x.dtype)], axis=-1)
            x = deconvolution(self.width, self.norm, self.dtype, name=f"deconv_layers.{i}")(x, train)
            outputs.append(self._predict(i + 1, self.num_joints, x))
        return tuple(outputs)

    def _predict(self, i: int, channels: int, x: jax.Array) -> jax.Array:
        dtype = at_least_float32(self.dtype)
        return Conv(channels, 1, use_bias=True, dtype=dtype, name=f"final_layers.{i}")(x)


def _strides(sizes: Mapping[str, Any]) -> list[int]:
    return [layers.STRIDE // 2**i for i in range(sizes["deconvolutions"] + 1)]


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of HRNet, and the deconvolutions if there are heads, which an image classifier lacks."""
    fields, head = hrnet.NETWORK.infer(tensors), tensors.get("final_layers.0.weight")
    if not fields or head is None or head.ndim != 4:
        return fields
    return fields | {"deconvolutions": network.count_parts(tensors, r"deconv_layers\.(\d+)\.")}


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_higher_hrnet  # PyTorch is optional

    return torch_higher_hrnet.HigherHRNet(num_joints, **sizes)


NETWORK = dataclasses.replace(
    hrnet.NETWORK,
    module=HigherHRNet,
    fields={
        **hrnet.NETWORK.fields,
        "norm_group_size": Field(12, "Photos normalized together, those of a GPU; 0 is all.", minimum=0),
        "deconvolutions": Field(1, "Heads of twice the resolution each; 0 to 2.", minimum=0, network=True),
    },
    title="HigherHRNet-W{width}",
    tag="higher_hrnet_w{width}",
    infer=_infer,
    torch_model=_torch_model,
    strides=_strides,
    bottom_up=True,
    joint_layers=(
        *("final_layers.0.", "final_layers."),
        *(f"deconv_layers.{i}.0.0." for i in range(MOST_DECONVOLUTIONS)),
    ),
    heads=("final_layers.", "deconv_layers."),
    unused={**hrnet.NETWORK.unused, "of a head for one person": re.compile(r"final_layer\.")},
    order=(*network.ORDER, "final_layers", "deconv_layers"),
)
