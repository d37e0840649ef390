import os
import signal
import subprocess
import sys
import time

import pytest

from hrnet_jax.run import interruption


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_before_the_next_step(number, capfd):
    before = signal.getsignal(number)
    with interruption.listen() as stop_signal:
        assert not stop_signal.should_stop(1)
        stop_signal.check()
        os.kill(os.getpid(), number)
        wait_for(lambda: stop_signal.requested)
        assert stop_signal.should_stop(2)
        with pytest.raises(interruption.Stopped):
            stop_signal.check()
    assert signal.getsignal(number) == before
    assert "stopping after this step" in capfd.readouterr().err


def test_a_second_sigterm_has_no_effect():
    with interruption.listen() as stop_signal:
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: stop_signal.requested)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        assert stop_signal.should_stop(1)


def test_a_second_ctrl_c_ends_the_program_even_in_a_call_to_c():
    """The main thread is in a call to C that no signal interrupts, as when XLA compiles."""
    script = (
        "import ctypes; from hrnet_jax.run import interruption\n"
        "with interruption.listen():\n"
        "    print('on', flush=True)\n"
        "    libc = ctypes.CDLL(None)\n"
        "    while True: libc.usleep(100000)\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", script], **pipes)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() + process.stderr.readline() == (
        "\nstopping after this step, with a checkpoint; Ctrl-C stops immediately\n"
    )
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "stopped immediately; saved checkpoints are intact\n"
    assert process.returncode == interruption.KILLED + signal.SIGINT
