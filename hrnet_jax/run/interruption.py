"""Being asked to stop: by Ctrl-C, by SIGTERM as a machine that is taken away gets it, or by another machine's."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

KILLED = 128
"""Exit status of a run that a second Ctrl-C ended, less the signal's number, as shells count."""


class Stopped(Exception):
    """Something that takes long was given up because the run is to stop."""


class StopSignal:
    """Whether the run is to stop; with several processes all of them stop after the same step."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._together = jax.process_count() > 1

    def request(self) -> None:
        """Asks for the run to stop."""
        if self._together:
            os.kill(os.getpid(), signal.SIGTERM)  # which JAX passes on to the other machines
        self._requested.set()

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop."""
        return self._requested.is_set()

    def should_stop(self, step: int) -> bool:
        """Whether to stop before this step; every process asks before every step."""
        if self._together:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.requested

    def check(self) -> None:
        """Raises Stopped where this process alone may give up what it is at."""
        if self.requested and not self._together:
            raise Stopped


@contextlib.contextmanager
def listen() -> Iterator[StopSignal]:
    """Notes Ctrl-C and SIGTERM from here on; a second Ctrl-C ends the program at once, whatever it is doing.

    A thread hears them, since Python's own handlers wait for compilations to end.
    """
    interruption = StopSignal()
    heard, hear = os.pipe()
    os.set_blocking(hear, False)
    numbers = [signal.SIGINT] + [signal.SIGTERM] * (jax.process_count() == 1)  # else JAX listens to it
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    signal.set_wakeup_fd(hear, warn_on_full_buffer=False)
    thread = threading.Thread(target=_answer, args=(heard, interruption), daemon=True)
    thread.start()
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(hear)
        thread.join()
        os.close(heard)


def _answer(heard: int, interruption: StopSignal) -> None:
    """Acts on the signals whose numbers come through a pipe, until it is closed."""
    while numbers := os.read(heard, 1):
        if numbers[0] == signal.SIGINT and interruption.requested:
            print("stopped at once; what is saved is whole", file=sys.stderr, flush=True)
            os._exit(KILLED + signal.SIGINT)
        if not interruption.requested:
            text = "stopping after this step, with a checkpoint; Ctrl-C stops at once"
            print(f"\n{text}", file=sys.stderr, flush=True)
            interruption.request()
