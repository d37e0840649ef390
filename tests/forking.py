"""Reading MATLAB files in processes forked from one that has scipy at hand, in milliseconds a file.

Run as a program it takes what `matlab` takes, parted by tabs, from each line of its input, reads the file in a
process of its own, whose output goes to the files of `saying`, and answers with its status.
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

PATIENCE = 5  # seconds for a file


def saying(path: str) -> tuple[str, str]:
    """Returns the files of what the reader of a file writes to its standard output, and of its errors."""
    return f"{path}.out", f"{path}.err"


class Server:
    """Stands in for the module `subprocess` in `matlab`."""

    TimeoutExpired = subprocess.TimeoutExpired

    @functools.cached_property
    def _process(self) -> subprocess.Popen:
        command, here = [sys.executable, "-m", "forking"], pathlib.Path(__file__).parent
        environment = os.environ | {"PYTHONPATH": os.fspath(here.parent)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(command, cwd=here, env=environment, text=True, **pipes)

    def run(self, command: Sequence[str], **options) -> subprocess.CompletedProcess:
        """Runs `matlab` as a program, as its `command` says."""
        arguments = command[command.index(matlab.__file__) + 1 :]
        path = arguments[1]
        self._process.stdin.write("\t".join(arguments) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        said = (pathlib.Path(name).read_bytes() for name in saying(path))
        return subprocess.CompletedProcess(command, status, *said)

    def close(self) -> None:
        if "_process" in vars(self):
            self._process.communicate()


def _read(memory: str, path: str, *names: str) -> None:
    """Does what a process of its own would, and ends."""
    signal.alarm(PATIENCE)
    for number, name in enumerate(saying(path), start=1):
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
