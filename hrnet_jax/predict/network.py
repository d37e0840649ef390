"""The compiled network of a predictor: crops in, joints in the photo out."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from hrnet_jax import heatmap, inference, models, sharding
from hrnet_jax.datasets import records
from hrnet_jax.export.trained import Trained
from hrnet_jax.skeletons import Skeleton
from hrnet_jax.torch_interop import loading

Step = Callable[[np.ndarray, np.ndarray], tuple[jax.typing.ArrayLike, ...]]
"""(images [B, H, W, 3] uint8, photo_to_crop [B, 2, 3] float32) -> joints [B, K, 2], scores [B, K], heatmaps."""


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network that predicts joints in photo pixels.

    Attributes:
      step: predicts a batch, always of the same size.
      image_size: (height, width) of the crops.
      skeleton: of the K joints.
      precision: of the crops' centre and scale, see `geometry`.
    """

    step: Step
    image_size: tuple[int, int]
    skeleton: Skeleton
    precision: type[np.floating] = np.float32


def compile_network(opened: Trained, mesh: Mesh, dtype: str = "float32") -> Network:
    """Puts a trained network on the devices of a mesh. It is compiled at its first batch.

    `dtype` is the precision of the activations, a key of `models.DTYPES`. Raises ValueError for another one.
    """
    if dtype not in models.DTYPES:
        raise ValueError(f"`dtype` (={dtype!r}) must be one of {', '.join(models.DTYPES)}")
    settings, model = opened.settings, loading.build(opened.network, dtype=models.DTYPES[dtype])
    variables = sharding.place_state(opened.variables, mesh)

    @jax.jit
    def predict(variables, image, photo_to_crop):
        heatmaps = inference.predict_heatmaps(
            model, variables, image, flip_order=settings.flip_order, shift=settings.flip_shift
        )
        stride = image.shape[1] / heatmaps.shape[1]
        return *heatmap.decode_in_photo(heatmaps, photo_to_crop, stride, settings.decoder), heatmaps

    def step(image: np.ndarray, photo_to_crop: np.ndarray) -> tuple[jax.Array, ...]:
        batch = sharding.place_batch({"image": image, "crop": photo_to_crop}, mesh)
        return predict(variables, batch["image"], batch["crop"])

    precision = records.PRECISION.get(settings.skeleton.name, np.float32)
    return Network(step, settings.image_size, settings.skeleton, precision)
