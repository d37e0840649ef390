"""Every primitive, in functions that hold it, run by ONNX Runtime and compared with JAX."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from hrnet_jax.export.to_onnx import file, trace
from hrnet_jax.export.to_onnx.graph import BATCH, UnsupportedError
from hrnet_jax.models import layers

pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


RANDOM = np.random.default_rng(0)
SHAPE = (8, 6, 3)  # of an image


def weights(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def ops(function) -> collections.Counter:
    """Counts the operators of a function's graph."""
    graph = trace.trace(function, (BATCH, *SHAPE))
    return collections.Counter(node.op for node in graph.nodes)


def conv(x, kernel, stride=1, pad=(1, 1), **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (pad, pad), dimension_numbers=numbers, **options
    )


def flax(module):
    """Returns the function of a module with random weights."""
    variables = module.init(jax.random.key(0), jnp.zeros((1, *SHAPE), jnp.float32))

    def draw(leaf):  # scales and variances are positive
        return weights(*leaf.shape) if leaf.ndim > 1 else np.abs(weights(*leaf.shape)) + 0.5

    variables = jax.tree.map(draw, variables)
    return lambda x: module.apply(variables, x)


class SqueezeExcite(nn.Module):
    """A block of other people's networks."""

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(8, (3, 3))(x)
        y = nn.swish(nn.BatchNorm(use_running_average=True)(y))
        gate = nn.sigmoid(nn.Dense(8)(nn.relu(nn.Dense(4)(y.mean((1, 2), keepdims=True)))))
        return nn.ConvTranspose(4, (4, 4), strides=(2, 2))(y * gate)


class Attention(nn.Module):
    """Self-attention over pixels, with layer normalization and GELU."""

    @nn.compact
    def __call__(self, x):
        tokens = nn.Dense(4)(x.reshape(x.shape[0], -1, x.shape[-1]))
        query, key, value = (nn.Dense(4)(tokens) for _ in range(3))
        scores = nn.softmax(jnp.einsum("bqc,bkc->bqk", query, key) / 2.0)
        tokens = nn.LayerNorm()(tokens + jnp.einsum("bqk,bkc->bqc", scores, value))
        return nn.gelu(tokens).reshape(*x.shape[:-1], 4)


K3, K1, K2, GROUPED = weights(3, 3, 3, 4), weights(3, 5), weights(2, 2, 3, 4), weights(3, 3, 1, 6)
K342, K42 = weights(3, 3, 4, 2), weights(4, 2)
SCALE, SHIFT = weights(1, 1, 1, 4), weights(1, 1, 1, 4)

