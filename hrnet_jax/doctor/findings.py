"""What is wrong, where, and the way out: `Finding`, and the report for people and for programs."""

import dataclasses
import functools
import itertools
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, cast

from hrnet_jax import validation

FORMAT = 1  # of the JSON report: raised when a program that reads it must be changed
SHOWN = 5  # examples of a finding
WIDTH = 112  # characters of a line on the terminal
LONGEST, LONGEST_NAME = 1000, 200  # characters of a sentence and of a name, which files may have of any length

Look = TypeVar("Look", bound=Callable[..., tuple])

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong, or worth knowing.

    Attributes:
      kind: one word for it, the same in every report.
      severity: "error" if `prepare` or training would refuse it or go wrong, "warning" if it is likely to be a
        mistake, "note" if it may well be meant.
      what: a sentence.
      remedy: a command or a sentence.
      count: how many there are.
      examples: ids, rows or names of a few of them.
      file: where it stands.
      split: the split or the part of a run.
    """

    kind: str
    severity: Severity
    what: str
    remedy: str
    count: int = 1
    examples: tuple[Any, ...] = ()
    file: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was looked at in a split or a part of a run (`facts`, by topic), and what was found."""

    name: str
    facts: dict[str, str]
    findings: list[Finding]


def found(
    kind: str, severity: Severity, examples: Iterable[Any], what: str, remedy: str, *, of: int | None = None
) -> list[Finding]:
    """Returns a finding of which there are `examples`, none if there are none.

    Args:
      kind: see `Finding`.
      severity: see `Finding`.
      examples: all of them; numpy's numbers become Python's.
      what: where ``{count}`` stands for how many and ``{of}`` for `of`.
      remedy: see `Finding`.
      of: how many were looked at.
    """
    every = iter(examples)
    first = [example.item() if hasattr(example, "item") else example for example in itertools.islice(every, SHOWN)]
    if not first:
        return []
    count = len(first) + sum(1 for _ in every)  # there may be more of them than memory holds
    share = "" if of is None else f"{of:,}"
    sentence = _short(what.replace("{count}", f"{count:,}").replace("{of}", share), LONGEST)
    shown = (_short(item, LONGEST_NAME) if isinstance(item, str) else item for item in first)
    return [Finding(kind, severity, sentence, _short(remedy, LONGEST), count, tuple(shown))]


def document(path: pathlib.Path, remedy: str) -> tuple[Any, list[Finding]]:
    """Reads a JSON file, and says what of it is no finite number.

    Raises:
      OSError, ValueError: it cannot be read; see `validation.read_json_leniently`.
    """
    content, odd = validation.read_json_leniently(path)
    what = "{count} numbers are not finite: write finite ones, or leave the entries out"
    return content, found("numbers_not_finite", "error", odd, what, remedy)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def not_examined(topic: str, error: Exception) -> list[Finding]:
    """Returns what is found where an error that nobody foresaw ends an examination."""
    what = f"{topic} could not be examined: {type(error).__name__}: {validation.one_line(error)}"
    remedy = "mend or replace what the message names; if nothing is wrong with it, the doctor is: tell its authors"
    return found("not_examined", "error", [topic], what, remedy)


def topic(name: str, *nothing: Any) -> Callable[[Look], Look]:
    """Makes an error that nobody foresaw one of the findings that a function returns as its last result.

    Args:
      name: of what it examines.
      nothing: its results before the findings, if it fails.
    """

    def guard(look: Look) -> Look:
        @functools.wraps(look)
        def guarded(*args: Any, **kwargs: Any) -> tuple:
            try:
                return look(*args, **kwargs)
            except Exception as error:
                return (*nothing, not_examined(name, error))

        return cast(Look, guarded)

    return guard


def with_location(findings: Iterable[Finding], file: object, split: str) -> list[Finding]:
    """Says where findings are, for those that do not say it yet."""
    return [
        dataclasses.replace(finding, file=finding.file or _short(str(file), LONGEST), split=finding.split or split)
        for finding in findings
    ]


def has_problems(examinations: Sequence[Examination]) -> bool:
    """Returns whether there is more than notes."""
    return any(finding.severity != "note" for part in examinations for finding in part.findings)


def as_json(path: str, kind: str, examinations: Sequence[Examination]) -> dict[str, Any]:
    """Returns the report for programs."""
    everything = [finding for part in examinations for finding in part.findings]
    return {
        "format": FORMAT,
        "path": path,
        "kind": kind,
        "sound": not has_problems(examinations),
        "counts": {name: sum(finding.severity == name for finding in everything) for name in SEVERITIES},
        "examined": {part.name: part.facts for part in examinations},
        "findings": [dataclasses.asdict(finding) for finding in everything],
    }


def as_text(path: str, kind: str, examinations: Sequence[Examination]) -> str:
    """Returns the report for people, the worst first in each part; names can do nothing to the terminal."""
    lines = [f"{path}: {kind}"]
    for part in examinations:
        lines += ["", part.name]
        lines += [f"  {topic:<15} {fact}" for topic, fact in part.facts.items()]
        for finding in sorted(part.findings, key=lambda finding: SEVERITIES.index(finding.severity)):
            lines += _paragraph(finding)
    return "\n".join(map(_printable, [*lines, "", _verdict(examinations)]))


def _printable(line: str) -> str:
    """Writes out what would steer a terminal, turn the text or cannot be encoded."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _paragraph(finding: Finding) -> list[str]:
    head = f"{finding.severity.upper()} {finding.kind}: {finding.what}"
    if finding.examples:
        more = ", ..." * (finding.count > len(finding.examples))
        head += f" ({', '.join(map(str, finding.examples))}{more})"
    lines = [head, f"in {finding.file}", f"-> {finding.remedy}"]
    wrapped = [
        textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False)
        for line in lines
    ]
    wrapped[0][0] = "  " + wrapped[0][0].lstrip()
    return [line for group in wrapped for line in group]


def _verdict(examinations: Sequence[Examination]) -> str:
    everything = [finding for part in examinations for finding in part.findings]
    counts = [(name, sum(finding.severity == name for finding in everything)) for name in SEVERITIES]
    listed = ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts if count)
    return f"{'not sound' if has_problems(examinations) else 'sound'}{listed and f': {listed}'}"
