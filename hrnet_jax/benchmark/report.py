"""The benchmark's report: a JSON file with the measurements and a description of the machine."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

import jax
import numpy as np

from hrnet_jax.benchmark import race

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless", "grain", "torch")


def machine() -> dict[str, Any]:
    """Describes hardware and software: processor, devices, date and versions (None if not installed)."""
    packages = importlib.metadata.distributions()
    versions = {package.name.lower().replace("_", "-"): package.version for package in packages}
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "date": f"{datetime.date.today()}",
        **{library: versions.get(library) for library in LIBRARIES},
        "python": platform.python_version(),
    }


def _processor() -> str:
    file = pathlib.Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write(directory: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes the measurements so far to ``report.json``, races with their ratios and arrays as lists."""

    def to_json(value: Any) -> Any:
        if isinstance(value, race.Race):
            return vars(value) | {"ratios": value.ratios}
        return np.asarray(value).tolist()

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(report, indent=1, default=to_json) + "\n")
