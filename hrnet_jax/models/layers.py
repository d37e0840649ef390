"""Layers and residual blocks with the arithmetic and the parameter names of PyTorch.

Arrays are ``[batch, height, width, channels]``. Convolution weights are ``[height, width, in, out]``.

Parameters are named ``weight`` and ``bias``, statistics ``running_mean`` and ``running_var``. Modules carry their
names in the PyTorch release, dots included. The path of a parameter, joined by dots, is therefore its key in a
PyTorch state dict.

``dtype`` is the precision of the activations. Parameters and statistics are float32, or float64 if given as such.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)

STRIDE = 4
"""Image pixels per heatmap pixel."""

MULTIPLE = 32
"""Image sides must be multiples of this in most networks, whose coarsest features have 1/32 of the resolution."""

COLORS = ("RGB", "BGR")


def normalize(image: jax.Array, colors: str = "RGB", dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Normalises images by the mean and standard deviation of ImageNet.

    Args:
      image: ``[..., 3]`` uint8 RGB.
      colors: ``"RGB"`` or ``"BGR"``. ``"BGR"`` reverses the channels but keeps mean and deviation in the order of
        RGB, as in the training of the authors' SimpleBaselines.
      dtype: precision of the network's activations.

    Returns:
      ``[..., 3]`` float32, or float64 if `dtype` is: float32 images could be rounded differently in the forward
      and the backward pass, an error that would dominate a comparison in float64.
    """
    image = image if colors == "RGB" else image[..., ::-1]
    dtype = at_least_float32(dtype)
    shape = (1,) * (image.ndim - 1) + (3,)
    mean, deviation = (x.astype(dtype).reshape(shape) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.astype(dtype) / np.array(255, dtype) - mean) / deviation


def check_image_size(image_size: Sequence[int], multiple: int = MULTIPLE) -> None:
    """Raises ValueError unless height and width are positive multiples of the network's number."""
    if len(image_size) != 2:
        raise ValueError(f"`image_size` (={tuple(image_size)}) must be two numbers, height and width")
    if any(side <= 0 or side % multiple for side in image_size):
        nearest = tuple(max(multiple, round(side / multiple) * multiple) for side in image_size)
        raise ValueError(
            f"`image_size` (={tuple(image_size)}) must be multiples of {multiple}: nearest are {nearest}"
        )


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """Returns ``max(x, 0)``; NaN stays NaN.

    Written as a selection, with a derivative in terms of the output. With ``jax.nn.relu``, XLA's CPU compiler
    recomputes the whole chain of residual sums for each layer that reads the result. This version is computed once
    and kept, at the cost of memory.
    """
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


@relu.defjvp
def _relu_jvp(primals, tangents):
    y = relu(*primals)
    return y, jnp.where(y <= 0, jnp.zeros((), y.dtype), tangents[0])


def double(x: jax.Array) -> jax.Array:
    """Doubles the resolution of ``[B, H, W, C]``, nearest neighbour."""
    batch, height, width, channels = x.shape
    pixels = jax.lax.broadcast_in_dim(x, (batch, height, 2, width, 2, channels), (0, 1, 3, 5))
    return pixels.reshape(batch, 2 * height, 2 * width, channels)


