"""The package as a stranger imports it."""

import pathlib
import pkgutil
import subprocess
import sys
import tomllib

import hrnet_jax
from hrnet_jax import __main__ as command

ROOT = pathlib.Path(__file__).resolve().parents[1]

TORCH_MODELS = ("models.torch_models", "models.torch_variants")
IMPORT_ALL = """
import importlib, sys, threading
import jax, grain, ml_collections.config_flags, tensorflow_datasets, orbax.checkpoint
from absl import flags
before = set(flags.FLAGS), dict(jax.config.values), threading.active_count()
for name in sys.argv[1:]:
    importlib.import_module(name)
after = set(flags.FLAGS), dict(jax.config.values), threading.active_count()
for a, b in zip(before, after):
    assert a == b, (a, b)
"""


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_importing_any_module_defines_no_flag_changes_no_setting_and_starts_no_thread():
    modules = [info.name for info in pkgutil.walk_packages(hrnet_jax.__path__, "hrnet_jax.")]
    needs_torch = {f"hrnet_jax.{name}" for name in ("compare.torch_runner", *TORCH_MODELS)}
    assert len(modules) > 100 and needs_torch <= set(modules)
    done = run("-c", IMPORT_ALL, *sorted(set(modules) - needs_torch))
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_else():
    done = run(
        "-c", "import sys, hrnet_jax; print([name for name in ('jax', 'numpy', 'cv2') if name in sys.modules])"
    )
    assert done.stdout == "[]\n"


def test_the_command_lists_and_runs_the_programs():
    done = run("-m", "hrnet_jax")
    assert done.returncode == 0 and all(name in done.stdout for name in command.COMMANDS)
    assert run("-m", "hrnet_jax", "prepare", "--help").stdout.startswith("usage: ")
    done = run("-m", "hrnet_jax", "predate")
    assert done.returncode == 2 and "no command 'predate'" in done.stderr


def test_every_command_is_a_program_of_the_package():
    found = {path.parent.name for path in (ROOT / "hrnet_jax").glob("*/__main__.py")}
    found |= {
        path.stem
        for path in (ROOT / "hrnet_jax").glob("*.py")
        if path.stem != "__main__" and "__main__" in path.read_text()
    }
    assert found == set(command.COMMANDS)


def test_dependencies_stand_in_one_list():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "dependencies" in project["dynamic"] and "dependencies" not in project
