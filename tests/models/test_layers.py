import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax.models import layers


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_relu_is_the_positive_part_and_keeps_nan():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0, jnp.inf, -jnp.inf])
    np.testing.assert_array_equal(layers.relu(x), [0, 0, 0, 3, jnp.inf, 0])
    np.testing.assert_array_equal(jax.grad(lambda x: layers.relu(x).sum())(x), [0, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(jax.jvp(layers.relu, (x,), (x + 5,))[1], [0, 0, 0, 8, jnp.inf, 0])
    assert jnp.isnan(layers.relu(jnp.array(jnp.nan)))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolution_pads_half_the_kernel_on_every_side(kernel_size, stride):
    x, weight = draw(2, 8, 6, 3), draw(kernel_size, kernel_size, 3, 4, seed=1)
    module = layers.Conv(4, kernel_size, stride)
    y = np.asarray(module.apply({"params": {"weight": weight}}, x))
    pad = kernel_size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    expected = np.zeros((2, 8 // stride, 6 // stride, 4))
    for row in range(expected.shape[1]):
        for column in range(expected.shape[2]):
            top, left = row * stride, column * stride
            window = padded[:, top : top + kernel_size, left : left + kernel_size]
            expected[:, row, column] = np.einsum("bijc,ijco->bo", window, weight)
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_transposed_convolution_spreads_every_pixel_over_four_by_four():
    """Pixel (i, j) adds to the 4x4 output pixels from (2 i - 1, 2 j - 1), as with PyTorch's padding of 1."""
    x, weight = draw(2, 3, 5, 4), draw(4, 4, 3, 4, seed=1)
    y = np.asarray(layers.ConvTranspose(3).apply({"params": {"weight": weight}}, x))
    expected = np.zeros((2, 8, 12, 3))
    for row in range(3):
        for column in range(5):
            spread = np.einsum("bi,hwoi->bhwo", x[:, row, column], weight)
            expected[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += spread
    np.testing.assert_allclose(y, expected[:, 1:-1, 1:-1], atol=1e-4)


def test_normalize_gives_imagenet_statistics():
    image = np.zeros((1, 1, 2, 3), np.uint8)
    image[..., 1, :] = 255
    expected = (image / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(jax.jit(layers.normalize)(image), expected, rtol=1e-6)
    assert layers.normalize(jnp.asarray(image), dtype=jnp.bfloat16).dtype == jnp.float32
    with jax.enable_x64(True):
        double = layers.normalize(jnp.asarray(image), dtype=jnp.float64)
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, expected, rtol=1e-7)  # the constants are those of float32


def test_networks_that_read_bgr_keep_mean_and_deviation_of_rgb():
    """As in the original's SimpleBaselines, a mistake there: blue is normalised by red's mean."""
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(layers.normalize(image, "BGR"), layers.normalize(image[..., ::-1].copy()))
    blue = np.full((1, 1, 1, 3), (0, 0, 255), np.uint8)
    expected = (np.array([1, 0, 0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(layers.normalize(blue, "BGR").reshape(3), expected, rtol=1e-6)
