"""Cascaded Pyramid Network (Chen et al., CVPR 2018): a ResNet, GlobalNet and RefineNet.

GlobalNet takes the features of the ResNet's four stages, from coarse to fine, adds those of the coarser level to
each, and predicts heatmaps at every level. RefineNet takes the same features, the coarser through more blocks, and
predicts the heatmaps that count, which train on the hardest joints (`losses.ohkm`).

Modules are named as in GengDavid/pytorch-cpn, see `layers`. No convolution has a bias.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import cpn_codec
from hrnet_jax.fields import Field
from hrnet_jax.models import layers, network, simple_baseline
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import Bottleneck, Conv, ConvNorm, relu

LEVELS = 4
KERNELS = (15, 11, 9, 7)
"""Pixels of the kernels that blur the targets of GlobalNet's levels, coarse to fine, at 256x192."""

_FIRST, _PROJECTION = "global_net.laterals.0.0.weight", "refine_net.cascade.0.0.downsample.0.weight"


def enlarge(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Resizes ``[B, H, W, C]`` to a height and width, bilinear, so that the corner pixels stay the corners."""
    for axis, equation in ((1, "bhwc,ih->biwc"), (2, "bhwc,jw->bhjc")):
        if x.shape[axis] != size[axis - 1]:
            matrix = jnp.asarray(_corner_aligned(x.shape[axis], size[axis - 1]), x.dtype)
            x = jnp.einsum(equation, x, matrix, precision="highest")
    return x


def _corner_aligned(source: int, target: int) -> np.ndarray:
    """Returns the matrix ``[target, source]`` of linear interpolation between equally spaced pixels."""
    position = np.arange(target) * ((source - 1) / max(target - 1, 1))
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(source)))


class CPN(nn.Module):
    """Pose network of a ResNet without its classifier, GlobalNet and RefineNet.

    Attributes:
      num_joints: number of heatmaps, K.
      depth: of the ResNet, a key of `simple_baseline.BLOCKS`.
      stem: channels of its first convolution.
      features: channels of GlobalNet and RefineNet, an even number.
      projection: whether the shortcuts of all of RefineNet's blocks have a convolution, as in GengDavid's code, or
        only that whose number of channels changes, as in the authors'.
      colors: channel order of the input, see `layers.normalize`.
      norm: settings of batch normalization.
      dtype: precision of the activations. Heatmaps are at least float32.
      remat: whether to recompute the activations of each residual block in the backward pass. Saves memory and
        costs a third more arithmetic.
    """

    num_joints: int
    depth: int = 50
    stem: int = 64
    features: int = 256
    projection: bool = False
    colors: str = "RGB"
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a depth that there is not, or for channels that cannot be halved."""
        super().__post_init__()
        simple_baseline.check_depth(self.depth)
        if self.features % 2:
            raise ValueError(f"`model.features` (={self.features}) must be even")

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``.

        Keeps the heatmaps of GlobalNet's levels, coarse to fine, for `layers.apply_in_training`.

        Raises:
          ValueError: a side of the image is not a multiple of 32.
        """
        layers.check_image_size(image.shape[1:3])
        options = {"norm": self.norm, "dtype": self.dtype}
        sizes = {"depth": self.depth, "stem": self.stem}
        stages = simple_baseline.resnet(image, train, **sizes, remat=self.remat, prefix="resnet.", **options)
        size, features = stages[0].shape[1:3], []
        for i, x in enumerate(reversed(stages)):
            x = ConvNorm(self.features, 1, relu=True, name=f"global_net.laterals.{i}", **options)(x, train)
            features.append(x + self._upsample(i - 1, features[-1], train) if features else x)
            layers.keep_heatmaps(self, self._predict(i, features[-1], size, train))
        return self._refine(features, size, train)

    def _upsample(self, i: int, x: jax.Array, train: bool) -> jax.Array:
        """Doubles the resolution of the features of level `i`."""
        _, height, width, features = x.shape
        x = enlarge(x, (2 * height, 2 * width))
        x = Conv(features, 1, dtype=self.dtype, name=f"global_net.upsamples.{i}.1")(x)
        return BatchNorm(self.norm, name=f"global_net.upsamples.{i}.2")(x, train)

    def _predict(self, i: int, x: jax.Array, size: Sequence[int], train: bool) -> jax.Array:
        """Predicts heatmaps of this size from the features of level `i`."""
        name = f"global_net.predict.{i}"
        x = Conv(x.shape[-1], 1, dtype=self.dtype, name=f"{name}.0")(x)
        x = relu(BatchNorm(self.norm, name=f"{name}.1")(x, train))
        x = Conv(self.num_joints, dtype=at_least_float32(self.dtype), name=f"{name}.3")(x)
        return BatchNorm(self.norm, name=f"{name}.5")(enlarge(x, size), train)

    def _refine(self, features: Sequence[jax.Array], size: Sequence[int], train: bool) -> jax.Array:
        """Predicts heatmaps of this size from the features of all levels."""
        make = nn.remat(Bottleneck, static_argnums=(2,)) if self.remat else Bottleneck
        block = functools.partial(make, self.features // 2, 1, self.norm, self.dtype, 2, self.projection)
        enlarged = []
        for i, x in enumerate(features):
            for j in range(LEVELS - 1 - i):
                x = block(name=f"refine_net.cascade.{i}.{j}")(x, train)
            enlarged.append(enlarge(x, size))
        x = block(name="refine_net.final_predict.0")(jnp.concatenate(enlarged, axis=-1), train)
        x = Conv(self.num_joints, dtype=at_least_float32(self.dtype), name="refine_net.final_predict.1")(x)
        return BatchNorm(self.norm, name="refine_net.final_predict.2")(x, train)


def make_targets(config: ConfigDict) -> network.Targets:
    """Returns the function that renders the targets of all levels.

    GlobalNet's levels have a target for every joint, narrower from level to level: an empty one for joints that
    are hidden or not labelled. RefineNet's is the narrowest, and joints without a label do not count.

    Raises:
      ValueError: ``model.kernels`` are not four odd numbers.
    """
    model, (height, width) = config.model, config.image_size
    kernels = tuple(model.kernels)
    if len(kernels) != LEVELS or any(not isinstance(side, int) or side < 1 or side % 2 == 0 for side in kernels):
        raise ValueError(f"`model.kernels` (={kernels}) must be four odd numbers of pixels, from coarse to fine")
    original = {"offset": 0.0, "height": cpn_codec.HEIGHT}
    render = functools.partial(
        cpn_codec.render,
        image_size=(height, width),
        heatmap_size=(height // layers.STRIDE, width // layers.STRIDE),
        **(original if model.original_targets else {"offset": layers.STRIDE / 2, "height": 1.0}),
    )

    def targets(joints: jax.Array, visible: jax.Array, seen: jax.Array) -> tuple[Any, Any]:
        of_seen = [render(joints, seen, side=side)[0] for side in kernels]
        heatmaps, labelled = render(joints, visible, side=kernels[-1])
        return (*of_seen, heatmaps), (*[jnp.ones_like(visible)] * LEVELS, labelled)

    return targets


def _terms(loss: str) -> network.Terms:
    """GlobalNet's levels have half the mean squared error, RefineNet the whole; see `losses`."""
    return [*[("mse", 1.0)] * LEVELS, (loss, 2.0)]


def _infer(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    found = simple_baseline.infer(tensors, "resnet.")
    kernel = tensors.get(_FIRST)
    if not found or kernel is None:
        return found
    return found | {"features": kernel.shape[0], "projection": _PROJECTION in tensors}


def _from_classifier(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Gives the tensors of a ResNet without deconvolutions their names here."""
    is_classifier = simple_baseline.infer(tensors) and not any(
        name.startswith("deconv_layers.") for name in tensors
    )
    return {f"resnet.{name}": x for name, x in tensors.items()} if is_classifier else dict(tensors)


def _torch_model(num_joints: int, **sizes: Any) -> Any:
    from hrnet_jax.models import torch_models  # PyTorch is optional

    return torch_models.CPN(num_joints, **sizes)


NETWORK = network.Network(
    CPN,
    fields=network.FIELDS
    | {
        "depth": Field(50, "Of the ResNet: 50, 101 or 152.", network=True),
        "stem": Field(64, "Channels of the ResNet's first convolution.", network=True, minimum=1),
        "features": Field(256, "Channels of GlobalNet and RefineNet, even.", network=True, minimum=2),
        "projection": Field(False, "True: the form of GengDavid's checkpoints, with 0.4 M more.", network=True),
        "kernels": Field(
            KERNELS, "Heatmap pixels of the targets' blur, coarse to fine; 23, 17, 13, 9 at 384x288."
        ),
        "original_targets": Field(
            False, "True: targets 255 high and rounded down as in public code, for eval.decoder=cpn."
        ),
    },
    title="CPN ResNet-{depth}",
    tag="cpn{depth}",
    infer=_infer,
    labels=(*network.LABELS, "seen"),
    targets=make_targets,
    terms=_terms,
    torch_model=_torch_model,
    joint_layers=(
        *("refine_net.final_predict.1.", "refine_net.final_predict.2."),
        *(f"global_net.predict.{i}.{layer}." for i in range(LEVELS) for layer in (3, 5)),
    ),
    heads=("global_net.", "refine_net."),
    unused={network.CLASSIFIER: re.compile(r"resnet\.fc\b")},
    from_classifier=_from_classifier,
    caveat="images are normalized by ImageNet's mean and deviation here; GengDavid's code takes a mean off and"
    " divides by 255 only, and its heatmaps are 255 high and for the decoder `cpn`: fine-tune weights of it",
    order=(
        *("resnet", "global_net", "refine_net", "laterals", "upsamples", "predict", "cascade", "final_predict"),
        *network.ORDER,
    ),
)
