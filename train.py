"""Trains a network and keeps what it learns in a run directory.

    python train.py --config configs/coco_hrnet_w32_256x192.py --workdir runs/w32 [--config.batch_size=64 ...]

The same command again goes on where the run stopped, whatever stopped it, and ends with the same bits. Ctrl-C or
SIGTERM stops it after a checkpoint, with exit status 75; a second Ctrl-C stops it at once.
"""

import contextlib
from collections.abc import Callable
from typing import NoReturn

import jax
import numpy as np
import tqdm
from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import default, simple_baseline
from hrnet_jax import (
    buckets,
    checkpoint,
    console,
    distributed,
    heatmap,
    inference,
    pipeline,
    sharding,
    skeletons,
    state_hash,
    training,
    visualize,
)
from hrnet_jax.evaluation import evaluate
from hrnet_jax.run import (  # fmt: skip
    directory,
    interruption,
    logger,
    manifest,
    memory,
    non_finite,
    progress,
    replay,
    setup,
)

distributed.define_flags()
CONFIG = config_flags.DEFINE_config_file("config", None, "What to train: a file in configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run directory: checkpoints, logs and pictures.")
REPLAY = flags.DEFINE_string("replay", None, "A run directory: do that run again, and say what differs.")
flags.mark_flags_as_mutual_exclusive(["config", "replay"], required=True)

Log = logger.Logger | logger.NullLogger


def make_picture(run: setup.Run) -> Callable[[training.TrainState, pipeline.Batch], np.ndarray]:
    """Returns the function that draws, for a batch and the weights, what the network sees and says."""
    skeleton, decoder = skeletons.load(run.config.skeleton), run.config.eval.decoder
    draw_targets = training.make_target_fn(run.config)

    @jax.jit
    def look(variables, image, joints, visible):
        heatmaps = inference.predict_heatmaps(run.model, variables, image, flip_order=None, shift=0.0)
        found, scores = heatmap.decode(heatmaps, decoder)
        stride = image.shape[1] / heatmaps.shape[1]
        return found * stride, scores, heatmaps, draw_targets(joints, visible)[0]

    def picture(state: training.TrainState, batch: pipeline.Batch) -> np.ndarray:
        shown = {name: batch[name][: visualize.MOST_PEOPLE] for name in ("image", "joints", "visible")}
        variables = sharding.gather_to_host({"params": state.params, "batch_stats": state.batch_stats})
        found, scores, heatmaps, targets = jax.device_get(look(variables, **shown))
        return visualize.training_picture(
            shown["image"], shown["joints"], shown["visible"], found, scores, heatmaps, targets, skeleton
        )

    return picture


def make_evaluation(
    run: setup.Run, saved: checkpoint.Checkpoints, log: Log, stop_signal: interruption.StopSignal
) -> Callable[[training.TrainState, int], bool]:
    """Returns the function that evaluates a state on ground-truth boxes, keeps it if it is the best, and logs it.

    It is logged last: what the log tells of need not be done again. The function says whether it came to its end;
    it gives up when the run is to stop.
    """
    predict_step, split = evaluate.build_step(run.model, run.config), run.val_split

    def place(batch: pipeline.Batch) -> dict[str, jax.Array]:
        stop_signal.check()
        return sharding.place_batch(batch, run.mesh)

    def evaluate_state(state: training.TrainState, step: int) -> bool:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        sources = (evaluate.GT_BOXES,)
        try:
            outcomes = evaluate.evaluate(predict_step, variables, split, run.config, place, sources=sources)
        except interruption.Stopped:
            return False
        figures = evaluate.metrics(outcomes)
        score = figures[run.logged_score]
        saved.save_best(state, step, score)
        log.metrics(step, figures)
        tell(f"step {step:,}: {run.score} {score:.3f}, {split.name}, gt boxes")
        return True

    return evaluate_state


def compile_step(run: setup.Run) -> memory.CompiledStep:
    """Compiles the training step, and says what memory it takes."""
    step = memory.compile_step(run.config, run.optimizer, run.mesh)
    needs, has = memory.needed(step), memory.available(run.mesh)
    distributed.log_once(f"  memory  {memory.gigabytes(needs)} of each device's {memory.gigabytes(has)}")
    distributed.barrier("training step compiled")  # in the step itself, CPUs wait for each other for 30 s at most
    return step


