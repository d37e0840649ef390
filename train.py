"""Trains a network and keeps what it learns in a run directory.

    python train.py --config configs/coco_hrnet_w32_256x192.py --workdir runs/w32 [--config.batch_size=64 ...]

The same command again goes on where the run stopped; Ctrl-C stops it after a checkpoint.
"""

import contextlib
import dataclasses
import functools
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax
import tqdm
from absl import flags
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict, config_flags

from hrnet_jax import (
    augment,
    checkpoint,
    console,
    heatmap,
    inference,
    loading,
    logbook,
    memory,
    models,
    optimizer,
    pipeline,
    sharding,
    skeletons,
    training,
    visualize,
)  # fmt: skip
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import benchmarks, evaluate

CONFIG = config_flags.DEFINE_config_file("config", None, "What to train: a file in configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run directory: checkpoints, logs and pictures.")
flags.mark_flags_as_required(["config", "workdir"])


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
        return benchmarks.of(self.val_split).score


def prepare_run(config: ConfigDict) -> Run:
    """Opens the data and builds everything that a configuration describes, so that mistakes come out now.

    Raises:
      ValueError, FileNotFoundError: something in the configuration or the data does not fit.
    """
    for name in ("epochs", "log_every", "eval_every", "checkpoint_every", "picture_every", "accumulation"):
        if config[name] < 1:
            raise ValueError(f"`{name}` (={config[name]}) must be at least 1")
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
        variables, report = loading.initialize(variables, weights, description, spare=loading.HEADS)
        print(f"{config.init_from}: {report}")
    return sharding.place_state(training.init_state(variables, run.optimizer), run.mesh)


def last_state(run: Run, saved: checkpoint.Checkpoints) -> training.TrainState | None:
    """Returns the state to go on from, None if the run is new."""
    shapes = models.shapes(run.model, tuple(run.config.image_size))
    empty = jax.eval_shape(lambda variables: training.init_state(variables, run.optimizer), shapes)
    everywhere = sharding.replicated(run.mesh)
    return saved.restore(
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), empty)
    )


def announce(run: Run, workdir: pathlib.Path, start: int) -> None:
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
    print("\n".join(f"{name:>8}  {text}" for name, text in lines.items()), flush=True)


