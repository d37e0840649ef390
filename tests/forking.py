"""Reads MATLAB files in processes forked from one that has imported scipy, in milliseconds per file.

As a program it reads lines with the arguments of `matlab`, separated by tabs. For each line it reads the file in a
forked process and prints the exit status. The output of the process goes to `output_files`.
"""

import functools
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence

from hrnet_jax.datasets import matlab

TIMEOUT = 5  # seconds per file


def output_files(path: str) -> tuple[str, str]:
    """Returns the files for standard output and standard error."""
    return f"{path}.out", f"{path}.err"


class Server:
    """Replaces the module `subprocess` in `matlab`."""

    TimeoutExpired = subprocess.TimeoutExpired

    @functools.cached_property
    def _process(self) -> subprocess.Popen:
        command, here = [sys.executable, "-m", "forking"], pathlib.Path(__file__).parent
        environment = os.environ | {"PYTHONPATH": os.fspath(here.parent)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, cwd=here, env=environment, text=True, **pipes)

    def run(self, command: Sequence[str], **options) -> subprocess.CompletedProcess:
        """Runs `matlab` with the arguments of its command."""
        arguments = command[command.index(matlab.__file__) + 1 :]
        path = arguments[1]
        self._process.stdin.write("\t".join(arguments) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        output = (pathlib.Path(name).read_bytes() for name in output_files(path))
        return subprocess.CompletedProcess(command, status, *output)

    def close(self) -> None:
        if "_process" in vars(self):
            self._process.communicate()


def _read(memory: str, path: str, *names: str) -> None:
    """Runs `matlab` as a program and ends this process."""
    signal.alarm(TIMEOUT)
    for number, name in enumerate(output_files(path), start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [matlab.__file__, memory, path, *names]
    try:
        runpy.run_path(matlab.__file__, run_name="__main__")
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _read(*line.rstrip("\n").split("\t"))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
