"""Runs the same training with several processes and devices and compares the results.

    python tests/fleet.py --out=DIR --data=data/made_up/records -- --config.epochs=1 ...

prints losses, AP and the collectives of a step for 1, 2 and 4 processes with 1 to 4 simulated devices each. Then
it prints losses and AP of runs that are stopped and resumed elsewhere. The batch size must be a multiple of 16.
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

import forking  # noqa: E402
import killing  # noqa: E402

from hrnet_jax.console import UNFINISHED  # noqa: E402
from hrnet_jax.run import logger  # noqa: E402

AP = "val2017/gt_boxes/AP"

Place = tuple[int, int]
"""Number of processes, and of devices per process."""

TABLE: tuple[Place, ...] = tuple((processes, devices) for processes in (1, 2, 4) for devices in (1, 2, 4))
MOVES: tuple[tuple[Place, ...], ...] = (((1, 4), (1, 1), (1, 8)), ((2, 2), (1, 1)), ((1, 1), (4, 4)))
"""Places where runs start, stop and resume."""


def start(
    arguments: Sequence[str],
    workdir: pathlib.Path,
    processes: int = 1,
    devices: int = 1,
    second: Sequence[str] = (),
) -> list[forking.Process]:
    """Starts the processes of one run. Their output goes to files beside it. The second gets more arguments."""
    command = [sys.executable, "train.py", "--config=configs/demo.py", f"--workdir={workdir}", *arguments]
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    address = f"--coordinator=localhost:{_free_port()}"
    started = []
    for index in range(processes):
        fleet = [address, f"--processes={processes}", f"--process={index}"] if processes > 1 else []
        fleet += second if index == 1 else []
        with output(workdir, index).open("w") as file:
            files = {"stdout": file, "stderr": subprocess.STDOUT}
            started.append(forking.start([*command, *fleet], cwd=ROOT, env=environment, **files))
    return started


def output(workdir: pathlib.Path, index: int) -> pathlib.Path:
    """Returns the file with the output of a process."""
    return workdir.with_name(f"{workdir.name}.{index}.log")


def finish(started: Sequence[forking.Process], timeout: float = 900) -> list[int]:
    """Waits for all processes of a run and returns their exit statuses."""
    return [process.wait(timeout) for process in started]


def run(arguments: Sequence[str], workdir: pathlib.Path, processes: int = 1, devices: int = 1) -> None:
    """Runs all processes to the end. Raises RuntimeError if one fails."""
    statuses = finish(start(arguments, workdir, processes, devices))
    if any(statuses):
        raise RuntimeError(f"statuses {statuses}:\n{output(workdir, 0).read_text()[-3000:]}")


def metric(workdir: pathlib.Path, name: str) -> dict[int, float]:
    """Returns a metric of a run by step."""
    return {line["step"]: line[name] for line in logger.read(workdir) if name in line}


def farthest(a: pathlib.Path, b: pathlib.Path, name: str) -> float:
    """Returns the largest difference of a metric between two runs, or infinity if they logged other steps."""
    first, second = metric(a, name), metric(b, name)
    same_steps = bool(first) and first.keys() == second.keys()
    return max(abs(first[step] - second[step]) for step in first) if same_steps else float("inf")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def move(arguments: Sequence[str], workdir: pathlib.Path, places: Sequence[Place]) -> None:
    """Runs in one place after another. SIGTERM stops all but the last after three more lines of the log.

    Raises:
      RuntimeError: a process ended with an unexpected status.
    """
    for processes, devices in places[:-1]:
        lines = len(logger.read(workdir)) + 3
        started = start(arguments, workdir, processes, devices)
        killing.wait_for(lambda lines=lines: len(logger.read(workdir)) >= lines, *started)
        started[-1].send_signal(signal.SIGTERM)
        if (statuses := set(finish(started))) != {UNFINISHED}:
            raise RuntimeError(f"{statuses} instead of {UNFINISHED}:\n{output(workdir, 0).read_text()[-3000:]}")
    run(arguments, workdir, *places[-1])


def collectives(arguments: Sequence[str], out: pathlib.Path, devices: int) -> tuple[int, int]:
    """Returns the number and bytes of collective operations in a step."""
    if devices == 1:
        return 0, 0
    command = [sys.executable, "-m", "hrnet_jax.benchmark", "scale", "--config=configs/demo.py", f"--out={out}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "report.json").read_text())["scale"]["communication"]
    counts = [counts for kinds in report.values() for counts in kinds.values()]
    return sum(one["operations"] for one in counts), sum(one["bytes"] for one in counts)


def line(single: pathlib.Path, workdir: pathlib.Path) -> str:
    """Returns a table row: last loss, largest difference of losses to those of `single`, and last AP."""
    loss, score = (list(metric(workdir, name).values())[-1] for name in ("loss", AP))
    return f"{loss:.6e} | {farthest(single, workdir, 'loss'):.1e} | {score:.6f}"


def main() -> None:
    options = killing.parser(__doc__).parse_args()
    arguments, out = killing.arguments(options), options.out.resolve()
    out.mkdir(parents=True)
    by_devices = {devices: collectives(arguments, out / f"step{devices}", devices) for devices in (1, 2, 4, 8, 16)}
    print("| processes x devices | last loss | largest difference of losses | AP | collectives per step | bytes |")
    print("|---|---|---|---|---|---|")
    single = out / "1x1"
    for processes, devices in TABLE:
        workdir = out / f"{processes}x{devices}"
        run(arguments, workdir, processes, devices)
        operations, size = by_devices[processes * devices]
        print(f"| {processes} x {devices} | {line(single, workdir)} | {operations} | {size:,} |", flush=True)
    print("\n| stopped and moved | last loss | largest difference of losses | AP |\n|---|---|---|---|")
    for places in MOVES:
        name = " -> ".join(f"{processes} x {devices}" for processes, devices in places)
        workdir = out / name.replace(" ", "")
        move(arguments, workdir, places)
        print(f"| {name} | {line(single, workdir)} |", flush=True)


if __name__ == "__main__":
    main()
