"""The sections of ``report.html``: tables and charts of the numbers of one source of boxes.

Each function takes the nested numbers of ``metrics.json``, as `protocols.Analysis` has them, and those of another
run, {} without one. It returns HTML, "" without numbers.
"""

import math
from collections.abc import Mapping
from typing import Any

from hrnet_jax.evaluation import average_precision, charts, pckh
from hrnet_jax.evaluation.charts import Axis, Box, Line
from hrnet_jax.evaluation.error_analysis import GOOD, KINDS, NEAR
from hrnet_jax.evaluation.error_costs import MENDED
from hrnet_jax.evaluation.markup import Bar, details, legend, signed, swatches, table, terms, title, words

Numbers = Mapping[str, Any]

ERRORS = {
    "miss": "a joint far from every labelled joint",
    "swap": "a joint at another person's joint",
    "inversion": "a joint at its mirror joint, left for right",
    "jitter": "a joint near its place, but farther than another annotator would put it",
    "score": "a detection that outranks a better one of the same person",
    "false_positive": "a detection of nobody, or of a person found twice",
    "false_negative": "a person not found",
    "worst": "people with the largest mean errors",
}
PROPERTIES = {
    "size": "Size, square root of the area",
    "people": "People in the photo",
    "overlap": "Boxes of others that overlap",
    "joints": "Labelled joints",
}
COMPARED = ("0.50", "0.75", "0.90")  # thresholds of OKS at which two runs are drawn
RECALLS = average_precision.RECALLS.tolist()
UNIT = (0, 0.2, 0.4, 0.6, 0.8, 1)


def errors(numbers: Numbers, other: Numbers) -> str:
    """Returns the table of errors, with the average precision that each costs."""
    kinds = [kind for kind in MENDED if kind in numbers.get("errors", {})]
    largest = max((numbers["errors"][kind]["gain"] for kind in kinds), default=0) or 1
    rows = []
    for kind in kinds:
        values, there = numbers["errors"][kind], other.get("errors", {}).get(kind)
        more = [signed(there["gain"]) if there else "-"] if other else []
        gain = Bar(signed(values["gain"]), values["gain"] / largest)
        shares = f"{values['count']:,}", f"{100 * values['share']:.1f}%"
        rows.append([title(kind), *shares, gain, *more, f"{values['mended_AP']:.3f}"])
    head = ["Error", "Count", "Share", "AP to gain", *(["Other run"] if other else []), "AP so far"]
    meanings = details(terms({title(kind): ERRORS[kind] for kind in kinds}), "What the kinds are")
    return table(head, rows) + meanings if rows else ""


def costliest(numbers: Numbers) -> str:
    """Returns the three errors that cost most average precision in words, "" without numbers."""
    gains = {kind: values["gain"] for kind, values in numbers.get("errors", {}).items() if values["gain"] > 0}
    order = sorted(gains, key=gains.__getitem__, reverse=True)[:3]
    return ", ".join(f"{words(kind)} {signed(gains[kind])}" for kind in order)


def precision_recall(numbers: Numbers, other: Numbers) -> str:
    """Returns precision over recall by threshold of OKS; with another run, at three thresholds only."""
    here, there = numbers.get("precision_recall", {}), other.get("precision_recall", {})
    series = []
    for i, name in enumerate(here):
        for curves, style, run in ((here, "", ""), (there, " other", ", other run")):
            if name in curves and (not there or name in COMPARED):
                label = f"OKS {name}{run}: AP {curves[name]['AP']:.3f}"
                series.append(Line(label, RECALLS, curves[name]["precision"], f"ramp{i}{style}"))
    if not series:
        return ""
    alt = "Precision over recall. " + ", ".join(line.label for line in series)
    return charts.lines(series, Axis("recall", UNIT), Axis("precision", UNIT), alt) + legend(series)


def groups(numbers: Numbers, other: Numbers) -> str:
    """Returns tables of average precision by property of the people."""
    parts = []
    for name, heading in PROPERTIES.items():
        rows = []
        for label, values in numbers.get("AP_by", {}).get(name, {}).items():
            there = other.get("AP_by", {}).get(name, {}).get(label)
            more = [f"{there['AP']:.3f}" if there else "-"] if other else []
            rows.append([label, f"{values['people']:,}", Bar(f"{values['AP']:.3f}", values["AP"]), *more])
        if rows:
            parts.append(table([heading, "People", "AP", *(["Other run"] if other else [])], rows))
    return "".join(parts)


def joint_kinds(numbers: Numbers, other: Numbers) -> str:
    """Returns the shares of kinds of errors by joint, of COCO-like data."""
    del other
    joints = {name: row for name, row in numbers.get("joints", {}).items() if row.get("good") is not None}
    if not joints:
        return ""
    shares = {words(name): {kind: row[kind] for kind in KINDS} for name, row in joints.items()}
    alt = "Shares of errors by joint. " + ", ".join(
        f"{name} {100 * row['good']:.0f}% good" for name, row in shares.items()
    )
    numbers_table = table(
        ["Joint", *KINDS], [[n, *(f"{100 * v:.1f}%" for v in row.values())] for n, row in shares.items()]
    )
    return charts.stacks(shares, alt) + swatches({kind: kind for kind in KINDS}) + details(numbers_table)


