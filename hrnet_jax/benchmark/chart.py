"""What was measured, as pictures: one SVG file each, for reports and pages."""

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hrnet_jax.benchmark import race

OURS, OTHERS = "#1f6feb", "#9aa4b2"


def bars(found: race.Race, path: pathlib.Path) -> None:
    """Draws a race: a bar for each contender's median, ours in blue, with its quartiles and its ratio."""
    names = list(found.rates)
    low, median, high = np.percentile([found.rates[name] for name in names], [25, 50, 75], axis=1)
    axes = Figure((8, 0.8 + 0.45 * len(names)), layout="constrained").add_subplot()
    colors = [OURS if name.startswith(race.OURS) else OTHERS for name in names]
    axes.barh(names, median, xerr=[median - low, high - median], color=colors, capsize=3, height=0.6)
    for row, name in enumerate(names):
        axes.text(
            high[row] + 0.01 * high.max(),
            row,
            f" {race.number(median[row])}  ({found.ratios[name]:.2f}x)",
            va="center",
        )
    axes.set_xlim(0, 1.25 * high.max())
    _save(axes, found.title, f"{found.unit} per second (1x: {found.reference})", path)


def stages(title: str, unit: str, rows: Mapping[str, Mapping[str, float]], path: pathlib.Path) -> None:
    """Draws a bar for each row, put together of its stages one after the other."""
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
    _save(axes, title, unit, path)


def line(title: str, across: str, along: str, points: Sequence[tuple[float, float]], path: pathlib.Path) -> None:
    """Draws a value over another, from 0 on."""
    axes = Figure((8, 2.6), layout="constrained").add_subplot()
    axes.plot(*zip(*points, strict=True), color=OURS, marker="o", markersize=3)
    axes.set_ylim(0, 1.2 * max(value for _, value in points))
    axes.set_ylabel(along)
    axes.set_title(title, loc="left", fontsize="medium")
    _write(axes, across, path)


def curves(
    title: str, across: str, along: str, series: Mapping[str, Sequence[tuple[float, float]]], path: pathlib.Path
) -> None:
    """Draws values from 0 on over others that double from mark to mark, a curve for each name."""
    axes = Figure((8, 3.4), layout="constrained").add_subplot()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    marks = sorted({place for points in series.values() for place, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(marks, [f"{mark:,}" for mark in marks])
    axes.set_ylim(0)
    axes.set_ylabel(along)
    axes.legend(frameon=False, fontsize="small")
    axes.set_title(title, loc="left", fontsize="medium")
    _write(axes, across, path)


def _save(axes, title: str, unit: str, path: pathlib.Path) -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.invert_yaxis()  # the first on top
    _write(axes, unit, path)


def _write(axes, unit: str, path: pathlib.Path) -> None:
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "the same figures, the same file"}):
        axes.figure.savefig(path, format="svg", metadata={"Date": None})
