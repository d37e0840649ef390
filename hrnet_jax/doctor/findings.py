"""Findings of the doctor, and their reports as text and as JSON."""

import dataclasses
import functools
import itertools
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar, cast

from hrnet_jax import validation

FORMAT = 1  # version of the JSON report; increased by incompatible changes
MAX_EXAMPLES = 5
WIDTH = 112  # characters in a line on the terminal
MAX_SENTENCE, MAX_NAME = 1000, 200  # characters: names in files may be of any length

Examine = TypeVar("Examine", bound=Callable[..., tuple])

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of problem in one file.

    Attributes:
      kind: a stable identifier.
      severity: "error" if `prepare` or training refuses the data or gives wrong results; "warning" for a likely
        mistake; "note" for a possible one.
      what: the problem in a sentence.
      remedy: a command or a sentence.
      count: number of affected entries.
      examples: ids, rows or names of the first affected entries.
      file: path of the file.
      split: name of the split, or part of the run.
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
    """The findings in a split or a part of a run, and `facts`: summaries of the examined topics."""

    name: str
    facts: dict[str, str]
    findings: list[Finding]


def found(
    kind: str, severity: Severity, examples: Iterable[Any], what: str, remedy: str, *, of: int | None = None
) -> list[Finding]:
    """Returns a list with one finding, or an empty list without examples.

    Args:
      kind: see `Finding`.
      severity: see `Finding`.
      examples: all affected entries; numpy scalars become Python's.
      what: see `Finding`. ``{count}`` is replaced by the number of examples and ``{of}`` by `of`.
      remedy: see `Finding`.
      of: number of examined entries.
    """
    every = iter(examples)
    first = [item.item() if hasattr(item, "item") else item for item in itertools.islice(every, MAX_EXAMPLES)]
    if not first:
        return []
    count = len(first) + sum(1 for _ in every)  # without a list: there may be more than memory holds
    total = "" if of is None else f"{of:,}"
    sentence = _truncate(what.replace("{count}", f"{count:,}").replace("{of}", total), MAX_SENTENCE)
    short = (_truncate(item, MAX_NAME) if isinstance(item, str) else item for item in first)
    return [Finding(kind, severity, sentence, _truncate(remedy, MAX_SENTENCE), count, tuple(short))]


def document(path: pathlib.Path, remedy: str) -> tuple[Any, list[Finding]]:
    """Reads a JSON file. Returns its content, and a finding if some numbers are not finite.

    Raises:
      OSError, ValueError: see `validation.read_json_leniently`.
    """
    content, odd = validation.read_json_leniently(path)
    what = "{count} numbers are not finite: write finite ones or remove the entries"
    return content, found("numbers_not_finite", "error", odd, what, remedy)


def _truncate(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def not_examined(topic: str, error: Exception) -> list[Finding]:
    """Returns the finding for an unexpected error that ended an examination."""
    what = f"{topic} could not be examined: {type(error).__name__}: {validation.one_line(error)}"
    remedy = "repair or replace the file that the message names; if it is sound, report a bug in the doctor"
    return found("not_examined", "error", [topic], what, remedy)


def topic(name: str, *defaults: Any) -> Callable[[Examine], Examine]:
    """Decorates a function that returns findings last, so that an unexpected error becomes a finding.

    Args:
      name: the examined topic.
      defaults: the other results in case of an error.
    """

    def decorate(examine: Examine) -> Examine:
        @functools.wraps(examine)
        def wrapper(*args: Any, **kwargs: Any) -> tuple:
            try:
                return examine(*args, **kwargs)
            except Exception as error:
                return (*defaults, not_examined(name, error))

        return cast(Examine, wrapper)

    return decorate


def with_location(findings: Iterable[Finding], file: object, split: str) -> list[Finding]:
    """Fills in the file and the split of findings that have none."""
    path = _truncate(str(file), MAX_SENTENCE)
    return [
        dataclasses.replace(finding, file=finding.file or path, split=finding.split or split)
        for finding in findings
    ]


def has_problems(examinations: Sequence[Examination]) -> bool:
    """Returns whether there are errors or warnings."""
    return any(finding.severity != "note" for part in examinations for finding in part.findings)


def as_json(path: str, kind: str, examinations: Sequence[Examination]) -> dict[str, Any]:
    """Returns the JSON report."""
    return {
        "format": FORMAT,
        "path": path,
        "kind": kind,
        "sound": not has_problems(examinations),
        "counts": _counts(examinations),
        "examined": {part.name: part.facts for part in examinations},
        "findings": [dataclasses.asdict(finding) for part in examinations for finding in part.findings],
    }


def _counts(examinations: Sequence[Examination]) -> dict[str, int]:
    severities = [finding.severity for part in examinations for finding in part.findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}


def as_text(path: str, kind: str, examinations: Sequence[Examination]) -> str:
    """Returns the report for the terminal, with each part's findings by severity."""
    lines = [f"{path}: {kind}"]
    for part in examinations:
        lines += ["", part.name]
        lines += [f"  {topic:<15} {fact}" for topic, fact in part.facts.items()]
        for finding in sorted(part.findings, key=lambda finding: SEVERITIES.index(finding.severity)):
            lines += _paragraph(finding)
    return "\n".join(map(_printable, [*lines, "", _verdict(examinations)]))


def _printable(line: str) -> str:
    """Escapes control characters, changes of text direction and unpaired surrogates."""
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
    counts = _counts(examinations).items()
    listed = ", ".join(f"{count} {severity}{'s' * (count > 1)}" for severity, count in counts if count)
    return f"{'not sound' if has_problems(examinations) else 'sound'}{listed and f': {listed}'}"