def loop(
    run: setup.Run,
    state: training.TrainState,
    window: progress.Window,
    saved: checkpoint.Checkpoints,
    log: Log,
    stop_signal: interruption.StopSignal,
) -> tuple[training.TrainState, bool]:
    """Steps; and figures, pictures, checkpoints and evaluations, each when its turn comes; until asked to stop.

    Whatever a checkpoint follows from is logged before it, and whatever follows from it is done after it, so that
    a run that is killed anywhere goes on without a gap.

    Returns:
      The state, and whether there is nothing left to do.
    """
    config, train_step = run.config, compile_step(run)
    draw_picture, evaluate_state = make_picture(run), make_evaluation(run, saved, log, stop_signal)
    step, watch, evaluated = int(state.step), progress.Watch(config.batch_size), True
    bar = tqdm.tqdm(
        initial=step, total=run.steps, unit="step", dynamic_ncols=True, disable=not distributed.is_primary()
    )
    if run.evaluates(step) and not distributed.broadcast(log.logged_at_start(run.logged_score)):
        evaluated = evaluate_state(state, step)
    with bar, contextlib.closing(setup.load_batches(run, step)) as batches:
        while step < run.steps and not stop_signal.should_stop(step):
            try:
                batch = watch.next(batches, window.newest)
            except Exception as error:
                if stop_signal.requested:  # the loader's processes were, too
                    break
                keep_before_failing(state, step, window, saved, log, error)
            seen = {name: batch[name] for name in training.STEP_INPUTS}
            state, metrics = train_step(state, sharding.place_batch(seen, run.mesh))
            window.add(metrics, batch["index"])
            step += 1
            if run.due(step, config.log_every):
                figures = window.read() | watch.read() | {"learning_rate": float(run.schedule(step - 1))}
                log.metrics(step, figures)
                bar.set_postfix_str(progress.line(figures))
                if complaint := watch.complaint(figures["data_wait"], run.train_split.decoded is not None):
                    tell(complaint)
            if run.due(step, config.picture_every):
                log.picture(step, draw_picture(state, batch))
                watch.restart()
            if run.due(step, config.checkpoint_every) or run.evaluates(step):
                keep(state, step, window, saved, log)
                watch.restart()
            if run.evaluates(step):
                evaluated = evaluate_state(state, step)
                watch.restart()
            bar.update()
    keep(state, step, window, saved, log)
    return state, evaluated and step == run.steps


def keep(
    state: training.TrainState, step: int, window: progress.Window, saved: checkpoint.Checkpoints, log: Log
) -> None:
    """Saves a checkpoint to go on from; all that was logged is kept before it."""
    log.upload()
    unlogged = window.unlogged()
    non_finite.check_finite(state, step)
    saved.save(state, step, unlogged)


def keep_before_failing(
    state: training.TrainState,
    step: int,
    window: progress.Window,
    saved: checkpoint.Checkpoints,
    log: Log,
    error: Exception,
) -> NoReturn:
    """Keeps what was learnt when no batch comes, and says why none does: data are damaged, a loader was killed.

    With several processes the others do not know of it, and saving takes all of them.
    """
    kept = "the last checkpoint"
    if jax.process_count() == 1:
        keep(state, step, window, saved, log)
        kept = f"step {step:,}, which is kept"
    if not isinstance(error, ValueError | OSError | RuntimeError):
        raise error
    reason = (str(error) or repr(error)).splitlines()[0]
    raise ValueError(
        f"no batch came for step {step:,} (counted from 0): {reason}; the same command goes on from {kept}"
    ) from error


def tell(text: str) -> None:
    """Prints beside the progress bar, once for all processes."""
    if distributed.is_primary():
        tqdm.tqdm.write(text)


