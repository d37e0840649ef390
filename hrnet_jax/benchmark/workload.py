"""The measured work: inputs, our training step and our prediction, the last two as contenders for a race."""

import pathlib
from typing import Any

import grain
import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from hrnet_jax import codecs, models, optimizer, pipeline, sharding, skeletons, tasks, training
from hrnet_jax.benchmark import race, whole_photos
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate
from hrnet_jax.run import memory


def made_up_batch(config: ConfigDict, size: int) -> dict[str, np.ndarray]:
    """Draws a batch of random pixels with joints anywhere in the crop, or in the photo if that is the input."""
    if is_bottom_up(config):
        return whole_photos.made_up_batch(config, size)
    random, (height, width) = np.random.default_rng(0), config.image_size
    joints = random.uniform(0, 1, (size, skeletons.load(config.skeleton).num_joints, 2)) * (width, height)
    return {
        "image": random.integers(0, 256, (size, height, width, 3), np.uint8),
        "joints": joints.astype(np.float32),
        "visible": (visible := random.random(joints.shape[:2]) < 0.8).astype(np.float32),
        "seen": (visible & (random.random(joints.shape[:2]) < 0.8)).astype(np.float32),
        "crop": np.tile(np.eye(2, 3, dtype=np.float32), (size, 1, 1)),
    }


def train_loader(config: ConfigDict, split: records.Split, **options: Any) -> grain.DatasetIterator:
    """Returns `pipeline.train_batches` of a split for a configuration."""
    return pipeline.train_batches(
        split,
        image_size=tuple(config.image_size),
        batch_size=config.batch_size,
        by_corners=codecs.find(config.codec).by_corners,
        **options,
    )


def train_split(config: ConfigDict) -> records.Split:
    """Opens the first of the training splits. Raises ValueError for a network that reads whole photos."""
    if is_bottom_up(config):
        raise ValueError(
            f"`model.name` (={config.model.name!r}) reads whole photos, whose loading is not measured: measure"
            " step, predict or memory"
        )
    if config.data.extra:
        print(f"note: only {config.data.train_split} is loaded, not `data.extra` (={config.data.extra})")
    return records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)


def with_batch_size(config: ConfigDict, size: int) -> ConfigDict:
    """Returns a copy with a batch size that the devices can share, else raises ValueError, and no accumulation."""
    config = config.copy_and_resolve_references()
    config.batch_size, config.accumulation = size, 1
    sharding.check_batch_size("batch_size", size, 1, sharding.make_mesh())
    return config


def title(config: ConfigDict, batch: str = "") -> str:
    """Describes network, size, batch (the configuration's batch size by default) and precision."""
    (height, width), batch = config.image_size, batch or f"batch {config.batch_size}"
    return f"{models.title(config.model)} {height}x{width}, {batch}, {config.model.dtype}"


def is_bottom_up(config: ConfigDict) -> bool:
    """Returns whether the network reads whole photos."""
    return models.find(config.model.name).bottom_up


def unit(config: ConfigDict) -> str:
    """Returns what is counted: ``people``, each in a crop, or ``photos``."""
    return "photos" if is_bottom_up(config) else "people"


def transformation(config: ConfigDict) -> optax.GradientTransformation:
    """Returns the configuration's optimizer with a constant learning rate."""
    return optimizer.make_transformation(config, lambda _: config.learning_rate)


def place_inputs(config: ConfigDict, batch: pipeline.Batch) -> tuple[training.TrainState, dict[str, jax.Array]]:
    """Returns the inputs of the first training step on the devices: the initial state and a batch."""
    mesh = sharding.make_mesh()
    variables = training.init_variables(models.build(config), tuple(config.image_size), 0)
    averaged = config.average_decay > 0
    state = training.init_state(variables, transformation(config), averaged=averaged)
    state = sharding.place_state(state, mesh, config.fsdp)
    return state, sharding.place_batch({name: batch[name] for name in tasks.build(config).inputs()}, mesh)


def train(config: ConfigDict, step: training.CompiledStep) -> race.Contender:
    """Returns a contender that takes a compiled training step on a batch already on the devices."""
    state, batch = place_inputs(config, made_up_batch(config, config.batch_size))

    def turn() -> int:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))
        return config.batch_size

    return turn


def predict(config: ConfigDict) -> race.Contender:
    """Returns a contender that predicts a batch already on the devices, with flip test and decoding."""
    if is_bottom_up(config):
        return whole_photos.predict(config)
    model, mesh = models.build(config), sharding.make_mesh()
    variables = sharding.place_state(training.init_variables(model, tuple(config.image_size), 0), mesh)
    batch = sharding.place_batch(made_up_batch(config, config.batch_size), mesh)
    step = evaluate.build_step(model, config)

    def turn() -> int:
        jax.block_until_ready(step(variables, batch["image"], batch["crop"]))
        return config.batch_size

    return turn


def cost(step: training.CompiledStep) -> dict[str, float]:
    """Returns the compiler's estimates per device: ``operations``, ``bytes`` moved and ``memory`` in bytes."""
    analyses = [program.cost_analysis() or {} for program in step.programs]
    return {
        "operations": float(sum(analysis.get("flops", float("nan")) for analysis in analyses)),
        "bytes": float(sum(analysis.get("bytes accessed", float("nan")) for analysis in analyses)),
        "memory": float(memory.needed(step)),
    }
