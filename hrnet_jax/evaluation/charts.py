"""Charts as inline SVG, styled by the classes of ``page.html``, or as files. Text scales with the figure."""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 400, 270
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 12, 40
CHARACTER = 7  # width of a character of the legend, at most on average
LABELS, ROW = 104, 19  # width of the labels and height of a row in charts by joint

COLORS = ("#1f62c4", "#b3520b", "#2c9c8f", "#a05ab5", "#c8452f", "#8a6d00", "#56606a", "#009e73")
STYLE = """
text { font: 11.5px system-ui, sans-serif; fill: #56606a; } .name { fill: #1b2127; } .grid { stroke: #e2e6ea; }
.end { text-anchor: end; } .middle { text-anchor: middle; } .line { fill: none; stroke-width: 2; }
.line.published { stroke-dasharray: 5 4; } .dot { stroke-width: 1.5; } .dot.published { fill: #fff; }
"""
"""Of files of their own, beside the colours of lines: classes ``color0``, ``color1`` and so on."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis from its first to its last tick."""

    label: str
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float, start: float, stop: float) -> float:
        """Returns the place of a value between two places; values beyond the axis are put at its ends."""
        value = min(max(value, self.ticks[0]), self.ticks[-1])
        low, high, value = (math.log(v) if self.log else v for v in (self.ticks[0], self.ticks[-1], value))
        return start + (value - low) / (high - low) * (stop - start)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line through points, drawn with CSS classes. Values of None interrupt nothing: they are left out."""

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    style: str
    titles: Sequence[str] = ()  # of dots at the points, shown under the pointer

    def points(self) -> list[tuple[float, float]]:
        """Returns the points that exist."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if x is not None and y is not None]


def lines(series: Sequence[Line], x: Axis, y: Axis, alt: str, diagonal: bool = False) -> str:
    """Draws lines, with a dotted diagonal if the axes are to be compared."""
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    parts = [_axes(x, y)]
    if diagonal:
        parts.append(f'<line class="diagonal" x1="{left}" y1="{bottom}" x2="{right}" y2="{top}"/>')
    for line in series:
        points = [(x.place(a, left, right), y.place(b, bottom, top)) for a, b in line.points()]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline class="line {line.style}" points="{path}"/>')
        for (a, b), title in zip(points, line.titles, strict=False):
            parts.append(
                f'<circle class="dot {line.style}" cx="{a:.1f}" cy="{b:.1f}" r="3.5">{_title(title)}</circle>'
            )
    return _svg(WIDTH, HEIGHT, parts, alt)


