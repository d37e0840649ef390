"""Kills a training run repeatedly and compares it with an uninterrupted one.

    python tests/killing.py --kills=20 --out=DIR --data=data/made_up/records -- --config.epochs=4 ...

trains the demo's configuration, or that of ``--config=FILE``, twice into DIR. It prints the moment and step of
each kill -9, and the differences between the two runs. The exit status is 1 if there are any.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))

import forking  # noqa: E402

from hrnet_jax.run import (  # noqa: E402
    logger,
    manifest,
    replay,
    tensorboard,
)

EVALUATION = "/AP"
TIMEOUT = 900  # seconds to wait for a moment


TINY = (
    "--config.image_size=(64,32)",
    "--config.model.width=4",
    "--config.model.stem=4",
    "--config.model.units=(1,0,0)",
    "--config.model.blocks=1",
    "--config.batch_size=4",
    "--config.eval.batch_size=4",
    "--config.epochs=2",
    "--config.log_every=2",
    "--config.eval_every=1",
    "--config.checkpoint_every=3",
    "--config.picture_every=4",
)
"""Flags that turn the demo into a run of ten steps."""

Moment = Callable[[pathlib.Path, Sequence[int], int], bool]
"""Whether a run is at a moment, given its directory, the steps of evaluations and the number of earlier starts."""


def compiling(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """Whether the run is prepared and about to compile, or to load JAX's cache."""
    return len(manifest.read(workdir)) > starts


