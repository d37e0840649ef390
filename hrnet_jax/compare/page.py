"""The report as a single HTML page.

The script in the template ``page.html`` draws everything from the report, embedded as JSON. Its content security
policy forbids it to fetch anything.
"""

import json
import pathlib
from typing import Any

from hrnet_jax import html_page


def render(report: dict[str, Any]) -> str:
    """Returns the report as a self-contained HTML document.

    The report has title and description of the comparison, and ``runs`` with the rows and training steps of each
    precision (see `laboratory.compare`). A deviation is a number, None if missing, or ``"nan"`` or ``"inf"``.
    """
    verdict = "Held" if report["held"] else "Not held"
    slots = {"report": html_page.escape_json(to_json(report, separators=(",", ":")))}
    return html_page.render(pathlib.Path(__file__).with_name("page.html"), f"{verdict}: {report['title']}", slots)


def to_json(report: dict[str, Any], **options: Any) -> str:
    """Returns the report as strict JSON; `options` are those of `json.dumps`."""
    strict = json.loads(json.dumps(report), parse_constant=lambda name: str(float(name)))  # "nan", "inf" or "-inf"
    return json.dumps(strict, allow_nan=False, **options)
