"""``manifest.json``: everything needed to reproduce a run.

Every start adds an entry with its command, configuration, code, versions, data and devices, and with the
environment variables that can change a result.
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
IS_CLONE = (ROOT / "train.py").is_file()  # else the package is installed

_VARIABLES = re.compile(
    r"XLA_|JAX_|TPU_|LIBTPU_|CUDA_|CUDNN_|CUBLAS_|NCCL_|NVIDIA_TF32|TF_(XLA|CUDNN|CPP|FORCE|DETERMINISTIC)"
    r"|OMP_|MKL_|OPENBLAS_|GLIBC_"
)
_SECRET = re.compile("TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY", re.IGNORECASE)
EXTENDED = "extended"
"""Entry of a start that extended the run: the changes of its length or learning rate."""

_VOLATILE = ("time", "step", "command", "host", EXTENDED)  # differ between any two starts
_DATA, _CONFIG, _STATE = "data", "config", "state"


def collect(run: setup.Run, step: int, fingerprint: str) -> dict[str, Any]:
    """Returns the entry of a start after some completed steps, with the fingerprint of the state after them."""
    device = run.mesh.devices.flat[0]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "step": step,
        _STATE: fingerprint,
        "command": [sys.executable, *sys.argv],
        "host": platform.node(),
        _CONFIG: json.loads(run.config.to_json_best_effort()),
        "devices": {"kind": device.device_kind, "count": run.mesh.size, "processes": jax.process_count()},
        _DATA: setup.digests(run),
        **program(device),
    }


def program(device: Any) -> dict[str, Any]:
    """Returns the part of an entry that identifies the program, to compare results of other than runs as well."""
    return {
        "processor": console.processor_kind(),
        "versions": {"python": platform.python_version(), "driver": device.client.platform_version, **_versions()},
        "code": {"sources": _sources(), "commit": _commit()},
        "environment": environment(os.environ),
    }


def add(workdir: buckets.Path, entry: dict[str, Any]) -> list[str]:
    """Adds the entry of a start to a run's manifest and describes its differences from the first start.

    Raises ValueError if the data differ from those of the first start, or the manifest is damaged.
    """
    starts = read(workdir)
    differences = compare(starts[0], entry) if starts else []
    if changed := data_differences(differences):
        raise ValueError(
            f"the run {workdir} was started with other data ({'; '.join(changed)}): give those"
            " (--config.data.dir), or start a new run (--workdir)"
        )
    buckets.write_atomically(workdir / FILE, json.dumps({"starts": [*starts, entry]}, indent=1) + "\n")
    return differences


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Selects the environment variables that can change a result, without secrets."""
    names = (name for name in sorted(variables) if _VARIABLES.match(name) and not _SECRET.search(name))
    return {name: variables[name] for name in names}


def read(workdir: buckets.Path) -> list[dict[str, Any]]:
    """Returns the entries of all starts of a run, oldest first. Returns none if there is no manifest.

    Raises OSError if the manifest is a pipe, a device or a directory, and ValueError if it is damaged.
    """
    path = workdir / FILE
    validation.check_regular(path)
    try:
        starts = json.loads(path.read_text())["starts"] if path.exists() else []
        return [_check_entry(start) for start in starts]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error!r:.100}): delete it; the run does not need it") from error


def _check_entry(start: Any) -> dict[str, Any]:
    """Returns an entry with defaults for missing parts. Raises one of several errors if it is malformed."""
    entry = {"step": 0, **start, _DATA: {**start.get(_DATA, {})}, _CONFIG: {**start.get(_CONFIG, {})}}
    validation.require(entry, "step", int, "a start")
    return entry


def compare(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Describes the differences between two entries, except those between any two starts."""
    ignored = _VOLATILE if there.get("step") == here.get("step") else (*_VOLATILE, _STATE)
    differences = validation.differences(_flat(there), _flat(here), "{} was {} and is {}")
    return [text for name, text in differences.items() if not name.startswith(ignored)]


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    """Flattens an entry. Fields newer than its configuration have their defaults."""
    config = entry.get(_CONFIG, {})
    known = configuration.fields_of_file(config)
    return configuration.flatten({**entry, _CONFIG: configuration.with_defaults(config, known)})


def data_differences(differences: list[str]) -> list[str]:
    """Selects the differences in data from the result of `compare`."""
    return [text for text in differences if text.startswith(f"{_DATA}.")]


def _versions() -> dict[str, str]:
    """Returns the versions of the requirements, of JAX's compilers and of NVIDIA's libraries."""
    file = ROOT / "requirements.txt"  # of a clone; an installed package has it in its metadata
    lines = file.read_text().splitlines() if file.is_file() else importlib.metadata.requires("hrnet_jax") or []
    names = {found.group().lower().replace("_", "-") for line in lines if (found := re.match(r"[\w-]+", line))}
    packages = importlib.metadata.distributions()
    installed = {package.name.lower().replace("_", "-"): package.version for package in packages}
    relevant = (name for name in installed if name in names or name.startswith(("jax", "libtpu", "nvidia-")))
    return {name: installed[name] for name in sorted(relevant)}


def _sources() -> str:
    """Returns a digest of this project's code."""
    digest, programs = hashlib.sha256(), ROOT.glob("*.py") if IS_CLONE else ()
    for path in sorted([*programs, *ROOT.glob("hrnet_jax/**/*.py"), *ROOT.glob("configs/*.py")]):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _commit() -> str:
    """Returns the git commit of this project, or "" if there is none."""
    command = ["git", "-C", os.fspath(ROOT), "rev-parse", "HEAD"]
    with contextlib.suppress(OSError):
        if not IS_CLONE:
            return ""
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""
