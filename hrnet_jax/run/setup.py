"""A run: what a configuration describes, from the data to the schedule, and the state that it starts from."""

import dataclasses
import pathlib
from typing import Any

import jax
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrnet_jax import (
    augment,
    buckets,
    checkpoint,
    distributed,
    heatmap,
    models,
    optimizer,
    pipeline,
    sharding,
    training,
    validation,
)
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols
from hrnet_jax.run import directory
from hrnet_jax.torch_interop import loading  # fmt: skip

COUNTS = {
    "epochs": 1,
    "log_every": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "picture_every": 1,
    "accumulation": 1,
    "skip_not_finite": 0,
    "seed": 0,
    "warmup_steps": 0,
    "batch_size": 0,  # and a multiple that depends on the devices, see below
    "eval.batch_size": 1,
    "loader.threads": 0,
    "loader.workers": 0,
    "model.width": 1,
    "model.stem": 1,
    "model.blocks": 1,
}
"""Fields that are whole numbers, with the least that each may be."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last."""

    config: ConfigDict
    mesh: Mesh
    model: nn.Module
    policy: augment.Policy
    train_split: records.Split
    val_split: records.Split
    schedule: optimizer.Schedule
    optimizer: optax.GradientTransformation
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def score(self) -> str:
        """The figure that decides which checkpoint is the best."""
        return protocols.of_split(self.val_split).score

    @property
    def logged_score(self) -> str:
        """The name of that figure in the log."""
        return f"{self.val_split.name}/{evaluate.GT_BOXES}/{self.score}"

    def due(self, step: int, interval: int) -> bool:
        """Whether something done every so many steps, and at the end, is to be done after that many steps."""
        return step % interval == 0 or step == self.steps

    def evaluates(self, step: int) -> bool:
        """Whether the network is evaluated after that many steps."""
        scored = protocols.is_scored(self.val_split)
        return step > 0 and scored and self.due(step, self.config.eval_every * self.steps_per_epoch)


def check_counts(config: dict[str, Any], what: str) -> None:
    """Raises ValueError beginning with `what` if one of the `COUNTS` that a configuration has makes no sense.

    It may lack some: those of other networks, and those that are newer than it.
    """
    for name, least in COUNTS.items():
        group, _, field = name.rpartition(".")
        found = validation.require({group: {}, **config}, group, dict, what) if group else config
        if field in found and validation.require({name: found[field]}, name, int, what) < least:
            raise ValueError(f"{what}: `{name}` (={found[field]}) must be at least {least}")


def prepare(config: ConfigDict) -> Run:
    """Opens the data and builds everything that a configuration describes, so that mistakes come out now.

    Raises:
      ValueError, FileNotFoundError: something in the configuration or the data does not fit.
    """
    lacking = {name for name in COUNTS if not name.startswith("model.")} - directory.flat(config.to_dict()).keys()
    if lacking:
        raise ValueError(f"the configuration has no {', '.join(sorted(lacking))}: see configs/default.py")
    check_counts(config.to_dict(), "the configuration")
    mesh = sharding.make_mesh()
    sharding.check_batch_size("batch_size", config.batch_size, config.accumulation, mesh)
    sharding.check_batch_size("eval.batch_size", config.eval.batch_size, 1, mesh)
    heatmap.check_decoder(config.eval.decoder)
    model = models.build(config)
    train_split, val_split = (
        open_split(config, name) for name in (config.data.train_split, config.data.val_split)
    )
    steps_per_epoch = pipeline.steps_per_epoch(len(train_split.people), config.batch_size)
    schedule = optimizer.schedule(
        config.learning_rate, config.learning_rate_drops, steps_per_epoch, config.warmup_steps
    )
    adam = optimizer.adam(schedule, config.weight_decay)
    return Run(
        config=config,
        mesh=mesh,
        model=model,
        policy=augment.Policy(**config.augment),
        train_split=train_split,
        val_split=val_split,
        schedule=schedule,
        optimizer=adam,
        steps_per_epoch=steps_per_epoch,
    )


