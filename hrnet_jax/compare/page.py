"""The laboratory's report as one HTML page that needs nothing but a browser.

The page is ``page.html``, a template to be edited as HTML: its script draws everything from the report, which
stands in the page as JSON. Nothing is fetched, and the page forbids itself to (its content security policy).
"""

import html
import json
import math
import pathlib
import re
from typing import Any

TEMPLATE = pathlib.Path(__file__).with_name("page.html")


def render(report: dict[str, Any]) -> str:
    """Returns the report as a self-contained HTML document.

    Args:
      report: what was compared, and for each precision the sections' rows and the training steps. Deviations
        may be numbers, None (missing) or the names of non-finite numbers (``"nan"``, ``"inf"``); floats that
        are not finite are written by these names.
    """
    verdict = "Held" if report["held"] else "Not held"
    slots = {"title": html.escape(f"{verdict}: {report['title']}"), "report": _embedded(report)}
    template = TEMPLATE.read_text(encoding="utf-8")
    # One pass, so that a slot's name inside the report stays what it is.
    return re.sub(r"\{\{(title|report)\}\}", lambda match: slots[match[1]], template)


def to_json(report: dict[str, Any]) -> str:
    """Returns the report as JSON that any program can read."""
    return json.dumps(_named(report), allow_nan=False)


def _embedded(value: Any) -> str:
    """Returns JSON that may stand in a script element: without ``<``, it can neither end it nor open a comment."""
    text = json.dumps(_named(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _named(value: Any) -> Any:
    """Replaces the floats that JSON has no number for by their names."""
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
