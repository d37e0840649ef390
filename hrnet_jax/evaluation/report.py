"""The report of an evaluation: metrics, results for the data set's server, tables, pictures, the HTML page."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import buckets, geometry, visualize
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import caveats, evaluate, gallery, page, protocols

METRICS = "metrics.json"
PEOPLE_PER_SHEET = 12
PICTURE_SIZE = (320, 320)  # (height, width) of each picture of a person


@dataclasses.dataclass(frozen=True)
class OtherRun:
    """An evaluated run to compare with."""

    name: str
    metrics: Mapping[str, Any]  # flat, as in its ``metrics.json``


def write(
    outcomes: Sequence[evaluate.Outcome],
    split: records.Split,
    protocol: protocols.Protocol,
    directory: pathlib.Path,
    facts: Mapping[str, str],
    look: gallery.Look | None,
    against: OtherRun | None = None,
) -> None:
    """Writes all files and prints the tables and the names of the files.

    `facts` about the network stand on the page, which compares with the run `against`, if there is one. `look`
    computes the heatmaps of the people to look at, None if they are not to be shown. Heatmaps beside the network's
    own prediction have metrics only.
    """
    directory.mkdir(parents=True, exist_ok=True)
    predictions = [outcome for outcome in outcomes if outcome.source in page.SOURCES]
    in_photos = all(outcome.source == page.WHOLE_PHOTOS for outcome in outcomes)
    written = [protocol.write(outcome, directory) for outcome in predictions]
    if metrics := evaluate.metrics(outcomes):
        if (truth := caveats.truth_of_split(split, in_photos=in_photos)) and truth.causes:
            metrics[f"{split.name}/truth/{truth.metric}"] = truth.score
        written.append(_save_metrics(metrics, directory))
        print("\n" + metric_table(outcomes, protocol.columns))
        said = [f"{protocol.main_metric} {caveat}" for caveat in caveats.of_split(split, in_photos=in_photos)]
        print("".join(f"  {sentence}\n" for sentence in said), end="")
        facts = {**facts, **({"Note": "; ".join(said)} if said else {})}
    for outcome in predictions:
        if outcome.source == evaluate.GT_BOXES and outcome.people.visible.any():
            written += _write_errors(outcome, split, protocol.error_report(split, outcome), directory)
    if metrics:
        written.append(_write_page(outcomes, split, protocol, directory, facts, look, against))
    print("\n" + "\n".join(map(str, written)))


def read_run(path: buckets.Path, split: str, option: str = "--against") -> OtherRun:
    """Reads the metrics of another run, from its directory or that of its evaluation.

    Raises ValueError, which names the `option` that gave the path, if it was not evaluated on the split.
    """
    files = [file for file in (path / "eval" / METRICS, path / METRICS) if file.is_file()]
    metrics = _parse(files[0]) if files else {}
    if not any(name.startswith(f"{split}/") for name in metrics):
        found = f"{files[0]} has no metrics of {split!r}" if files else f"it has no {METRICS}"
        raise ValueError(f"`{option}` (={path}): {found}; evaluate that run with eval.py first")
    return OtherRun(str(path), metrics)


def _parse(path: buckets.Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} does not hold metrics ({error}): evaluate that run again") from error


def _save_metrics(metrics: Mapping[str, Any], directory: pathlib.Path) -> pathlib.Path:
    """Writes metrics, one a line. Those of other splits stay."""
    path = directory / METRICS
    merged = {**(json.loads(path.read_text()) if path.is_file() else {}), **metrics}
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in merged.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return path


def _write_page(outcomes, split, protocol, directory, facts, look, against) -> pathlib.Path:
    """Analyses every source of boxes, adds the numbers to the metrics and writes ``report.html``."""
    metrics, pictures = evaluate.metrics(outcomes), {}
    analysed = [outcome for outcome in outcomes if protocol.analyse and outcome.source in page.SOURCES]
    for outcome in analysed:
        analysis = protocol.analyse(split, outcome)
        metrics |= page.flatten(analysis.numbers, f"{split.name}/{outcome.source}/{page.ANALYSIS}")
        pictures[outcome.source] = gallery.draw(analysis.examples, split, outcome, look)
    _save_metrics(metrics, directory)
    other = against.metrics if against else {}
    facts = {**facts, **({"Other run": _title(against, metrics, split.name)} if against else {})}
    report = page.Report(split.name, protocol.main_metric, facts, metrics, other, pictures)
    path = directory / "report.html"
    path.write_text(page.render(report), encoding="utf-8")
    return path


def _title(run: OtherRun, metrics: Mapping[str, Any], split: str) -> str:
    """Returns the name of a run to compare with, and whether it was evaluated on other people."""
    here, there = (_people(numbers, split) for numbers in (metrics, run.metrics))
    return run.name + "; evaluated on other people" * (bool(here and there) and here != there)


def _people(metrics: Mapping[str, Any], split: str) -> dict[str, int]:
    """Returns the number of people of each kind in a split, which all sources of boxes share."""
    pattern = re.compile(rf"{re.escape(split)}/[^/]+/{page.ANALYSIS}/AP_by/(.+)/people")
    return {found[1]: metrics[name] for name in metrics if (found := pattern.fullmatch(name))}


def _write_errors(
    outcome: evaluate.Outcome, split: records.Split, errors: protocols.ErrorReport, directory: pathlib.Path
) -> list[pathlib.Path]:
    """Writes and prints the errors of joints, and draws the best and the worst people."""
    written = [_save(directory / f"per_joint_{split.name}.json", errors.per_joint)]
    print("\n" + joint_table(errors.per_joint))
    (directory / "pictures").mkdir(exist_ok=True)
    for name, picture in best_and_worst(split, outcome, errors).items():
        written.append(directory / "pictures" / f"{split.name}_{name}.jpg")
        written[-1].write_bytes(visualize.encode_jpeg(picture))
    return written


def _save(path: pathlib.Path, content: Any) -> pathlib.Path:
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def metric_table(outcomes: Collection[evaluate.Outcome], columns: Mapping[str, str]) -> str:
    """Returns a line for each source with the metrics in `columns`; ``-`` for undefined ones."""
    rows = [["", *columns.values()]]
    for outcome in outcomes:
        name = f"{outcome.split}/{outcome.source}"
        values = [outcome.metrics.get(f"{name}/{metric}", -1.0) for metric in columns]
        rows.append([name, *(f"{value:.3f}" if value >= 0 else "-" for value in values)])
    return _align(rows)


def joint_table(errors: Mapping[str, Mapping[str, float | None]]) -> str:
    """Returns a line for each joint of `protocols.ErrorReport.per_joint`."""
    rows = [["joint", *next(iter(errors.values()))]]
    return _align(rows + [[joint, *map(_number, metrics.values())] for joint, metrics in errors.items()])


def _number(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _align(rows: Sequence[Sequence[str]]) -> str:
    """Lays out cells in columns. The first column is aligned left, all others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def best_and_worst(
    split: records.Split, outcome: evaluate.Outcome, errors: protocols.ErrorReport
) -> dict[str, np.ndarray]:
    """Draws two sheets, ``best`` and ``worst``, of up to `PEOPLE_PER_SHEET` people by score.

    Each person is drawn twice: the ground truth on the left and the prediction on the right. People without
    labelled joints are left out; there must be one with them.
    """
    worst = np.argsort(errors.score, kind="stable")[: np.isfinite(errors.score).sum()]  # NaN sorts last
    orders = {"best": worst[::-1][:PEOPLE_PER_SHEET], "worst": worst[:PEOPLE_PER_SHEET]}
    return {name: _sheet(split, outcome, rows, errors.captions) for name, rows in orders.items()}


def _sheet(split, outcome, rows, captions) -> np.ndarray:
    pictures = []
    for row in rows:
        truth, prediction = _truth_and_prediction(split, outcome, row)
        person = f"photo {outcome.people.photo_id[row]}, person {outcome.people.annotation_id[row]}: truth"
        captioned = ((truth, person), (prediction, f"predicted, {captions[row]}"))
        pictures += [visualize.caption(picture, text) for picture, text in captioned]
    return visualize.grid(pictures, columns=4)


def _truth_and_prediction(split, outcome, row) -> list[np.ndarray]:
    """Draws the ground truth and the prediction of a person on the photo around its box."""
    people = outcome.people
    photo = records.read_photo(split.photos, split.decoded, people, row)
    center, scale = geometry.box_to_center_scale(people.box[row], PICTURE_SIZE[1] / PICTURE_SIZE[0])
    to_picture = geometry.photo_to_crop(center, scale, 0.0, PICTURE_SIZE)
    picture = geometry.warp(photo, to_picture, PICTURE_SIZE)
    return [
        visualize.draw_person(picture, geometry.apply(to_picture, joints), split.skeleton, visible)
        for joints, visible in ((people.joints[row], people.visible[row]), (outcome.joints[row], None))
    ]
