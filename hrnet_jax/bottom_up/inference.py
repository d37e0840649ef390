"""Prediction of all people in photos, from the photo to joints in its pixels.

The host resizes a photo to an image of each scale. The device runs the network, merges its outputs to maps and
finds the candidates for each joint. Only these leave it, to be grouped to people on the host. The maps stay on the
device, where joints of the people are adjusted and missing ones filled. Programs are compiled once for each size.

With `Settings.group_on_device`, all after the resizing is one program, `find_in_images`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax import devices, geometry, sharding, skeletons
from hrnet_jax.bottom_up import aggregation, compiled_grouping, decoding, grouping, resize
from hrnet_jax.bottom_up.grouping import Grouping
from hrnet_jax.inference import Variables
from hrnet_jax.models import layers

PEOPLE = 64  # of a photo that the first program to adjust and refine takes

Forward = Callable[..., Any]
"""`forward` or `find_in_images` of a network, see `compile_forward`."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How people are found in photos. The defaults are those of HigherHRNet-W32 at 512.

    Attributes:
      skeleton: of the network.
      input_size: length in pixels of the short side of an image at scale 1.
      scales: of the images relative to the input size, 1 among them. Their heatmaps are averaged.
      flip_test: whether to average with the heatmaps of the mirrored image, and to read its tags, too.
      full_size: whether to enlarge the maps to the size of the image at scale 1. Otherwise they have half of the
        largest scale's.
      window: side in pixels of the square of which a candidate is the maximum.
      candidates: largest number of candidates for each joint, so that more people are not found.
      grouping: how candidates become people.
      adjust: whether to move joints by quarters of a pixel, see `decoding.adjust`.
      refine: whether to fill missing joints, see `decoding.refine`.
      group_on_device: whether joints are grouped on the network's device, too, so that one program does it all.
    """

    skeleton: skeletons.Skeleton = skeletons.COCO
    input_size: int = 512
    scales: tuple[float, ...] = (1,)
    flip_test: bool = True
    full_size: bool = True
    window: int = 5
    candidates: int = 30
    grouping: Grouping = grouping.RELEASE
    adjust: bool = True
    refine: bool = True
    group_on_device: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for wrong scales, an even window, or more than can be grouped on the device."""
        resize.check_scales(self.input_size, self.scales)
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"`window` (={self.window}) must be an odd number of pixels: the release takes 5")
        if self.candidates < 1:
            raise ValueError(f"`candidates` (={self.candidates}) must be at least 1: the release takes 30")
        if self.group_on_device:
            compiled_grouping.check(self.candidates, self.grouping)

    def plan(self, photo_size: resize.Size) -> resize.Plan:
        """Plans the images of a photo, see `resize.plan`."""
        return resize.plan(photo_size, self.input_size, self.scales)


class Batch(NamedTuple):
    """Images of photos whose images have equal sizes."""

    names: Sequence[str]  # of the photos, for messages
    plans: Sequence[resize.Plan]
    images: Sequence[Any]  # [B, H, W, 3] uint8 of each scale, the largest first; padding follows the photos


class People(NamedTuple):
    """The n people of a photo. Joints that were not found have a score of 0 and no meaningful place."""

    joints: Any  # [n, K, 2] float32, x and y in photo pixels
    joint_scores: Any  # [n, K] float32, values of the heatmaps
    tags: Any  # [n, K, T] float32, 0 for joints that are filled or not found
    scores: Any  # [n] float32, mean of the joints' scores before any were filled
    filled: Any  # [n, K] bool, joints from `decoding.refine`: guesses, and some of them far off


def boxes(people: People) -> np.ndarray:
    """Returns x, y, width, height ``[n, 4]``: the extents of the joints that were found, without filled ones."""
    found = ((people.joint_scores > 0) & ~people.filled)[..., None]
    low = people.joints.min(axis=1, where=found, initial=np.inf)  # everyone has a joint
    high = people.joints.max(axis=1, where=found, initial=-np.inf)
    return np.concatenate([low, high - low], axis=1)


