"""The benchmark's report: a JSON file with the measurements and a description of the machine, and charts."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hrnet_jax.benchmark import race

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless", "grain", "torch")
Points = Sequence[tuple[float, float]]
OURS, OTHERS = "#1f6feb", "#9aa4b2"


def machine() -> dict[str, Any]:
    """Describes hardware and software: processor, devices, date and versions (None if not installed)."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = importlib.metadata.distributions()
    versions = {package.name.lower().replace("_", "-"): package.version for package in packages}
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "date": f"{datetime.date.today()}",
        **{library: versions.get(library) for library in LIBRARIES},
        "python": platform.python_version(),
    }


def write(directory: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes the measurements so far to ``report.json``, races with their ratios and arrays as lists."""

    def to_json(value: Any) -> Any:
        if isinstance(value, race.Race):
            return vars(value) | {"ratios": value.ratios}
        return np.asarray(value).tolist()

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.json").write_text(json.dumps(report, indent=1, default=to_json) + "\n")


def bars(result: race.Race, path: str | os.PathLike) -> None:
    """Draws the median, quartiles and ratio of each contender of a race. Our contenders are blue."""
    names = list(result.rates)
    low, median, high = np.percentile([result.rates[name] for name in names], [25, 50, 75], axis=1)
    axes = Figure((8, 0.8 + 0.45 * len(names)), layout="constrained").add_subplot()
    colors = [OURS if name.startswith(race.OURS) else OTHERS for name in names]
    axes.barh(names, median, xerr=[median - low, high - median], color=colors, capsize=3, height=0.6)
    for row, name in enumerate(names):
        label = f" {race.format_rate(median[row])}  ({result.ratios[name]:.2f}x)"
        axes.text(high[row] + 0.01 * high.max(), row, label, va="center")
    axes.set_xlim(0, 1.25 * high.max())
    axes.invert_yaxis()  # first contender on top
    _save(axes, result.title, f"{result.unit} per second (1x: {result.reference})", path)


def stages(title: str, unit: str, rows: Mapping[str, Mapping[str, float]], path: str | os.PathLike) -> None:
    """Draws one stacked bar per row, made of the values of its stages."""
    names = list(rows)
    parts = list(dict.fromkeys(stage for row in rows.values() for stage in row))
    figure = Figure((8, 1.6 + 0.45 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    palette, left = matplotlib.colormaps["tab20"], np.zeros(len(names))
    for number, stage in enumerate(parts):
        width = np.array([rows[name].get(stage, 0.0) for name in names])
        axes.barh(names, width, left=left, label=stage, color=palette(number % 20), height=0.6)
        left += width
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    axes.invert_yaxis()  # first row on top
    _save(axes, title, unit, path)


def curves(
    title: str, x: str, y: str, series: Mapping[str, Points], path: str | os.PathLike, *, log: bool = False
) -> None:
    """Draws one curve per series over axes labelled `x`, logarithmic if `log`, and `y`, which starts at 0."""
    axes = Figure((8, 3.4), layout="constrained").add_subplot()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    if log:
        ticks = sorted({place for points in series.values() for place, _ in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_ylim(0)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize="small")
    _save(axes, title, x, path)


def _save(axes, title: str, x: str, path: str | os.PathLike) -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_xlabel(x)
    axes.spines[["top", "right"]].set_visible(False)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    # A fixed salt and no date, so that the same values give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "hrnet_jax"}):
        axes.figure.savefig(path, format="svg", metadata={"Date": None})
