"""``manifest.json``: what a run is made of, besides its configuration, so that it can be made again.

An entry is added at every start: what was typed, the code, the versions, the data, the devices, and what of the
environment can change a result.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax

from hrnet_jax import buckets, configuration, console, validation
from hrnet_jax.run import setup

FILE = "manifest.json"
ROOT = pathlib.Path(__file__).resolve().parents[2]

_VARIABLES = re.compile(
    r"XLA_|JAX_|TPU_|LIBTPU_|CUDA_|CUDNN_|CUBLAS_|NCCL_|NVIDIA_TF32|TF_(XLA|CUDNN|CPP|FORCE|DETERMINISTIC)"
    r"|OMP_|MKL_|OPENBLAS_|GLIBC_"
)
_SECRET = re.compile("TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY", re.IGNORECASE)
_PASSING = ("time", "step", "command", "host")  # differ from start to start
_DATA, _CONFIG, _STATE = "data", "config", "state"


def collect(run: setup.Run, step: int, mark: str) -> dict[str, Any]:
    """Returns the entry of a start after `step` steps, with the fingerprint `mark` of the state there."""
    device = run.mesh.devices.flat[0]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "step": step,
        _STATE: mark,
        "command": [sys.executable, *sys.argv],
        "host": platform.node(),
        "processor": console.kind_of_processor(),
        _CONFIG: json.loads(run.config.to_json_best_effort()),
        "devices": {"kind": device.device_kind, "count": run.mesh.size, "processes": jax.process_count()},
        "versions": {"python": platform.python_version(), "driver": device.client.platform_version, **_versions()},
        "code": {"sources": _sources(), "commit": _commit()},
        _DATA: setup.digests(run),
        "environment": environment(os.environ),
    }


def add(workdir: buckets.Path, entry: dict[str, Any]) -> list[str]:
    """Adds the entry of a start to a run directory's manifest; returns what differs from the first start.

    Raises:
      ValueError: the data are others than those of the first start; or the manifest is damaged.
    """
    starts = read(workdir)
    differences = compare(starts[0], entry) if starts else []
    if others := data_differences(differences):
        raise ValueError(
            f"the data are not those that the run {workdir} was started with ({'; '.join(others)}): give those"
            " (--config.data.dir), or start a new run (--workdir)"
        )
    buckets.write_atomically(workdir / FILE, json.dumps({"starts": [*starts, entry]}, indent=1) + "\n")
    return differences


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns those environment variables that can change a result, and are no secret."""
    names = (name for name in sorted(variables) if _VARIABLES.match(name) and not _SECRET.search(name))
    return {name: variables[name] for name in names}


def read(workdir: buckets.Path) -> list[dict[str, Any]]:
    """Returns the entries of all starts of a run, the oldest first; nothing if it has no manifest.

    Raises:
      OSError: it is a pipe, a device or a folder.
      ValueError: the manifest is damaged.
    """
    path = workdir / FILE
    validation.check_regular(path)
    try:
        starts = json.loads(path.read_text())["starts"] if path.exists() else []
        return [_checked(start) for start in starts]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error!r:.100}): delete it, the run can do without") from error


def _checked(start: Any) -> dict[str, Any]:
    """Returns an entry. Raises what comes of one that `of` did not make."""
    found = {"step": 0, **start, _DATA: {**start.get(_DATA, {})}, _CONFIG: {**start.get(_CONFIG, {})}}
    validation.require(found, "step", int, "a start")
    return found


def compare(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Returns in words what differs between two entries, but for what differs at every start."""
    a, b = configuration.flatten(there), configuration.flatten(here)
    passing = _PASSING if there.get("step") == here.get("step") else (*_PASSING, _STATE)
    return [
        f"{name} was {a.get(name, 'not there')} and is {b.get(name, 'not there')}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name) and not name.startswith(passing)
    ]


def data_differences(differences: list[str]) -> list[str]:
    """Returns those of what `compare` returned that tell of other data."""
    return [text for text in differences if text.startswith(f"{_DATA}.")]


def _versions() -> dict[str, str]:
    """Returns the versions of what `requirements.txt` lists, and of JAX's compilers and NVIDIA's libraries."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {found.group().lower().replace("_", "-") for line in lines if (found := re.match(r"[\w-]+", line))}
    packages = importlib.metadata.distributions()
    installed = {package.name.lower().replace("_", "-"): package.version for package in packages}
    return {
        name: installed[name]
        for name in sorted(installed)
        if name in names or name.startswith(("jax", "libtpu", "nvidia-"))
    }


def _sources() -> str:
    """Returns a digest of this project's code."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("*.py"), *ROOT.glob("hrnet_jax/**/*.py"), *ROOT.glob("configs/*.py")]):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _commit() -> str:
    """Returns the commit of this project's code, "" if git does not know."""
    command = ["git", "-C", os.fspath(ROOT), "rev-parse", "HEAD"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""
