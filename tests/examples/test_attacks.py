import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import attacks, functions

OPTIONS = {"epsilon": 4.0, "step": 1.0, "steps": 10}


@pytest.fixture
def image_loss(small):
    loss = functions.make_loss(functions.make_predict(small.model), small.variables["batch_stats"])
    return jax.jit(lambda image: loss(small.variables["params"], {**small.batch, "image": image}).sum())


def test_both_find_the_worst_image_of_a_linear_loss():
    slope = np.array([[[[1.0, -2.0, 3.0], [-1.0, 5.0, -1e-3]]]], np.float32)
    image = np.array([[[[100.0, 100.0, 254.0], [2.0, 0.0, 255.0]]]], np.float32)
    worst = [[[[104, 96, 255], [0, 4, 251]]]]

    def loss(image):
        return jnp.sum(image * slope)

    np.testing.assert_array_equal(attacks.fgsm(loss, image, 4.0), worst)
    np.testing.assert_array_equal(attacks.pgd(loss, image, np.zeros_like(image), **OPTIONS), worst)


def test_attacks_raise_the_loss_within_epsilon_more_than_chance(small, image_loss):
    image = small.batch["image"].astype(jnp.float32)
    noise = jax.random.uniform(jax.random.key(0), image.shape, minval=-4.0, maxval=4.0)
    fgsm = attacks.fgsm(image_loss, image, 4.0)
    pgd = attacks.pgd(image_loss, image, noise, **OPTIONS)
    for attacked in (fgsm, pgd):
        assert jnp.abs(attacked - image).max() <= 4 and attacked.min() >= 0 and attacked.max() <= 255
    by_chance = image_loss(jnp.clip(image + 4.0 * jnp.sign(noise), 0, 255))
    assert image_loss(pgd) > image_loss(fgsm) > max(by_chance, image_loss(image))
