"""Trains a network and keeps the results in a run directory.

    python train.py --config configs/coco.py:hrnet_w32_256x192 --workdir runs/w32 [--config.batch_size=64 ...]

``--extend`` trains a run for more epochs, or with another learning rate, from its last checkpoint on.

The same command resumes a run that stopped for any reason, and ends with the same bits. Ctrl-C or SIGTERM stops a
run after a checkpoint, with exit status 75; a second Ctrl-C stops it at once.
"""

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import NoReturn

import jax
import tqdm
from absl import flags
from ml_collections import ConfigDict, config_flags

from hrnet_jax import buckets, checkpoint, console, distributed, sharding, state_hash, tasks, training
from hrnet_jax.run import directory, interruption, logger, manifest, memory, non_finite, progress, replay, setup

distributed.define_flags()
CONFIG = config_flags.DEFINE_config_file("config", None, "What to train: a table in configs/ and one of its rows.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run directory: checkpoints, logs and pictures.")
REPLAY = flags.DEFINE_string("replay", None, "Repeat the run in this directory and compare the results.")
EXTEND = flags.DEFINE_boolean("extend", False, "Go on with more epochs or another learning rate than before.")
flags.mark_flags_as_mutual_exclusive(["config", "replay"], required=True)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains a run: steps, and metrics, pictures, checkpoints and evaluations whenever they are due.

    A checkpoint is saved after everything before it is logged, and before anything that follows from it. A run
    that is killed at any point therefore resumes without a gap.
    """

    run: setup.Run
    step: training.CompiledStep
    window: progress.Window
    saved: checkpoint.Checkpoints
    log: logger.Logger | logger.NullLogger
    stop_signal: interruption.StopSignal

    def train(self, state: training.TrainState) -> tuple[training.TrainState, bool]:
        """Trains until the last step, or until asked to stop.

        Returns:
          The state, and whether the run is complete.
        """
        run, step, evaluated = self.run, int(state.step), True
        watch, inputs = progress.Watch(run.config.batch_size), tuple(run.task.inputs())
        if run.evaluates(step) and not distributed.broadcast(
            self.log.logged_at_start(run.evaluation.logged_score)
        ):
            evaluated = self.evaluate(state, step)
        bar = tqdm.tqdm(
            initial=step, total=run.steps, unit="step", dynamic_ncols=True, disable=not distributed.is_primary()
        )
        with bar, contextlib.closing(run.examples.batches(step)) as batches:  # pyright: ignore
            while step < run.steps and not self.stop_signal.should_stop(step):
                try:
                    batch = watch.next(batches, self.window.newest)
                except Exception as error:
                    if self.stop_signal.requested:  # the loader's processes were stopped as well
                        break
                    self.save_before_failing(state, step, error)
                state, metrics = self.step(state, self.place(batch, inputs))
                self.window.add(metrics, batch["index"])
                step += 1
                if run.due(step, run.config.log_every):
                    self.log_metrics(step, watch, bar)
                evaluated = self.finish_step(state, step, batch, watch)
                bar.update()
        self.save(state, step)
        return state, evaluated and step == run.steps

    def finish_step(
        self, state: training.TrainState, step: int, batch: tasks.Batch, watch: progress.Watch
    ) -> bool:
        """Draws, saves and evaluates if due. Returns False if an evaluation was interrupted."""
        run, evaluated = self.run, True
        if run.due(step, run.config.picture_every):
            self.log.picture(step, run.task.picture(state.variables(), batch))
            watch.restart()
        if run.due(step, run.config.checkpoint_every) or run.evaluates(step):
            self.save(state, step)
            watch.restart()
        if run.evaluates(step):
            evaluated = self.evaluate(state, step)
            watch.restart()
        return evaluated

    def place(self, batch: tasks.Batch, names: Iterable[str]) -> dict[str, jax.Array]:
        """Puts the named arrays of a batch on the devices."""
        return sharding.place_batch({name: batch[name] for name in names}, self.run.mesh)

    def log_metrics(self, step: int, watch: progress.Watch, bar: tqdm.tqdm) -> None:
        """Logs the metrics since the last line of the log."""
        metrics = self.window.read() | watch.read() | {"learning_rate": float(self.run.schedule(step - 1))}
        self.log.metrics(step, metrics)
        bar.set_postfix_str(progress.line(metrics))
        if complaint := watch.complaint(metrics["data_wait"], self.run.examples.loading_hint()):
            write_once(complaint)

    def evaluate(self, state: training.TrainState, step: int) -> bool:
        """Evaluates a state, saves it if it is the best, and logs the metrics.

        The log comes last, so a logged evaluation is never repeated. Returns False if interrupted.
        """
        evaluation = self.run.evaluation

        def place(batch: tasks.Batch) -> dict[str, jax.Array]:
            self.stop_signal.check()
            return self.place(batch, batch)

        try:
            metrics = evaluation.metrics(state.variables(self.run.config.eval.averaged), place)
        except interruption.Stopped:
            return False
        score = metrics[evaluation.logged_score]
        self.saved.save_best(state, step, score)
        self.log.metrics(step, metrics)
        write_once(f"step {step:,}: {evaluation.logged_score} {score:.3f}")
        return True

    def save(self, state: training.TrainState, step: int) -> None:
        """Saves a checkpoint to resume from, after everything before it is logged."""
        self.log.upload()
        unlogged = self.window.unlogged()
        non_finite.check_finite(state, step)
        self.saved.save(state, step, unlogged)

    def save_before_failing(self, state: training.TrainState, step: int, error: Exception) -> NoReturn:
        """Saves the state and raises the reason why no batch came: damaged data, a killed loader.

        Saving is collective. With several processes the others do not know of the error, so nothing is saved.
        """
        resumed = "the last checkpoint"
        if jax.process_count() == 1:
            self.save(state, step)
            resumed = f"step {step:,}, which is saved"
        if not isinstance(error, ValueError | OSError | RuntimeError):
            raise error
        full = memory.explain_full_shared_memory(error, self.run.config.loader.workers)
        reason = full or (str(error) or repr(error)).splitlines()[0]
        raise ValueError(
            f"no batch came for step {step:,} (counted from 0): {reason}; the same command resumes from {resumed}"
        ) from error


def write_once(text: str) -> None:
    """Prints above the progress bar, on the primary process only."""
    if distributed.is_primary():
        tqdm.tqdm.write(text)


def compile_step(run: setup.Run) -> training.CompiledStep:
    """Compiles the training step and prints the memory it needs."""
    step = setup.compile_step(run.config, run.optimizer, run.mesh)
    needs, has = memory.needed(step), memory.available(run.mesh)
    distributed.log_once(f"  memory  {memory.gigabytes(needs)} of each device's {memory.gigabytes(has)}")
    distributed.barrier("training step compiled")  # within a step, CPUs wait for each other for 30 s at most
    return step


def train(
    config: ConfigDict, workdir: buckets.Path, source: buckets.Path | None = None, extend: bool = False
) -> int:
    """Trains a run from the state of its directory to the last epoch, or until asked to stop.

    Args:
      config: of the run.
      workdir: the run directory.
      source: the run directory to repeat, if this is a replay.
      extend: whether length and learning rate may differ from those before.

    Returns:
      The exit status.
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
        changes = directory.extension(workdir, config, run.steps) if extend and distributed.is_primary() else []
        # Built before the directory is claimed: the weights may not fit.
        fresh = None if setup.has_checkpoints(workdir) else setup.first_state(run)
        if distributed.is_primary():
            directory.claim(workdir, config, extend)
        distributed.barrier("run directory claimed")
        saved = checkpoint.Checkpoints(workdir, run.task.describe(), run.evaluation.score)
        stack.enter_context(contextlib.closing(saved))
        restored = None if fresh else setup.last_state(run, saved)
        state = restored.state if restored else fresh or setup.first_state(run)
        start = int(state.step)
        describe(run, workdir, state, changes)
        setup.announce(run, workdir, start)
        log = logger.Logger(workdir, start) if distributed.is_primary() else logger.NullLogger()
        stack.enter_context(contextlib.closing(log))
        handler = non_finite.NonFiniteHandler(workdir, run, start)
        window = progress.Window(start, restored.unlogged if restored else (), handler, run.task.metrics)
        trainer = Trainer(run, compile_step(run), window, saved, log, stop_signal)
        state, complete = trainer.train(state)
    return conclude(run, workdir, state, complete, saved.best_score())


