"""The parts that pose networks are built from, with PyTorch's arithmetic and PyTorch's names.

Conventions: arrays are ``[batch, height, width, channels]``; parameters are called ``weight`` and ``bias``,
statistics ``running_mean`` and ``running_var``, and a part is named by its place in the PyTorch release (dots
included), so that joining the path of a parameter gives its key in a PyTorch state dict. Only the layout of
convolution weights differs: ``[height, width, in, out]`` here.

Parameters, statistics and what is computed from them are float32 (or float64 if they are given so); ``dtype``
is the precision of the activations.
"""

from collections.abc import Sequence

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
"""Image sides must be multiples of this: the coarsest features have a 32nd of the image's resolution."""

COLORS = ("RGB", "BGR")


def normalize(image: jax.Array, colors: str = "RGB", dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Returns images with ImageNet's mean 0 and deviation 1, from ``[..., 3]`` uint8 RGB.

    Args:
      image: uint8, RGB.
      colors: the order in which the network reads them. "BGR" is what the authors' SimpleBaselines were trained
        with: channels turned round, yet mean and deviation in the order of RGB.
      dtype: precision of the network's activations. In float64 the images are too, or the last bits of float32,
        which XLA may round one way going forward and another going back, are all that a comparison shows.
    """
    image = image if colors == "RGB" else image[..., ::-1]
    dtype = at_least_float32(dtype)
    shape = (1,) * (image.ndim - 1) + (3,)
    mean, deviation = (x.astype(dtype).reshape(shape) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (image.astype(dtype) / np.array(255, dtype) - mean) / deviation


def check_image_size(image_size: Sequence[int]) -> None:
    """Raises ValueError unless both sides of the (height, width) are positive multiples of 32."""
    if len(image_size) != 2:
        raise ValueError(f"`image_size` (={tuple(image_size)}) must be two numbers, height and width")
    if any(side <= 0 or side % MULTIPLE for side in image_size):
        nearest = tuple(max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in image_size)
        raise ValueError(
            f"`image_size` (={tuple(image_size)}) must be multiples of {MULTIPLE}: nearest are {nearest}"
        )


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """Returns the positive part of an array; what is not a number stays so.

    Told from its output, and by choice rather than as a maximum, it is computed once and kept, which takes more
    memory: of ``jax.nn.relu`` XLA's CPU compiler computes again, for each layer that reads it, the whole chain of
    residual sums up to it.
    """
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


@relu.defjvp
def _relu_jvp(primals, tangents):
    y = relu(*primals)
    return y, jnp.where(y <= 0, jnp.zeros((), y.dtype), tangents[0])


class Conv(nn.Module):
    """A convolution padded as PyTorch's: half the kernel on every side, also with stride 2 (not ``SAME``)."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves ``[B, H, W, C]``."""
        size = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        weight = self.param("weight", nn.initializers.normal(0.001), size, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        if self.kernel_size == 1:
            # The same sum as a product of two matrices: several times faster on CPUs, gradients above all.
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
    """A 4x4 transposed convolution of stride 2 as PyTorch's with padding 1: twice the resolution.

    The weight is ``[height, width, out, in]``, PyTorch's ``[in, out, height, width]`` turned as every other one.
    """

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, 2 H, 2 W, features]``."""
        size = (4, 4, self.features, x.shape[-1])
        weight = self.param("weight", nn.initializers.normal(0.001), size, jnp.float32).astype(self.dtype)
        x = x.astype(self.dtype)
        # Each output pixel meets 2x2 of the weights, which ones its row and column being even or odd decides:
        # four small convolutions; XLA's transposed one is up to a hundred times slower on CPUs.
        rows = [jnp.stack([self._pixels(x, weight, row, column) for column in (0, 1)], axis=3) for row in (0, 1)]
        batch, height, width, _ = x.shape
        return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, self.features)

    def _pixels(self, x: jax.Array, weight: jax.Array, row: int, column: int) -> jax.Array:
        """The output pixels of even (0) or odd (1) rows and columns, ``[B, H, W, features]``."""
        return jax.lax.conv_general_dilated(
            x,
            weight[3 - row :: -2, 3 - column :: -2],
            window_strides=(1, 1),
            padding=((1 - row, row), (1 - column, column)),
            dimension_numbers=("NHWC", "HWOI", "NHWC"),
        )


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and, if wanted, ReLU: a ``Sequential`` of the PyTorch release."""

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
    """Residual block of two 3x3 convolutions (He et al. 2016), channels unchanged."""

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
    """Residual block 1x1, 3x3, 1x1 (He et al. 2016) whose output has four times ``features`` channels."""

    features: int
    stride: int = 1
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps ``[B, H, W, C]`` to ``[B, H / stride, W / stride, 4 * features]``."""
        y = Conv(self.features, 1, dtype=self.dtype, name="conv1")(x)
        y = relu(BatchNorm(self.norm, name="bn1")(y, train))
        y = Conv(self.features, 3, self.stride, dtype=self.dtype, name="conv2")(y)
        y = relu(BatchNorm(self.norm, name="bn2")(y, train))
        y = Conv(4 * self.features, 1, dtype=self.dtype, name="conv3")(y)
        y = BatchNorm(self.norm, name="bn3")(y, train)
        if y.shape != x.shape:
            shortcut = ConvNorm(
                4 * self.features, 1, self.stride, norm=self.norm, dtype=self.dtype, name="downsample"
            )
            x = shortcut(x, train)
        return relu(x + y)
