"""Self-contained HTML pages: a template, filled with data, and the style and script that all pages share.

``html_page.css`` holds the colours of the light and dark scheme and the form of common elements, ``html_page.js``
the functions that make elements. Both are inserted into the page, which needs no other file.
"""

import html
import pathlib
import re
from collections.abc import Mapping


def render(template: str | pathlib.Path, title: str, slots: Mapping[str, str]) -> str:
    """Returns the HTML of a template file.

    Args:
      template: path of the template. It names its slots as ``{{title}}``.
      title: plain text of the slot ``title``.
      slots: HTML, CSS or script of the other slots by name, inserted as it is. The slots ``base_style`` and
        ``base_script`` are what all pages share.

    Raises:
      KeyError: the template has a slot that is not given.
    """
    base = pathlib.Path(__file__)
    texts = {
        "base_style": base.with_suffix(".css").read_text(encoding="utf-8"),
        "base_script": base.with_suffix(".js").read_text(encoding="utf-8"),
        "title": html.escape(title),
        **slots,
    }
    # A single pass leaves slot names inside the texts as they are.
    return re.sub(
        r"\{\{(\w+)\}\}", lambda slot: texts[slot[1]], pathlib.Path(template).read_text(encoding="utf-8")
    )


def escape_json(text: str) -> str:
    """Returns equivalent JSON that can stand inside a script element."""
    for character in "<>&":  # without them JSON can neither end a script element nor open a comment
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