def joint_distances(numbers: Numbers, other: Numbers) -> str:
    """Returns quantiles of the errors by joint, in sigmas or heads."""
    joints, there = numbers.get("joints", {}), other.get("joints", {})
    unit = next((unit for unit in ("sigmas", "heads") if any(row.get(unit) for row in joints.values())), None)
    if unit is None:
        return ""
    rows = [_box(name, row, there.get(name, {}), unit) for name, row in joints.items()]
    in_sigmas = unit == "sigmas"
    axis = Axis(
        f"error in {unit}", (0.1, 0.3, 1, 3, 10, 30) if in_sigmas else (0.01, 0.03, 0.1, 0.3, 1, 3), log=True
    )
    marks = {"jitter": _sigmas(GOOD), "miss": _sigmas(NEAR)} if in_sigmas else {"threshold": pckh.THRESHOLD}
    alt = f"Errors in {unit}: " + ", ".join(row.title for row in rows)
    columns = ["Joint", "10%", "25%", "median", "75%", "90%", *([] if in_sigmas else ["PCKh@0.5"])]
    cells = [
        [words(name), *(f"{v:.2f}" for v in row[unit] or ()), *([] if in_sigmas else [f"{row['PCKh']:.1f}"])]
        for name, row in joints.items() if row[unit]
    ]  # fmt: skip
    has_other = any(row.other is not None for row in rows)
    key = swatches({"ring": "median of the other run"}) if has_other else ""
    return charts.boxes(rows, axis, marks, alt) + key + details(table(columns, cells))


def _box(name: str, row: Numbers, there: Numbers, unit: str) -> Box:
    quantiles, median = row[unit], (there.get(unit) or [None] * 5)[2]
    title = f"{words(name)} median {quantiles[2]:.2f}" if quantiles else f"{words(name)} not labelled"
    return Box(words(name), quantiles, median, title)


def _sigmas(similarity: float) -> float:
    """Returns the distance in sigmas at which a joint has a similarity, see `oks.joint_similarity`."""
    return 2 * math.sqrt(-2 * math.log(similarity))


def curves(numbers: Numbers, other: Numbers) -> str:
    """Returns MPII's curves of PCKh over thresholds."""
    named = [(name, values, f"group{i}") for i, (name, values) in enumerate(numbers.get("curves", {}).items())]
    named = [(name, values, "mean" if name == "Mean" else style) for name, values, style in named]
    if there := other.get("curves", {}).get("Mean"):
        named.append(("Mean, other run", there, "mean other"))
    thresholds = pckh.CURVE.tolist()
    series = [Line(f"{name}: {values[-1]:.1f}", thresholds, values, style) for name, values, style in named]
    if not series:
        return ""
    alt = f"PCKh by threshold, at {thresholds[-1]:g} heads: " + ", ".join(line.label for line in series)
    axes = (
        Axis("threshold in heads", (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        Axis("PCKh in percent", (0, 20, 40, 60, 80, 100)),
    )
    return charts.lines(series, *axes, alt) + legend(series)


def calibration(numbers: Numbers, other: Numbers) -> str:
    """Returns reliability diagrams of the scores of people and of joints."""
    parts = []
    for name, values in numbers.get("calibration", {}).items():
        if values["error"] is None:  # no scores
            continue
        there = other.get("calibration", {}).get(name, {})
        titles = [f"{count:,} {name}" for count in values["count"] if count]
        series = [Line("this run", values["score"], values["hits"], "", titles)]
        error = f"{values['error']:.3f}"
        if there.get("error") is not None:
            series.append(Line("other run", there["score"], there["hits"], "other"))
            error += f", of the other run {there['error']:.3f}"
        alt = f"Share of {name} found by score; calibration error {error}"
        chart = charts.lines(series, Axis(f"score of {name}", UNIT), Axis("share found", UNIT), alt, diagonal=True)
        rows = [
            [f"{score:.2f}", f"{hits:.2f}", f"{count:,}"]
            for score, hits, count in zip(values["score"], values["hits"], values["count"], strict=True) if count
        ]  # fmt: skip
        parts.append(f"<p class=caption>Scores of {name}: calibration error {error}</p>{chart}")
        parts.append(legend(series) if len(series) > 1 else "")
        parts.append(details(table(["Mean score", "Found", "Count"], rows)))
    return "".join(parts)


SECTIONS = {
    "What the errors are": errors,
    "Precision and recall": precision_recall,
    "PCKh by threshold": curves,
    "Average precision by kind of people": groups,
    "Errors by joint": joint_kinds,
    "Distance by joint": joint_distances,
    "Calibration of scores": calibration,
}
