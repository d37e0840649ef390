"""What both networks are given: the same weights, images and targets, in float64.

Weights that no checkpoint has to carry are drawn from the names of the parameters, images from the name of the
network, so that two machines that have never met compute the same thing.
"""

import contextlib
import dataclasses
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from hrnet_jax import augment, heatmap, models, pipeline, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.models import layers
from hrnet_jax.torch_interop import loading

PEOPLE = 2

NUDGE = 1e-14
"""Relative; some dozens of the smallest steps of float64, as rounding adds up to within a layer."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """A training batch as the networks see it.

    Attributes:
      image: [B, H, W, 3] float64, normalised.
      targets: [B, H / 4, W / 4, K] float64 heatmaps.
      weights: [B, K] float64 of the joints in the loss.
      title: what it is, in words.
    """

    image: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    title: str


@dataclasses.dataclass(frozen=True)
class Problem:
    """A network, its weights and a batch.

    Attributes:
      config: describes the network and the loss.
      variables: float64 ``params`` and ``batch_stats``.
      weights_title: where they come from, in words.
      batch: what the network is given.
    """

    config: ConfigDict
    variables: dict[str, Any]
    weights_title: str
    batch: Batch


def _random(text: str, seed: int) -> np.random.RandomState:
    text = f"hrnet/{text}" + (f"/{seed}" if seed else "")
    return np.random.RandomState(zlib.crc32(text.encode()) & 0xFFFFFFFF)


def draw_tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draws a parameter or statistic by its name in the PyTorch release, float64, in PyTorch's layout.

    Values are such as training leads to, so that activations keep their size through the network.
    """
    random, part = _random(name, seed), name.rsplit(".", 1)[-1]
    if part in ("running_mean", "bias"):
        return 0.1 * random.standard_normal(shape)
    if part == "running_var":
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.uniform(0.25, 0.75, shape)
    return random.standard_normal(shape) * np.sqrt(2 / (shape[1] * shape[2] * shape[3]))


def draw_variables(shapes: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Draws all weights and statistics of a network, given their (abstract) arrays in our layout."""

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        name, shape = ".".join(path[1:]), tuple(leaf.shape)
        if len(shape) != 4:
            return draw_tensor(name, shape, seed)
        return draw_tensor(name, (shape[3], shape[2], *shape[:2]), seed).transpose(2, 3, 1, 0)

    flat: dict[Any, Any] = traverse_util.flatten_dict(shapes)
    return traverse_util.unflatten_dict({path: draw(path, leaf) for path, leaf in flat.items()})


def tag(config: ConfigDict) -> str:
    """Returns a short name of network and size, such as ``hrnet_w32_256x192``."""
    fields = config.model
    network = f"hrnet_w{fields.width}" if fields.name == "hrnet" else f"resnet{fields.depth}"
    height, width = config.image_size
    return f"{network}_{height}x{width}"


def draw_images(tag: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draws normalised float64 images, ``[B, H, W, 3]``; `shape` is PyTorch's, ``(B, 3, H, W)``."""
    return _random(f"input/{tag}", seed).standard_normal(shape).transpose(0, 2, 3, 1)


def random_batch(
    config: ConfigDict, people: int, seed: int = 0, labels: tuple[np.ndarray, np.ndarray] | None = None
) -> Batch:
    """Draws a batch of noise, with joints in and around the crop, one in five not labelled.

    Args:
      config: for sizes and joints.
      people: B.
      seed: another batch for another seed.
      labels: joints [B, K, 2] in crop pixels and visibility [B, K] to use instead of drawn ones.
    """
    height, width = config.image_size
    random, count = _random(f"joints/{tag(config)}", seed), skeletons.load(config.skeleton).num_joints
    joints, visible = labels or (
        random.uniform(-0.1, 1.1, (people, count, 2)) * (width, height),
        (random.uniform(size=(people, count)) < 0.8).astype(float),
    )
    image = draw_images(tag(config), (people, 3, height, width), seed)
    return Batch(image, *_targets(config, joints, visible), title=f"{people} images of noise, seed {seed}")


def data_batch(config: ConfigDict, people: int) -> Batch:
    """Takes the first training batch of the configuration's data, augmented as in training."""
    split = records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)
    evaluate.check_skeleton(split, config)
    batches = pipeline.train_batches(
        split,
        image_size=tuple(config.image_size),
        batch_size=people,
        seed=config.seed,
        policy=augment.Policy(**config.augment),
        threads=0,
    )
    with contextlib.closing(batches):
        batch = next(batches)
    with jax.default_device(jax.devices("cpu")[0]):  # the same on every machine
        image = np.asarray(layers.normalize(jax.numpy.asarray(batch["image"]), config.model.colors), np.float64)
    targets = _targets(config, batch["joints"], batch["visible"])
    return Batch(image, *targets, title=f"the first {people} people of {config.data.dir}/{split.name}, augmented")


