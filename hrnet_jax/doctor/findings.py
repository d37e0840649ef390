"""Findings of the doctor, and their reports as text and as JSON."""

import dataclasses
import functools
import itertools
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from hrnet_jax import validation

FORMAT = 1  # version of the JSON report; increased by incompatible changes
MAX_EXAMPLES = 5
WIDTH = 112  # characters in a line on the terminal
MAX_SENTENCE, MAX_NAME = 1000, 200  # characters: names in files may be of any length

Examine = TypeVar("Examine", bound=Callable[..., tuple])
Result = TypeVar("Result")
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of problem in one file.

    An error makes `prepare` or training refuse the data or gives wrong results. A warning is a likely mistake, and
    a note a possible one.
    """

    kind: str  # a stable identifier
    severity: Severity
    what: str  # the problem in a sentence
    remedy: str  # a command or a sentence
    count: int = 1  # number of affected entries
    examples: tuple[Any, ...] = ()  # ids, rows or names of the first affected entries
    file: str = ""  # path of the file
    split: str = ""  # name of the split, or part of the run


@dataclasses.dataclass(frozen=True)
class Examination:
    """A split or a part of a run: findings, `facts` by topic, and the names of whole photos by digest."""

    name: str
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    photo_names: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, file: object, facts: Mapping[str, str], findings: Iterable[Finding]) -> None:
        """Adds facts, and findings that are in `file` unless they name another one."""
        path = _truncate(str(file), MAX_SENTENCE)
        located = (dataclasses.replace(each, file=each.file or path, split=self.name) for each in findings)
        self.findings.extend(located)
        self.facts.update(facts)


def found(
    kind: str,
    severity: Severity,
    examples: Iterable[Any],
    what: str,
    remedy: str,
    *,
    of: int = 0,
    file: object = "",
) -> list[Finding]:
    """Returns a list with one finding, or an empty list without examples.

    `examples` are all affected entries, with numpy scalars as Python's. In `what`, their number replaces
    ``{count}``, and the number `of` examined entries replaces ``{of}``. See `Finding` for the rest.
    """
    every = iter(examples)
    first = [item.item() if hasattr(item, "item") else item for item in itertools.islice(every, MAX_EXAMPLES)]
    if not first:
        return []
    count = len(first) + sum(1 for _ in every)  # without a list: there may be more than memory holds
    sentence = _truncate(what.replace("{count}", f"{count:,}").replace("{of}", f"{of:,}"), MAX_SENTENCE)
    short = (_truncate(item, MAX_NAME) if isinstance(item, str) else item for item in first)
    path, remedy = (_truncate(str(text), MAX_SENTENCE) for text in (file, remedy))
    return [Finding(kind, severity, sentence, remedy, count, tuple(short), path)]


def _truncate(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def attempt(
    read: Callable[[], Result],
    kind: str,
    name: str,
    remedy: str,
    errors: type[Exception] | tuple[type[Exception], ...] = (ValueError, OSError),
) -> tuple[Result | None, list[Finding]]:
    """Returns the result of `read`, or None and the finding that the file `name` cannot be read."""
    try:
        return read(), []
    except errors as error:
        return None, found(kind, "error", [name], str(error), remedy)


def document(path: pathlib.Path, remedy: str, may_be_nan: str = "") -> tuple[Any, list[Finding]]:
    """Reads a JSON file like `validation.read_json_leniently`. Returns a finding if numbers are not finite."""
    content, odd = validation.read_json_leniently(path, may_be_nan)
    what = "{count} numbers are not finite: write finite ones or remove the entries"
    return content, found("numbers_not_finite", "error", odd, what, remedy)


def not_examined(topic: str, error: Exception) -> list[Finding]:
    """Returns the finding for an unexpected error that ended an examination."""
    what = f"{topic} could not be examined: {type(error).__name__}: {validation.one_line(error)}"
    remedy = "repair or replace the file that the message names; if it is sound, report a bug in the doctor"
    return found("not_examined", "error", [topic], what, remedy)


def topic(name: str, *defaults: Any) -> Callable[[Examine], Examine]:
    """Decorates a function that returns findings last: on an unexpected error, `defaults` and a finding."""

    def decorate(examine: Examine) -> Examine:
        @functools.wraps(examine)
        def wrapper(*args: Any, **kwargs: Any) -> tuple:
            try:
                return examine(*args, **kwargs)
            except Exception as error:
                return (*defaults, not_examined(name, error))

        return cast(Examine, wrapper)

    return decorate


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
    lines += ["", _verdict(examinations)]
    # Escapes control characters, changes of text direction and unpaired surrogates.
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


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
