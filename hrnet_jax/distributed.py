"""Several processes, on one machine or many, as one run.

On TPU pods, Slurm, MPI and Kubernetes `--distributed` suffices: JAX detects the cluster. Elsewhere the same
command is started on each machine with `--coordinator=HOST:PORT --processes=N --process=I`.
"""

import contextlib
import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from hrnet_jax import console

HEARTBEAT_TIMEOUT = 60
"""Seconds without a heartbeat after which a process counts as lost and the others stop."""

BARRIER_TIMEOUT = 600
"""Seconds that processes wait for each other at a barrier."""

LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "Gloo", "NCCL", "heartbeat", "coordination")
"""Words in the message of a JaxRuntimeError caused by a lost process. Full memory raises the same type."""


def define_flags() -> None:
    """Defines the flags that `initialize` reads."""
    flags.DEFINE_bool("distributed", False, "Join the other processes that the cluster started.")
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if the cluster does not provide it.")
    flags.DEFINE_integer("processes", None, "Number of processes, if the cluster does not provide it.")
    flags.DEFINE_integer("process", None, "Index of this process, from 0, if the cluster does not provide it.")


def initialize() -> None:
    """Connects the processes of a run according to the flags. Must be called before any use of JAX.

    Raises ValueError if the flags are incomplete or contradictory, or a process cannot be reached.
    """
    address, count, index = (flags.FLAGS[name].value for name in ("coordinator", "processes", "process"))
    if address is None and count is None and index is None:
        if not flags.FLAGS.distributed:
            return
    elif address is None or count is None or index is None:
        raise ValueError("give --coordinator, --processes and --process together, or none and --distributed")
    elif not 0 <= index < count:
        raise ValueError(f"`--process` (={index}) must be at least 0 and below `--processes` (={count})")
    # Losing a process must raise a JaxRuntimeError; with synchronous dispatch it is a ValueError.
    jax.config.update("jax_cpu_enable_async_dispatch", True)
    try:
        jax.distributed.initialize(address, count, index, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the other processes cannot be found ({error}): check that all were started with"
            " the same --coordinator and that its port is free and reachable; without a cluster that JAX"
            " detects, give --coordinator, --processes and --process"
        ) from error
    # JAX aborts a process that lost process 0. Python's dump of all threads, enabled by absl, would bury JAX's
    # message and sometimes crash, since the other threads still run.
    if faulthandler.is_enabled():
        faulthandler.enable(all_threads=False)


@contextlib.contextmanager
def abort_together() -> Iterator[None]:
    """Ends this process at once on any error while other processes depend on it, or if one of them is lost.

    JAX would otherwise wait for the others to finish, which they cannot.
    """
    try:
        yield
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        status = _report(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _report(error: Exception) -> int:
    """Prints an error and returns the exit status."""
    text = str(error)
    if isinstance(error, jax.errors.JaxRuntimeError) and any(word in text for word in LOST):
        print(
            f"error: another process of the run, or the connection to it, was lost ({text.splitlines()[0]}): see"
            " its output; the same commands on all machines resume from the last checkpoint",
            file=sys.stderr,
        )
        return console.UNFINISHED
    if isinstance(error, ValueError | OSError) and console.is_user_error(error):
        print(f"error: {error}", file=sys.stderr)
        return console.USAGE_ERROR
    traceback.print_exception(error)
    return 1


def is_primary() -> bool:
    """Whether this is process 0. Only it prints, and writes the log and other shared files."""
    return jax.process_index() == 0


def log_once(text: str) -> None:
    """Prints a text in the primary process."""
    if is_primary():
        print(text, flush=True)


def barrier(name: str) -> None:
    """Waits until all processes have reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost.sync_global_processes(name, timeout=BARRIER_TIMEOUT)


def all_agree(value: bool) -> bool:
    """Whether the value is true in all processes. Collective: all processes must call it."""
    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def broadcast(value: bool) -> bool:
    """Returns the primary process's value. Collective: all processes must call it."""
    return bool(multihost_utils.broadcast_one_to_all(np.array(value))) if jax.process_count() > 1 else value