def train(config: ConfigDict, workdir: buckets.Path, source: buckets.Path | None = None) -> int:
    """Trains from where the run directory stands to the last epoch, or until asked to stop; returns the status.

    With a source, its run is done again.
    """
    distributed.initialize()
    buckets.check_writable(workdir)
    run = setup.prepare(config)
    if source:
        replay.check(source, run.steps)
    with contextlib.ExitStack() as stack:
        stop_signal = stack.enter_context(interruption.listen())
        if distributed.is_primary():
            stack.enter_context(directory.hold(workdir))
        fresh = None if setup.begun(workdir) else setup.first_state(run)  # before it is claimed: it may not fit
        if distributed.is_primary():
            directory.claim(workdir, config)
        distributed.barrier("run directory claimed")
        saved = checkpoint.Checkpoints(workdir, checkpoint.describe(config), run.score)
        stack.enter_context(contextlib.closing(saved))
        restored = None if fresh else setup.last_state(run, saved)
        state = restored.state if restored else fresh or setup.first_state(run)
        start = int(state.step)
        describe(run, workdir, state)
        setup.announce(run, workdir, start)
        setup.warn_without_score(run)
        log = logger.Logger(workdir, start) if distributed.is_primary() else logger.NullLogger()
        stack.enter_context(contextlib.closing(log))
        not_finite = non_finite.NonFiniteHandler(workdir, run, start)
        window = progress.Window(start, restored.unlogged if restored else (), not_finite)
        state, finished = loop(run, state, window, saved, log, stop_signal)
    return conclude(run, workdir, state, finished, saved.best_score())


def describe(run: setup.Run, workdir: buckets.Path, state: training.TrainState) -> None:
    """Writes what the run is made of, and says what of it is not as it was when the run was started."""
    mark = state_hash.compute(state)  # all processes take part
    if distributed.is_primary():
        for difference in manifest.add(workdir, manifest.collect(run, int(state.step), mark)):
            print(f"note: since the run was started, {difference}")


def conclude(
    run: setup.Run, workdir: buckets.Path, state: training.TrainState, finished: bool, best: float | None
) -> int:
    """Says how a run ended, and returns the exit status."""
    if not finished:
        distributed.log_once(f"stopped after step {int(state.step):,}; the same command goes on from there")
        return console.UNFINISHED
    at_best = "" if best is None else f"{run.score} {best:.3f} at best, {run.val_split.name}, gt boxes; "
    distributed.log_once(
        f"done: {at_best}all is in {workdir}; the state's fingerprint is {state_hash.compute(state)}"
    )
    return 0


def replay_run(source: buckets.Path, workdir: buckets.Path) -> int:
    """Does a run again in another directory, and says whether anything differs; returns the exit status."""
    if buckets.absolute(workdir) == buckets.absolute(source):
        raise ValueError(f"--workdir (={workdir}) is the run to repeat: give another one")
    defaults = {"hrnet": default.get_config(), "simple_baseline": simple_baseline.get_config()}
    if status := train(replay.read_config(source, defaults), workdir, source):
        return status
    theirs, ours = manifest.read(source), manifest.read(workdir)
    made_of = manifest.compare(theirs[0], ours[0]) if theirs else ["it had no manifest"]
    differences = [
        *manifest.data_differences(made_of),
        *replay.begun_by_several(ours),
        *replay.compare(source, workdir),
    ]
    if distributed.is_primary():
        notes = [f"note: {text}" for text in (*made_of, *replay.left_out(source)) if text not in differences]
        print("\n".join([*notes, *[f"DIFFERENT: {text}" for text in differences]]))
    verdict = "NOT the same" if differences else "the same, bit for bit"
    distributed.log_once(f"{replay.count(source, workdir)}: {verdict}")
    return replay.DIFFERENT if differences else 0


def main() -> int:
    """Trains as the command line says."""
    if REPLAY.value:
        source = buckets.path(REPLAY.value)
        return replay_run(source, buckets.path(WORKDIR.value or f"{source}-replay"))
    if not WORKDIR.value:
        raise ValueError("`--workdir`, the run directory, is missing: give --workdir=runs/NAME")
    return train(CONFIG.value, buckets.path(WORKDIR.value))  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    console.start(distributed.abort_together()(main))