def saving(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """Whether a checkpoint is being written."""
    return any(workdir.glob("checkpoints/*/*tmp*"))


def evaluating(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """Whether a checkpoint exists for an evaluation that is not logged yet."""
    saved = {path.name.split(".")[0] for path in workdir.glob("checkpoints/last/*")}
    waiting = [step for step in evaluations if str(step) in saved]
    return bool(waiting) and not set(waiting) <= set(evaluated(workdir))


MOMENTS: dict[str, Moment] = {"compiling": compiling, "evaluating": evaluating, "saving": saving}


def evaluated(workdir: pathlib.Path) -> list[int]:
    """Returns the steps of a run's logged evaluations."""
    lines = logger.read(workdir)
    return [line["step"] for line in lines if any(name.endswith(EVALUATION) for name in line)]


@dataclasses.dataclass(frozen=True)
class Kill:
    """A kill: the intended moment, whether it was reached, and the last logged step."""

    moment: str
    reached: bool
    step: int


def start(arguments: Sequence[str], workdir: pathlib.Path) -> forking.Process:
    """Starts a run, with the demo's configuration unless the arguments name another."""
    is_named = any(argument.startswith("--config=") for argument in arguments)
    config = [] if is_named else ["--config=configs/demo.py"]
    command = [sys.executable, "train.py", f"--workdir={workdir}", *config, *arguments]
    with workdir.with_suffix(".log").open("a") as log:
        return forking.start(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], *processes: forking.Process, seconds: float = 300) -> None:
    """Waits for a condition while processes run. Kills them and raises RuntimeError if it is not met."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise RuntimeError(f"the condition was not met; statuses {[process.wait() for process in processes]}")
        time.sleep(0.02)


def finish(process: forking.Process) -> None:
    if status := process.wait():
        workdir = str(process.args[2]).removeprefix("--workdir=")
        raise RuntimeError(f"the run {workdir} ended with status {status}; see {workdir}.log")


def kill(
    process: forking.Process, workdir: pathlib.Path, moment: str, delay: float, evaluations: Sequence[int]
) -> Kill | None:
    """Kills all processes of a run at a moment or after a delay in seconds. Returns None if it ended before."""
    started, starts, reached = time.monotonic(), len(manifest.read(workdir)), False
    while process.poll() is None and not reached:
        elapsed = time.monotonic() - started
        if elapsed > TIMEOUT:
            break
        reached = MOMENTS[moment](workdir, evaluations, starts) if moment in MOMENTS else elapsed >= delay
        time.sleep(0.01)
    if moment == "compiling":
        time.sleep(delay % 3)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lines = logger.read(workdir)
    return Kill(moment, reached, lines[-1]["step"] if lines else 0)


def train_with_kills(
    arguments: Sequence[str], workdir: pathlib.Path, whole: pathlib.Path, moments: Sequence[tuple[str, float]]
) -> list[Kill]:
    """Trains to the end with a kill at each of these moments. `whole` is the same run without kills."""
    kills, evaluations = [], evaluated(whole)
    for moment, delay in moments:
        killed = kill(start(arguments, workdir), workdir, moment, delay, evaluations)
        if killed is None:
            break
        kills.append(killed)
    finish(start(arguments, workdir))
    return kills


def differences(whole: pathlib.Path, killed: pathlib.Path) -> list[str]:
    """Describes the differences between two runs in log, TensorBoard events, states and best checkpoint."""
    found = replay.compare(whole, killed)
    for name, content in {"the log": lines_of, "TensorBoard's events": _events, "the checkpoints": _steps}.items():
        if content(whole) != content(killed):
            found.append(f"{name} differ: {content(whole)} and {content(killed)}")
    return found


def lines_of(workdir: pathlib.Path) -> list[dict]:
    """Returns the log of a run without timing."""
    lines = logger.read(workdir)
    return [{name: line[name] for name in line if name not in replay.TIMING} for line in lines]


def _events(workdir: pathlib.Path) -> list[tuple]:
    events = [event for _, event in tensorboard.read(workdir / tensorboard.NAME)]
    metrics = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    return [metric for metric in metrics if metric[1] not in replay.TIMING]


def _steps(workdir: pathlib.Path) -> dict[str, list[str]]:
    folders = sorted((workdir / "checkpoints").iterdir())
    return {folder.name: sorted(path.name for path in folder.iterdir()) for folder in folders}


def plan(kills: int, seed: int, longest: float) -> list[tuple[str, float]]:
    """Draws moments: a sixth of each kind and the rest after a random time. Those of evaluations come last."""
    draw, each = random.Random(seed), kills // 6
    early = ["compiling"] * each + ["saving"] * each + ["any"] * (kills - 3 * each)
    draw.shuffle(early)
    return [(moment, draw.uniform(1, longest)) for moment in [*early, *["evaluating"] * each]]


def parser(doc: str) -> argparse.ArgumentParser:
    """Returns the argument parser of programs that start runs, described by the first line of `doc`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a new folder for the runs")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/made_up/records")
    parser.add_argument("changes", nargs="*", help="further flags of train.py")
    return parser


def arguments(options: argparse.Namespace) -> list[str]:
    """Returns the flags for train.py."""
    return [*options.changes, f"--config.data.dir={options.data.resolve()}"]


def main() -> int:
    options_parser = parser(__doc__)
    options_parser.add_argument("--kills", type=int, default=20)
    options_parser.add_argument("--seed", type=int, default=0)
    options_parser.add_argument("--longest", type=float, default=60, help="maximum seconds until a random kill")
    options = options_parser.parse_args()
    flags = arguments(options)
    options.out.mkdir(parents=True)
    whole, killed = (options.out.resolve() / name for name in ("whole", "killed"))
    finish(start(flags, whole))
    kills = train_with_kills(flags, killed, whole, plan(options.kills, options.seed, options.longest))
    for one in kills:
        print(f"kill -9 {'' if one.reached else 'NOT '}while {one.moment}, after step {one.step}")
    print(len(kills), "kills:", dict(collections.Counter(one.moment for one in kills)))
    found = differences(whole, killed)
    print("\n".join(found) if found else f"{replay.count(whole, killed)}: the same, bit for bit")
    return bool(found) or len(kills) < options.kills


if __name__ == "__main__":
    sys.exit(main())