def ticks(values: Sequence[float], most: int = 7) -> list[float]:
    """Returns round numbers around values, at most so many and two more, evenly spaced."""
    low, high = min(values), max(values)
    least = max(high - low, 1e-3) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= least)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def standalone(panels: Sequence[str], series: Sequence[Line]) -> str:
    """Returns the text of an SVG file with charts side by side, above the legend of the lines in them."""
    parts = [
        panel.replace("<svg ", f'<svg x="{WIDTH * i}" y="0" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for i, panel in enumerate(panels)
    ]
    for i, line in enumerate(series):
        y = HEIGHT + 8 + ROW * (i + 0.5)
        parts.append(f'<polyline class="line {line.style}" points="{LEFT},{y} {LEFT + 28},{y}"/>')
        parts.append(f'<text x="{LEFT + 36}" y="{y + 4}">{html.escape(line.label)}</text>')
    colors = "".join(
        f".color{i} {{ stroke: {color}; }} .dot.color{i}:not(.published) {{ fill: {color}; }}\n"
        for i, color in enumerate(COLORS)
    )
    legend = LEFT + 36 + CHARACTER * max((len(line.label) for line in series), default=0)
    width, height = max(WIDTH * len(panels), legend), HEIGHT + 16 + ROW * len(series)
    size = f'width="{2 * width}" height="{2 * height}" viewBox="0 0 {width} {height}"'
    paper = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    content = f"<style>{STYLE}{colors}</style>{paper}{''.join(parts)}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{content}</svg>\n'


def _axes(x: Axis, y: Axis) -> str:
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        at = y.place(tick, bottom, top)
        parts.append(f'<line class="grid" x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        parts.append(f'<text class="end" x="{left - 6}" y="{at + 4:.1f}">{tick:g}</text>')
    for tick in x.ticks:
        at = x.place(tick, left, right)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="middle" x="{at:.1f}" y="{bottom + 16}">{tick:g}</text>')
    parts.append(
        f'<text class="middle name" x="{(left + right) / 2}" y="{HEIGHT - 6}">{html.escape(x.label)}</text>'
    )
    middle = (top + bottom) / 2
    turned = f'transform="rotate(-90 12 {middle})"'
    parts.append(f'<text class="middle name" x="12" y="{middle}" {turned}>{html.escape(y.label)}</text>')
    return "".join(parts)


@dataclasses.dataclass(frozen=True)
class Box:
    """Five quantiles of a row, and the median of another run if there is one."""

    label: str
    quantiles: Sequence[float] | None
    other: float | None
    title: str


def boxes(rows: Sequence[Box], x: Axis, marks: Mapping[str, float], alt: str) -> str:
    """Draws quantiles by row: a thin line, a thick one for the middle half, and a dot at the median."""
    bottom, right = TOP + 8 + ROW * len(rows), WIDTH - RIGHT
    parts = []
    for tick in x.ticks:
        at = x.place(tick, LABELS, right)
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="middle" x="{at:.1f}" y="{bottom + 14}">{tick:g}</text>')
    for name, value in marks.items():
        at = x.place(value, LABELS, right)
        parts.append(f'<line class="mark" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="middle mark" x="{at:.1f}" y="{TOP - 2}">{html.escape(name)}</text>')
    for i, row in enumerate(rows):
        parts.append(_box(row, x, TOP + 8 + ROW * (i + 0.5)))
    name = f'<text class="middle name" x="{(LABELS + right) / 2}" y="{bottom + 32}">{html.escape(x.label)}</text>'
    return _svg(WIDTH, bottom + 38, [*parts, name], alt)


def _box(row: Box, x: Axis, y: float) -> str:
    label = f'<text class="end" x="{LABELS - 8}" y="{y + 4:.1f}">{html.escape(row.label)}</text>'
    if row.quantiles is None:
        return label
    low, first, median, last, high = (x.place(value, LABELS, WIDTH - RIGHT) for value in row.quantiles)
    parts = [
        f'<line class="whisker" x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"/>',
        f'<line class="half" x1="{first:.1f}" y1="{y:.1f}" x2="{last:.1f}" y2="{y:.1f}"/>',
        f'<circle class="median" cx="{median:.1f}" cy="{y:.1f}" r="3.5"/>',
    ]
    if row.other is not None:
        at = x.place(row.other, LABELS, WIDTH - RIGHT)
        parts.append(f'<circle class="median other" cx="{at:.1f}" cy="{y:.1f}" r="4.5"/>')
    return f"<g>{_title(row.title)}{label}{''.join(parts)}</g>"


def stacks(rows: Mapping[str, Mapping[str, float]], alt: str) -> str:
    """Draws shares that add up to 1 by row, each with its name as CSS class."""
    width, parts = WIDTH - RIGHT - LABELS, []
    for i, (label, shares) in enumerate(rows.items()):
        y, start = TOP + ROW * i, float(LABELS)
        parts.append(f'<text class="end" x="{LABELS - 8}" y="{y + 13}">{html.escape(label)}</text>')
        for name, share in shares.items():
            title = _title(f"{label}: {name} {100 * share:.1f}%")
            size = f'x="{start:.1f}" y="{y + 2}" width="{width * share:.1f}" height="{ROW - 4}"'
            parts.append(f'<rect class="{html.escape(name)}" {size}>{title}</rect>')
            start += width * share
    for tick in (0, 25, 50, 75, 100):
        at = LABELS + width * tick / 100
        parts.append(f'<text class="middle" x="{at:.1f}" y="{TOP + ROW * len(rows) + 14}">{tick}%</text>')
    return _svg(WIDTH, TOP + ROW * len(rows) + 20, parts, alt)


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _svg(width: float, height: float, parts: Sequence[str], alt: str) -> str:
    label = html.escape(alt, quote=True)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
