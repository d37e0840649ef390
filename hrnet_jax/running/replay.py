"""Doing a run again from what its directory tells, and saying whether the same came out, bit for bit."""

import json
from typing import Any

from ml_collections import ConfigDict

from hrnet_jax import buckets, checkpoint, logbook
from hrnet_jax.datasets import fields
from hrnet_jax.running import directory, manifest, progress

PASSING = ("time", "images_per_second", "data_wait")
"""What the log tells of time, which no two runs share."""

DIFFERENT = 3
"""Exit status if anything differs."""


def read_config(workdir: buckets.Path, default: ConfigDict) -> ConfigDict:
    """Returns the configuration of a run directory; fields that are newer than it have their default.

    Raises:
      ValueError: there is none.
    """
    path = workdir / directory.CONFIG
    try:
        fields.check_regular(path)
        content = _with_tuples(json.loads(path.read_text()))
        if missing := {"model", "data", "epochs"} - set(content):
            raise ValueError(f"it has no {sorted(missing)}")
        groups = {name: group for name, group in default.to_dict().items() if isinstance(group, dict)}
        del groups["model"]  # the kinds of networks have other fields each
        whole = {name: {**group, **content.get(name, {})} for name, group in groups.items()}
        return ConfigDict({**default.to_dict(), **content, **whole})
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give the directory of a run of train.py") from error


def _with_tuples(value: Any) -> Any:
    """Turns JSON's lists back into the tuples that configurations are written with."""
    if isinstance(value, dict):
        return {name: _with_tuples(field) for name, field in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def check(workdir: buckets.Path, steps: int) -> None:
    """Makes sure that a run can be compared with one of so many steps.

    Raises:
      ValueError: it logged nothing, or kept no state of its last step.
    """
    if not _figures(workdir) or steps not in _states(workdir):
        raise ValueError(
            f"{workdir} has no log, or no checkpoint of its last step, {steps:,}, to compare with: let it come to"
            " its end first, or give another run"
        )


def begun_by_several(starts: list[dict[str, Any]]) -> list[str]:
    """Returns in words what changed between the starts of a replay: then it says nothing about any one program."""
    changes = (text for start in starts[1:] for text in manifest.compare(starts[0], start))
    return [f"the replay went on with another program: {text}" for text in dict.fromkeys(changes)]


def compare(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Returns in words what differs between two runs in what they logged and kept; nothing if all is the same."""
    return [*_compare_logs(there, here), *_compare_states(there, here)]


def count(there: buckets.Path, here: buckets.Path) -> str:
    """Says how much of two runs can be compared."""
    lines = _figures(there).keys() & _figures(here).keys()
    states = ", ".join(f"{step:,}" for step in sorted(_states(there).keys() & _states(here).keys()))
    return f"{len(lines):,} logged figures and the state after step {states or 'none'}"


def _compare_logs(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Compares the figures that both runs logged."""
    a, b = _figures(there), _figures(here)
    both = sorted(a.keys() & b.keys())
    if went_on_otherwise(there):
        a = {key: a[key] for key in both if key[1] not in progress.FIGURES}
        both = sorted(a)
    different = [key for key in both if a[key] != b[key] and not (a[key] != a[key] and b[key] != b[key])]
    if not both:
        return ["the logs have no figure in common"]
    found = []
    if alone := sorted(a.keys() - b.keys()):
        step, name = alone[0]
        found.append(f"{len(alone):,} figures were not logged again, first {name} of step {step:,}")
    if different:
        step, name = different[0]
        found.append(
            f"{len(different):,} of {len(both):,} logged figures, first at step {step:,}: {name} was"
            f" {a[step, name]!r} and is {b[step, name]!r}"
        )
    return found


def _compare_states(there: buckets.Path, here: buckets.Path) -> list[str]:
    """Compares the states that both runs kept of the same step."""
    a, b = _states(there), _states(here)
    if not a.keys() & b.keys():
        return ["the runs kept no state of the same step: the one to repeat must have come to its end"]
    return [
        f"the state after step {step:,}: its fingerprint was {a[step]} and is {b[step]}"
        for step in sorted(a.keys() & b.keys())
        if a[step] != b[step]
    ]


def went_on_otherwise(workdir: buckets.Path) -> bool:
    """Whether what a run logs when was changed on its way: then means are of other steps in its replay."""
    configs = [start.get("config", {}) for start in manifest.read(workdir)]
    every = [(config.get("log_every"), config.get("eval_every")) for config in configs]
    return len(set(every)) > 1


def _figures(workdir: buckets.Path) -> dict[tuple[int, str], float]:
    lines = logbook.read(workdir)
    return {(line["step"], name): line[name] for line in lines for name in line if name not in PASSING}


def _states(workdir: buckets.Path) -> dict[int, str]:
    folders = [workdir / "checkpoints" / name for name in ("best", "last")]
    return {step: mark for folder in folders for step, mark in checkpoint.fingerprints(folder).items()}
