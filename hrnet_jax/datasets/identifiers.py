"""Numbers for ids that are text, such as UUIDs, or missing. Inside, all ids are integers.

An id that is an integer stays as it is, also in quotes. If other text is among the ids of a list, all its texts
are numbered above the integers, in the file's order. Results and annotations of prepared splits give them back.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from hrnet_jax.datasets import plain_values

LARGEST = 2**62  # of the integers above which texts are numbered


class Numbering:
    """The ids of a list of entries.

    Attributes:
      texts: the numbers of ids that are text, in the file's order.
      known: the numbers of all ids.
    """

    def __init__(self, entries: Iterable[Any] = ()):
        entries = [*entries]
        ids: list[Any] = [entry.get("id") for entry in entries if isinstance(entry, dict)]
        texts = dict.fromkeys(value for value in ids if isinstance(value, str))
        self.texts: dict[str, int] = {}
        quoted = {*self._numbers({"id": text} for text in texts)}
        self._integers = {value for value in ids if type(value) in (int, float)}
        highest = max((value for value in {*self._integers, *quoted} if abs(value) < LARGEST), default=0)
        self._free = itertools.count(max(int(highest), 0) + 1)
        if len(quoted) < len(texts):  # else all texts are different integers
            self.texts = {text: next(self._free) for text in texts}
        self.known = frozenset(self._numbers(entries))

    def _numbers(self, entries: Iterable[Any]) -> Iterator[int]:
        """Yields ids, also of entries that are malformed otherwise."""
        for entry in entries:
            with contextlib.suppress(ValueError):
                yield self.number(entry, "id", "it")

    def number(self, entry: Any, name: str, where: str) -> int:
        """Returns the number of the id in a field. Raises ValueError that begins with `where`."""
        value = entry.get(name) if isinstance(entry, dict) else None
        if type(value) in (int, str) and str(value) in self.texts:
            return self.texts[str(value)]
        if self.texts and type(value) in (int, float, str) and value not in self._integers:
            raise ValueError(f"{where}: `{name}` (={value!r:.100}) is not the `id` of any entry")
        return plain_values.whole(entry, name, where)

    def text(self, entry: dict) -> str:
        """Returns the id of an entry if it is a numbered text, or ""."""
        return entry["id"] if self.texts and isinstance(entry["id"], str) else ""

    def next(self) -> int:
        """Returns a number that no entry has."""
        return next(self._free)