class Found(NamedTuple):
    """The people of photos, in pixels of the maps."""

    people: People  # [B, P, ...], padded with zeros
    count: jax.Array  # [B] int32, the number of people
    is_finite: jax.Array  # [B] bool, whether heatmaps and tags are
    size: jax.Array  # [2] int32, height and width of the maps


def make_batch(
    photos: Sequence[np.ndarray], names: Sequence[str], settings: Settings, batch_size: int = 0
) -> Batch:
    """Makes the images of photos ``[height, width, 3]`` uint8 RGB, padded to `batch_size` images.

    Raises ValueError if the photos do not share their sizes of images, see `resize.group_by_size`.
    """
    plans = [settings.plan(photo.shape[:2]) for photo in photos]
    if len({plan.sizes for plan in plans}) != 1:
        sizes = sorted({plan.placements[0].size for plan in plans})
        raise ValueError(f"`photos` must be some with images of one size, but the sizes are {sizes}")
    images = []
    for i, placement in enumerate(plans[0].placements):
        stacked = np.zeros((max(len(photos), batch_size), *placement.size, 3), np.uint8)
        for row, (photo, plan) in enumerate(zip(photos, plans, strict=True)):
            stacked[row] = resize.resize(photo, plan.placements[i])
        images.append(stacked)
    return Batch(names, plans, images)


