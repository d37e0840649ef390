"""Prediction of joints in photo pixels from crops: network, flip test, decoding and mapping to the photo.

`predict_step` is a pure function inside ``jit``: normalised images and heatmaps never leave the device. `predict`
runs it over a table of people.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils

from hrnet_jax import augment, codecs, devices
from hrnet_jax import views as views_of_person
from hrnet_jax.models import layers

PredictStep = Callable[[Any, jax.typing.ArrayLike, jax.typing.ArrayLike], tuple[jax.Array, jax.Array]]
"""(variables, image, photo_to_crop) -> (joints, scores), see `predict_step`."""

_OUTPUTS = ("joints", "scores")


Variables = Mapping[str, Any]
"""``params`` and ``batch_stats`` of a network."""


def predict_heatmaps(
    model: nn.Module | Sequence[nn.Module],
    variables: Variables | Sequence[Variables],
    image: jax.Array,
    *,
    flip_order: np.ndarray | None,
    shift: float,
    codec: str = codecs.ORIGINAL,
    views: Sequence[augment.Draw] = (),
) -> jax.Array:
    """Predicts heatmaps ``[B, h, w, K]`` from uint8 images ``[B, H, W, 3]``. Arguments as for `predict_step`."""
    members = [variables] if isinstance(variables, Mapping) else list(variables)
    models = [model] * len(members) if isinstance(model, nn.Module) else model
    found, images = codecs.find(codec), image.reshape(-1, *image.shape[-3:])
    options = {"flip_order": flip_order, "shift": shift, "codec": found}
    predicted = [_predict_one(*member, images, **options) for member in zip(models, members, strict=True)]
    heatmaps = predicted[0] if len(predicted) == 1 else functools.reduce(operator.add, predicted) / len(predicted)
    if not views:
        return heatmaps
    return views_of_person.average(heatmaps.reshape(*image.shape[:2], *heatmaps.shape[1:]), views, found)


def _predict_one(
    model: nn.Module,
    variables: Variables,
    image: jax.Array,
    *,
    flip_order: np.ndarray | None,
    shift: float,
    codec: codecs.Codec,
) -> jax.Array:
    """Predicts the heatmaps of images ``[B, H, W, 3]`` with one network."""
    normal = layers.normalize(image, model.colors, model.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    if flip_order is None:
        return model.apply(variables, normal, train=False)  # pyright: ignore[reportReturnType]
    # Images and mirrored images alternate along the batch, so that a device processes both images of its own
    # people when the batch is sharded.
    both = jnp.stack([normal, normal[:, :, ::-1]], axis=1)
    heatmaps = model.apply(variables, both.reshape(-1, *normal.shape[1:]), train=False)
    heatmaps = heatmaps.reshape(image.shape[0], 2, *heatmaps.shape[1:])  # pyright: ignore
    return (heatmaps[:, 0] + codec.flip(heatmaps[:, 1], flip_order, shift)) * 0.5


def predict_step(
    model: nn.Module | Sequence[nn.Module],
    variables: Variables | Sequence[Variables],
    image: jax.Array,
    photo_to_crop: jax.Array,
    *,
    flip_order: np.ndarray | None,
    shift: float,
    decoder: str,
    codec: str = codecs.ORIGINAL,
    views: Sequence[augment.Draw] = (),
) -> tuple[jax.Array, jax.Array]:
    """Predicts the joints of a batch of people.

    Args:
      model: network from normalised images to heatmaps. For an ensemble of different networks, one for each of
        its variables.
      variables: ``params`` and ``batch_stats`` of the network. For an ensemble a sequence of these: the heatmaps
        are averaged.
      image: ``[B, H, W, 3]`` uint8 RGB crops, or ``[B, V, H, W, 3]`` with views.
      photo_to_crop: ``[B, 2, 3]`` map from photo to crop pixels.
      flip_order: ``[K]`` index of the mirror joint of each joint, for the flip test: averages the heatmaps of the
        image and of the mirrored image, mapped back. None for no flip test.
      shift: of the mirrored image's heatmaps, see `heatmap.flip`.
      decoder: a key of `heatmap.DECODERS`.
      codec: a key of `codecs.CODECS`. All but the first have a decoder of their own, and most a flip without
        shift, whatever `decoder` and `shift` are.
      views: of the images, from `views.make`. Their heatmaps are averaged.

    Returns:
      ``[B, K, 2]`` joints in photo pixels and ``[B, K]`` scores, the maximum of each heatmap.
    """
    heatmaps = predict_heatmaps(
        model, variables, image, flip_order=flip_order, shift=shift, codec=codec, views=views
    )
    return codecs.decode_in_photo(heatmaps, photo_to_crop, image.shape[-3:-1], decoder=decoder, codec=codec)


def compile_step(model: nn.Module | Sequence[nn.Module], **options: Any) -> PredictStep:
    """Returns `predict_step` compiled for a network, with its options."""
    step = functools.partial(predict_step, model, **options)
    return jax.jit(step, compiler_options=devices.compiler_options(jax.local_devices()[0]))


def predict(
    step: PredictStep,
    variables: Mapping[str, Any],
    batches: Iterable[dict[str, np.ndarray]],
    count: int,
    place: Callable[[dict[str, np.ndarray]], Mapping[str, jax.Array]],
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts every person of a table once, for any batch size and number of devices.

    Args:
      step: from `compile_step`.
      variables: ``params`` and ``batch_stats`` of the network, on the devices.
      batches: from `pipeline.eval_batches`. With several processes, the share of this process.
      count: number of people in the table, N.
      place: transfers a batch to the devices, as `sharding.place_batch` does.

    Returns:
      ``[N, K, 2]`` float32 joints in photo pixels and ``[N, K]`` scores, the same in every process.

    Raises:
      RuntimeError: a person is missing from the batches or occurs more than once.
    """
    joints, scores = np.zeros((count, 0, 2), np.float32), np.zeros((count, 0), np.float32)
    times_seen = np.zeros(count, int)
    for predicted in _gathered(step, variables, batches, place):
        if not joints.size:
            joints, scores = (np.zeros((count, *predicted[name].shape[1:]), np.float32) for name in _OUTPUTS)
        valid = predicted["valid"] > 0
        rows = predicted["index"][valid]
        joints[rows], scores[rows] = predicted["joints"][valid], predicted["scores"][valid]
        np.add.at(times_seen, rows, 1)
    if (times_seen != 1).any():
        raise RuntimeError(f"{np.sum(times_seen != 1)} of {count} people are not in the batches exactly once")
    return joints, scores


def _gathered(step, variables, batches, place) -> Iterator[dict[str, np.ndarray]]:
    """Yields predictions of all processes on the host, one batch late so that the devices never wait."""
    pending = None
    for batch in batches:
        placed = place(batch)
        predicted = dict(zip(_OUTPUTS, step(variables, placed["image"], placed["crop"]), strict=True))
        if pending is not None:
            yield multihost_utils.process_allgather(pending, tiled=True)
        pending = predicted | {"index": placed["index"], "valid": placed["valid"]}
    if pending is not None:
        yield multihost_utils.process_allgather(pending, tiled=True)
