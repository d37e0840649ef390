"""What the examples start from: a network, its weights and a batch of people.

By default the network is tiny and random and the people are made up, so each example runs anywhere in seconds.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hrnet_jax import geometry, models, pipeline, skeletons, training
from hrnet_jax.compare import problem
from hrnet_jax.datasets import records
from hrnet_jax.datasets.made_up import labels, scenes
from hrnet_jax.models.batch_norm import BatchNorm, Norm, at_least_float32
from hrnet_jax.models.layers import BasicBlock, Conv, relu
from hrnet_jax.torch_interop import loading

IMAGE_SIZE = (128, 96)
"""Height and width of crops unless others are given: those of the demo."""


@dataclasses.dataclass(frozen=True)
class Start:
    """A network with its weights, and people with their joints."""

    model: nn.Module
    variables: dict[str, Any]  # ``params`` and ``batch_stats``
    batch: training.Batch  # ``image``, ``joints`` and ``visible``, see `pipeline`
    skeleton: skeletons.Skeleton


class Tiny(nn.Module):
    """A small pose network of a stem, a residual block and a head. It compiles in a second."""

    num_joints: int = skeletons.COCO.num_joints
    colors: str = "RGB"
    norm: Norm = Norm()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, train: bool = False) -> jax.Array:
        """Maps normalized images ``[B, H, W, 3]`` to heatmaps ``[B, H / 4, W / 4, K]``."""
        x = image
        for i in (1, 2):
            x = Conv(8, stride=2, dtype=self.dtype, name=f"conv{i}")(x)
            x = relu(BatchNorm(self.norm, name=f"bn{i}")(x, train))
        x = BasicBlock(8, self.norm, self.dtype, name="layer1.0")(x, train)
        dtype = at_least_float32(self.dtype)
        return Conv(self.num_joints, 1, use_bias=True, dtype=dtype, name="final_layer")(x)


def load(path: str | os.PathLike) -> tuple[nn.Module, dict[str, Any]]:
    """Returns the network of a run directory, a checkpoint or a PyTorch file, and its variables."""
    weights = loading.read(path)
    # PyTorch's files lack these two. For others, `hrnet convert` writes a checkpoint that has them.
    usual = {"joints": skeletons.COCO.joints, "colors": "RGB"}
    description = usual | loading.infer(weights.tensors) | weights.description
    model = loading.build(description)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), models.shapes(model, IMAGE_SIZE))
    variables, _ = loading.initialize(zeros, weights, description)
    return model, variables


def random_variables(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Draws variables that resemble trained ones: activations keep their scale through the network."""
    drawn = problem.draw_variables(models.shapes(model, IMAGE_SIZE), seed)
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), drawn)


def made_up_people(count: int, image_size: tuple[int, int] = IMAGE_SIZE, seed: int = 0) -> training.Batch:
    """Draws crops of made-up people with COCO's joints."""
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < count:
        scene = scenes.compose(rng)
        photo = np.ascontiguousarray(scene.photo[..., ::-1])
        rows += [_crop(photo, annotation, image_size) for annotation in labels.annotate(scene, 0, rng)]
    return {name: jnp.stack([row[name] for row in rows[:count]]) for name in ("image", "joints", "visible")}


def _crop(photo: np.ndarray, annotation: dict[str, Any], image_size: tuple[int, int]) -> dict[str, np.ndarray]:
    height, width = image_size
    center, scale = geometry.box_to_center_scale(np.array(annotation["bbox"]), width / height)
    photo_to_crop = geometry.photo_to_crop(center, scale, 0.0, image_size)
    keypoints = np.reshape(annotation["keypoints"], (-1, 3)).astype(float)
    return {
        "image": geometry.warp(photo, photo_to_crop, image_size),
        "joints": geometry.apply(photo_to_crop, keypoints[:, :2]).astype(np.float32),
        "visible": (keypoints[:, 2] > 0).astype(np.float32),
    }


def prepared_people(directory: str, count: int, image_size: tuple[int, int]) -> tuple[training.Batch, Any]:
    """Reads the first people of a split that ``hrnet prepare`` wrote. Returns a batch and the skeleton."""
    split = records.open_split(pathlib.Path(directory))
    batches = pipeline.eval_batches(split, split.people, image_size=image_size, batch_size=count, threads=0)
    with contextlib.closing(batches):
        batch = next(batches)
    return {name: jnp.asarray(batch[name]) for name in ("image", "joints", "visible")}, split.skeleton


def parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of the arguments that the examples share."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--checkpoint", help="run, checkpoint or PyTorch file; default: a tiny random network")
    result.add_argument("--data", help="prepared split, such as data/coco/val2017; default: made-up people")
    result.add_argument("--people", type=int, default=4, help="size of the batch; default: %(default)s")
    result.add_argument("--image-size", type=int, nargs=2, default=IMAGE_SIZE, metavar=("HEIGHT", "WIDTH"))
    return result


def from_arguments(args: argparse.Namespace) -> Start:
    """Loads or draws what the arguments of `parser` ask for.

    Raises:
      FileNotFoundError: there is no such checkpoint or split.
      ValueError: the network finds other joints than the people have.
    """
    model, variables = load(args.checkpoint) if args.checkpoint else (Tiny(), random_variables(Tiny()))
    size, skeleton = tuple(args.image_size), skeletons.COCO
    if args.data:
        batch, skeleton = prepared_people(args.data, args.people, size)
    else:
        batch = made_up_people(args.people, size)
    if (found := len(variables["params"]["final_layer"]["bias"])) != skeleton.num_joints:
        raise ValueError(
            f"the network finds {found} joints and the people have {skeleton.num_joints}: give --data with a split"
            " of the network's skeleton"
        )
    return Start(model, variables, batch, skeleton)


def run(description: str | None, arguments: Sequence[str] | None = None) -> Start:
    """Reads the command line of an example without further arguments."""
    return from_arguments(parser(description).parse_args(arguments))