def describe(run: setup.Run, workdir: buckets.Path, state: training.TrainState, changes: list[str]) -> None:
    """Adds this start to the manifest and prints how it differs from the first start.

    `changes` are those of an extension.
    """
    digest = state_hash.compute(state)  # collective
    if distributed.is_primary():
        entry = manifest.collect(run, int(state.step), digest) | ({manifest.EXTENDED: changes} if changes else {})
        for difference in manifest.add(workdir, entry):
            print(f"note: since the run was started, {difference}")
    if changes:
        rate, step = float(run.schedule(int(state.step))), int(state.step)
        distributed.log_once(f"extended after step {step:,}, with learning rate {rate:.2g}: {'; '.join(changes)}")


def conclude(
    run: setup.Run, workdir: buckets.Path, state: training.TrainState, complete: bool, best: float | None
) -> int:
    """Prints how a run ended and returns the exit status."""
    if not complete:
        distributed.log_once(f"stopped after step {int(state.step):,}; the same command resumes from there")
        return console.UNFINISHED
    at_best = "" if best is None else f"best {run.evaluation.logged_score} {best:.3f}; "
    digest = state_hash.compute(state)
    distributed.log_once(f"done: {at_best}results in {workdir}; fingerprint of the state {digest}")
    return 0


def repeat(source: buckets.Path, workdir: buckets.Path) -> int:
    """Repeats a run in another directory, compares the results, and returns the exit status."""
    if buckets.absolute(workdir) == buckets.absolute(source):
        raise ValueError(f"--workdir (={workdir}) is the run to repeat: give another one")
    if status := train(replay.read_config(source), workdir, source):
        return status
    before, after = manifest.read(source), manifest.read(workdir)
    changes = manifest.compare(before[0], after[0]) if before else ["it had no manifest"]
    differences = [
        *manifest.data_differences(changes),
        *replay.begun_by_several(after),
        *replay.compare(source, workdir),
    ]
    if distributed.is_primary():
        notes = [f"note: {text}" for text in (*changes, *replay.left_out(source)) if text not in differences]
        print("\n".join([*notes, *[f"DIFFERENT: {text}" for text in differences]]))
    verdict = "NOT the same" if differences else "the same, bit for bit"
    distributed.log_once(f"{replay.count(source, workdir)}: {verdict}")
    return replay.DIFFERENT if differences else 0


def main() -> int:
    """Runs the command line."""
    if REPLAY.value:
        if EXTEND.value:
            raise ValueError("`--extend` does not go with `--replay`: give the --config of the run to extend")
        source = buckets.path(REPLAY.value)
        return repeat(source, buckets.path(WORKDIR.value or f"{source}-replay"))
    if not WORKDIR.value:
        raise ValueError("`--workdir`, the run directory, is missing: give --workdir=runs/NAME")
    return train(CONFIG.value, buckets.path(WORKDIR.value), extend=EXTEND.value)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    console.start(distributed.abort_together()(main))
