"""Pixels changed, within a few grey levels, to mislead a network: FGSM and PGD."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from examples import functions, start
from hrnet_jax import console, heatmap
from hrnet_jax.models import layers

ImageLoss = Callable[[jax.Array], jax.Array]
"""(images ``[B, H, W, 3]`` from 0 to 255) -> scalar to increase, a sum over the people."""


def fgsm(loss: ImageLoss, image: jax.Array, epsilon: float) -> jax.Array:
    """Changes each pixel by `epsilon` grey levels, up or down by the gradient's sign (Goodfellow et al., 2015)."""
    return jnp.clip(image + epsilon * jnp.sign(jax.grad(loss)(image)), 0, 255)


def pgd(
    loss: ImageLoss, image: jax.Array, noise: jax.Array, *, epsilon: float, step: float, steps: int
) -> jax.Array:
    """Ascends the loss from ``image + noise`` in `steps` steps of `step` grey levels (Madry et al., ICLR 2018).

    Stays within `epsilon` grey levels of the image. The paper draws the noise uniformly within `epsilon`. Compile
    the loss; compiling the attack would compile each step.
    """
    low, high = jnp.maximum(image - epsilon, 0), jnp.minimum(image + epsilon, 255)
    attacked = jnp.clip(image + noise, low, high)
    for _ in range(steps):
        attacked = jnp.clip(attacked + step * jnp.sign(jax.grad(loss)(attacked)), low, high)
    return attacked


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints how far joints move from where they were found, for changes of one to eight grey levels."""
    at = start.run(__doc__, arguments)
    predict = functions.make_predict(at.model)
    loss = functions.make_loss(predict, at.variables["batch_stats"])
    image = at.batch["image"].astype(jnp.float32)

    @jax.jit
    def image_loss(image: jax.Array) -> jax.Array:
        return loss(at.variables["params"], {**at.batch, "image": image}).sum()

    @jax.jit
    def moved(attacked: jax.Array) -> jax.Array:
        joints, _ = heatmap.decode(predict(at.variables, attacked))
        original, _ = heatmap.decode(predict(at.variables, image))
        return layers.STRIDE * jnp.linalg.norm(joints - original, axis=-1).mean()

    noise = jax.random.uniform(jax.random.key(0), image.shape, minval=-1.0)
    for e in (1.0, 2.0, 4.0, 8.0):
        one_step = moved(fgsm(image_loss, image, e))
        ten_steps = moved(pgd(image_loss, image, e * noise, epsilon=e, step=e / 4, steps=10))
        print(f"{e:.0f} grey levels: FGSM {one_step:.1f}, PGD {ten_steps:.1f} crop pixels")


if __name__ == "__main__":
    console.run(main)
