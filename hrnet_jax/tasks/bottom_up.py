"""Bottom-up pose estimation: all people of a whole photo at once, by heatmaps and tags (Cheng et al. 2020).

Joints are grouped to people by their tags (associative embedding, Newell et al. 2017).
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import configuration, distributed, models, sharding, skeletons, training, visualize
from hrnet_jax.bottom_up import augment, compiled_assignment, grouping, inference, losses, pipeline, targets
from hrnet_jax.datasets import annotated_photos, records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.fields import Field
from hrnet_jax.models import layers
from hrnet_jax.tasks import memory, photos

NAME = "bottom_up"
MOST_PHOTOS = 3
"""Photos in a training picture."""


def make_policy(config: ConfigDict) -> augment.Policy:
    """Returns the augmentation of a configuration. Raises ValueError for a wrong field."""
    return augment.Policy(**config.augment.to_dict() | {"scale": tuple(config.augment.scale)})


def make_sizes(config: ConfigDict) -> pipeline.Sizes:
    """Returns the sizes of a batch, with the heatmaps of the network. Raises ValueError for a wrong field."""
    height, width = config.image_size
    if height != width:
        raise ValueError(
            f"`image_size` (={height}, {width}) must be a square window of the photo for the task {NAME!r}: take"
            f" ({min(height, width)}, {min(height, width)})"
        )
    strides = models.strides(models.architecture(config))
    return pipeline.Sizes(height, tuple(height // stride for stride in strides), config.most_people)


def make_settings(config: ConfigDict) -> inference.Settings:
    """Returns how people are found in photos. Raises ValueError for a wrong field."""
    skeleton, scales = skeletons.load(config.skeleton), tuple(config.eval.scales)
    settings = photo_settings(config.eval, skeleton, config.image_size[0], scales)
    return dataclasses.replace(settings, group_on_device=config.eval.group_on_device)


def photo_settings(
    fields: Mapping[str, Any], skeleton: skeletons.Skeleton, input_size: int, scales: tuple[float, ...]
) -> inference.Settings:
    """Returns how people are found in photos, given the fields below ``eval``. Raises ValueError for a wrong one.

    If joints are compared with more people than usual, so many candidates are looked for; with all, as many as one
    program groups.
    """
    named = {name: fields[name] for name in ("flip_test", "full_size", "adjust", "refine")}
    most = fields["most_people"]
    grouped = grouping.Grouping(fields["joint_threshold"], fields["tag_threshold"], most or None)
    candidates = max(inference.Settings.candidates, most or compiled_assignment.MAX_SIZE)
    return inference.Settings(skeleton, input_size, scales, grouping=grouped, candidates=candidates, **named)


class BottomUp:
    """See `hrnet_jax.tasks.Task`."""

    def __init__(self, config: ConfigDict, model: nn.Module | None = None):
        """Builds the network, unless another is given. Raises ValueError for a wrong field."""
        models.check_task(config.model.name, config.task, bottom_up=True)
        if not config.heatmap.sigma > 0:
            raise ValueError(f"`heatmap.sigma` (={config.heatmap.sigma}) must be positive: the release takes 2")
        self.config, self.model = config, model or models.build(config)
        self.sizes, self._policy = make_sizes(config), make_policy(config)
        finer = (f"heat_{head}" for head in range(1, len(self.sizes.heatmaps)))
        self.metrics: tuple[str, ...] = ("loss", "heat_0", "push_0", "pull_0", *finer)
        if config.tag_similarity not in losses.SIMILARITIES:
            known = " or ".join(losses.SIMILARITIES)
            raise ValueError(f"`tag_similarity` (={config.tag_similarity!r}) must be {known}")
        self._settings = make_settings(config)

    @classmethod
    def fields(cls, config: Mapping[str, Any]) -> dict[str, Field]:
        """Returns the fields of a run with the configuration's network."""
        models.check_task(config["model"]["name"], config["task"], bottom_up=True)
        return configuration.fields(config["model"]["name"])

    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the inputs of a training step; see `bottom_up.pipeline`."""
        count, side, heatmaps = self.config.batch_size, self.sizes.image, self.sizes.heatmaps
        table = (self.sizes.people, skeletons.load(self.config.skeleton).num_joints)
        return {
            "image": jax.ShapeDtypeStruct((count, side, side, 3), jnp.uint8),
            "joints": jax.ShapeDtypeStruct((count, len(heatmaps), *table, 2), jnp.float32),
            "visible": jax.ShapeDtypeStruct((count, *table), jnp.float32),
        } | {
            f"mask_{head}": jax.ShapeDtypeStruct((count, size, size // 8), jnp.uint8)
            for head, size in enumerate(heatmaps)
        }

    def shapes(self) -> dict[str, Any]:
        """Returns the shapes of the variables."""
        return models.shapes(self.model, tuple(self.config.image_size))

    def init(self) -> dict[str, Any]:
        """Draws the initial variables."""
        return training.init_variables(self.model, tuple(self.config.image_size), self.config.seed)

    def loss(
        self, params: Any, batch_stats: Any, batch: training.Batch
    ) -> tuple[jax.Array, tuple[Any, training.Metrics]]:
        """Normalizes images, renders targets and compares. The metrics are the terms of the loss."""
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, batch_stats = layers.apply_in_training(self.model, variables, self._normalize(batch["image"]))
        loss, terms = losses.batch_loss(
            outputs,  # pyright: ignore[reportArgumentType]
            batch,
            sigma=self.config.heatmap.sigma,
            similarity=self.config.tag_similarity,
            tag_factor=self.config.tag_factor,
        )
        return loss, (batch_stats, terms)

    def _normalize(self, image: jax.Array) -> jax.Array:
        dtype: jnp.dtype = self.model.dtype  # pyright: ignore[reportAttributeAccessIssue]
        return layers.normalize(image, self.config.model.colors, dtype)

    def memory_options(self, devices: int) -> Iterator[dict[str, Any]]:
        """Yields recomputed activations first, then smaller parts of a batch."""
        return memory.options(self.config, devices)

    def picture(self, variables: Mapping[str, Any], batch: pipeline.Batch) -> np.ndarray:
        """Draws images with people, the heatmaps of the finest head, predicted and expected, and the mask."""
        shown = {name: batch[name][:MOST_PHOTOS] for name in self.inputs()}
        variables = sharding.gather_to_host(dict(variables))
        heatmaps, expected, masks = jax.device_get(self._look(variables, shown))
        rows = zip(
            shown["image"], shown["joints"][:, -1], shown["visible"], heatmaps, expected, masks, strict=True
        )
        return visualize.grid([picture for row in rows for picture in self._draw(*row)], columns=4)

    def _draw(self, image, joints, visible, heatmaps, expected, mask) -> list[np.ndarray]:
        """Draws one photo four times."""
        stride, factor = len(image) // len(heatmaps), visualize.ROW_HEIGHT / len(image)
        counted = image * mask.repeat(stride, axis=0).repeat(stride, axis=1)[..., None]
        small, joints = visualize.enlarge(image, np.where(visible[..., None] > 0, stride * joints, np.nan), factor)
        pictures = {
            "truth": visualize.draw_people(small, joints, skeletons.load(self.config.skeleton)),
            f"heatmaps, highest {heatmaps.max():.2f}": visualize.draw_heatmap(small, heatmaps, factor * stride),
            "target heatmaps": visualize.draw_heatmap(small, expected, factor * stride),
            "what counts": visualize.enlarge(counted, joints, factor)[0],
        }
        return [visualize.caption(picture, text) for text, picture in pictures.items()]

    @functools.cached_property
    def _look(self) -> Callable:
        @jax.jit
        def look(variables, batch):
            outputs: Any = self.model.apply(variables, self._normalize(batch["image"]), train=False)
            finest = outputs[-1]
            joints = batch["joints"].shape[3]
            render = functools.partial(
                targets.render, heatmap_size=finest.shape[1:3], sigma=self.config.heatmap.sigma
            )
            expected = jax.vmap(render)(batch["joints"][:, -1], batch["visible"])
            mask = targets.unpack_mask(batch[f"mask_{len(self.sizes.heatmaps) - 1}"])
            return finest[..., :joints], expected, mask

        return look

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint says of its network."""
        return models.describe(self.config)

    def title(self) -> str:
        """Returns network, parameters and multiply-adds in words."""
        return models.summary(self.config, self.model)

    def examples(self) -> photos.Photos:
        """Opens the split to train on. Says if photos have more people than are trained on."""
        split = self._open(self.config.data.train_split)
        table = annotated_photos.AnnotatedPhotos.of_split(split)
        if not table.visible.any():
            raise ValueError(f"split {split.name!r} has no annotated people to train on: choose another")
        examples = photos.Photos(self.config, split, table, self.sizes, self._policy)
        if note := examples.note():
            distributed.log_once(f"note: {note}")
        return examples

    def evaluation(self, *, trained: bool) -> photos.PhotoEvaluation:
        """Opens the split to evaluate on."""
        split = self._open(self.config.data.val_split)
        if trained and not split.people.visible.any():
            raise ValueError(f"split {split.name!r} has no annotated people to be evaluated on: choose another")
        return photos.PhotoEvaluation(self.config, split, self.model, self._settings)

    def _open(self, name: str) -> records.Split:
        split = records.open_split(pathlib.Path(self.config.data.dir) / name)
        evaluate.check_skeleton(split, self.config)
        return split
