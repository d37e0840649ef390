"""The pixels that move a joint: the Jacobian of joints by pixels, and a picture of it."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from examples import functions, soft_argmax, start
from hrnet_jax import console, visualize
from hrnet_jax.models import layers

Locate = Callable[[jax.Array], jax.Array]
"""(image ``[H, W, 3]`` from 0 to 255) -> joints ``[K, 2]`` in crop pixels."""


def make_locate(predict: functions.Predict, variables: Any) -> Locate:
    """Returns a network as a differentiable function of one person's pixels."""
    return lambda image: layers.STRIDE * soft_argmax.soft_argmax(predict(variables, image[None]))[0]


def jacobian(locate: Locate, image: jax.Array) -> jax.Array:
    """Returns how each joint moves as each pixel brightens, ``[K, 2, H, W, 3]`` crop pixels a grey level.

    One backward pass for each coordinate, all of them at once.
    """
    return jax.jacrev(locate)(image)


def saliency(jacobian: jax.Array) -> jax.Array:
    """Reduces a Jacobian to the length of the displacement for each joint and pixel, ``[K, H, W]``."""
    return jnp.sqrt(jnp.square(jacobian).sum((1, 4)))


def draw(image: np.ndarray, joint: np.ndarray, saliency: np.ndarray, enlarge: int = 3) -> np.ndarray:
    """Overlays the saliency ``[H, W]`` of a joint ``[2]`` on an image ``[H, W, 3]``, and marks the joint.

    The saliency is blurred over a few pixels, and its 99.5th percentile is the brightest.
    """
    smooth = cv2.GaussianBlur(saliency, (0, 0), 1.5)
    smooth, _ = visualize.enlarge(smooth / np.percentile(smooth, 99.5), joint, enlarge)
    picture, (point,) = visualize.enlarge(image, joint[None], enlarge)
    picture = visualize.draw_heatmap(picture, smooth[..., None], 1)
    return cv2.circle(picture, np.rint(point).astype(int).tolist(), 2 * enlarge, visualize.PAPER, 1, cv2.LINE_AA)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws the saliency of some joints of each person."""
    parser = start.parser(__doc__)
    parser.add_argument("--joints", nargs="+", default=["nose", "left_wrist", "left_hip", "right_ankle"])
    parser.add_argument("--out", default="saliency.jpg", help="default: %(default)s")
    args = parser.parse_args(arguments)
    at = start.from_arguments(args)
    locate = make_locate(functions.make_predict(at.model), at.variables)

    @jax.jit
    def look(image: jax.Array) -> tuple[jax.Array, jax.Array]:
        return locate(image), saliency(jacobian(locate, image))

    pictures = []
    for image in at.batch["image"]:
        joints, shares = jax.device_get(look(image.astype(jnp.float32)))
        for name in args.joints:
            number = at.skeleton.joints.index(name)
            picture = draw(np.asarray(image), joints[number], shares[number])
            pictures.append(visualize.caption(picture, name.replace("_", " ")))
    sheet = visualize.grid(pictures, columns=len(args.joints))
    pathlib.Path(args.out).write_bytes(visualize.encode_jpeg(sheet))
    print(f"{len(pictures)} pictures in {args.out}")


if __name__ == "__main__":
    console.run(main)
