import functools

import jax
import numpy as np
import pytest

from examples import augmented_prediction as tta
from examples import functions, uncertainty
from hrnet_jax import inference

ORDER = np.array([1, 0, 2])


def subsample(image):
    """A network that finds what it is shown: heatmap pixel (x, y) is pixel (4 x, 4 y) of the image."""
    return image[:, ::4, ::4]


def blob(x: float, y: float) -> np.ndarray:
    """An image whose three colours are a Gaussian about a point."""
    rows, columns = np.mgrid[:128, :96]
    gaussian = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 8.0**2))
    return np.repeat(gaussian[None, :, :, None], 3, 3).astype(np.float32)


VARIANTS = {
    "shift": tta.shifted(subsample, 2, -1),
    "shift to the left": tta.shifted(subsample, -3, 2),
    "enlarged": tta.scaled(subsample, 1.2),
    "reduced": tta.scaled(subsample, 0.8),
    "all": tta.flipped(tta.shifted(tta.scaled(subsample, 1.1), 1, 1), ORDER),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_joints_come_back_to_their_place(variant):
    heatmaps = jax.jit(variant)(blob(46.0, 66.0))
    assert heatmaps.shape == (1, 32, 24, 3)
    distribution = heatmaps / heatmaps.sum((1, 2), keepdims=True)
    found, _ = jax.jit(uncertainty.moments)(distribution)
    np.testing.assert_allclose(found, np.tile([[[11.5, 16.5]]], (1, 3, 1)), atol=0.01)


def test_shifts_are_exact_but_for_the_border():
    image = np.random.default_rng(0).standard_normal((2, 32, 24, 3)).astype(np.float32)
    found = np.asarray(jax.jit(tta.shifted(subsample, 2, 1))(image))
    np.testing.assert_array_equal(found[:, :-1, :-2], subsample(image)[:, :-1, :-2])
    assert not found[:, -1].any() and not found[:, :, -2:].any()


def test_a_transform_moves_the_image_and_not_only_the_heatmaps():
    @jax.jit
    def seen(image):
        images = []

        def predict(image):
            images.append(image)
            return subsample(image)

        tta.shifted(predict, 2, 1)(image)
        tta.scaled(predict, 0.5)(image)
        tta.flipped(predict, ORDER)(image)
        return images

    peaks = [divmod(int(np.asarray(image)[0, :, :, 0].argmax()), 96) for image in seen(blob(46.0, 66.0))]
    assert peaks == [(70, 54), (64, 46), (66, 49)]


def test_flip_and_average_are_the_flip_test(small):
    order = small.skeleton.flip_order
    predict = functions.make_predict(small.model)

    def plain(image):
        return predict(small.variables, image)

    found = jax.jit(tta.average(plain, tta.flipped(plain, order, 1.0)))(small.batch["image"])
    flip_test = functools.partial(inference.predict_heatmaps, small.model, flip_order=order, shift=1.0)
    expected = jax.jit(flip_test)(small.variables, small.batch["image"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
