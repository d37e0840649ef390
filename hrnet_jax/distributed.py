"""Several processes, on one machine or many, as one run: finding each other, speaking once, agreeing.

On TPU pods, Slurm, MPI and Kubernetes, `--distributed` is all: JAX finds out the rest. Elsewhere the same command
is started on each machine with `--coordinator=HOST:PORT --processes=N --process=I`.
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

HEARTBEAT = 60
"""Seconds after which a machine that gave no sign of life is taken for lost, and the others stop."""

PATIENCE = 600
"""Seconds that processes wait for each other before the first step."""


def define_flags() -> None:
    """Defines the flags that `initialize` reads."""
    flags.DEFINE_bool("distributed", False, "Run with the other processes that the cluster started.")
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if the cluster does not provide it.")
    flags.DEFINE_integer("processes", None, "Number of processes, if the cluster does not provide it.")
    flags.DEFINE_integer("process", None, "Index of this process, from 0, if the cluster does not provide it.")


def initialize() -> None:
    """Connects the processes of a run, as the flags say. Call it before any use of JAX.

    Raises:
      ValueError: the flags do not say who they are, or one of them cannot be reached.
    """
    given = flags.FLAGS
    address, count, index = given.coordinator, given.processes, given.process
    if address is None and count is None and index is None:
        if not given.distributed:
            return
    elif address is None or count is None or index is None:
        raise ValueError("give --coordinator, --processes and --process together, or none and --distributed")
    elif not 0 <= index < count:
        raise ValueError(f"`--process` (={index}) must be at least 0 and below `--processes` (={count})")
    # A process that is left alone is to fail with a JaxRuntimeError; in the calling thread it is a ValueError.
    jax.config.update("jax_cpu_enable_async_dispatch", True)
    try:
        jax.distributed.initialize(address, count, index, heartbeat_timeout_seconds=HEARTBEAT)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the other processes cannot be found ({error}): check that all were started with"
            " the same --coordinator, whose port must be free and reachable; where no cluster tells of the"
            " processes, give --coordinator, --processes and --process"
        ) from error
    # JAX aborts a process that lost the first one. What Python says then of all threads (absl has it do so) would
    # bury JAX's message, and crash now and then, since the others still run.
    if faulthandler.is_enabled():
        faulthandler.enable(all_threads=False)


@contextlib.contextmanager
def abort_together() -> Iterator[None]:
    """Ends this process at once if anything fails while others wait for it, or if one of them is lost.

    JAX would have it wait for the others to come to their end, too, which they cannot.
    """
    try:
        yield
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        status = _tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "Gloo", "NCCL", "heartbeat", "coordination")
"""What JAX's message holds when another process is gone; the same kind of error tells of full memory, too."""


def _tell(error: Exception) -> int:
    """Says what went wrong; returns the exit status."""
    text = str(error)
    if isinstance(error, jax.errors.JaxRuntimeError) and any(word in text for word in LOST):
        print(
            f"error: another process of the run, or the link to it, was lost ({text.splitlines()[0]}): see what"
            " that one said; the same commands on all machines go on from the last checkpoint",
            file=sys.stderr,
        )
        return console.UNFINISHED
    if isinstance(error, ValueError | OSError) and console.is_for_user(error):
        print(f"error: {error}", file=sys.stderr)
        return console.USAGE_ERROR
    traceback.print_exception(error)
    return 1


def is_primary() -> bool:
    """Whether this is the process that speaks and writes for all."""
    return jax.process_index() == 0


def log_once(text: str) -> None:
    """Prints, once for all processes."""
    if is_primary():
        print(text, flush=True)


def barrier(where: str) -> None:
    """Waits until all processes are here."""
    if jax.process_count() > 1:
        multihost.sync_global_processes(where, timeout=PATIENCE)


def all_agree(value: bool) -> bool:
    """Whether all processes say yes."""
    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def broadcast(value: bool) -> bool:
    """Returns what the first process says."""
    return bool(multihost_utils.broadcast_one_to_all(np.array(value))) if jax.process_count() > 1 else value