class Conv(nn.Module):
    """Convolution with PyTorch's padding: half the kernel on every side, unlike ``"SAME"`` with stride 2."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        size = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        weight = self.param("weight", nn.initializers.normal(0.001), size, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.kernel_size == 1:
            # A matrix product computes the same sum several times faster on CPUs, above all in the backward pass.
            x = x[:, :: self.stride, :: self.stride]
            y = jnp.dot(x.reshape(-1, x.shape[-1]), weight[0, 0]).reshape(*x.shape[:-1], self.features)
        else:
            pad = (self.kernel_size // 2, self.kernel_size // 2)
            strides = (self.stride, self.stride)
            y = jax.lax.conv_general_dilated(
                x, weight, strides, (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
            y = y + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return y


class ConvTranspose(nn.Module):
    """4x4 transposed convolution with stride 2 and PyTorch's padding of 1; doubles the resolution.

    The weight is ``[height, width, out, in]``, a transpose of PyTorch's ``[in, out, height, width]``.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, 2 H, 2 W, features]``."""
        size = (4, 4, self.features, x.shape[-1])
        weight = self.param("weight", nn.initializers.normal(0.001), size, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        # The parity of an output pixel's row and column selects 2x2 of the weights. This gives four small
        # convolutions. XLA's own transposed convolution is up to a hundred times slower on CPUs.
        rows = [jnp.stack([self._pixels(x, weight, row, column) for column in (0, 1)], axis=3) for row in (0, 1)]
        batch, height, width, _ = x.shape
        return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, self.features)

    def _pixels(self, x: jax.Array, weight: jax.Array, row: int, column: int) -> jax.Array:
        """Returns the output pixels at even (0) or odd (1) rows and columns, ``[B, H, W, features]``."""
        return jax.lax.conv_general_dilated(
            x,
            weight[3 - row :: -2, 3 - column :: -2],
            window_strides=(1, 1),
            padding=((1 - row, row), (1 - column, column)),
            dimension_numbers=("NHWC", "HWOI", "NHWC"),
        )


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and optionally ReLU: a ``Sequential`` of the PyTorch release."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    relu: bool = False
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, features]``."""
        x = Conv(self.features, self.kernel_size, self.stride, dtype=self.dtype, name="0")(x)
        x = BatchNorm(self.norm, name="1")(x, train)
        return relu(x) if self.relu else x


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions (He et al., CVPR 2016)."""

    features: int
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, features]`` to the same shape."""
        y = Conv(self.features, dtype=self.dtype, name="conv1")(x)
        y = relu(BatchNorm(self.norm, name="bn1")(y, train))
        y = Conv(self.features, dtype=self.dtype, name="conv2")(y)
        y = BatchNorm(self.norm, name="bn2")(y, train)
        return relu(x + y)


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 and 1x1 convolutions (He et al., CVPR 2016), with `expansion` times the features.

    The shortcut has a convolution where shapes differ, or always if `projection`.
    """

    features: int
    stride: int = 1
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32
    expansion: int = 4
    projection: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, expansion * features]``."""
        outputs = self.expansion * self.features
        y = Conv(self.features, 1, dtype=self.dtype, name="conv1")(x)
        y = relu(BatchNorm(self.norm, name="bn1")(y, train))
        y = Conv(self.features, 3, self.stride, dtype=self.dtype, name="conv2")(y)
        y = relu(BatchNorm(self.norm, name="bn2")(y, train))
        y = Conv(outputs, 1, dtype=self.dtype, name="conv3")(y)
        y = BatchNorm(self.norm, name="bn3")(y, train)
        if self.projection or y.shape != x.shape:
            shortcut = ConvNorm(outputs, 1, self.stride, norm=self.norm, dtype=self.dtype, name="downsample")
            x = shortcut(x, train)
        return relu(x + y)


_KEPT = ("intermediates", "heatmaps")  # flax leaves this collection out of a network's variables


def keep_heatmaps(module: nn.Module, heatmaps: jax.Array) -> None:
    """Keeps heatmaps of a network beside its prediction, for `apply_in_training`. Has no effect elsewhere."""
    module.sow(*_KEPT, heatmaps)


def apply_in_training(
    model: nn.Module, variables: Mapping[str, Any], image: jax.Array
) -> tuple[list[jax.Array], Any]:
    """Applies a network to normalized images in training mode.

    Returns all heatmaps that training compares with targets, those that the network keeps and its prediction last,
    and the next ``batch_stats``. A network for whole photos returns the output of each head, coarse to fine.
    """
    collection, name = _KEPT
    applied: Any = model.apply(variables, image, train=True, mutable=["batch_stats", collection])
    output, updates = applied
    outputs = output if isinstance(output, tuple) else (output,)
    return [*updates.get(collection, {}).get(name, ()), *outputs], updates["batch_stats"]


def for_each(arrays: Any, count: int) -> Sequence[Any]:
    """Returns targets or weights for each of so many heatmaps: a tuple has them, another value serves all."""
    return arrays if isinstance(arrays, tuple) else [arrays] * count


def of_prediction(arrays: Any) -> Any:
    """Returns the targets or weights of a network's prediction, the last of a tuple."""
    return for_each(arrays, 1)[-1]
