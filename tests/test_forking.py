import os
import pathlib
import signal
import subprocess
import sys

import forking
import pytest


def program(tmp_path: pathlib.Path, text: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(text)
    return [sys.executable, str(path)]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 0),
        ("import sys; sys.exit(75)", 75),
        ("raise RuntimeError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import atexit, os; atexit.register(os._exit, 3)", 3),
    ],
)
def test_exit_statuses_are_those_of_a_process_of_its_own(tmp_path, text, status):
    assert forking.run(program(tmp_path, text)).returncode == status


def test_a_program_has_its_arguments_directory_environment_and_files(tmp_path):
    text = (
        "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['SAID'], sys.path[0], 'jax' in sys.modules)"
    )
    command = [*program(tmp_path, f"{text}; print('no', file=sys.stderr)"), "--one"]
    environment = os.environ | {"SAID": "so"}
    done = forking.run(command, cwd=forking.ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == f"['--one'] {forking.ROOT} so {tmp_path} True\n" and done.stderr == "no\n"
    with (tmp_path / "log").open("a") as log:
        forking.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 2 and "no" in lines


def test_what_python_and_jax_read_at_their_start_needs_another_start(tmp_path):
    command = program(tmp_path, "import sys; print('jax' in sys.modules)")
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    assert forking.run(command, env=environment, capture_output=True, text=True).stdout == "False\n"


def test_a_program_is_waited_for_and_stopped(tmp_path):
    process = forking.start(program(tmp_path, "import time; time.sleep(600)"), start_new_session=True)
    assert process.poll() is None and os.getpgid(process.pid) == process.pid
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
