"""Sets up a run: everything that a configuration describes, and the state to start from."""

import dataclasses
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hrnet_jax import (
    buckets,
    checkpoint,
    configuration,
    devices,
    distributed,
    models,
    optimizer,
    sharding,
    tasks,
    training,
)
from hrnet_jax.run import memory
from hrnet_jax.torch_interop import joint_heads, loading


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that stays the same from the first step to the last."""

    config: ConfigDict
    mesh: Mesh
    task: tasks.Task
    examples: tasks.Examples
    evaluation: tasks.Evaluation
    schedule: optimizer.Schedule
    optimizer: optax.GradientTransformation
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def due(self, step: int, interval: int) -> bool:
        """Returns whether a periodic action is due after a step; all are due after the last one."""
        return step % interval == 0 or step == self.steps

    def evaluates(self, step: int) -> bool:
        """Returns whether an evaluation is due after a step."""
        interval = self.config.eval_every * self.steps_per_epoch
        return step > 0 and self.evaluation.is_scored and self.due(step, interval)


def prepare(config: ConfigDict) -> Run:
    """Opens the data and builds everything that a configuration describes, so that mistakes show now.

    Raises ValueError or FileNotFoundError if a field is wrong, or does not fit the data.
    """
    given = config.to_dict()
    known = tasks.find(given.get("task", "top_down")).fields(given)
    if missing := known.keys() - configuration.flatten(given).keys():
        raise ValueError(f"the configuration has no {', '.join(sorted(missing))}: see hrnet_jax/configuration.py")
    configuration.check(given, known, "the configuration")
    if not 0 <= config.average_decay < 1:
        raise ValueError(f"`average_decay` (={config.average_decay}) must be at least 0 and below 1")
    if config.eval.averaged and not config.average_decay:
        raise ValueError("`eval.averaged` needs a moving average of the weights: set `average_decay`, 0.9998 say")
    mesh = sharding.make_mesh()
    sharding.check_batch_size("batch_size", config.batch_size, config.accumulation, mesh)
    sharding.check_batch_size("eval.batch_size", config.eval.batch_size, 1, mesh)
    task = tasks.build(config)
    examples, evaluation = task.examples(), task.evaluation(trained=True)
    steps_per_epoch = -(-len(examples) // config.batch_size)  # the last step reaches into the next epoch
    schedule, transformation = optimizer.build(config, steps_per_epoch)
    return Run(config, mesh, task, examples, evaluation, schedule, transformation, steps_per_epoch)


def make_train_step(
    config: ConfigDict, task: tasks.Task, transformation: optax.GradientTransformation, mesh: Mesh
) -> training.TrainStep:
    """Returns the pure training step of a configuration; see `training.TrainStep`."""
    return training.make_train_step(
        task.loss,
        transformation,
        sharding.replicated(mesh),
        accumulation=config.accumulation,
        skip_non_finite=config.skip_not_finite > 0,
        average_decay=config.average_decay,
    )


def lower_step(
    config: ConfigDict, transformation: optax.GradientTransformation, mesh: Mesh
) -> training.LoweredStep:
    """Traces the training step of a configuration for the devices of a mesh."""
    task = tasks.build(config)
    state, step = state_shapes(config, task, transformation), make_train_step(config, task, transformation, mesh)
    return training.lower_step(step, state, task.inputs(), task.metrics, mesh, fsdp=config.fsdp)


def compile_step(
    config: ConfigDict, transformation: optax.GradientTransformation, mesh: Mesh
) -> training.CompiledStep:
    """Compiles the training step of a configuration. Raises ValueError if it does not fit into memory."""
    options = tasks.build(config).memory_options(mesh.size)
    return memory.compile_step(config, lambda other: lower_step(other, transformation, mesh), mesh, options)


def state_shapes(
    config: ConfigDict, task: tasks.Task, transformation: optax.GradientTransformation
) -> training.TrainState:
    """Returns the shapes of a task's training state."""

    def init(variables: Any) -> training.TrainState:
        return training.init_state(variables, transformation, averaged=config.average_decay > 0)

    return jax.eval_shape(init, task.shapes())


def first_state(run: Run) -> training.TrainState:
    """Returns the state before the first step: random weights, or those of ``config.init_from``."""
    config, variables = run.config, run.task.init()
    if config.init_from:
        description = run.task.describe()
        weights = joint_heads.carry_over(variables, loading.read(config.init_from), description)
        heads = models.find(description["name"]).heads
        variables, report = loading.initialize(variables, weights, description, allow_missing=heads)
        distributed.log_once(f"{config.init_from}: {report}")
    state = training.init_state(variables, run.optimizer, averaged=config.average_decay > 0)
    return sharding.place_state(state, run.mesh, config.fsdp)


def last_state(run: Run, saved: checkpoint.Checkpoints) -> checkpoint.Restored | None:
    """Restores the last checkpoint, None if there is none."""
    shapes = state_shapes(run.config, run.task, run.optimizer)
    placed = sharding.state_sharding(shapes, run.mesh, run.config.fsdp)
    return saved.restore(jax.tree.map(lambda leaf, where: leaf.update(sharding=where), shapes, placed))


def has_checkpoints(workdir: buckets.Path) -> bool:
    """Returns whether a run directory has checkpoints to resume from, as the primary process sees it.

    Raises ValueError if the primary process sees some, but this one does not.
    """
    seen = any(workdir.glob("checkpoints/last/[0-9]*"))
    if (found := distributed.broadcast(seen)) and not seen:
        raise ValueError(f"--workdir (={workdir}) is not the same directory on all machines: give a shared one")
    return found


def announce(run: Run, workdir: buckets.Path, start: int) -> None:
    """Prints the plan of a run before anything that takes long."""
    config, examples, evaluation = run.config, run.examples, run.evaluation
    at_once = config.batch_size // run.mesh.size // config.accumulation
    lines = {
        "devices": f"{run.mesh.size} x {run.mesh.devices.flat[0].device_kind}, {jax.process_count()} process(es)",
        "network": run.task.title(),
        "data": f"{config.data.dir}: {len(examples):,} examples in {examples.name} to train on,"
        f" {len(evaluation):,} in {evaluation.name} to evaluate on",
        "batch": f"{config.batch_size} examples a step, computed in {config.accumulation} part(s),"
        f" {at_once} at a time on each device",
        "length": f"{config.epochs} epochs of {run.steps_per_epoch:,} steps, {run.steps:,} in all"
        + (f"; {start:,} are done" if start else ""),
        "run": f"{workdir}: checkpoints/, metrics.jsonl, TensorBoard events, pictures/",
    }
    distributed.log_once("\n".join(f"{name:>8}  {text}" for name, text in lines.items()))
    if hint := devices.lanes_hint(run.mesh.devices.flat[0].device_kind, at_once):
        distributed.log_once(f"note: {hint}")
    if not evaluation.is_scored:
        distributed.log_once(
            f"note: split {evaluation.name!r} has no ground truth to compute {evaluation.score} from (for MPII:"
            f" annot/gt_{evaluation.name}.mat was missing): nothing is evaluated while training, and the last"
            " checkpoint is kept, but no best one; add the file and prepare the split again"
        )


def digests(run: Run) -> dict[str, Any]:
    """Returns the digests of a run's data by split."""
    return {data.name: data.digest() for data in (run.examples, run.evaluation)}
