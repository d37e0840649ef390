"""Runs the same training as several processes with several devices each, and tables what comes out.

    python tests/fleet.py --out=DIR --data=data/made_up/records -- --config.epochs=1 ...

prints, for 1, 2 and 4 processes with 1 to 4 simulated devices each, how far the losses and AP are from those of
one process with one device.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, os.fspath(ROOT))

from hrnet_jax import logbook  # noqa: E402

TABLE = ((1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2))
"""Processes, and devices of each."""


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
    return {line["step"]: line[name] for line in logbook.read(workdir) if name in line}


def farthest(a: pathlib.Path, b: pathlib.Path, name: str) -> float:
    """Returns the largest difference of a figure between two runs; infinite if they did not log the same steps."""
    ours, theirs = figures(a, name), figures(b, name)
    same = bool(ours) and ours.keys() == theirs.keys()
    return max(abs(ours[step] - theirs[step]) for step in ours) if same else float("inf")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/made_up/records")
    parser.add_argument("changes", nargs="*", help="further flags of train.py")
    options = parser.parse_args()
    arguments = [f"--config.data.dir={options.data.resolve()}", *options.changes]
    options.out.mkdir(parents=True)
    ap = "val2017/gt_boxes/AP"
    print("| processes x devices | last loss | losses differ by at most | AP |\n|---|---|---|---|")
    single = options.out.resolve() / "1x1"
    for processes, devices in TABLE:
        workdir = options.out.resolve() / f"{processes}x{devices}"
        run(arguments, workdir, processes, devices)
        loss, score = (list(figures(workdir, name).values())[-1] for name in ("loss", ap))
        distance = farthest(single, workdir, "loss")
        print(f"| {processes} x {devices} | {loss:.6e} | {distance:.1e} | {score:.6f} |", flush=True)


if __name__ == "__main__":
    main()