def forward(model: nn.Module, variables: Variables, image: jax.Array, *, flip_test: bool) -> aggregation.Passes:
    """Runs the network on images ``[B, H, W, 3]`` uint8, and on the mirrored images for the flip test.

    The model returns a tuple of outputs ``[B, h, w, C]``, see `aggregation`.
    """
    normal = layers.normalize(image, model.colors, model.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    if not flip_test:
        return [model.apply(variables, normal, train=False)]  # pyright: ignore[reportReturnType]
    # Alternating, so that a device processes both images of its own photos when the batch is sharded.
    both = jnp.stack([normal, normal[:, :, ::-1]], axis=1)
    outputs = model.apply(variables, both.reshape(-1, *normal.shape[1:]), train=False)
    outputs = [output.reshape(-1, 2, *output.shape[1:]) for output in outputs]
    return [[output[:, i] for output in outputs] for i in range(2)]


def compile_forward(model: nn.Module, settings: Settings) -> Forward:
    """Returns what `predict` runs of a network, compiled: `forward`, or all of `find_in_images`."""
    options = devices.compiler_options(jax.local_devices()[0])
    if settings.group_on_device:
        return jax.jit(functools.partial(find_in_images, model, settings=settings), compiler_options=options)
    return jax.jit(functools.partial(forward, model, flip_test=settings.flip_test), compiler_options=options)


def find_in_images(
    model: nn.Module, variables: Variables, images: Sequence[jax.Array], *, settings: Settings
) -> Found:
    """Finds the people of photos in their images. A pure function, for `jit` and `vmap`.

    Args:
      model: the network.
      variables: ``params`` and ``batch_stats`` of the network.
      images: ``[B, H, W, 3]`` uint8 of each scale, the largest first.
      settings: of them, up to 64 candidates and people to compare.
    """
    outputs = [forward(model, variables, image, flip_test=settings.flip_test) for image in images]
    height, width = images[_descending(settings.scales).index(1)].shape[1:3]
    return find_in_outputs(outputs, settings, (height, width) if settings.full_size else None)


def find_in_outputs(
    outputs: Sequence[aggregation.Passes], settings: Settings, size: resize.Size | None = None
) -> Found:
    """Finds the people of photos, given the outputs of the network for all scales, the largest first.

    `size` is that of the maps, or None for half of the largest scale's.
    """
    maps, candidates, is_finite = _read(outputs, settings, size)
    order = grouping.joint_order(settings.skeleton)
    group = functools.partial(compiled_grouping.group, order=order, settings=settings.grouping)
    groups = jax.vmap(group)(*candidates)
    completed = _complete(maps, groups.people, adjust=settings.adjust, refine=settings.refine)
    return Found(
        _describe(groups.people, completed),
        groups.count,
        is_finite & groups.is_finite,
        jnp.array(maps.shape[3:], jnp.int32),
    )


class Reading(NamedTuple):
    """What is read from the outputs for a batch, see `read_maps`."""

    maps: jax.Array  # [B, K, 1 + T, H, W]
    candidates: decoding.Candidates  # [B, ...]
    is_finite: jax.Array  # [B] bool


_merge_passes = jax.jit(aggregation.merge_passes, static_argnames="flip_order")
_merge_scales = jax.jit(aggregation.merge_scales, static_argnames=("scales", "size"))


@functools.partial(jax.jit, static_argnames=("window", "count"))
def _find_candidates(maps: jax.Array, *, window: int, count: int) -> tuple[decoding.Candidates, jax.Array]:
    found = jax.vmap(functools.partial(decoding.candidates, window=window, count=count))(maps)
    # 0 times a value that is not finite is not a number. To sum them is faster on a CPU than to test each.
    return found, jnp.isfinite((0 * maps).sum(axis=(1, 2, 3, 4)))


@functools.partial(jax.jit, static_argnames=("adjust", "refine"))
def _complete(maps: jax.Array, people: jax.Array, *, adjust: bool, refine: bool) -> jax.Array:
    """Adjusts and refines people ``[B, P, K, 3 + T]``."""
    people = jax.vmap(decoding.adjust)(maps, people) if adjust else people
    return jax.vmap(decoding.refine)(maps, people) if refine else people


def predict(
    forward: Forward, variables: Variables, batches: Iterable[Batch], settings: Settings
) -> Iterator[list[People]]:
    """Yields the people of each photo of each batch.

    The device computes the next batch while the host groups the people of the last one.

    Args:
      forward: from `compile_forward`.
      variables: ``params`` and ``batch_stats`` of the network.
      batches: from `make_batch`.
      settings: those that the batches were made with.

    Raises:
      ValueError: the network's outputs for a photo are not finite.
    """
    pending = None
    for batch in batches:
        started = _start(forward, variables, batch, settings)
        if pending is not None:
            yield _finish(*pending, settings)
        pending = started, batch.plans, batch.names
    if pending is not None:
        yield _finish(*pending, settings)


def predict_photo(
    forward: Forward, variables: Variables, photo: np.ndarray, settings: Settings, name: str = "the photo"
) -> People:
    """Returns the people of a photo ``[height, width, 3]`` uint8 RGB of any size; see `predict`."""
    [[people]] = predict(forward, variables, [make_batch([photo], [name], settings)], settings)
    return people


def find_people(
    outputs: Sequence[aggregation.Passes],
    plans: Sequence[resize.Plan],
    names: Sequence[str],
    settings: Settings,
) -> list[People]:
    """Finds the people of photos, given the outputs of the network for all scales, the largest first.

    Raises ValueError if the outputs for a photo are not finite.
    """
    find = _find_in_outputs if settings.group_on_device else _read
    return _finish(find(outputs, settings, _map_size(plans, settings)), plans, names, settings)


_find_in_outputs = jax.jit(find_in_outputs, static_argnames=("settings", "size"))


def _start(forward: Forward, variables: Variables, batch: Batch, settings: Settings) -> Found | Reading:
    """Starts the work of the device for a batch."""
    if settings.group_on_device:
        return forward(variables, batch.images)
    outputs = [forward(variables, image) for image in batch.images]
    return _read(outputs, settings, _map_size(batch.plans, settings))


def _map_size(plans: Sequence[resize.Plan], settings: Settings) -> resize.Size | None:
    return plans[0].base_size if settings.full_size else None


def _descending(scales: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted(scales, reverse=True))


def _read(outputs: Sequence[aggregation.Passes], settings: Settings, size: resize.Size | None) -> Reading:
    """Merges outputs to maps of a size and reads them."""
    flip_order = tuple(settings.skeleton.flip_order.tolist())
    merged = [_merge_passes(passes, flip_order=flip_order) for passes in outputs]
    return read_maps(_merge_scales(merged, scales=_descending(settings.scales), size=size), settings)


def read_maps(maps: jax.Array, settings: Settings) -> Reading:
    """Finds candidates in maps ``[B, K, 1 + T, H, W]``, and whether these are finite."""
    return Reading(maps, *_find_candidates(maps, window=settings.window, count=settings.candidates))


def _finish(
    started: Found | Reading, plans: Sequence[resize.Plan], names: Sequence[str], settings: Settings
) -> list[People]:
    """Fetches the people of each photo, or groups them, and maps them to the photo."""
    if isinstance(started, Found):
        people, count, is_finite, size = jax.device_get(sharding.gather_to_host(started))
        _check_finite(is_finite, names)
        found = [People(*(column[row, : count[row]] for column in people)) for row in range(len(names))]
    else:
        found, size = find_on_host(started, names, settings), started.maps.shape[3:]
    height, width = size
    return [_in_photo(people, plan, (height, width)) for people, plan in zip(found, plans, strict=True)]


def _check_finite(is_finite: np.ndarray, names: Sequence[str]) -> None:
    for name, is_fine in zip(names, is_finite, strict=False):  # padding follows the photos
        if not is_fine:
            raise ValueError(
                f"{name}: heatmaps or tags are not finite: the network has diverged, take an earlier checkpoint"
            )


def find_on_host(reading: Reading, names: Sequence[str], settings: Settings) -> list[People]:
    """Groups the candidates of each photo to people and completes them. Joints are in pixels of the maps.

    Raises ValueError if the maps of a photo are not finite.
    """
    candidates, is_finite = jax.device_get(sharding.gather_to_host((reading.candidates, reading.is_finite)))
    _check_finite(is_finite, names)
    order = grouping.joint_order(settings.skeleton)
    grouped = [
        compiled_grouping.group_on_host(values, places, tags, order, settings.grouping)
        for values, places, tags in zip(*(column[: len(names)] for column in candidates), strict=True)
    ]
    completed = _complete_all(reading.maps, grouped, settings)
    return [*map(_describe, grouped, completed)]


def _complete_all(maps: jax.Array, grouped: Sequence[np.ndarray], settings: Settings) -> list[np.ndarray]:
    """Adjusts and refines the people of each photo, padded to `PEOPLE` times a power of 2: few programs do."""
    rows, shape = PEOPLE, grouped[0].shape[1:]
    while rows < max(map(len, grouped)):
        rows *= 2
    table = np.zeros((len(maps), rows, *shape), np.float32)
    for row, people in enumerate(grouped):
        table[row, : len(people)] = people
    completed = _complete(maps, table, adjust=settings.adjust, refine=settings.refine)
    completed = jax.device_get(sharding.gather_to_host(completed))
    return [completed[row, : len(people)] for row, people in enumerate(grouped)]


def _describe(grouped: Any, completed: Any) -> People:
    """Returns people ``[..., K, 3 + T]`` as grouped and as completed, by column, in pixels of the maps."""
    values = completed[..., 2]
    return People(
        joints=completed[..., :2],
        joint_scores=values,
        tags=completed[..., 3:],
        scores=grouped[..., 2].mean(axis=-1),
        filled=(values > 0) & ~(grouped[..., 2] > 0),
    )


def _in_photo(people: People, plan: resize.Plan, size: resize.Size) -> People:
    """Maps joints from maps of a size to the photo."""
    to_photo = resize.heatmap_to_photo(plan.placements[-1], size)
    return people._replace(joints=geometry.apply(to_photo, people.joints).astype(np.float32))
