"""The report of an evaluation as a single HTML page, without scripts: it can be mailed and read anywhere."""

import dataclasses
import html
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hrnet_jax.evaluation import gallery, sections
from hrnet_jax.evaluation.markup import details, signed, table, title, words

WHOLE_PHOTOS = "whole_photos"
SOURCES = {
    "gt_boxes": "Ground-truth boxes",
    "detector_boxes": "The detector's boxes",
    WHOLE_PHOTOS: "Whole photos",
}
"""Titles of what predictions are made for."""

ANALYSIS = "analysis"  # the part of the names of all metrics that only the report has
NOTES = {
    "What the errors are": (
        "Kinds after Ronchi and Perona (ICCV 2017). The share is of labelled joints, of people for scores and "
        "false negatives, of detections for false positives. AP to gain is the gain if that error alone were "
        "mended: joints moved towards their place, false positives removed, people not found ignored, and "
        "detections scored by their OKS, which ranks them best also across photos. AP so far mends all errors "
        "down to the row."
    ),
    "Precision and recall": "One curve for each OKS that a detection must reach.",
    "PCKh by threshold": "Share of joints within a distance of their place, in sizes of the head.",
    "Average precision by kind of people": (
        "A false positive counts with the most similar person of its photo; for sizes, by its own size. Boxes "
        "overlap from an IoU of 0.1."
    ),
    "Errors by joint": "Labelled joints of matched detections.",
    "Distance by joint": (
        "From 10% to 90% of the joints, thick for the middle half, with a dot at the median. For COCO in sigmas, "
        "the disagreement of annotators relative to the person's size; for MPII in sizes of the head."
    ),
    "Calibration of scores": (
        "A calibrated score is the share of its kind that is found: people from an OKS of 0.5, joints from a "
        "similarity of 0.5 (for MPII, within half a head). Calibration error: their mean difference."
    ),
    "Galleries": (
        "Ground truth left, prediction right. The person's left is blue, the right orange; a ring is around a "
        "joint with the error. Heatmaps: left the maximum over all joints, right over those with the error."
    ),
}

Pictures = Mapping[str, Mapping[str, Sequence[gallery.Picture]]]
"""Pictures by kind of error and source of boxes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything on the page. Metrics are flat, ``split/source/metric``, as in ``metrics.json``."""

    split: str
    main_metric: str
    facts: Mapping[str, str]  # of the network and the data
    metrics: Mapping[str, Any]
    other: Mapping[str, Any]  # metrics of another run; empty without one
    pictures: Pictures


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns metrics by split, source and the parts of their names."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, leaf = name.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[leaf] = value
    return tree


def flatten(nested: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Returns nested numbers as metrics named ``prefix/...``, rounded to five digits after the point."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= (
            flatten(value, f"{prefix}/{name}")
            if isinstance(value, Mapping)
            else {f"{prefix}/{name}": _round(value)}
        )
    return flat


