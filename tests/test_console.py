import json
import os
import pathlib
import platform
import subprocess
import sys

import forking
import pytest

from hrnet_jax import console, skeletons

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_mistakes_of_the_user_are_reported_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: skeletons.load("centaur"))  # type: ignore[arg-type]
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: `skeleton` (='centaur')")


def test_a_path_that_is_too_long_is_a_mistake_of_the_user(capsys):
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: pathlib.Path("x" * 300).write_text(""))
    assert ended.value.code == 2 and "File name too long: 'xxx" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_has_no_traceback(capsys):
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: pathlib.Path("/dev/full").write_text("x"))
    assert (ended.value.code, capsys.readouterr().err) == (2, "error: [Errno 28] No space left on device\n")


def test_a_folder_that_is_a_file_has_no_traceback(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: (tmp_path / "file" / "report.html").write_text(""))
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: [Errno 20] Not a directory: '{tmp_path}/file/report.html'\n"


def test_bugs_keep_their_traceback():
    with pytest.raises(json.JSONDecodeError):
        console.run(lambda: json.loads("{"))


def test_success_is_status_zero():
    with pytest.raises(SystemExit) as ended:
        console.run(lambda: None)
    assert ended.value.code == 0


def test_exit_statuses_are_those_that_the_documentation_names():
    assert (console.USAGE_ERROR, console.UNFINISHED) == (2, os.EX_TEMPFAIL) == (2, 75)


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}, b"\\u7167 \\udcff\n"),
        ({"PYTHONIOENCODING": "ascii"}, b"\\u7167 \\udcff\n"),
        ({"PYTHONUTF8": "1"}, "照 \\udcff\n".encode()),
    ],
)
def test_no_name_stops_a_program_whose_output_is_not_utf_8(tmp_path, environment, shown):
    """What the terminal cannot show is escaped. Files and their names are in UTF-8."""
    main = "lambda: print(open('照').read(), '\\udcff')"
    program = f"from hrnet_jax import console; console.run({main})"
    (tmp_path / "照").write_text("照", encoding="utf-8")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    variables = {"PYTHONPATH": os.fspath(ROOT), "PATH": os.environ["PATH"], **environment}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=variables, capture_output=True, timeout=120
    )
    assert (done.stdout, done.returncode) == (shown, 0), done.stderr


def test_the_home_directory_is_expanded_in_every_argument(monkeypatch):
    monkeypatch.setenv("HOME", "/home/\\1")
    monkeypatch.setattr(sys, "argv", ["~", "~", "--out=~/a~/b", "--config.data.dir=~", "./~", "~x", "a=~/b"])
    with pytest.raises(SystemExit):
        console.run(lambda: None)
    assert sys.argv == [
        *("~", "/home/\\1", "--out=/home/\\1/a~/b", "--config.data.dir=/home/\\1", "./~", "~x", "a=~/b"),
    ]


def test_a_missing_config_has_no_traceback():
    command = [sys.executable, "eval.py", "--config", "configs/nope.py", "--workdir", "runs/nope"]
    done = forking.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "'configs/nope.py'" in done.stderr
    assert "Traceback" not in done.stderr


def test_unexpected_arguments_are_refused(tmp_path):
    command = [sys.executable, "train.py", "demo", "--config=configs/demo.py", f"--workdir={tmp_path}"]
    done = forking.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "error: unexpected argument 'demo': flags begin with --\n"


def test_compiled_programs_are_kept_in_the_users_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert console.compilation_cache_dir().parent == tmp_path / "hrnet_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert console.compilation_cache_dir().parent == pathlib.Path.home() / ".cache" / "hrnet_jax"


def test_xla_flags_of_the_user_come_last_and_take_precedence(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    console._disable_slow_kernels()
    assert os.environ["XLA_FLAGS"].endswith("--xla_cpu_enable_fast_math=false")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize("work", ["np.ones(2**25, np.float32)", "jax.block_until_ready(negative(x))"])
def test_large_blocks_of_memory_are_allocated_once(work):
    program = f"""
import resource
import jax
import numpy as np
from hrnet_jax import console
console._keep_freed_memory()
x, negative = jax.device_put(np.ones(2**25, np.float32)), jax.jit(lambda x: -x)
faults = []
for _ in range(30):
    {work}
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(int(np.median(np.diff(faults))))  # the first few rounds allocate memory
"""
    done = forking.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) < 100  # a new allocation has 32,768 pages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config=configs/coco.py:hrnet_w64"],
            "there is no row 'hrnet_w64': choose one of hrnet_w32_256x192_scratch",
        ),
        (["--config=configs/coco_hrnet_w32.py"], "No such file or directory: 'configs/coco_hrnet_w32.py'"),
        (["--config=configs/demo.py", "--config.batch_size=a"], "flag --config.batch_size=a: invalid literal"),
        (["--config=configs/demo.py", "--config.batches=3"], "the configuration has no field 'batches'"),
        (["--config=configs/demo.py", "--batches=3"], "Unknown command line flag 'batches'"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, message):
    command = [sys.executable, "train.py", "--workdir=unused", *arguments]
    done = forking.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == console.USAGE_ERROR
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
