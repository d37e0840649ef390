"""CPN's targets and decoding, against OpenCV and the numbers of GengDavid's code."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hrnet_jax import codecs, cpn_codec, heatmap

KERNELS = {"256x192": (15, 11, 9, 7), "384x288": (23, 17, 13, 9)}


@pytest.fixture
def numbers(shared):
    with np.load(shared / "conformance/cpn/codec.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("tag", KERNELS)
def test_targets_are_the_references(numbers, tag):
    height, width = map(int, tag.split("x"))
    joints, flags = (numbers[f"target/{tag}/{name}"] for name in ("joints", "vis"))
    sizes = {"image_size": (height, width), "heatmap_size": (height // 4, width // 4)}
    with jax.enable_x64(True):
        labels = jnp.asarray(joints), jnp.asarray((flags > 0) * 1.0)
        for side, expected in zip(KERNELS[tag], numbers[f"target/{tag}/heatmaps"], strict=True):
            found, labelled = cpn_codec.render(*labels, **sizes, side=side)
            assert np.abs(np.asarray(found).transpose(0, 3, 1, 2) - expected).max() < 1e-6 * 255
    inside = ((joints >= 0) & (joints < (width, height))).all(-1)
    np.testing.assert_array_equal(labelled, (flags > 0) & inside)


@pytest.mark.parametrize("side", range(1, 25, 2))
def test_kernels_and_borders_are_opencvs(side):
    if side == 9 and tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 14):
        pytest.skip("older versions of OpenCV have no numbers of their own for 9 pixels")
    np.testing.assert_allclose(cpn_codec.kernel(side), cv2.getGaussianKernel(side, 0)[:, 0], atol=1e-15)
    for pixels in (3, 8, 24):
        impulse = np.eye(pixels)
        expected = [cv2.GaussianBlur(row[:, None].repeat(30, 1), (side, side), 0)[:, 15] for row in impulse]
        np.testing.assert_allclose(cpn_codec.blur_matrix(pixels, side), np.array(expected).T, atol=1e-14)


def test_the_mirrored_border_moves_maxima_outwards():
    joints = jnp.asarray([[[4.0, 40.0], [8.0, 40.0], [12.0, 40.0], [-0.5, 40.0]]], jnp.float32)
    sizes = {"image_size": (256, 192), "heatmap_size": (64, 48)}
    heatmaps, labelled = cpn_codec.render(joints, jnp.ones((1, 4), jnp.float32), **sizes, side=15)
    x = np.asarray(heatmaps).max(1).argmax(1)[0]
    assert x[:3].tolist() == [0, 0, 2] and labelled.tolist() == [[1, 1, 1, 0]] and not heatmaps[..., 3].any()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_decoding_is_the_references(numbers, precision):
    with jax.enable_x64(precision == "float64"):
        heatmaps = jnp.asarray(numbers["decode/heatmaps"].transpose(0, 2, 3, 1).astype(precision))
        corners = numbers["decode/crop_box"]
        scale = np.array([4.0 * x for x in heatmaps.shape[2:0:-1]]) / (corners[:, 2:] - corners[:, :2])
        matrix = scale[:, :, None] * np.dstack([np.tile(np.eye(2), (2, 1, 1)), -corners[:, :2, None]])
        size = [4 * side for side in heatmaps.shape[1:3]]
        matrix = jnp.asarray(matrix.astype(precision))
        joints, scores = codecs.decode_in_photo(heatmaps, matrix, size, decoder="cpn")
    np.testing.assert_allclose(joints, numbers["decode/preds"], atol=1e-6 if precision == "float64" else 1e-3)
    np.testing.assert_allclose(scores, numbers["decode/joint_scores"], rtol=1e-6)


def test_a_target_is_found_in_the_middle_of_its_crop_pixels():
    joints = jnp.asarray([[[50.0, 90.0], [101.0, 63.0]]], jnp.float32)
    sizes = {"image_size": (128, 128), "heatmap_size": (32, 32)}
    heatmaps, _ = cpn_codec.render(joints, jnp.ones((1, 2), jnp.float32), **sizes, side=7)
    found, scores = heatmap.decode(heatmaps, "cpn")
    assert np.abs(4 * found - (4 * np.floor(joints / 4) + 2)).max() <= 1  # a quarter of a heatmap pixel
    np.testing.assert_allclose(scores, 1.5, rtol=1e-6)


def test_an_empty_heatmap_is_decoded_to_its_corner():
    found, scores = cpn_codec.decode(jnp.zeros((1, 8, 6, 2), jnp.float32))
    np.testing.assert_array_equal(found, np.full((1, 2, 2), 0.5))
    np.testing.assert_array_equal(scores, [[0.5, 0.5]])
