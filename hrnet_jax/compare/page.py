"""The report as a single HTML page.

The script in the template ``page.html`` draws everything from the report, embedded as JSON. Its content security
policy forbids it to fetch anything.
"""

import html
import json
import pathlib
import re
from typing import Any


def render(report: dict[str, Any]) -> str:
    """Returns the report as a self-contained HTML document.

    The report has title and description of the comparison, and ``runs`` with the rows and training steps of each
    precision (see `laboratory.compare`). A deviation is a number, None if missing, or ``"nan"`` or ``"inf"``.
    """
    verdict = "Held" if report["held"] else "Not held"
    text = to_json(report, separators=(",", ":"))
    for character in "<>&":  # without them JSON can neither end a script element nor open a comment
        text = text.replace(character, f"\\u{ord(character):04x}")
    slots = {"title": html.escape(f"{verdict}: {report['title']}"), "report": text}
    template = pathlib.Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # A single pass leaves slot names inside the report as they are.
    return re.sub(r"\{\{(title|report)\}\}", lambda match: slots[match[1]], template)


def to_json(report: dict[str, Any], **options: Any) -> str:
    """Returns the report as strict JSON; `options` are those of `json.dumps`."""
    strict = json.loads(json.dumps(report), parse_constant=lambda name: str(float(name)))  # "nan", "inf" or "-inf"
    return json.dumps(strict, allow_nan=False, **options)
