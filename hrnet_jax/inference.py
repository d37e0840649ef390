"""From crops to joints in the photo: network, flip test, decoding, and the way back.

`predict_step` is a pure function of arrays that runs inside ``jit``, so that neither normalised images nor
heatmaps ever leave the device. `predict` runs it over a whole table of people.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils

from hrnet_jax import heatmap
from hrnet_jax.models import layers

Step = Callable[[Any, jax.typing.ArrayLike, jax.typing.ArrayLike], tuple[jax.Array, jax.Array]]
"""(variables, image, photo_to_crop) -> (joints, scores), see `predict_step`."""


def predict_heatmaps(
    model: nn.Module,
    variables: Mapping[str, Any],
    image: jax.Array,
    *,
    flip_order: np.ndarray | None,
    shift: float,
) -> jax.Array:
    """Returns ``[B, h, w, K]`` heatmaps of ``[B, H, W, 3]`` uint8 images, as `predict_step` has them."""
    normal = layers.normalize(image, model.colors, model.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    if flip_order is None:
        return model.apply(variables, normal, train=False)  # pyright: ignore[reportReturnType]
    # Image and mirror image lie side by side, so that one call sees both and, when the batch is split over
    # devices, each device keeps both of its own people.
    both = jnp.stack([normal, normal[:, :, ::-1]], axis=1)
    heatmaps = model.apply(variables, both.reshape(-1, *normal.shape[1:]), train=False)
    heatmaps = heatmaps.reshape(len(image), 2, *heatmaps.shape[1:])  # pyright: ignore
    return (heatmaps[:, 0] + heatmap.flip(heatmaps[:, 1], flip_order, shift)) * 0.5


def predict_step(
    model: nn.Module,
    variables: Mapping[str, Any],
    image: jax.Array,
    photo_to_crop: jax.Array,
    *,
    flip_order: np.ndarray | None,
    shift: float,
    decoder: str,
) -> tuple[jax.Array, jax.Array]:
    """Finds the joints of a batch of people.

    Args:
      model: normalised images -> heatmaps.
      variables: its ``params`` and ``batch_stats``.
      image: ``[B, H, W, 3]`` uint8 RGB crops.
      photo_to_crop: ``[B, 2, 3]`` the map that each crop was cut out by.
      flip_order: ``[K]`` each joint's mirror joint; the heatmaps are then the mean of those of the image and
        of its mirror image, turned back (flip test). None: of the image alone.
      shift: heatmap pixels to move the turned-back heatmaps to the right, see `heatmap.flip`.
      decoder: one of `heatmap.DECODERS`.

    Returns:
      ``[B, K, 2]`` joints in photo pixels and ``[B, K]`` scores, the height of each heatmap's peak.
    """
    heatmaps = predict_heatmaps(model, variables, image, flip_order=flip_order, shift=shift)
    joints, scores = heatmap.decode(heatmaps, decoder)
    stride = image.shape[1] / heatmaps.shape[1]
    return _to_photo(joints * stride, photo_to_crop), scores


def _to_photo(points: jax.Array, photo_to_crop: jax.Array) -> jax.Array:
    """Maps ``[B, K, 2]`` crop pixels to photo pixels by the inverse of ``[B, 2, 3]``.

    Written out by Cramer's rule: a matrix product would run in reduced precision on TPUs and GPUs.
    """
    (a, b, left), (c, d, top) = ([photo_to_crop[:, row, column, None] for column in range(3)] for row in range(2))
    x, y = points[..., 0] - left, points[..., 1] - top
    area = a * d - b * c
    return jnp.stack([(d * x - b * y) / area, (a * y - c * x) / area], axis=-1)


def compile_step(model: nn.Module, *, flip_order: np.ndarray | None, shift: float, decoder: str) -> Step:
    """Returns `predict_step` of a network, compiled: a function of variables, images and crop matrices."""
    return jax.jit(functools.partial(predict_step, model, flip_order=flip_order, shift=shift, decoder=decoder))


def predict(
    step: Step,
    variables: Mapping[str, Any],
    batches: Iterable[dict[str, np.ndarray]],
    count: int,
    place: Callable[[dict[str, np.ndarray]], Mapping[str, jax.Array]],
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts every person of a table once, whatever the size of batches and number of devices.

    Args:
      step: from `compile_step`.
      variables: the network's ``params`` and ``batch_stats``, placed on the devices.
      batches: from `pipeline.eval_batches`; of several processes, each gives its own part.
      count: N, the people in the table.
      place: puts a batch on the devices, as `sharding.place` does.

    Returns:
      ``[N, K, 2]`` float32 joints in photo pixels and ``[N, K]`` scores, the same in every process.

    Raises:
      RuntimeError: the batches do not hold each person exactly once.
    """
    joints, scores = np.zeros((count, 0, 2), np.float32), np.zeros((count, 0), np.float32)
    times_seen = np.zeros(count, int)
    for found in _gathered(step, variables, batches, place):
        if not joints.size:
            joints, scores = (np.zeros((count, *found[name].shape[1:]), np.float32) for name in _OUTPUTS)
        real = found["valid"] > 0
        rows = found["index"][real]
        joints[rows], scores[rows] = found["joints"][real], found["scores"][real]
        np.add.at(times_seen, rows, 1)
    if (times_seen != 1).any():
        raise RuntimeError(f"{np.sum(times_seen != 1)} of {count} people are not in the batches exactly once")
    return joints, scores


_OUTPUTS = ("joints", "scores")


def _gathered(step, variables, batches, place) -> Iterator[dict[str, np.ndarray]]:
    """Yields each batch's predictions on the host, one batch late so that the devices never wait for it."""
    waiting = None
    for batch in batches:
        placed = place(batch)
        found = dict(zip(_OUTPUTS, step(variables, placed["image"], placed["crop"]), strict=True))
        if waiting is not None:
            yield multihost_utils.process_allgather(waiting, tiled=True)
        waiting = found | {"index": placed["index"], "valid": placed["valid"]}
    if waiting is not None:
        yield multihost_utils.process_allgather(waiting, tiled=True)
