"""A predictor of whole photos whose network has no weights: the joints of people are dots in three colours."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax import sharding, skeletons
from hrnet_jax.bottom_up import inference
from hrnet_jax.bottom_up.grouping import Grouping
from hrnet_jax.models import layers
from hrnet_jax.predict.photo_network import PhotoNetwork
from hrnet_jax.predict.photo_predictor import PhotoPredictor

TRIANGLE = skeletons.Skeleton(
    name="triangle",
    joints=("top", "left", "right"),
    flip_pairs=((1, 2),),
    limbs=((0, 1), (1, 2), (2, 0)),
    sigmas=(0.05, 0.1, 0.1),
    upper_body=(0,),
)
SIZE = 64  # pixels of a person's cell, and of the short side of images
JOINTS = np.array([(32, 20), (22, 44), (42, 44)])  # of a person in its cell: red, green, blue


class Dots(nn.Module):
    """A network whose heatmaps are the colours of a photo, and whose tags differ from cell to cell."""

    colors: str = "RGB"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image, train=False):
        scale = self.param("scale", nn.initializers.ones, (), jnp.float32)
        black, white = (layers.normalize(jnp.full((1, 1, 1, 3), v, jnp.uint8)) for v in (0, 255))
        heatmaps = scale * (image - black) / (white - black)
        batch, height, width, _ = heatmaps.shape
        coarse, fine = (heatmaps.reshape(batch, height // s, s, width // s, s, 3).mean((2, 4)) for s in (4, 2))
        cell = (jnp.arange(coarse.shape[2]) // (SIZE // 4)).astype(jnp.float32)
        return jnp.concatenate([coarse, jnp.zeros_like(coarse) + 3 * cell[None, None, :, None]], axis=-1), fine


def draw(*joints: int, height: int = SIZE) -> np.ndarray:
    """A photo with people side by side, each with the first so many joints. The others are faint, to be filled.

    Cells grow with the height.
    """
    factor, photo = height / SIZE, np.zeros((height, height * max(len(joints), 1), 3), np.uint8)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    for cell, count in enumerate(joints):
        for joint, at in enumerate(JOINTS[: JOINTS.shape[0] * bool(count)] * factor):
            square = (x - at[0] - cell * height) ** 2 + (y - at[1]) ** 2
            dot = (250 if joint < count else 50) * np.exp(-square / (2 * (3 * factor) ** 2))
            photo[..., joint] = np.maximum(photo[..., joint], dot.astype(np.uint8))
    return photo


def make_predictor(batch_size: int = 1, weight: float = 1.0, **options) -> PhotoPredictor:
    """Returns a predictor. Options are of it or of the settings."""
    names = ("threads", "person_score", "max_pixels")
    of_predictor = {"threads": 2} | {name: options.pop(name) for name in names if name in options}
    usual = {"input_size": SIZE, "flip_test": False, "refine": False, "grouping": Grouping(joint_threshold=0.3)}
    settings = inference.Settings(TRIANGLE, **usual | options)
    mesh = sharding.make_mesh(jax.local_devices()[:1])
    variables = sharding.place_state({"params": {"scale": np.float32(weight)}}, mesh)
    forward = inference.compile_forward(Dots(), settings)
    return PhotoPredictor(PhotoNetwork(forward, variables, settings, mesh, batch_size), **of_predictor)
