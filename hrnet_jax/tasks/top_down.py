"""Top-down pose estimation: one person per crop, joints as heatmaps (Sun et al. 2019)."""

import functools
import operator
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from hrnet_jax import (
    augment,
    codecs,
    configuration,
    distributed,
    fields,
    heatmap,
    inference,
    losses,
    models,
    pipeline,
    sharding,
    skeletons,
    training,
    visualize,
)
from hrnet_jax.datasets import flags, mixing, records
from hrnet_jax.evaluation import caveats, evaluate
from hrnet_jax.fields import Field
from hrnet_jax.models import layers, network
from hrnet_jax.tasks import memory, people


def make_target_fn(config: ConfigDict) -> network.Targets:
    """Returns the function that renders target heatmaps from the labels of a batch. Raises ValueError."""
    found = models.find(config.model.name)
    if found.bottom_up:
        raise ValueError(
            f"`model.name` (={config.model.name!r}) finds all people of a photo, and `task` (={config.task!r}) is"
            " for one person in a crop: set `task` to 'bottom_up', or choose another network"
        )
    if of_network := found.targets:
        _check_unused(config)
    render = of_network(config) if of_network else _make_common_target(config)
    factors = skeletons.load(config.skeleton).weights_of_joints(config.joint_weights)

    def targets(*labels: jax.Array) -> tuple[Any, Any]:
        heatmaps, weights = render(*labels)
        if config.joint_weights:
            weights = jax.tree.map(lambda x: x * factors.astype(x.dtype)[None], weights)
        return heatmaps, weights

    return targets


