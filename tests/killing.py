"""Kills a training run again and again, at chosen and at random moments, and compares it with one left in peace.

    python tests/killing.py --kills=20 --out=DIR --data=data/made_up/records -- --config.epochs=4 ...

trains the demo's configuration twice into DIR, prints when and where each kill -9 struck, and what differs between
the two runs in the end; status 1 if anything does.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))

from hrnet_jax.run import (  # noqa: E402
    logger,
    manifest,
    replay,
    tensorboard,
)

EVALUATION = "/gt_boxes/AP"
PATIENCE = 900  # seconds that a moment is waited for


TINY = (
    "--config.image_size=(64,32)",
    "--config.model.width=4",
    "--config.model.stem=4",
    "--config.model.units=(1,1,1)",
    "--config.model.blocks=1",
    "--config.batch_size=4",
    "--config.eval.batch_size=4",
    "--config.epochs=2",
    "--config.log_every=2",
    "--config.eval_every=1",
    "--config.checkpoint_every=3",
    "--config.picture_every=4",
)
"""Flags that make of the demo a run of ten steps."""

Moment = Callable[[pathlib.Path, Sequence[int], int], bool]
"""Whether a run in a directory is at it; given, too, the steps of evaluations and the number of starts before."""


def compiling(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """Everything is open: what comes next is the compilation, or what JAX kept of it."""
    return len(manifest.read(workdir)) > starts


def saving(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """A checkpoint is being written."""
    return any(workdir.glob("checkpoints/*/*tmp*"))


def evaluating(workdir: pathlib.Path, evaluations: Sequence[int], starts: int) -> bool:
    """A checkpoint was begun that comes before an evaluation, which is not logged yet."""
    saved = {path.name.split(".")[0] for path in workdir.glob("checkpoints/last/*")}
    waiting = [step for step in evaluations if str(step) in saved]
    return bool(waiting) and not set(waiting) <= set(evaluated(workdir))


MOMENTS: dict[str, Moment] = {"compiling": compiling, "evaluating": evaluating, "saving": saving}


def evaluated(workdir: pathlib.Path) -> list[int]:
    """Returns the steps whose evaluation a run has logged."""
    lines = logger.read(workdir)
    return [line["step"] for line in lines if any(name.endswith(EVALUATION) for name in line)]


@dataclasses.dataclass(frozen=True)
class Kill:
    """A kill: the moment meant, whether it was met, and the step that the log had come to."""

    moment: str
    met: bool
    step: int


def start(arguments: Sequence[str], workdir: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "train.py", "--config=configs/demo.py", f"--workdir={workdir}", *arguments]
    with workdir.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def wait_for(condition: Callable[[], bool], *processes: subprocess.Popen, seconds: float = 300) -> None:
    """Waits until something is so while processes run; ends them and raises if it does not come to that."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            for process in processes:
                process.kill()
            raise RuntimeError(f"it did not come; statuses {[process.wait() for process in processes]}")
        time.sleep(0.02)


def finish(process: subprocess.Popen) -> None:
    if status := process.wait():
        workdir = str(process.args[3]).removeprefix("--workdir=")
        raise RuntimeError(f"the run {workdir} ended with status {status}; why stands in {workdir}.log")


def kill(
    process: subprocess.Popen, workdir: pathlib.Path, moment: str, delay: float, evaluations: Sequence[int]
) -> Kill | None:
    """Kills a run with all its processes at a moment, or after some seconds; None if it ended before."""
    began, starts, met = time.monotonic(), len(manifest.read(workdir)), False
    while process.poll() is None and not met:
        passed = time.monotonic() - began
        if passed > PATIENCE:
            break
        met = MOMENTS[moment](workdir, evaluations, starts) if moment in MOMENTS else passed >= delay
        time.sleep(0.01)
    if moment == "compiling":
        time.sleep(delay % 3)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    lines = logger.read(workdir)
    return Kill(moment, met, lines[-1]["step"] if lines else 0)


def torment(
    arguments: Sequence[str], workdir: pathlib.Path, whole: pathlib.Path, moments: Sequence[tuple[str, float]]
) -> list[Kill]:
    """Trains as for `whole`, with a kill at each of these moments (or after so many seconds), and to the end."""
    kills, evaluations = [], evaluated(whole)
    for moment, delay in moments:
        struck = kill(start(arguments, workdir), workdir, moment, delay, evaluations)
        if struck is None:
            break
        kills.append(struck)
    finish(start(arguments, workdir))
    return kills


def differences(whole: pathlib.Path, tormented: pathlib.Path) -> list[str]:
    """Returns what two runs that should be the same have not in common: log, TensorBoard, states, best."""
    found = replay.compare(whole, tormented)
    for name, content in {"the log": lines_of, "TensorBoard's events": _events, "the checkpoints": _steps}.items():
        if content(whole) != content(tormented):
            found.append(f"{name} differ: {content(whole)} and {content(tormented)}")
    return found


def lines_of(workdir: pathlib.Path) -> list[dict]:
    """Returns what a run logged, but for times."""
    lines = logger.read(workdir)
    return [{name: line[name] for name in line if name not in replay.TIMING} for line in lines]


def _events(workdir: pathlib.Path) -> list[tuple]:
    events = [event for _, event in tensorboard.read(workdir / tensorboard.NAME)]
    figures = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    return [figure for figure in figures if figure[1] not in replay.TIMING]


def _steps(workdir: pathlib.Path) -> dict[str, list[str]]:
    folders = sorted((workdir / "checkpoints").iterdir())
    return {folder.name: sorted(path.name for path in folder.iterdir()) for folder in folders}


def plan(kills: int, seed: int, longest: float) -> list[tuple[str, float]]:
    """Draws moments: a sixth of them of each kind, the rest after a random time; evaluating comes at the end."""
    draw, each = random.Random(seed), kills // 6
    early = ["compiling"] * each + ["saving"] * each + ["any"] * (kills - 3 * each)
    draw.shuffle(early)
    return [(moment, draw.uniform(1, longest)) for moment in [*early, *["evaluating"] * each]]


def parser(doc: str) -> argparse.ArgumentParser:
    """Returns what programs that start runs understand, described in the first line of `doc`."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--out", type=pathlib.Path, required=True, help="a new folder for the runs")
    made.add_argument("--data", type=pathlib.Path, default=ROOT / "data/made_up/records")
    made.add_argument("changes", nargs="*", help="further flags of train.py")
    return made


def arguments(options: argparse.Namespace) -> list[str]:
    """Returns the flags of train.py that were asked for."""
    return [f"--config.data.dir={options.data.resolve()}", *options.changes]


def main() -> int:
    asked = parser(__doc__)
    asked.add_argument("--kills", type=int, default=20)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--longest", type=float, default=60, help="seconds until a random kill, at most")
    options = asked.parse_args()
    flags = arguments(options)
    options.out.mkdir(parents=True)
    whole, tormented = (options.out.resolve() / name for name in ("whole", "tormented"))
    finish(start(flags, whole))
    kills = torment(flags, tormented, whole, plan(options.kills, options.seed, options.longest))
    for struck in kills:
        print(f"kill -9 {'' if struck.met else 'NOT '}while {struck.moment}, after step {struck.step}")
    print(len(kills), "kills:", dict(collections.Counter(struck.moment for struck in kills)))
    found = differences(whole, tormented)
    print("\n".join(found) if found else f"{replay.count(whole, tormented)}: the same, bit for bit")
    return bool(found) or len(kills) < options.kills


if __name__ == "__main__":
    sys.exit(main())
