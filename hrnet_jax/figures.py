"""Figures 5 and 6 of the paper, drawn from published points and finished runs.

    hrnet figures [RUN ...] --out DIR

RUN is a run directory that ``eval.py`` has evaluated. ``figure5.svg`` has AP by the resolution that heatmaps are
read from, of the rows ``heads`` and ``head`` of ``configs/ablations.py``. ``figure6.svg`` has AP by image height
and multiply-adds, of HRNets and SimpleBaselines. Published points are those that the paper states, not those that
it only draws. Runs of the same network, size, codec, loss and split are averaged, those from scratch apart.

The published operations of SimpleBaseline count each deconvolution four times, see `models.count_multiply_adds`.
Figure 6 therefore has its points twice.
"""

import argparse
import collections
import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

from ml_collections import ConfigDict

from hrnet_jax import buckets, codecs, console, models, rows
from hrnet_jax.evaluation import charts, evaluate, report
from hrnet_jax.run import replay

HEADS, NETWORKS = "hrnet_resolutions", ("hrnet", "simple_baseline")
PUBLISHED = "published"
SKELETON, SPLIT = "coco", "val2017"
HEIGHTS = (128, 192, 256, 320, 352, 384)  # of figure 6
COMPARED = ("HRNet-W32", "SimpleBaseline ResNet-50")
"""Networks that figure 6 compares."""

TABLES = ("coco", "ablations")


@dataclasses.dataclass(frozen=True)
class Result:
    """AP of a network, by the resolution of its heatmaps: 1 for the finest branch's pixels, 2, 4 or 8."""

    config: ConfigDict
    scores: Mapping[int, float]
    boxes: str = ""  # that the people of a run were found in; empty for published figures

    @property
    def source(self) -> str:
        """Says whether it is published or of a run, for the legend."""
        if not self.boxes:
            return PUBLISHED
        unusual = ["from scratch"] * (not self.config.init_from) + [self.config.data.val_split] * (
            self.config.data.val_split != SPLIT
        )
        return ", ".join(["runs", self.boxes.replace("_", " "), *unusual])


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a figure, in a series by its name and source."""

    series: str
    source: str
    x: float
    score: float


def published() -> list[Result]:
    """Returns the figures of the rows that the paper's two figures have: of its codec, from ImageNet weights."""
    found = []
    for table in TABLES:
        for row in rows.load(table).values():
            config = row.config()
            names = {resolution: "AP" if i == 0 else f"AP_{resolution}x" for i, resolution in _resolutions(config)}
            scores = {resolution: row.published.get(name) for resolution, name in names.items()}
            known = {resolution: score for resolution, score in scores.items() if score is not None}
            if config.init_from and config.codec == codecs.ORIGINAL and known:
                found.append(Result(config, known))
    return found


def read(run: buckets.Path) -> Result:
    """Reads a run that was evaluated. Raises ValueError if it was not, or not by AP of COCO's joints."""
    config = replay.read_config(run)
    if config.skeleton != SKELETON:
        raise ValueError(f"{run} is of skeleton {config.skeleton!r}: the figures are of AP of COCO's joints")
    split = config.data.val_split
    metrics = report.read_run(run, split, "RUN").metrics
    for boxes in (evaluate.DETECTOR_BOXES, evaluate.GT_BOXES):
        names = {
            resolution: f"{split}/{boxes}/AP" if i == 0 else f"{split}/{boxes}_{resolution}x/AP"
            for i, resolution in _resolutions(config)
        }
        scores = {resolution: metrics[name] for resolution, name in names.items() if name in metrics}
        if scores:
            return Result(config, scores, boxes)
    raise ValueError(f"{run} has no AP on {split!r}: the figures are of COCO's AP")


def _resolutions(config: ConfigDict) -> list[tuple[int, int]]:
    """Returns the resolutions that a network's heatmaps are read from, numbered; the first is its prediction."""
    return list(enumerate(2**head for head in config.model.get("heads", (0,))))


def by_resolution(results: Iterable[Result]) -> list[Point]:
    """Returns the points of figure 5."""
    points = []
    for result in results:
        model, (height, width) = result.config.model, result.config.image_size
        if model.name == HEADS:
            kind = f", {height}x{width}, heads {'together' if len(model.heads) > 1 else 'apart'}"
            series = rows.distinguish(f"HRNet-W{model.width}{kind if result.boxes else ''}", result.config)
            points += [Point(series, result.source, x, score) for x, score in result.scores.items()]
    return points