def _targets(config: ConfigDict, joints: np.ndarray, visible: np.ndarray) -> list[np.ndarray]:
    """Returns targets and weights as training draws them, in float32, for both sides the same."""
    height, width = config.image_size
    drawn = heatmap.render(
        jax.numpy.asarray(joints, np.float32),
        jax.numpy.asarray(visible, np.float32),
        image_size=(height, width),
        heatmap_size=(height // layers.STRIDE, width // layers.STRIDE),
        sigma=config.heatmap.sigma,
        unbiased=config.heatmap.unbiased,
    )
    return [np.asarray(array, np.float64) for array in drawn]


def check(problem: Problem) -> None:
    """Raises ValueError for what PyTorch, on one device, cannot be compared with."""
    people, height, width = problem.batch.image.shape[:3]
    group = problem.config.model.norm_group_size
    if group and people > group:
        raise ValueError(
            f"`people` (={people}) is more than `model.norm_group_size` (={group}), a device's share, but PyTorch"
            f" runs on one device here: give at most {group}, or --config.model.norm_group_size=0"
        )
    if people * height * width <= layers.MULTIPLE**2:
        raise ValueError(
            f"one person at {height}x{width} leaves one value to normalise where it is coarsest: give more"
            " people or a larger `image_size`"
        )


def summarize(problem: Problem) -> dict[str, Any]:
    """Returns what tells problems apart, whatever the machine: settings, and the lengths of all arrays."""
    config, batch = problem.config, problem.batch
    arrays = [batch.image, batch.targets, batch.weights, *jax.tree.leaves(problem.variables)]
    return {
        "network": models.describe(config),
        "image_size": list(config.image_size),
        "loss": config.loss,
        "learning_rate": config.learning_rate,
        "norm_frozen": config.model.norm_frozen,
        "lengths": [float(np.linalg.norm(array)) for array in arrays],
    }


def perturbed(problem: Problem) -> Problem:
    """Changes the last bits of weights and images by chance: what that does, rounding may do as well."""
    random = np.random.default_rng(0)

    def nudge(array: np.ndarray) -> np.ndarray:
        return array * (1 + NUDGE * random.uniform(-1, 1, array.shape))

    batch = dataclasses.replace(problem.batch, image=nudge(problem.batch.image))
    return dataclasses.replace(problem, variables=jax.tree.map(nudge, problem.variables), batch=batch)


def weights_of(config: ConfigDict, source: str, seed: int = 0) -> tuple[dict[str, Any], str]:
    """Returns a checkpoint's variables in float64, or drawn ones if `source` is empty; and what they are in words.

    Raises:
      FileNotFoundError, ValueError: see `loading.read` and `loading.initialize`.
    """
    shapes = models.shapes(models.build(config), tuple(config.image_size))
    if not source:
        return draw_variables(shapes, seed), f"drawn from the parameters' names, seed {seed}"
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
    variables, _ = loading.initialize(zeros, loading.read(source), models.describe(config))
    return variables, source
