"""What is wrong, where, and the way out: `Finding`, and the report for people and for programs."""

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

FORMAT = 1  # of the JSON report: raised when a program that reads it must be changed
SHOWN = 5  # examples of a finding
WIDTH = 112  # characters of a line on the terminal

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
    every = [example.item() if hasattr(example, "item") else example for example in examples]
    if not every:
        return []
    share = "" if of is None else f"{of:,}"
    sentence = what.replace("{count}", f"{len(every):,}").replace("{of}", share)
    return [Finding(kind, severity, sentence, remedy, len(every), tuple(every[:SHOWN]))]


def at(findings: Iterable[Finding], file: object, split: str) -> list[Finding]:
    """Says where findings are, for those that do not say it yet."""
    return [
        dataclasses.replace(finding, file=finding.file or str(file), split=finding.split or split)
        for finding in findings
    ]


def matter(examinations: Sequence[Examination]) -> bool:
    """Returns whether there is more than notes."""
    return any(finding.severity != "note" for part in examinations for finding in part.findings)


def as_json(path: str, kind: str, examinations: Sequence[Examination]) -> dict[str, Any]:
    """Returns the report for programs."""
    everything = [finding for part in examinations for finding in part.findings]
    return {
        "format": FORMAT,
        "path": path,
        "kind": kind,
        "sound": not matter(examinations),
        "counts": {name: sum(finding.severity == name for finding in everything) for name in SEVERITIES},
        "examined": {part.name: part.facts for part in examinations},
        "findings": [dataclasses.asdict(finding) for finding in everything],
    }


def as_text(path: str, kind: str, examinations: Sequence[Examination]) -> str:
    """Returns the report for people, the worst first in each part."""
    lines = [f"{path}: {kind}"]
    for part in examinations:
        lines.append(f"\n{part.name}")
        lines += [f"  {topic:<15} {fact}" for topic, fact in part.facts.items()]
        for finding in sorted(part.findings, key=lambda finding: SEVERITIES.index(finding.severity)):
            lines += _paragraph(finding)
    return "\n".join([*lines, "", _verdict(examinations)])


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
    return f"{'not sound' if matter(examinations) else 'sound'}{listed and f': {listed}'}"