def _make_common_target(config: ConfigDict) -> network.Targets:
    """Returns the function that renders the targets that a configuration names, for all heatmaps of a network."""
    height, width = config.image_size
    of_fields = fields.find("heatmap.target", config.heatmap.target, heatmap.TARGETS)
    render = codecs.find(config.codec).render or functools.partial(of_fields, unbiased=config.heatmap.unbiased)
    strides = models.strides(models.architecture(config))

    def at_stride(stride: int, joints: jax.Array, visible: jax.Array) -> tuple[jax.Array, jax.Array]:
        heatmaps, weights = render(
            joints,
            visible,
            image_size=(height, width),
            heatmap_size=(height // stride, width // stride),
            sigma=config.heatmap.sigma,
        )
        if weights.shape != visible.shape:
            raise ValueError(
                f"`heatmap.target` (={config.heatmap.target!r}) must return targets and a weight for each person"
                f" and joint, {visible.shape}, but returned weights of {weights.shape}"
            )
        return heatmaps, weights

    def targets(joints: jax.Array, visible: jax.Array) -> tuple[Any, Any]:
        first, *others = (at_stride(stride, joints, visible) for stride in strides)
        return tuple(zip(first, *others, strict=True)) if others else first  # pyright: ignore[reportReturnType]

    return targets


def _check_unused(config: ConfigDict) -> None:
    """Raises ValueError if a field of targets is set that a network with targets of its own does not read."""
    for name, value in config.heatmap.items():
        if value != (default := configuration.RUN[f"heatmap.{name}"].default):
            raise ValueError(
                f"`heatmap.{name}` (={value!r}) has no effect on {models.title(config.model)}, whose targets are"
                f" its own: leave it at {default!r}, and see the fields of `model`"
            )


HeatmapLoss = Callable[..., tuple[jax.Array, tuple[Any, jax.Array]]]
"""(params, batch_stats, image, targets, weights) -> (loss, (next batch_stats, heatmaps))."""


def make_heatmap_loss(config: ConfigDict, model: nn.Module) -> HeatmapLoss:
    """Returns the loss of normalized images against target heatmaps. Raises ValueError if it is unknown.

    It is the sum over all heatmaps of `layers.apply_in_training`, of the terms that their network names.
    """
    check_hardest_joints(config)
    terms, of_codec = models.find(config.model.name).terms(config.loss), codecs.find(config.codec).loss
    functions = {name: of_codec or _find_loss(name, config) for name in {"mse", config.loss}}

    def mean_loss(name, heatmaps, targets, weights):
        targets, weights = targets.astype(heatmaps.dtype), weights.astype(heatmaps.dtype)
        losses_of_joints = functions[name](heatmaps, targets, weights)
        if losses_of_joints.shape != weights.shape:
            raise ValueError(
                f"`loss` (={name!r}) must return a loss for each person and joint, {weights.shape},"
                f" but returned {losses_of_joints.shape}"
            )
        return losses_of_joints.mean()

    def loss(params, batch_stats, image, targets, weights):
        variables = {"params": params, "batch_stats": batch_stats}
        predictions, batch_stats = layers.apply_in_training(model, variables, image)
        count = len(predictions)
        parts = zip(
            terms or [(config.loss, 1.0)] * count,
            predictions,
            layers.for_each(targets, count),
            layers.for_each(weights, count),
            strict=True,
        )
        found = [factor * mean_loss(name, *arrays) for (name, factor), *arrays in parts]
        return functools.reduce(operator.add, found), (batch_stats, predictions[-1])

    return loss


def check_hardest_joints(config: ConfigDict) -> None:
    """Raises ValueError if the configuration's loss keeps more joints than there are."""
    joints = skeletons.load(config.skeleton).num_joints
    if config.loss == "ohkm" and config.hardest_joints > joints:
        raise ValueError(
            f"`hardest_joints` (={config.hardest_joints}) is more than the {joints} joints of `skeleton`"
            f" (={config.skeleton!r}): give at most {joints}"
        )


def _find_loss(name: str, config: ConfigDict) -> losses.Loss:
    """Returns a loss by its name, see `losses.LOSSES`. Raises ValueError if it is unknown."""
    found = fields.find("loss", name, losses.LOSSES)
    return functools.partial(losses.ohkm, hardest=config.hardest_joints) if found is losses.ohkm else found


def check_codec(config: ConfigDict) -> None:
    """Raises ValueError if the codec is unknown or not for the network, or a field that it decides is set."""
    if config.codec != codecs.ORIGINAL and models.find(config.model.name).targets:
        raise ValueError(
            f"`codec` (={config.codec!r}) is not for {models.title(config.model)}, whose targets are its own:"
            f" leave it at {codecs.ORIGINAL!r}"
        )
    strides = models.strides(models.architecture(config))
    if codecs.find(config.codec).maps > 1 and max(strides) > layers.STRIDE:
        raise ValueError(
            f"`codec` (={config.codec!r}) is for heatmaps of a quarter of the image, not for"
            f" {models.title(config.model)}: take a codec without offsets"
        )
    given = configuration.flatten(config.to_dict())
    for name in codecs.find(config.codec).decides:
        if given[name] != configuration.RUN[name].default:
            raise ValueError(
                f"`{name}` (={given[name]!r}) contradicts `codec` (={config.codec!r}), which decides it: leave it"
                f" out, or set `codec` to {codecs.ORIGINAL!r}"
            )


def decoding_notes(config: ConfigDict) -> Iterator[str]:
    """Yields what is wrong where only one of targets and decoder is that of CPN's public code."""
    original = config.model.get("original_targets", False)
    if original == (config.eval.decoder == "cpn"):
        return
    where = "left of and above" if original else "right of and below"
    remedy = (
        "'cpn' goes with `model.original_targets`" if original else "it goes with CPN's `model.original_targets`"
    )
    yield (
        f"`eval.decoder` (={config.eval.decoder!r}) puts joints {layers.STRIDE // 2} pixels of the crop {where}"
        f" the places that {models.title(config.model)} learns: {remedy}"
    )


class TopDown:
    """See `hrnet_jax.tasks.Task`."""

    metrics: tuple[str, ...] = ("loss", "pck")

    def __init__(self, config: ConfigDict, model: nn.Module | None = None, targets: network.Targets | None = None):
        """Builds network and targets, unless others are given, which get `network.LABELS`.

        Raises ValueError for a wrong field.
        """
        if targets is None:
            models.check_task(config.model.name, config.task, bottom_up=False)
        check_codec(config)
        heatmap.find_decoder(config.eval.decoder)
        evaluate.heatmap_options(config)
        self._labels = network.LABELS if targets else models.find(config.model.name).labels
        self._policy, codec = augment.Policy(**config.augment), codecs.find(config.codec)
        self._find = heatmap.peaks if codec.decoder is None or codec.maps == 1 else codec.decoder
        self.config, self.model = config, model or models.build(config)
        self._loss, self._targets = make_heatmap_loss(config, self.model), targets or make_target_fn(config)

    @classmethod
    def fields(cls, config: Mapping[str, Any]) -> dict[str, Field]:
        """Returns the fields of a run with the configuration's network."""
        models.check_task(config["model"]["name"], config["task"], bottom_up=False)
        return configuration.fields(config["model"]["name"])

    def inputs(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the inputs of a training step; see `pipeline`."""
        size, joints = self.config.batch_size, skeletons.load(self.config.skeleton).num_joints
        image = jax.ShapeDtypeStruct((size, *self.config.image_size, 3), jnp.uint8)
        shapes = {name: (size, joints, 2) if name == "joints" else (size, joints) for name in self._labels}
        return {"image": image} | {name: jax.ShapeDtypeStruct(x, jnp.float32) for name, x in shapes.items()}

    def shapes(self) -> dict[str, Any]:
        """Returns the shapes of the variables."""
        return models.shapes(self.model, tuple(self.config.image_size))

    def init(self) -> dict[str, Any]:
        """Draws the initial variables."""
        return training.init_variables(self.model, tuple(self.config.image_size), self.config.seed)

    def loss(
        self, params: Any, batch_stats: Any, batch: training.Batch
    ) -> tuple[jax.Array, tuple[Any, training.Metrics]]:
        """Normalizes images, renders targets and compares. The metric ``pck`` is the share of joints found."""
        dtype: jnp.dtype = self.model.dtype  # pyright: ignore[reportAttributeAccessIssue]
        image = layers.normalize(batch["image"], self.config.model.colors, dtype)
        targets, weights = self._targets(*(batch[name] for name in self._labels))
        loss, (batch_stats, heatmaps) = self._loss(params, batch_stats, image, targets, weights)
        expected = layers.of_prediction(targets).astype(heatmaps.dtype)
        return loss, (batch_stats, {"pck": heatmap.pck(heatmaps, expected, decoder=self._find)})

    def memory_options(self, devices: int) -> Iterator[dict[str, Any]]:
        """Yields recomputed activations first, then smaller parts of a batch."""
        return memory.options(self.config, devices)

    def picture(self, variables: Mapping[str, Any], batch: pipeline.Batch) -> np.ndarray:
        """Draws crops with targets, heatmaps and joints."""
        shown = {name: batch[name][: visualize.MOST_PEOPLE] for name in self.inputs()}
        variables = sharding.gather_to_host(dict(variables))
        joints, scores, heatmaps, targets = jax.device_get(self._look(variables, **shown))
        skeleton = skeletons.load(self.config.skeleton)
        return visualize.training_picture(
            shown["image"], shown["joints"], shown["visible"], joints, scores, heatmaps, targets, skeleton
        )

    @functools.cached_property
    def _look(self) -> Callable:
        @jax.jit
        def look(variables, image, **labels):
            name, codec = self.config.codec, codecs.find(self.config.codec)
            heatmaps = inference.predict_heatmaps(
                self.model, variables, image, flip_order=None, shift=0.0, codec=name
            )
            found, scores = codec.decode(heatmaps, self.config.eval.decoder)
            stride = codec.stride(image.shape[1:3], heatmaps.shape[1:3]).astype(found.dtype)[None, None]
            targets = layers.of_prediction(self._targets(*(labels[name] for name in self._labels))[0])
            shown = (maps[..., :: codec.maps] for maps in (heatmaps, targets))
            return found * stride, scores, *shown

        return look

    def describe(self) -> dict[str, Any]:
        """Returns what a checkpoint says of its network."""
        return models.describe(self.config)

    def title(self) -> str:
        """Returns network, parameters and multiply-adds in words."""
        return models.summary(self.config, self.model)

    def examples(self) -> people.People:
        """Opens the splits to train on. Prints which joints each has if there are several."""
        data = self.config.data
        parts = [self._open(data.train_split, annotated=True), *map(records.open_split, data.extra)]
        if "seen" in self._labels:
            parts = [flags.with_flags(part) for part in parts]
        shares, split = mixing.shares(parts, data.weights), parts[0]
        if data.extra:
            skeleton = skeletons.load(self.config.skeleton)
            split = mixing.join(parts, skeleton)
            distributed.log_once(mixing.describe(parts, shares, skeleton))
            for note in mixing.notes([*parts, self._open(data.val_split, annotated=False)]):
                distributed.log_once(f"note: {note}")
        return people.People(self.config, split, self._policy, parts, shares)

    def evaluation(self, *, trained: bool) -> people.PoseEvaluation:
        """Opens the split to evaluate on."""
        split = self._open(self.config.data.val_split, annotated=trained)
        for note in decoding_notes(self.config):
            distributed.log_once(f"note: {note}")
        for caveat in caveats.of_split(split) if trained else ():  # else it stands below the figures
            distributed.log_once(f"note: the score on {split.name} {caveat}")
        return people.PoseEvaluation(self.config, split, self.model)

    def _open(self, name: str, annotated: bool) -> records.Split:
        split = records.open_split(pathlib.Path(self.config.data.dir) / name)
        evaluate.check_skeleton(split, self.config)
        if annotated and not split.people.visible.any():
            raise ValueError(f"split {name!r} has no annotated people to train or be evaluated on: choose another")
        return split