def open_split(config: ConfigDict, name: str) -> records.Split:
    """Opens a split with people in it, of the skeleton that the network is for."""
    split = records.open_split(pathlib.Path(config.data.dir) / name)
    evaluate.check_skeleton(split, config)
    if not split.people.visible.any():
        raise ValueError(f"split {name!r} has no annotated people to train or be evaluated on: choose another")
    return split


def first_state(run: Run) -> training.TrainState:
    """Returns the state before the first step: random weights, or those of ``init_from``."""
    config = run.config
    variables = training.init_variables(run.model, tuple(config.image_size), config.seed)
    if config.init_from:
        weights, description = loading.read(config.init_from), checkpoint.describe(config)
        variables, report = loading.initialize(variables, weights, description, allow_missing=loading.HEADS)
        distributed.log_once(f"{config.init_from}: {report}")
    return sharding.place_state(training.init_state(variables, run.optimizer), run.mesh, config.fsdp)


def last_state(run: Run, saved: checkpoint.Checkpoints) -> checkpoint.Restored | None:
    """Returns what to go on from, None if the run is new."""
    shapes = models.shapes(run.model, tuple(run.config.image_size))
    empty = jax.eval_shape(lambda variables: training.init_state(variables, run.optimizer), shapes)
    where = sharding.state_sharding(empty, run.mesh, run.config.fsdp)
    return saved.restore(
        jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), empty, where)
    )


def begun(workdir: buckets.Path) -> bool:
    """Whether a run directory has checkpoints to go on from.

    Raises:
      ValueError: another process sees some, but this one does not.
    """
    seen = any(workdir.glob("checkpoints/last/[0-9]*"))
    if distributed.broadcast(seen) and not seen:
        raise ValueError(f"--workdir (={workdir}) is not the same directory on all machines: give a shared one")
    return distributed.broadcast(seen)


def announce(run: Run, workdir: buckets.Path, start: int) -> None:
    """Says what is about to happen, before anything that takes long."""
    config, size = run.config, tuple(run.config.image_size)
    people, val_people = len(run.train_split.people), len(run.val_split.people)
    giga = models.count_multiply_adds(run.model, size) / 1024**3
    lines = {
        "devices": f"{run.mesh.size} x {run.mesh.devices.flat[0].device_kind}, {jax.process_count()} process(es)",
        "network": f"{models.title(config.model)}, {models.count_parameters(run.model, size):,} parameters,"
        f" {giga:.3f} G (1024^3) multiply-adds at {size[0]}x{size[1]}, {config.model.dtype}",
        "data": f"{config.data.dir}: {people:,} people in {config.data.train_split} to train on,"
        f" {val_people:,} in {config.data.val_split} to evaluate on",
        "batch": f"{config.batch_size} people a step, worked through in {config.accumulation} part(s),"
        f" {config.batch_size // run.mesh.size // config.accumulation} at a time on each device",
        "length": f"{config.epochs} epochs of {run.steps_per_epoch:,} steps, {run.steps:,} in all"
        + (f"; {start:,} are done" if start else ""),
        "run": f"{workdir}: checkpoints/, metrics.jsonl, TensorBoard events, pictures/",
    }
    distributed.log_once("\n".join(f"{name:>8}  {text}" for name, text in lines.items()))


def warn_without_score(run: Run) -> None:
    """Says in time that nothing will tell good weights from bad."""
    if not protocols.is_scored(run.val_split):
        split = run.val_split.name
        distributed.log_once(
            f"note: split {split!r} was prepared without annot/gt_{split}.mat, so there is no"
            f" {run.score}: nothing is evaluated while training, and the last checkpoint is"
            " kept, but no best one; to have them, put the file there and prepare the split again"
        )


def load_batches(run: Run, start: int) -> Any:
    """Returns the endless iterator of this process's share of the training batches, from a step on."""
    config = run.config
    return pipeline.train_batches(
        run.train_split,
        image_size=tuple(config.image_size),
        batch_size=config.batch_size,
        seed=config.seed,
        policy=run.policy,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.loader.threads,
        workers=config.loader.workers,
    )
