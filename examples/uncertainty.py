"""How sure a network is of a joint: from the spread of its heatmap, and from the disagreement of an ensemble."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from examples import ensemble, functions, soft_argmax
from hrnet_jax import console
from hrnet_jax.models import layers


def moments(probabilities: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns mean ``[B, K, 2]`` and covariance ``[B, K, 2, 2]`` of distributions over pixels ``[B, h, w, K]``.

    In heatmap pixels.
    """
    _, height, width, _ = probabilities.shape
    positions = soft_argmax.pixels(height, width, probabilities.dtype)
    mean = jnp.einsum("bhwk,hwc->bkc", probabilities, positions, precision="highest")
    offsets = positions[None, :, :, None] - mean[:, None, None]
    covariance = jnp.einsum("bhwk,bhwkc,bhwkd->bkcd", probabilities, offsets, offsets, precision="highest")
    return mean, covariance


def decompose(means: jax.Array, covariances: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits the covariance of an ensemble's mixture into two parts ``[B, K, 2, 2]`` whose sum it is.

    The first is the mean of the members' covariances: what the image leaves open. The second is the covariance of
    their means: what the weights leave open, which more training data reduces (Lakshminarayanan et al., 2017).

    Args:
      means: ``[M, B, K, 2]``, of the M members, from `moments`.
      covariances: ``[M, B, K, 2, 2]``.
    """
    offsets = means - means.mean(0, keepdims=True)
    return covariances.mean(0), jnp.einsum("mbkc,mbkd->bkcd", offsets, offsets, precision="highest") / len(means)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both parts as standard deviations, averaged over the people."""
    at, members = ensemble.from_arguments(__doc__, arguments)
    predict = ensemble.ensemble(functions.make_predict(at.model))

    @jax.jit
    def parts(members: Any, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        return decompose(*jax.vmap(moments)(soft_argmax.probabilities(predict(members, image))))

    of_image, of_weights = (
        layers.STRIDE * jnp.sqrt(jnp.linalg.trace(part)).mean(0) for part in parts(members, at.batch["image"])
    )
    for name, a, b in zip(at.skeleton.joints, of_image, of_weights, strict=True):
        print(f"{name:<16} {a:5.1f} crop pixels from the image, {b:5.1f} from the weights")


if __name__ == "__main__":
    console.run(main)
