"""Tables, legends and collapsed details as HTML, for ``report.html``. Text is escaped here."""

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hrnet_jax.evaluation.charts import Line

WIDE = 4  # columns that fit on a phone


class Bar(NamedTuple):
    """A number with a bar beneath it, as long as its share of the largest."""

    text: str
    share: float


def table(head: Sequence[str], rows: Iterable[Sequence[str | Bar]]) -> str:
    """Returns a table whose first column names the rows. Wide ones scroll in themselves, also by keyboard."""
    header = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(first))}</th>{"".join(map(_cell, others))}</tr>'
        for first, *others in rows
    )
    content = f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
    keyboard = (
        f' tabindex="0" role="region" aria-label="{html.escape(head[0], quote=True)}"' if len(head) > WIDE else ""
    )
    return f'<div class="scroll"{keyboard}>{content}</div>'


def _cell(content: str | Bar) -> str:
    if isinstance(content, Bar):
        share = min(max(content.share, 0), 1)
        return f'<td class="bar" style="--bar:{share:.3f}">{html.escape(content.text)}</td>'
    return f"<td>{html.escape(content)}</td>"


def legend(lines: Sequence[Line]) -> str:
    """Returns the keys of lines."""
    swatch = '<svg class="key" viewBox="0 0 24 8" aria-hidden="true"><path class="line {}" d="M1 4H23"/></svg>'
    keys = (f"<li>{swatch.format(line.style)}{html.escape(line.label)}</li>" for line in lines)
    return f'<ul class="legend">{"".join(keys)}</ul>'


def swatches(names: dict[str, str]) -> str:
    """Returns the keys of areas: texts by CSS class."""
    keys = (f'<li><span class="swatch {name}"></span>{html.escape(text)}</li>' for name, text in names.items())
    return f'<ul class="legend">{"".join(keys)}</ul>'


def terms(meanings: dict[str, str]) -> str:
    """Returns terms and what they mean."""
    pairs = (f"<dt>{html.escape(term)}</dt><dd>{html.escape(meaning)}</dd>" for term, meaning in meanings.items())
    return f'<dl class="terms">{"".join(pairs)}</dl>'


def details(content: str, summary: str = "Numbers", is_open: bool = False) -> str:
    """Returns content that opens on demand."""
    return f"<details{' open' * is_open}><summary>{html.escape(summary)}</summary>{content}</details>"


def title(kind: str) -> str:
    """Returns a name of the code as a title."""
    return words(kind).capitalize()


def words(name: str) -> str:
    """Returns a name of the code in words."""
    return name.replace("_", " ")


def signed(difference: float) -> str:
    """Returns a difference of metrics with its sign, ``+`` if it is rounded to 0."""
    return f"{difference:+z.3f}"