def _round(value: Any) -> Any:
    if isinstance(value, list):
        return [_round(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value


def render(report: Report) -> str:
    """Returns the page."""
    facts = (f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in report.facts.items())
    slots = {
        "title": html.escape(f"Evaluation on {report.split}"),
        "summary": html.escape(_summary(report)),
        "costs": "".join(f"<p class=note>{html.escape(line)}</p>" for line in _costs(report)),
        "facts": "".join(facts),
        "sections": "".join(_sections(report)),
    }
    template = pathlib.Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # A single pass leaves slot names inside the report as they are.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: slots[match[1]], template)


def _summary(report: Report) -> str:
    """Returns the main metric of each source, with the difference from the other run."""
    parts = []
    for source in nest(report.metrics).get(report.split, {}):
        name = f"{report.split}/{source}/{report.main_metric}"
        if name in report.metrics:
            there = report.other.get(name)
            change = "" if there is None else f" ({signed(report.metrics[name] - there)})"
            parts.append(f"{_number(report.metrics[name])}{change} on {_source(source).lower()}")
    return f"{report.main_metric} {', '.join(parts)}"


def _costs(report: Report) -> Iterator[str]:
    for source, numbers in nest(report.metrics).get(report.split, {}).items():
        if costs := sections.costliest(numbers.get(ANALYSIS, {})):
            yield f"AP to gain on {_source(source).lower()} by mending one kind of error: {costs}."


def _source(name: str) -> str:
    boxes = next((source for source in SOURCES if name.startswith(source)), "")
    return SOURCES[boxes] + name.removeprefix(boxes).replace("_", ", ") if boxes else words(name)


def _sections(report: Report) -> Iterator[str]:
    """Yields the table of metrics, each section with numbers, and the pictures."""
    here, there = (nest(metrics).get(report.split, {}) for metrics in (report.metrics, report.other))
    yield _section("Metrics", {source: _metrics(report, source) for source in here})
    for heading, draw in sections.SECTIONS.items():
        analyses = {s: (here[s].get(ANALYSIS, {}), there.get(s, {}).get(ANALYSIS, {})) for s in here}
        yield _section(heading, {source: draw(*numbers) for source, numbers in analyses.items()})
    yield _section("Galleries", {source: _gallery(kinds) for source, kinds in report.pictures.items()})


def _section(heading: str, parts: Mapping[str, str]) -> str:
    """Returns a section with a part for each source, or nothing if all are empty."""
    parts = {source: part for source, part in parts.items() if part}
    if not parts:
        return ""
    note = f"<p class=note>{html.escape(NOTES[heading])}</p>" if heading in NOTES else ""
    columns = "".join(
        f"<figure><h3>{html.escape(_source(source))}</h3>{part}</figure>" for source, part in parts.items()
    )
    name = heading.lower().replace(" ", "-")
    return (
        f'<section id="{name}"><h2>{html.escape(heading)}</h2>{note}<div class="sources">{columns}</div></section>'
    )


def _metrics(report: Report, source: str) -> str:
    """Returns the table of a source's metrics, beside those of the other run."""
    prefix, rows = f"{report.split}/{source}/", []
    for name, value in report.metrics.items():
        if name.startswith(prefix) and not name.startswith(prefix + ANALYSIS):
            there = report.other.get(name)
            rows.append(
                [name.removeprefix(prefix), _number(value), *_comparison(value, there)[: 2 * bool(report.other)]]
            )
    return (
        table(["Metric", "This run", *(["Other run", "Difference"] if report.other else [])], rows) if rows else ""
    )


def _comparison(value: float, other: float | None) -> list[str]:
    if other is None:
        return ["-", "-"]
    return [_number(other), signed(value - other) if min(value, other) >= 0 else "-"]


def _number(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "-"


def _gallery(kinds: Mapping[str, Sequence[gallery.Picture]]) -> str:
    """Returns the pictures by kind, the first kind open, each with its heatmaps on demand."""
    parts = []
    for kind, pictures in kinds.items():
        name = f"{title(kind)}: {sections.ERRORS[kind]}"
        figures = "".join(_figure(picture, name) for picture in pictures)
        parts.append(
            details(f'<div class="pictures">{figures}</div>', f"{name} ({len(pictures)})", is_open=not parts)
        )
    return "".join(parts)


def _figure(picture: gallery.Picture, name: str) -> str:
    alt = html.escape(f"{name}: ground truth left, prediction right", quote=True)
    image = f'<img src="{picture.people}" width="516" height="256" alt="{alt}">'
    heatmaps = f'<img src="{picture.heatmaps}" alt="Heatmaps of the prediction">'
    on_demand = details(heatmaps, "Heatmaps") if picture.heatmaps else ""
    return f"<figure>{image}<figcaption>{html.escape(picture.caption)}</figcaption>{on_demand}</figure>"
