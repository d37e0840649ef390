"""Runs the same training as several processes with several devices each, and tables what comes out.

    python tests/fleet.py --out=DIR --data=data/made_up/records -- --config.epochs=1 ...

prints, for 1, 2 and 4 processes with 1 to 4 simulated devices each, losses, AP and what the devices say to each
other in a step; then the same for runs that are stopped and go on elsewhere. The batch must be one for 16 devices.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))

import killing  # noqa: E402

from hrnet_jax.console import UNFINISHED  # noqa: E402
from hrnet_jax.run import logger  # noqa: E402

AP = "val2017/gt_boxes/AP"

Place = tuple[int, int]
"""Processes, and devices of each."""

TABLE: tuple[Place, ...] = tuple((processes, devices) for processes in (1, 2, 4) for devices in (1, 2, 4))
MOVES: tuple[tuple[Place, ...], ...] = (((1, 4), (1, 1), (1, 8)), ((2, 2), (1, 1)), ((1, 1), (4, 4)))
"""Where runs begin, and where they go on after they were stopped."""


def start(
    arguments: Sequence[str],
    workdir: pathlib.Path,
    processes: int = 1,
    devices: int = 1,
    second: Sequence[str] = (),
) -> list[subprocess.Popen]:
    """Starts the processes of one run, the `second` with more arguments; what they say goes to files beside it."""
    command = [sys.executable, "train.py", "--config=configs/demo.py", f"--workdir={workdir}", *arguments]
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    address = f"--coordinator=localhost:{_free_port()}"
    started = []
    for index in range(processes):
        fleet = [address, f"--processes={processes}", f"--process={index}"] if processes > 1 else []
        fleet += second if index == 1 else []
        with output(workdir, index).open("w") as file:
            files = {"stdout": file, "stderr": subprocess.STDOUT}
            started.append(subprocess.Popen([*command, *fleet], cwd=ROOT, env=environment, **files))
    return started


def output(workdir: pathlib.Path, index: int) -> pathlib.Path:
    """Returns the file of what a process said."""
    return workdir.with_name(f"{workdir.name}.{index}.log")


def finish(started: Sequence[subprocess.Popen], timeout: float = 900) -> list[int]:
    """Waits for all processes of a run and returns their statuses."""
    return [process.wait(timeout) for process in started]


def run(arguments: Sequence[str], workdir: pathlib.Path, processes: int = 1, devices: int = 1) -> None:
    """Runs all processes to their end.

    Raises:
      RuntimeError: one did not end well.
    """
    statuses = finish(start(arguments, workdir, processes, devices))
    if any(statuses):
        raise RuntimeError(f"statuses {statuses}:\n{output(workdir, 0).read_text()[-3000:]}")


def figures(workdir: pathlib.Path, name: str) -> dict[int, float]:
    """Returns a figure of a run by step."""
    return {line["step"]: line[name] for line in logger.read(workdir) if name in line}


def farthest(a: pathlib.Path, b: pathlib.Path, name: str) -> float:
    """Returns the largest difference of a figure between two runs; infinite if they did not log the same steps."""
    ours, theirs = figures(a, name), figures(b, name)
    same = bool(ours) and ours.keys() == theirs.keys()
    return max(abs(ours[step] - theirs[step]) for step in ours) if same else float("inf")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def move(arguments: Sequence[str], workdir: pathlib.Path, places: Sequence[Place]) -> None:
    """Runs in one place after another, stopped by SIGTERM once three more lines are logged, but in the last.

    Raises:
      RuntimeError: a process did not stop, or not end, as it should.
    """
    for processes, devices in places[:-1]:
        lines = len(logger.read(workdir)) + 3
        started = start(arguments, workdir, processes, devices)
        killing.wait_for(lambda lines=lines: len(logger.read(workdir)) >= lines, *started)
        started[-1].send_signal(signal.SIGTERM)
        if (statuses := set(finish(started))) != {UNFINISHED}:
            raise RuntimeError(f"{statuses} instead of {UNFINISHED}:\n{output(workdir, 0).read_text()[-3000:]}")
    run(arguments, workdir, *places[-1])


def talk(arguments: Sequence[str], out: pathlib.Path, devices: int) -> tuple[int, int]:
    """Returns how many collective operations a step of so many devices has, and their bytes."""
    if devices == 1:
        return 0, 0
    command = [sys.executable, "-m", "hrnet_jax.benchmark", "scale", "--config=configs/demo.py", f"--out={out}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    said = json.loads((out / "report.json").read_text())["scale"]["communication"]
    counts = [counts for kinds in said.values() for counts in kinds.values()]
    return sum(one["operations"] for one in counts), sum(one["bytes"] for one in counts)


def line(single: pathlib.Path, workdir: pathlib.Path) -> str:
    """Returns the last loss of a run, by how much losses are off those of another at most, and the last AP."""
    loss, score = (list(figures(workdir, name).values())[-1] for name in ("loss", AP))
    return f"{loss:.6e} | {farthest(single, workdir, 'loss'):.1e} | {score:.6f}"


def main() -> None:
    options = killing.parser(__doc__).parse_args()
    arguments, out = killing.arguments(options), options.out.resolve()
    out.mkdir(parents=True)
    said = {devices: talk(arguments, out / f"step{devices}", devices) for devices in (1, 2, 4, 8, 16)}
    print("| processes x devices | last loss | losses off by at most | AP | collectives a step | bytes |")
    print("|---|---|---|---|---|---|")
    single = out / "1x1"
    for processes, devices in TABLE:
        workdir = out / f"{processes}x{devices}"
        run(arguments, workdir, processes, devices)
        operations, size = said[processes * devices]
        print(f"| {processes} x {devices} | {line(single, workdir)} | {operations} | {size:,} |", flush=True)
    print("\n| stopped and moved | last loss | losses off by at most | AP |\n|---|---|---|---|")
    for places in MOVES:
        name = " -> ".join(f"{processes} x {devices}" for processes, devices in places)
        workdir = out / name.replace(" ", "")
        move(arguments, workdir, places)
        print(f"| {name} | {line(single, workdir)} |", flush=True)


if __name__ == "__main__":
    main()
