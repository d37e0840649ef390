import jax
import numpy as np

from examples import uncertainty


def gaussian(mean, covariance) -> np.ndarray:
    """A distribution over 40 x 30 pixels."""
    rows, columns = np.mgrid[:40, :30]
    offsets = np.stack([columns, rows], -1) - mean
    density = np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", offsets, np.linalg.inv(covariance), offsets))
    return (density / density.sum())[None, :, :, None]


MEANS = [(14.3, 18.8), (16.0, 22.0)]
COVARIANCES = [np.array([[4.0, 1.5], [1.5, 6.0]]), np.array([[3.0, -1.0], [-1.0, 2.0]])]


def test_moments_of_a_gaussian_are_its_parameters():
    with jax.enable_x64(True):
        moments = jax.jit(uncertainty.moments)
        for mean, covariance in zip(MEANS, COVARIANCES, strict=True):
            found_mean, found_covariance = moments(gaussian(mean, covariance))
            np.testing.assert_allclose(found_mean[0, 0], mean, atol=1e-4)
            np.testing.assert_allclose(found_covariance[0, 0], covariance, atol=1e-3)


def test_both_parts_add_up_to_the_covariance_of_the_mixture():
    with jax.enable_x64(True):
        parts = jax.jit(lambda members: uncertainty.decompose(*jax.vmap(uncertainty.moments)(members)))
        members = np.stack([gaussian(*parameters) for parameters in zip(MEANS, COVARIANCES, strict=True)])
        of_image, of_weights = parts(members)
        _, expected = jax.jit(uncertainty.moments)(members.mean(0))
        np.testing.assert_allclose(np.add(of_image, of_weights), expected, rtol=1e-9)
        _, none = parts(np.stack([members[0], members[0]]))
        np.testing.assert_allclose(none, np.zeros((1, 1, 2, 2)), atol=1e-12)
