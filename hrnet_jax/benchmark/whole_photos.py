"""The measured work of bottom-up pose estimation: whole photos of several people. See `workload` and `step`.

Predictions are at one scale with flip test, up to the candidates of joints. Weights before training give none that
would become people, so grouping and refinement take no time here.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import models, sharding, skeletons, training
from hrnet_jax.benchmark import race
from hrnet_jax.bottom_up import inference, targets
from hrnet_jax.tasks import bottom_up

PEOPLE = 4
"""Labelled people of a photo, about as many as in COCO."""


def made_up_batch(config: ConfigDict, size: int) -> dict[str, np.ndarray]:
    """Draws a batch of random pixels and masks with joints anywhere in the photo; see `bottom_up.pipeline`."""
    random, sizes = np.random.default_rng(0), bottom_up.make_sizes(config)
    table = size, sizes.people, skeletons.load(config.skeleton).num_joints
    places, is_person = random.uniform(0, 1, (*table, 2)), np.arange(sizes.people) < PEOPLE
    visible = (random.random(table) < 0.8) & is_person[:, None]
    return {
        "image": random.integers(0, 256, (size, sizes.image, sizes.image, 3), np.uint8),
        "joints": np.stack([places * side for side in sizes.heatmaps], axis=1).astype(np.float32),
        "visible": visible.astype(np.float32),
    } | {
        f"mask_{head}": random.integers(0, 256, (size, side, side // 8), np.uint8)
        for head, side in enumerate(sizes.heatmaps)
    }


def predict(config: ConfigDict) -> race.Contender:
    """Returns a contender that finds the people in a batch of images already on the devices."""
    model, mesh, settings = models.build(config), sharding.make_mesh(), _settings(config)
    variables = sharding.place_state(training.init_variables(model, tuple(config.image_size), 0), mesh)
    forward, size = inference.compile_forward(model, settings), config.batch_size
    batch = inference.make_batch([*made_up_batch(config, size)["image"]], [""] * size, settings)
    images = [sharding.place_batch({"image": image}, mesh)["image"] for image in batch.images]

    def turn() -> int:
        outputs = [forward(variables, image) for image in images]
        return len(inference.find_people(outputs, batch.plans, batch.names, settings))

    return turn


def _settings(config: ConfigDict) -> inference.Settings:
    """Returns how people are found, the same whatever the configuration says of scales and flip test."""
    options = {"scales": (1,), "flip_test": True, "full_size": True, "group_on_device": False}
    return dataclasses.replace(bottom_up.make_settings(config), **options)


def torch_loss(config: ConfigDict, device: Any) -> Callable[[Sequence[Any]], Any]:
    """Returns PyTorch's loss of the outputs ``[B, C, h, w]`` of all heads for the made-up batch.

    It is `losses.batch_loss`. Heatmaps and pixels of joints are finished, as a data loader would give them.
    """
    batch = made_up_batch(config, config.batch_size)
    visible, places = jnp.asarray(batch["visible"]), jnp.asarray(batch["joints"])
    joints = places.shape[3]
    maps, side = [], bottom_up.make_sizes(config).heatmaps
    for head in range(len(side)):
        render = functools.partial(
            targets.render, heatmap_size=(side[head], side[head]), sigma=config.heatmap.sigma
        )
        expected = np.asarray(jax.vmap(render)(places[:, head], visible))
        mask = np.unpackbits(batch[f"mask_{head}"], axis=-1)[:, None].astype(np.float32)
        maps.append((_to_torch(np.moveaxis(expected, 3, 1), device), _to_torch(mask, device)))
    locate = functools.partial(targets.locate, heatmap_size=(side[0], side[0]))
    pixel, usable = map(np.array, jax.vmap(locate)(places[:, 0], visible))
    index = _to_torch(np.moveaxis(pixel[..., 1] * side[0] + pixel[..., 0], 2, 1).astype(np.int64), device)
    usable = _to_torch(np.moveaxis(usable, 2, 1), device)

    def loss(outputs: Sequence[Any]) -> Any:
        pairs = zip(outputs, maps, strict=True)
        heat = [((output[:, :joints].float() - of) * mask).square().mean() for output, (of, mask) in pairs]
        tags = outputs[0][:, joints:].float().flatten(2).gather(2, index)
        return sum(heat) + config.tag_factor * _tag_loss(tags, usable, config.tag_similarity)

    return loss


def _tag_loss(tags: Any, usable: Any, similarity: str) -> Any:
    """Returns the mean over photos of `losses.push` and `losses.pull`, for tags ``[B, K, P]`` of joints."""
    import torch  # pyright: ignore[reportMissingImports]

    count, present = usable.sum(1).clamp(min=1), usable.any(1)
    means, people = (tags * usable).sum(1) / count, present.sum(1)
    variances = ((tags - means[:, None]).square() * usable).sum(1) / count
    is_same = torch.eye(present.shape[1], dtype=torch.bool, device=tags.device)
    pairs = present[:, :, None] & present[:, None] & ~is_same
    difference = means[:, :, None] - means[:, None]
    similar = torch.exp(-difference.square()) if similarity == "exp" else (1 - difference.abs()).relu()
    push = 0.5 * (similar * pairs).sum((1, 2)) / (people * (people - 1)).clamp(min=1)
    return (push + variances.sum(1) / people.clamp(min=1)).mean()


def torch_candidates(config: ConfigDict) -> Callable[[Sequence[Any]], Any]:
    """Returns PyTorch's way from the outputs of all heads to the candidates ``[B, 1 + T, K, M]``: values and tags.

    Outputs are ``[2 B, C, h, w]``, of images and then of mirrored images. The way is that of `inference`.
    """
    import torch  # pyright: ignore[reportMissingImports]
    from torch.nn import functional  # pyright: ignore[reportMissingImports]

    settings = _settings(config)
    base, order = settings.plan(tuple(config.image_size)).base_size, settings.skeleton.flip_order.tolist()
    joints = len(order)

    def candidates(outputs: Sequence[Any]) -> Any:
        finest = outputs[-1].shape[2:]
        enlarged = [functional.interpolate(output.float(), finest, mode="bilinear") for output in outputs]
        heatmaps = torch.stack([output[:, :joints] for output in enlarged]).mean(0)
        maps = torch.stack([heatmaps, enlarged[0][:, joints:]], 1)  # [2 B, 2, K, h, w]
        straight, mirrored = maps.chunk(2)
        mirrored = mirrored.flip(4)[:, :, order]
        merged = [(straight[:, 0] + mirrored[:, 0]) / 2, straight[:, 1], mirrored[:, 1]]
        full = functional.interpolate(torch.cat(merged, 1), base, mode="bilinear").unflatten(1, (3, joints))
        highest = functional.max_pool2d(full[:, 0], settings.window, 1, settings.window // 2)
        peaks = full[:, 0] * (highest == full[:, 0])
        values, index = peaks.flatten(2).topk(settings.candidates, 2)
        tags = full[:, 1:].flatten(3).gather(3, index[:, None].expand(-1, 2, -1, -1))
        return torch.cat([values[:, None], tags], 1)

    return candidates


def _to_torch(array: np.ndarray, device: Any) -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return torch.from_numpy(np.array(array)).to(device)
