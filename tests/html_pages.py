"""What the tests of HTML pages share: a reader of tags, a hostile name, and measurements in the browser."""

import html.parser

HOSTILE = (
    "</script><script>document.title=1</script><!-- <img src=x onerror='document.title=1'> &lt; {{title}} \u2028."
)
"""Ends a script, opens a comment, runs a script, and names a slot, wherever it is not escaped."""


class Reader(html.parser.HTMLParser):
    """Parses the tags with their attributes, and the text of scripts and title."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "title"):
            self.inside = dict(attrs).get("type", tag)
            self.texts.append([self.inside, ""])

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.texts[-1][1] += data


def overflow(tab) -> int:
    """How many pixels a page is wider than its window."""
    return tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