def by_size(results: Iterable[Result]) -> tuple[list[Point], list[Point]]:
    """Returns the points of figure 6: by image height, and by multiply-adds in units of ``1024 ** 3``."""
    heights, operations = [], []
    for result in results:
        config, title = result.config, models.title(result.config.model)
        if config.model.name not in NETWORKS or not (result.boxes or title in COMPARED):
            continue
        (score,), counts, title = result.scores.values(), rows.count(config), rows.title(config)
        heights.append(Point(title, result.source, config.image_size[0], score))
        counted, done = (number / 1024**3 for number in (counts.multiply_adds, counts.done))
        operations.append(Point(title, result.source, done, score))
        if counted != done:
            series = f"{title}, deconvolutions counted four times"
            operations.append(Point(series, result.source, counted, score))
    return heights, operations


def average(points: Iterable[Point]) -> list[Point]:
    """Returns points in order, those at the same place of a series as their mean."""
    groups = collections.defaultdict(list)
    for point in points:
        groups[dataclasses.replace(point, score=0.0)].append(point.score)
    means = [dataclasses.replace(point, score=statistics.mean(scores)) for point, scores in groups.items()]
    return sorted(means, key=lambda point: (point.series, point.source, point.x))


Panel = tuple[charts.Axis, Sequence[Point]]
"""A chart of AP: its horizontal axis, and its points."""


def draw(panels: Sequence[Panel]) -> str:
    """Draws panels side by side, with one legend, as the text of an SVG file.

    Published lines are dashed, and their dots are hollow.
    """
    everything = [point for _, points in panels for point in points]
    names = sorted({point.series for point in everything})
    y = charts.Axis("AP", charts.ticks([point.score for point in everything]))
    drawn = [(x, _lines(points, names)) for x, points in panels]
    legend = {line.label: line for _, lines in drawn for line in lines}
    parts = [charts.lines(lines, x, y, f"AP by {x.label}") for x, lines in drawn]
    return charts.standalone(parts, [legend[label] for label in sorted(legend)])


def _lines(points: Sequence[Point], names: Sequence[str]) -> list[charts.Line]:
    """Returns a line for each series and source, in the colour of the series."""
    groups = collections.defaultdict(list)
    for point in points:
        groups[point.series, point.source].append(point)
    lines = []
    for (series, source), group in groups.items():
        style = f"color{names.index(series) % len(charts.COLORS)}" + " published" * (source == PUBLISHED)
        label, places, scores = f"{series} ({source})", [p.x for p in group], [p.score for p in group]
        titles = [f"{label}: AP {p.score:.3f} at {p.x:.4g}" for p in group]
        lines.append(charts.Line(label, places, scores, style, titles))
    return lines


def write(results: Sequence[Result], out: pathlib.Path) -> list[pathlib.Path]:
    """Draws both figures into a directory, and prints their points."""
    resolutions, heights, operations = map(average, (by_resolution(results), *by_size(results)))
    axes = (
        charts.Axis("resolution: pixels of the finest branch per pixel", (1, 2, 4, 8), log=True),
        charts.Axis("image height", sorted({*HEIGHTS, *(point.x for point in heights)})),
        charts.Axis("multiply-adds, G (1024^3)", charts.ticks([0, *(point.x for point in operations)])),
    )
    panels = list(zip(axes, (resolutions, heights, operations), strict=True))
    figures = {"figure5": panels[:1], "figure6": panels[1:]}
    out.mkdir(parents=True, exist_ok=True)
    for name, parts in figures.items():
        (out / f"{name}.svg").write_text(draw(parts))
        for x, points in parts:
            print(f"{name}, AP by {x.label}")
            print("".join(f"  {p.series:<64}{p.source:<24}{p.x:>8.2f}  {p.score:.3f}\n" for p in points), end="")
    return [out / f"{name}.svg" for name in figures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, draws and names the files."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.figures", description="Draws figures 5 and 6.")
    parser.add_argument("runs", metavar="RUN", nargs="*", help="a run directory that eval.py has evaluated")
    parser.add_argument("--out", required=True, help="directory of the figures")
    options = parser.parse_args(arguments)
    results = [*published(), *(read(buckets.path(run)) for run in options.runs)]
    print("\n".join(map(str, write(results, pathlib.Path(options.out)))))


if __name__ == "__main__":
    console.run(main)
