import jax
import jax.numpy as jnp
import numpy as np

from examples import functions, saliency


def test_the_jacobian_says_how_far_the_joints_move(double):
    locate = jax.jit(saliency.make_locate(functions.make_predict(double.model), double.variables))
    image = double.batch["image"][0].astype(jnp.float64)
    jacobian = jax.jit(lambda image: saliency.jacobian(locate, image))(image)
    assert jacobian.shape == (17, 2, 64, 64, 3)
    change = np.random.default_rng(0).standard_normal(image.shape)
    moved = (locate(image + 1e-6 * change) - locate(image - 1e-6 * change)) / 2e-6
    predicted = jnp.einsum("kchwi,hwi->kc", jacobian, change)
    np.testing.assert_allclose(moved, predicted, rtol=1e-4, atol=1e-4 * jnp.abs(predicted).max())


def test_saliency_is_the_length_over_both_coordinates_and_all_colours():
    jacobian = np.zeros((2, 2, 3, 4, 3))
    jacobian[1, :, 2, 3] = [[3.0, 0.0, 0.0], [0.0, 0.0, 4.0]]
    expected = np.zeros((2, 3, 4))
    expected[1, 2, 3] = 5
    np.testing.assert_allclose(saliency.saliency(jacobian), expected)


def test_the_picture_is_brightest_where_the_joint_depends_on_the_image():
    image, salient = np.full((20, 16, 3), 90, np.uint8), np.zeros((20, 16))
    salient[12:15, 4:7] = 1
    picture = saliency.draw(image, np.array([13.0, 3.0]), salient, enlarge=4)
    assert picture.shape == (80, 64, 3) and picture.dtype == np.uint8
    brightness = picture.sum(-1).astype(int)
    assert brightness[50:56, 18:24].mean() > brightness[:, 40:].mean() + 100
