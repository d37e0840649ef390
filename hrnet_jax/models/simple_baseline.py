"""SimpleBaseline (Xiao et al., ECCV 2018): a ResNet followed by three deconvolutions.

The ResNet (He et al., CVPR 2016) reduces the image resolution to 1/32. The deconvolutions restore it to 1/4.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax.fields import Field
from hrnet_jax.models import layers, network
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import Bottleneck, Conv, ConvTranspose, relu

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Depth of the ResNet -> residual blocks in its four stages."""

DECONVOLUTIONS = 3
_FIRST = "deconv_layers.0.weight"


class SimpleBaseline(nn.Module):
    """Pose network of a ResNet without its classifier, three deconvolutions and a heatmap head.

    Attributes:
      num_joints: number of heatmaps, K.
      depth: of the ResNet, a key of `BLOCKS`.
      stem: channels of its first convolution.
      features: channels of the deconvolutions.
      colors: channel order of the input, see `layers.normalize`.
      norm: settings of batch normalisation.
      dtype: precision of the activations. Heatmaps are at least float32.
      remat: whether to recompute the activations of each residual block in the backward pass. Saves memory and
        costs a third more arithmetic.
    """

    num_joints: int
    depth: int = 50
    stem: int = 64
    features: int = 256
    colors: str = "BGR"
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a depth that is not in `BLOCKS`."""
        super().__post_init__()
        check_depth(self.depth)

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalised images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``.

        Raises:
          ValueError: a side of the image is not a multiple of 32.
        """
        layers.check_image_size(image.shape[1:3])
        options = {"norm": self.norm, "dtype": self.dtype, "remat": self.remat}
        x = resnet(image, train, self.depth, self.stem, **options)[-1]
        for i in range(DECONVOLUTIONS):
            # Numbered as in PyTorch's ``Sequential`` of convolution, normalisation and ReLU.
            x = ConvTranspose(self.features, dtype=self.dtype, name=f"deconv_layers.{3 * i}")(x)
            x = relu(BatchNorm(self.norm, name=f"deconv_layers.{3 * i + 1}")(x, train))
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name="final_layer")(x)


def check_depth(depth: int) -> None:
    """Raises ValueError for a depth that is not in `BLOCKS`."""
    if depth not in BLOCKS:
        raise ValueError(f"`model.depth` (={depth}) must be one of {', '.join(map(str, BLOCKS))}")


def resnet(
    image: jax.Array,
    train: bool,
    depth: int,
    stem: int,
    *,
    norm: Norm,
    dtype: jnp.dtype,
    remat: bool,
    prefix: str = "",
) -> list[jax.Array]:
    """Applies the stem and four stages of a ResNet within a network, whose names get a prefix.

    Returns the features of each stage, finest first: ``[B, H / 4, W / 4, 4 * stem]`` to
    ``[B, H / 32, W / 32, 32 * stem]``.
    """
    x = Conv(stem, 7, stride=2, dtype=dtype, name=f"{prefix}conv1")(image)
    x = relu(BatchNorm(norm, name=f"{prefix}bn1")(x, train))
    # Pads both sides equally, as PyTorch does and "SAME" does not.
    x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))  # pyright: ignore
    block_class, stages = nn.remat(Bottleneck, static_argnums=(2,)) if remat else Bottleneck, []
    for stage, blocks in enumerate(BLOCKS[depth]):
        for i in range(blocks):
            stride = 2 if stage > 0 and i == 0 else 1
            name = f"{prefix}layer{stage + 1}.{i}"
            x = block_class(stem * 2**stage, stride, norm, dtype, name=name)(x, train)
        stages.append(x)
    return stages


def infer(tensors: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, Any]:
    """Returns depth and stem of the ResNet whose tensors have names with a prefix; empty if there is none."""
    patterns = (rf"{re.escape(prefix)}layer{stage}\.(\d+)\.conv3\." for stage in (1, 2, 3, 4))
    blocks = tuple(network.count_parts(tensors, pattern) for pattern in patterns)
    depth = next((depth for depth, expected in BLOCKS.items() if blocks == expected), None)
    kernel = tensors.get(f"{prefix}conv1.weight")
    return {"depth": depth, "stem": kernel.shape[0]} if depth and kernel is not None else {}


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found, kernel = infer(tensors), tensors.get(_FIRST)
    return found | {"features": kernel.shape[1]} if found and kernel is not None else found


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_models  # PyTorch is optional

    return torch_models.SimpleBaseline(num_joints, **sizes)


NETWORK = network.Network(
    SimpleBaseline,
    fields=network.FIELDS
    | {
        "depth": Field(50, "Of the ResNet: 50, 101 or 152.", network=True),
        "stem": Field(64, "Channels of the ResNet's first convolution.", network=True, minimum=1),
        "features": Field(256, "Channels of the deconvolutions.", network=True, minimum=1),
        "colors": Field("BGR", "The authors trained these networks on BGR images.", network=True),
    },
    title="SimpleBaseline ResNet-{depth}",
    tag="resnet{depth}",
    infer=_infer,
    torch_model=_torch_model,
    heads=("final_layer.", "deconv_layers."),
    unused={network.CLASSIFIER: re.compile(r"fc\b")},
)
