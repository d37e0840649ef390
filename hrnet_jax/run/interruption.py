"""Graceful shutdown on Ctrl-C, SIGTERM or preemption of any process of the run."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

KILLED = 128
"""Exit status of a run ended by a second Ctrl-C, minus the signal number, as in shells."""


class Stopped(Exception):
    """A long operation was abandoned because the run is to stop."""


class StopSignal:
    """Whether the run is to stop. Several processes all stop after the same step."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._distributed = jax.process_count() > 1

    def request(self) -> None:
        """Requests that the run stop."""
        if self._distributed:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX passes it on to the other processes
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether this process was requested to stop."""
        return self._requested.is_set()

    def should_stop(self, step: int) -> bool:
        """Whether to stop before this step. All processes must call it before every step."""
        if self._distributed:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.requested

    def check(self) -> None:
        """Raises Stopped if a stop is requested and this is the only process."""
        if self.requested and not self._distributed:
            raise Stopped


@contextlib.contextmanager
def listen() -> Iterator[StopSignal]:
    """Handles Ctrl-C and SIGTERM. A second Ctrl-C ends the program immediately.

    A thread receives the signals, since Python's own handlers wait for compilations to end.
    """
    stop_signal = StopSignal()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signals = [signal.SIGINT] + [signal.SIGTERM] * (jax.process_count() == 1)  # else JAX handles SIGTERM
    previous = {number: signal.signal(number, lambda *_: None) for number in signals}
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    thread = threading.Thread(target=_handle_signals, args=(read_end, stop_signal), daemon=True)
    thread.start()
    try:
        yield stop_signal
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(write_end)
        thread.join()
        os.close(read_end)


def _handle_signals(read_end: int, stop_signal: StopSignal) -> None:
    """Handles the signals with the numbers read from a pipe until it is closed."""
    while numbers := os.read(read_end, 1):
        if numbers[0] == signal.SIGINT and stop_signal.requested:
            print("stopped immediately; saved checkpoints are intact", file=sys.stderr, flush=True)
            os._exit(KILLED + signal.SIGINT)
        if not stop_signal.requested:
            text = "\nstopping after this step, with a checkpoint; Ctrl-C stops immediately"
            print(text, file=sys.stderr, flush=True)
            stop_signal.request()