def warn_without_score(run: Run) -> None:
    """Says in time that nothing will tell good weights from bad."""
    if not benchmarks.scored(run.val_split):
        split = run.val_split.name
        print(
            f"note: split {split!r} was prepared without annot/gt_{split}.mat, so there is no"
            f" {run.score}: nothing is evaluated while training, and the last checkpoint is"
            " kept, but no best one; to have them, put the file there and prepare the split again",
            flush=True,
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


@contextlib.contextmanager
def interruption() -> Iterator[list[int]]:
    """Notes Ctrl-C in the list it gives instead of raising; a second one stops at once."""
    noted: list[int] = []

    def note(number: int, _: Any) -> None:
        tqdm.tqdm.write("stopping after this step, with a checkpoint; Ctrl-C again stops at once")
        noted.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def mean_figures(metrics: list[training.Metrics]) -> dict[str, float]:
    """Averages what the devices reported over some steps."""
    fetched = jax.device_get(metrics)
    return {name: float(np.mean([entry[name] for entry in fetched])) for name in fetched[0]}


def make_picture(run: Run):
    """Returns the function that draws, for a batch and the weights, what the network sees and says."""
    skeleton, decoder = skeletons.load(run.config.skeleton), run.config.eval.decoder
    draw_targets = training.target_drawer(run.config)

    @jax.jit
    def look(variables, image, joints, visible):
        heatmaps = inference.predict_heatmaps(run.model, variables, image, flip_order=None, shift=0.0)
        found, scores = heatmap.decode(heatmaps, decoder)
        stride = image.shape[1] / heatmaps.shape[1]
        return found * stride, scores, heatmaps, draw_targets(joints, visible)[0]

    def picture(state: training.TrainState, batch: pipeline.Batch) -> np.ndarray:
        shown = {name: batch[name][: visualize.MOST_PEOPLE] for name in ("image", "joints", "visible")}
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        found, scores, heatmaps, targets = jax.device_get(look(variables, **shown))
        return visualize.training_picture(
            shown["image"], shown["joints"], shown["visible"], found, scores, heatmaps, targets, skeleton
        )

    return picture


def evaluate_state(run: Run, step: inference.Step, state: training.TrainState) -> dict[str, float]:
    """Returns the figures on the validation split's ground-truth boxes."""
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    place = functools.partial(sharding.place_batch, mesh=run.mesh)
    sources = (evaluate.GT_BOXES,)
    return evaluate.metrics(evaluate.evaluate(step, variables, run.val_split, run.config, place, sources=sources))


def compile_step(run: Run) -> jax.stages.Compiled:
    """Compiles the training step, and says what memory it takes."""
    compiled = memory.compile_step(run.config, run.optimizer, run.mesh)
    needs, has = memory.needed(compiled), memory.available(run.mesh)
    print(f"  memory  {memory.gigabytes(needs)} of each device's {memory.gigabytes(has)}", flush=True)
    return compiled


def loop(
    run: Run,
    state: training.TrainState,
    saved: checkpoint.Checkpoints,
    log: logbook.Logbook,
    interrupted: list[int],
) -> training.TrainState:
    """Steps; and figures, pictures, evaluations and checkpoints, each when its turn comes."""
    config, train_step = run.config, compile_step(run)
    predict_step, draw_picture = evaluate.build_step(run.model, config), make_picture(run)
    scored = benchmarks.scored(run.val_split)
    start, watch, unread, newest = int(state.step), logbook.Watch(config.batch_size), [], None
    bar = tqdm.tqdm(range(start, run.steps), initial=start, total=run.steps, unit="step", dynamic_ncols=True)
    with contextlib.closing(load_batches(run, start)) as batches:
        for step in bar:
            batch = watch.next(batches, newest)
            seen = {name: batch[name] for name in training.SEEN}
            state, metrics = train_step(state, sharding.place_batch(seen, run.mesh))
            jax.block_until_ready(newest)  # one step ahead keeps the devices busy and the bar honest
            newest = metrics["loss"]
            unread.append(metrics)
            done, stop = step + 1, bool(interrupted)

            def due(interval: int, done: int = done) -> bool:
                return done % interval == 0 or done == run.steps

            if due(config.log_every) or stop:
                figures = mean_figures(unread) | watch.read() | {"learning_rate": float(run.schedule(step))}
                unread.clear()
                log.figures(done, figures)
                bar.set_postfix_str(progress(figures))
                if complaint := watch.complaint(figures["data_wait"], run.train_split.decoded is not None):
                    tqdm.tqdm.write(complaint)
            if due(config.picture_every):
                log.picture(done, draw_picture(state, batch))
                watch.restart()
            if due(config.eval_every * run.steps_per_epoch) and scored:
                figures = evaluate_state(run, predict_step, state)
                log.figures(done, figures)
                score = figures[f"{run.val_split.name}/{evaluate.GT_BOXES}/{run.score}"]
                tqdm.tqdm.write(f"step {done:,}: {run.score} {score:.3f}, {run.val_split.name}, gt boxes")
                saved.save_best(state, done, score)
                watch.restart()
            if due(config.checkpoint_every) or stop:
                saved.save(state, done)
                watch.restart()
            if stop:
                break
    return state


def progress(figures: dict[str, float]) -> str:
    """What the progress bar says besides steps and time left."""
    return (
        "{loss:.2e} loss, {pck:.3f} pck, {learning_rate:.0e} lr, "
        "{images_per_second:.0f} img/s, {data_wait:.0%} waiting for data".format(**figures)
    )


def train(config: ConfigDict, workdir: str) -> None:
    """Trains from where the run directory stands to the last epoch, or until Ctrl-C."""
    run = prepare_run(config)
    begun = any(pathlib.Path(workdir).glob("checkpoints/last/[0-9]*"))
    fresh = None if begun else first_state(run)  # before anything is written: the weights may not fit
    directory = logbook.claim(workdir, config)
    saved = checkpoint.Checkpoints(directory, checkpoint.describe(config), run.score)
    state = fresh or last_state(run, saved) or first_state(run)
    start = int(state.step)
    announce(run, directory, start)
    warn_without_score(run)
    log = logbook.Logbook(directory, start)
    try:
        with interruption() as interrupted:
            state = loop(run, state, saved, log, interrupted)
        best = saved.best_score()
    finally:
        saved.close()
        log.close()
    if int(state.step) < run.steps:
        print(f"stopped after step {int(state.step):,}; the same command goes on from there")
    else:
        at_best = "" if best is None else f"{run.score} {best:.3f} at best, {run.val_split.name}, gt boxes; "
        print(f"done: {at_best}all is in {directory}")


if __name__ == "__main__":
    console.start(lambda: train(CONFIG.value, WORKDIR.value))  # pyright: ignore[reportArgumentType]
