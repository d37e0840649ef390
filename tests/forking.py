"""Runs Python programs in processes forked from one that has imported what they import.

Importing JAX, Flax and Orbax takes seconds, and tests start programs a hundred times. `start` and `run` replace
`subprocess.Popen` and `subprocess.run`. Programs that need another start, such as other environment variables that
JAX reads when it is imported, get one.

As a program, this is the process to fork from. Its arguments are modules to import. It reads a `Job` a line and
prints the ID of the process that runs it.
"""

import atexit
import contextlib
import dataclasses
import functools
import gc
import importlib
import json
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMPORTED = (
    *("hrnet_jax.checkpoint", "hrnet_jax.compare.laboratory", "hrnet_jax.evaluation.evaluate", "hrnet_jax.tasks"),
    *("hrnet_jax.run.logger", "hrnet_jax.run.replay", "hrnet_jax.run.setup", "optax"),
)
READ_AT_START = ("GLIBC_", "JAX_", "LD_", "MALLOC_", "PYTHON")
"""Environment variables that count only where a program starts."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A program with its arguments, environment and files."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    output: str
    errors: str
    status: str
    new_session: bool

    def run(self) -> None:
        """Turns this process into the program."""
        for number, name in enumerate((os.devnull, self.output, self.errors)):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environment)
        first, *rest = self.arguments
        if first == "-m":
            sys.path[0], sys.argv = self.directory, rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif first == "-P":
            sys.path[0], sys.argv = "", rest
            runpy.run_path(rest[0], run_name="__main__")
        else:
            sys.path[0], sys.argv = os.path.dirname(os.path.abspath(first)), self.arguments
            runpy.run_path(first, run_name="__main__")


class Program:
    """A program that runs, with the methods of `subprocess.Popen`. Its output is kept in files."""

    def __init__(
        self, submit: Callable[[Job], int], command: Sequence[str], environment: Mapping[str, str], options
    ):
        self.args, self._text = command, options.get("text", False)
        folder = tempfile.mkdtemp(prefix="program-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._output, self._errors, self._status = (f"{folder}/{name}" for name in ("output", "errors", "status"))
        output, errors = options.get("stdout"), options.get("stderr")
        job = Job(
            arguments=list(command[1:]),
            environment=dict(environment),
            directory=os.fspath(options.get("cwd", os.getcwd())),
            output=_path(output, self._output),
            errors=_path(output if errors == subprocess.STDOUT else errors, self._errors),
            status=self._status,
            new_session=options.get("start_new_session", False),
        )
        self.pid = submit(job)

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with contextlib.suppress(OSError):
            return int(pathlib.Path(self._status).read_text())
        return None

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
            time.sleep(0.002)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        self.wait(timeout)
        files = (pathlib.Path(self._output), pathlib.Path(self._errors))
        output, errors = (file.read_bytes() if file.exists() else b"" for file in files)
        return (output.decode(), errors.decode()) if self._text else (output, errors)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _path(file: Any, otherwise: str) -> str:
    """Returns the path of a file as `subprocess.Popen` takes it."""
    if file == subprocess.DEVNULL:
        return os.devnull
    return otherwise if file in (None, subprocess.PIPE) else os.path.abspath(file.name)


class Server:
    """The process to fork from, with modules imported. It replaces the module `subprocess`."""

    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, modules: Sequence[str]):
        self._environment = dict(os.environ)
        paths = [os.fspath(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            **{"cwd": ROOT, "env": os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, "text": True},
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE},
        )

    def submit(self, job: Job) -> int:
        """Starts a job and returns the ID of its process."""
        self._process.stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any):
        """Starts a program as `subprocess.Popen` does."""
        environment = os.environ if env is None else env
        command = [os.fspath(argument) for argument in command]
        program = command[0] == sys.executable and (command[1] in ("-m", "-P") or command[1].endswith(".py"))
        if program and self._start(environment) == self._start(self._environment):
            return Program(self.submit, command, environment, options)
        return subprocess.Popen(command, env=environment, **options)

    @staticmethod
    def _start(environment: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}

    def run(
        self, command: Sequence[str], *, timeout: float | None = None, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess:
        """Runs a program to the end as `subprocess.run` does."""
        if options.pop("capture_output", False):
            options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.start(command, **options)
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        done = subprocess.CompletedProcess(command, process.returncode, output, errors)
        if check:
            done.check_returncode()
        return done

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
        self._process.wait()


Process = subprocess.Popen | Program


@functools.cache
def _server() -> Server:
    server = Server(IMPORTED)
    atexit.register(server.close)
    return server


def start(command: Sequence[str], **options: Any):
    """Starts a program with JAX and this package imported, as `subprocess.Popen` does."""
    return _server().start(command, **options)


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess:
    """Runs such a program to the end, as `subprocess.run` does."""
    return _server().run(command, **options)


def _serve(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # collections in forked processes would copy all memory
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # processes that watch programs vanish when they end
    replies = os.dup(1)
    for line in sys.stdin:
        job = Job(**json.loads(line))
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if program := os.fork():
            _watch(program, job.status)
        if job.new_session:
            os.setsid()
        os.write(replies, f"{os.getpid()}\n".encode())
        os.close(replies)
        return job.run()


def _watch(program: int, file: str) -> NoReturn:
    """Writes the exit status of a program when it ends, and ends this process."""
    _, status = os.waitpid(program, 0)
    pathlib.Path(f"{file}.new").write_text(str(os.waitstatus_to_exitcode(status)))
    os.rename(f"{file}.new", file)
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1:])
