"""Inputs of a comparison: the same weights, images and targets for both networks, in float64.

Random weights are drawn from the names of the parameters, and random images from the name of the network. Two
machines therefore get the same inputs without sharing files.
"""

import contextlib
import dataclasses
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from hrnet_jax import augment, codecs, configuration, models, pipeline, skeletons
from hrnet_jax.datasets import flags, records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers
from hrnet_jax.tasks import top_down
from hrnet_jax.torch_interop import loading

PEOPLE = 2

Labels = tuple[np.ndarray, np.ndarray] | None
"""Joints [B, K, 2] in crop pixels and flags [B, K]: 0, or 1 for labelled joints, 2 for those also seen. None for
random ones."""

PERTURBATION = 1e-14
"""Relative size: a few dozen float64 rounding errors, about as many as add up within a layer."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """A training batch as the networks see it, in float64.

    Normalised images [B, H, W, 3], target heatmaps [B, H / 4, W / 4, K], weights of the joints in the loss [B, K],
    and a description for the report. Targets and weights are tuples for networks with several, see
    `network.Targets`.
    """

    image: np.ndarray
    targets: Any
    weights: Any
    title: str

    def labels(self) -> dict[str, np.ndarray]:
        """Returns targets and weights for a file: `targets`, or `targets.0` and so on of several."""
        return dict(self._named("targets") + self._named("weights"))

    def with_labels(self, arrays: Mapping[str, np.ndarray]) -> "Batch":
        """Returns the batch with the targets and weights that `labels` wrote to a file."""
        found = {
            part: jax.tree.unflatten(
                jax.tree.structure(getattr(self, part)), [arrays[name] for name, _ in self._named(part)]
            )
            for part in ("targets", "weights")
        }
        return dataclasses.replace(self, **found)

    def _named(self, part: str) -> list[tuple[str, np.ndarray]]:
        value = getattr(self, part)
        return [(f"{part}.{i}", x) for i, x in enumerate(value)] if isinstance(value, tuple) else [(part, value)]


@dataclasses.dataclass(frozen=True)
class Setup:
    """Network and loss, float64 ``params`` and ``batch_stats`` with their source for the report, and a batch."""

    config: ConfigDict
    variables: dict[str, Any]
    weights_title: str
    batch: Batch


def make_setup(
    config: ConfigDict, people: int = PEOPLE, seed: int = 0, *, weights="", data=False, labels: Labels = None
) -> Setup:
    """Loads or draws weights and a batch of `people`.

    `weights` is the path of a checkpoint. `data` reads the batch from ``config.data``. The default is random.

    Raises:
      FileNotFoundError: there is no such checkpoint or data.
      ValueError: they do not fit the network, the codec does not, or one PyTorch device cannot compute the same.
    """
    config = _of_heatmaps(config)
    top_down.check_codec(config)
    variables, title = load_weights(config, weights, seed)
    batch = data_batch(config, people) if data else random_batch(config, people, seed, labels)
    _check(config, *batch.image.shape[:3])
    return Setup(config, variables, title, batch)


def _of_heatmaps(config: ConfigDict) -> ConfigDict:
    """Returns the configuration, for a network for whole photos with the loss of heatmaps for all outputs."""
    if not models.find(config.model.name).bottom_up:
        return config
    shared = {
        name: value
        for name, value in configuration.flatten(config.to_dict()).items()
        if name in configuration.SHARED
    }
    found = configuration.default()
    found.update_from_flattened_dict(shared)
    found.image_size, found.model = config.image_size, config.model
    return found


def generator(text: str, seed: int = 0) -> np.random.RandomState:
    """Returns the generator of what has a name, the same on every machine."""
    text = f"hrnet/{text}" + (f"/{seed}" if seed else "")
    return np.random.RandomState(zlib.crc32(text.encode()) & 0xFFFFFFFF)


def draw_tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draws a parameter or statistic from its name in the PyTorch release, in float64 and PyTorch's layout.

    The values resemble trained ones, so activations keep their scale through the network.
    """
    random, part = generator(name, seed), name.rsplit(".", 1)[-1]
    if part in ("running_mean", "bias"):
        return 0.1 * random.standard_normal(shape)
    if part == "running_var":
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.uniform(0.25, 0.75, shape)
    return random.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))


