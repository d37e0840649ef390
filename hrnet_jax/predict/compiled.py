"""Networks of this package, compiled by JAX for one or more devices."""

import jax
import numpy as np
from jax.sharding import Mesh

from hrnet_jax import heatmap, inference, models, sharding
from hrnet_jax.export.trained import Trained
from hrnet_jax.predict.network import Network, make_network
from hrnet_jax.torch_interop import loading


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

    return make_network(step, settings, has_heatmaps=True)