FUNCTIONS = {
    "identity": lambda x: x + 0,
    "convolution": lambda x: conv(x, K3),
    "stride and asymmetric padding": lambda x: conv(x, K2, 2, (1, 0)),
    "dilation": lambda x: conv(x, K3, pad=(2, 2), rhs_dilation=(2, 2)),
    "groups": lambda x: conv(x, GROUPED, feature_group_count=3),
    "transposed": lambda x: conv(x, K3, pad=(2, 1), lhs_dilation=(2, 2)),
    "matrix product": lambda x: (x.reshape(-1, 3) @ K1).reshape(*x.shape[:-1], 5),
    "1x1 after 3x3": lambda x: (conv(x, K3).reshape(-1, 4) @ K42).reshape(*x.shape[:-1], 2),
    "einsum": lambda x: jnp.einsum("bhwc,bhvc->bhwv", x, x),
    "folded": lambda x: ((conv(x, K3) - SHIFT) * SCALE + SHIFT) / (SCALE * SCALE + 1),
    "constant first": lambda x: SHIFT - conv(x, K3) * SCALE,
    "twice used": lambda x: (y := conv(x, K3)) + y * SCALE,
    "relu": lambda x: layers.relu(conv(x, K3)),
    "jax's relu": lambda x: jax.nn.relu(conv(x, K3)) + jax.nn.leaky_relu(conv(x, K3)) + jax.nn.relu6(x[..., :1]),
    "selection": lambda x: jnp.where(x > 100, x, -x) + jnp.where(x[..., :1] <= 0, 1.0, x),
    "upsampling": lambda x: conv(conv(x, K3).repeat(2, 1).repeat(3, 2), K342),
    "upsampling twice used": lambda x: (y := conv(x, K3).repeat(2, 1).repeat(2, 2)) * jnp.exp(y / 1000),
    "repeated channels": lambda x: x.repeat(2, 3),
    "tiled": lambda x: jnp.tile(x, (1, 2, 1, 1)),
    "colours": lambda x: x[..., ::-1] * jnp.array([1.0, 2, 3]).reshape(1, 1, 1, 3),
    "slices": lambda x: x[:, 1:7:2, ::2, 1:],
    "first row": lambda x: x[:, 0],
    "joined": lambda x: jnp.concatenate([conv(x, K3), x], -1),
    "stacked": lambda x: jnp.stack([x, 2 * x], 3).reshape(x.shape[0], 8, -1, 3),
    "shuffled": lambda x: conv(x, K3).reshape(-1, 8, 6, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 12, 1),
    "split": lambda x: x.reshape(-1, 4, 2, 6, 3).max((2,)),
    "padded": lambda x: jnp.pad(conv(x, K3), ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=3),
    "max pool": lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))),
    "average pool": lambda x: jax.lax.reduce_window(
        conv(x, K3), 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 0), (0, 0))
    ),
    "sums": lambda x: conv(x, K3).sum((1, 2)) + x.max((1, 2))[:, :1] - x.min((1, 2, 3))[:, None],
    "mean of rows": lambda x: conv(x, K3) - conv(x, K3).mean(1, keepdims=True),
    "softmax": lambda x: jax.nn.softmax(x / 50),
    "powers": lambda x: jnp.sqrt(x + 1) + jax.lax.rsqrt(x + 1) + (x / 100) ** 3 + jnp.square(x) + x**0.5,
    "logic": lambda x: (((x > 3) & (x < 90)) | ~(x >= 60)).astype(jnp.float32),
    "scalar of an image": lambda x: x / x.max((1, 2, 3), keepdims=True),
    "squeeze and excite": flax(SqueezeExcite()),
    "attention": flax(Attention()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_onnx_computes_what_jax_computes(tmp_path, name):
    def function(images):
        return FUNCTIONS[name](images.astype(jnp.float32))

    file.write(tmp_path / "x.onnx", function, SHAPE[:2], {})
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        images = RANDOM.integers(0, 256, (batch, *SHAPE), np.uint8)
        (found,) = session.run(None, {trace.IMAGE: images})
        expected = np.asarray(function(images))
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def as_float(function):
    return lambda images: function(images.astype(jnp.float32))


def test_affine_arithmetic_becomes_part_of_the_convolution():
    assert ops(as_float(FUNCTIONS["folded"])) == {"Cast": 1, "Transpose": 2, "Conv": 1}
    assert ops(as_float(FUNCTIONS["twice used"]))["Mul"] == 1, "the convolution itself is needed, too"


def test_batch_normalization_leaves_no_trace():
    block = layers.BasicBlock(3)
    variables = block.init(jax.random.key(0), jnp.zeros((1, *SHAPE)), False)
    found = ops(as_float(lambda x: block.apply(variables, x, False)))
    assert found == {"Cast": 1, "Transpose": 2, "Conv": 2, "Relu": 2, "Add": 1}


def test_pixels_are_repeated_by_one_operation():
    found = ops(as_float(FUNCTIONS["upsampling"]))
    assert found["Resize"] == 1 and found["Transpose"] == 2 and "Expand" not in found


def test_a_product_with_channels_is_a_convolution():
    found = ops(as_float(FUNCTIONS["1x1 after 3x3"]))
    assert found["Conv"] == 2 and "Reshape" not in found and "Einsum" not in found


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: jnp.sort(x), "the primitive `sort`"),
        (lambda x: jnp.cumsum(x, 1), "the primitive `cumsum`"),
        (lambda x: x[:2], "`slice` .* a part of the batch"),
        (lambda x: x[::-1], "`rev` .* a part of the batch"),
        (lambda x: jnp.concatenate([x, jnp.zeros_like(x)], -1), "`concatenate` .* depends on the batch size"),
        (lambda x: jax.lax.pad(x, np.float32(0), [(0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0)]), "`pad`"),
        (
            lambda x: conv(x, K3, 2, lhs_dilation=(2, 2)),
            "`conv_general_dilated` .* both `lhs_dilation` and strides",
        ),
    ],
)
def test_other_computations_are_refused_by_name(function, message):
    with pytest.raises(UnsupportedError, match=message):
        trace.trace(as_float(function), (BATCH, *SHAPE))