def draw_variables(shapes: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Draws all weights and statistics of a network from its (abstract) variables."""

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        name, shape = ".".join(path[1:]), tuple(leaf.shape)
        if len(shape) != 4:
            return draw_tensor(name, shape, seed)
        return draw_tensor(name, (shape[3], shape[2], *shape[:2]), seed).transpose(2, 3, 1, 0)

    flat: dict[Any, Any] = traverse_util.flatten_dict(shapes)
    return traverse_util.unflatten_dict({path: draw(path, leaf) for path, leaf in flat.items()})


def tag(config: ConfigDict) -> str:
    """Returns a short name of network and size, such as ``hrnet_w32_256x192``."""
    height, width = config.image_size
    network = models.find(config.model.name).tag.format(**config.model)
    return f"{network}_{height}x{width}"


def draw_images(tag: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draws normalised float64 images ``[B, H, W, 3]`` for a shape ``(B, 3, H, W)`` in PyTorch's layout."""
    return generator(f"input/{tag}", seed).standard_normal(shape).transpose(0, 2, 3, 1)


def random_batch(config: ConfigDict, people: int, seed: int = 0, labels: Labels = None) -> Batch:
    """Draws images of noise with joints in and around the crop. One joint in five is not labelled, one hidden.

    A network for whole photos gets noise as targets of all heads.
    """
    if models.find(config.model.name).bottom_up:
        return _noise(config, people, seed)
    height, width = config.image_size
    random, count = generator(f"joints/{tag(config)}", seed), skeletons.load(config.skeleton).num_joints
    joints, marks = labels or (
        random.uniform(-0.1, 1.1, (people, count, 2)) * (width, height),
        (random.uniform(size=(people, count)) < 0.8) * np.where(random.uniform(size=(people, count)) < 0.75, 2, 1),
    )
    people = len(joints)
    image = draw_images(tag(config), (people, 3, height, width), seed)
    labelled = {"joints": joints, "visible": marks > 0, "seen": marks > 1}
    return Batch(image, *_targets(config, labelled), title=f"{people} images of noise, seed {seed}")


def _noise(config: ConfigDict, photos: int, seed: int) -> Batch:
    """Draws images and the targets of all heads of a network for whole photos."""
    model, size = models.build(config), tuple(config.image_size)
    image, random = draw_images(tag(config), (photos, 3, *size), seed), generator(f"targets/{tag(config)}", seed)
    outputs = jax.eval_shape(model.apply, models.shapes(model, size), jax.numpy.asarray(image, np.float32))
    targets = tuple(random.uniform(size=output.shape) for output in outputs)
    weights = tuple(np.ones((photos, output.shape[-1])) for output in outputs)
    return Batch(image, targets, weights, title=f"{photos} images and targets of noise, seed {seed}")


def data_batch(config: ConfigDict, people: int) -> Batch:
    """Returns the first augmented training batch of the configuration's data, of the first split only.

    Raises ValueError for a network for whole photos.
    """
    if models.find(config.model.name).bottom_up:
        raise ValueError(
            f"`model.name` (={config.model.name!r}) is compared on noise only: leave out --batch, or give random"
        )
    split = records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)
    split = flags.with_flags(split) if "seen" in models.find(config.model.name).labels else split
    evaluate.check_skeleton(split, config)
    size, policy = tuple(config.image_size), augment.Policy(**config.augment)
    batches = pipeline.train_batches(
        split,
        image_size=size,
        batch_size=people,
        seed=config.seed,
        policy=policy,
        threads=0,
        by_corners=codecs.find(config.codec).by_corners,
    )
    with contextlib.closing(batches):
        batch = next(batches)
    with jax.default_device(jax.devices("cpu")[0]):  # the same on every machine
        image = np.asarray(layers.normalize(jax.numpy.asarray(batch["image"]), config.model.colors), np.float64)
    targets = _targets(config, batch)
    return Batch(image, *targets, title=f"the first {people} people of {config.data.dir}/{split.name}, augmented")


def _targets(config: ConfigDict, labels: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
    """Returns targets and weights of the labels of a batch by name, drawn in float32 as in training."""
    names = models.find(config.model.name).labels
    drawn = top_down.make_target_fn(config)(*(jax.numpy.asarray(labels[name], np.float32) for name in names))
    return jax.tree.map(lambda array: np.asarray(array, np.float64), drawn)


def _check(config: ConfigDict, people: int, height: int, width: int) -> None:
    """Raises ValueError if PyTorch on one device cannot compute the same."""
    top_down.check_hardest_joints(config)
    if codecs.find(config.codec).loss is not None:
        raise ValueError(
            f"`codec` (={config.codec!r}) has a loss without a counterpart in PyTorch: give --config.codec=udp"
        )
    group = config.model.norm_group_size
    if group and people > group:
        raise ValueError(
            f"`people` (={people}) is more than `model.norm_group_size` (={group}), the batch of one device."
            f" PyTorch runs on one device here: give at most {group}, or --config.model.norm_group_size=0"
        )
    if people * height * width <= models.multiple(models.architecture(config)) ** 2:
        raise ValueError(
            f"one person at {height}x{width} leaves a single value per channel at the coarsest resolution, which"
            " batch normalisation cannot use: give more people or a larger `image_size`"
        )


OPTIMIZER = ("optimizer", "momentum", "nesterov", "weight_decay", "gradient_clip")
"""Fields that decide what an optimizer does with gradients."""


def summarize(setup: Setup) -> dict[str, Any]:
    """Returns settings and array norms by which any machine can recognise the setup."""
    config, batch = setup.config, setup.batch
    arrays = jax.tree.leaves([batch.image, batch.targets, batch.weights, setup.variables])
    return {
        "network": models.describe(config),
        "image_size": list(config.image_size),
        "loss": config.loss,
        "learning_rate": config.learning_rate,
        **{name: config[name] for name in OPTIMIZER},
        "norm_frozen": config.model.norm_frozen,
        "lengths": [float(np.linalg.norm(array)) for array in arrays],
    }


def perturb(setup: Setup) -> Setup:
    """Changes the last bits of weights and images at random, as rounding might."""
    random = np.random.default_rng(0)

    def change(array: np.ndarray) -> np.ndarray:
        return array * (1 + PERTURBATION * random.uniform(-1, 1, array.shape))

    batch = dataclasses.replace(setup.batch, image=change(setup.batch.image))
    return dataclasses.replace(setup, variables=jax.tree.map(change, setup.variables), batch=batch)


def load_weights(config: ConfigDict, source: str, seed: int = 0) -> tuple[dict[str, Any], str]:
    """Returns the variables of a checkpoint in float64, or random ones if `source` is empty, and their source.

    Raises FileNotFoundError or ValueError, see `loading.read` and `loading.initialize`.
    """
    shapes = models.shapes(models.build(config), tuple(config.image_size))
    if not source:
        return draw_variables(shapes, seed), f"drawn from the parameters' names, seed {seed}"
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
    variables, _ = loading.initialize(zeros, loading.read(source), models.describe(config))
    return variables, source
