"""The comparison: two measurements in, a report out, which says where they first part.

The report is plain data, for JSON, for the page (see `page`) and for the table on the terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import models, skeletons
from hrnet_jax.comparison import ours
from hrnet_jax.comparison.measured import SECTIONS, Arrays, Measured, Sampled, deviation, is_statistic
from hrnet_jax.comparison.problem import Problem

FLOAT64_TOLERANCES = {"evaluation": 1e-9, "training": 1e-9, "gradients": 1e-8, "statistics": 1e-8, "state": 1e-8}
"""In float64 two right networks differ by rounding alone, about 1e-12; these leave room for other machines."""

SURE_STEPS = 3
"""Losses are held to `SURE_TOLERANCE`; those of later steps, in which rounding has grown, to `LATE_TOLERANCE`."""
SURE_TOLERANCE, LATE_TOLERANCE = 1e-8, 1e-3

FACTOR = 3.0
"""How many times PyTorch's own rounding error a lower precision may be off."""


def compare(
    problem: Problem,
    reference: Measured,
    precision: str,
    steps: int,
    yardstick: Mapping[str, Mapping[str, float]] | None = None,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Measures our network in one precision and compares it with the reference.

    Args:
      problem: network, weights and batch.
      reference: measured in float64.
      precision: one of `ours.PRECISIONS`.
      steps: of Adam to compare.
      yardstick: deviations of PyTorch's own run in this precision, by section and name; ``steps`` by number.
      tolerance: for all layers, gradients and states, instead of the usual one.

    Returns:
      ``precision``, whether it ``held``, the ``sections`` and the ``steps`` (see ``page.render``).
    """
    measured = ours.measure(problem, precision, steps)
    alone = ours.born(problem, precision, reference.inputs)
    kinds, yardstick = ours.kinds(problem), yardstick or {}
    sections = []
    for name in SECTIONS:
        own_scale = yardstick.get(name, {})
        limit = tolerance or _tolerance(name, precision, own_scale)
        born = deviations(alone.get(name, {}), reference.section(name))
        rows = _rows(name, measured.section(name), reference.section(name), kinds, born, own_scale)
        if rows:
            sections.append(_section(name, rows, limit))
    stepping = _steps(measured, reference, precision, yardstick.get("steps", {}))
    held = stepping["held"] and all(section["held"] for section in sections)
    return {"precision": precision, "held": held, "sections": sections, "steps": stepping}


def yardsticks(twin: Measured, reference: Measured) -> dict[str, dict[str, float]]:
    """Returns the deviations of the twin's run in a lower precision from its own in float64.

    By section and name; under ``steps`` those of the losses, by the number of the step.
    """
    found = {name: deviations(twin.section(name), reference.section(name)) for name in SECTIONS}
    pairs = zip(twin.losses, reference.losses, strict=True)
    return found | {"steps": {str(i): abs(a / b - 1) for i, (a, b) in enumerate(pairs, start=1)}}


def deviations(measured: Arrays, reference: Arrays) -> dict[str, float]:
    """Returns the deviation of every array that both have."""
    common = [name for name in measured if name in reference]
    return {name: deviation(np.asarray(measured[name]), reference[name]) for name in common}


def _tolerance(section: str, precision: str, yardstick: Mapping[str, float]) -> float | None:
    """Returns how far a section's arrays may be off; None where there is nothing to judge by."""
    if precision == "float64":
        return FLOAT64_TOLERANCES[section]
    finite = [value for value in yardstick.values() if np.isfinite(value)]
    return FACTOR * max(finite) if finite else None


def _rows(section, measured, reference, kinds, born, yardstick) -> list[dict[str, Any]]:
    """Returns a row for each array, in the order of computation; of gradients, backward."""
    modules = {name: number for number, name in enumerate(kinds)}
    if section in ("evaluation", "training"):
        names = [name for name in measured if name in reference]
    else:
        names = sorted(reference, key=lambda name: modules.get(name.rpartition(".")[0], -1))
    if section == "gradients":
        names = names[::-1]
    rows = []
    for name in names:
        array = measured.get(name)
        module = name if name in kinds else name.partition("[")[0] if "[" in name else name.rpartition(".")[0]
        rows.append(
            {
                "name": name,
                "kind": kinds.get(module, ""),
                "shape": list(np.shape(array)) if array is not None else _shape(reference[name]),
                "deviation": None if array is None else deviation(array, reference[name]),
                "own": born.get(name) if _has_parameters(kinds.get(name, "")) else None,
                "yardstick": yardstick.get(name),
            }
        )
    return rows


def _shape(array: np.ndarray | Sampled) -> list[int]:
    return [] if isinstance(array, Sampled) else list(array.shape)


def _has_parameters(kind: str) -> bool:
    return kind in {layer.__name__ for layer in ours.WITH_PARAMETERS}


def _past(value: float | None, tolerance: float | None) -> bool:
    """Whether a deviation is past the tolerance; what is missing or no number always is."""
    return value is None or not np.isfinite(value) or (tolerance is not None and value > tolerance)


def _section(name: str, rows: list[dict[str, Any]], tolerance: float | None) -> dict[str, Any]:
    """Sums up rows: the worst of them, and the first past the tolerance."""
    past = [number for number, row in enumerate(rows) if _past(row["deviation"], tolerance)]
    worst = max(rows, key=lambda row: _rank(row["deviation"]))
    first = {"index": past[0], **{key: rows[past[0]][key] for key in ("name", "deviation")}} if past else None
    return {
        "name": name,
        "title": SECTIONS[name],
        "tolerance": tolerance,
        "held": not past,
        "worst": worst["deviation"],
        "worst_name": worst["name"],
        "first": first,
        "rows": rows,
    }


def _rank(value: float | None) -> float:
    return float("inf") if value is None or np.isnan(value) else value


def _steps(
    measured: Measured, reference: Measured, precision: str, yardstick: Mapping[str, float]
) -> dict[str, Any]:
    """Compares losses step by step, and how far the parameters drift apart."""
    pairs = list(zip(measured.losses, reference.losses, strict=False))
    found = [abs(a / b - 1) for a, b in pairs]
    limits = [_step_tolerance(number, precision, yardstick) for number in range(1, len(pairs) + 1)]
    drift = [
        _distance(a, b) for a, b in zip(measured.states, reference.states, strict=False) if _is_whole(b)
    ]  # nothing to say of a reference of which only samples were kept
    return {
        "ours": [a for a, _ in pairs],
        "theirs": [b for _, b in pairs],
        "deviation": found,
        "tolerance": limits,
        "drift": drift,
        "held": not any(_past(value, limit) for value, limit in zip(found, limits, strict=True)),
    }


def _step_tolerance(number: int, precision: str, yardstick: Mapping[str, float]) -> float | None:
    if precision == "float64":
        return SURE_TOLERANCE if number <= SURE_STEPS else LATE_TOLERANCE
    # A single loss may by chance come out right; the worst of all steps says what the precision is worth.
    return FACTOR * max(yardstick.values()) if yardstick else None


def _is_whole(state: Arrays) -> bool:
    return bool(state) and not any(isinstance(array, Sampled) for array in state.values())


def _distance(ours: Arrays, theirs: Arrays) -> float:
    """Returns the distance of all parameters together, relative to their length."""
    names = [name for name in theirs if name in ours and not is_statistic(name)]
    apart = sum(float(np.square(np.asarray(ours[n], np.float64) - np.asarray(theirs[n])).sum()) for n in names)
    length = sum(float(np.square(np.asarray(theirs[n], np.float64)).sum()) for n in names)
    return float(np.sqrt(apart / length))


def title(problem: Problem) -> str:
    """Returns what is compared, in words."""
    config = problem.config
    joints, (height, width) = skeletons.load(config.skeleton).num_joints, config.image_size
    return f"{models.title(config.model)}, {joints} joints, {height}x{width}"


def table(run: Mapping[str, Any]) -> str:
    """Returns one precision's outcome for the terminal."""
    lines = [f"{run['precision']:<44}{'worst':>9}{'tolerance':>11}   worst at"]
    for section in run["sections"]:
        mark = " " if section["held"] else "!"
        lines.append(
            f"{mark} {section['title']:<42}{_number(section['worst']):>9}{_number(section['tolerance']):>11}"
            f"   {section['worst_name']}"
        )
    steps = run["steps"]
    for name, values in (
        ("losses, a column a step", steps["deviation"]),
        ("drift of the parameters", steps["drift"]),
    ):
        if values:
            mark = "!" if values is steps["deviation"] and not steps["held"] else " "
            lines.append(f"{mark} {name:<42}" + "".join(f"{_number(value):>9}" for value in values))
    return "\n".join([*lines, *(f"  -> {text}" for text in findings(run))])


def findings(run: Mapping[str, Any]) -> Sequence[str]:
    """Says in words where each section first parts from the reference."""
    found = []
    for section in run["sections"]:
        if first := section["first"]:
            row = section["rows"][first["index"]]
            text = f"{section['title']}: first past {_number(section['tolerance'])} is {row['name']}"
            text += f" ({row['kind']}), {_number(row['deviation'])}"
            if row["own"] is not None:
                born = "born there" if _past(row["own"], section["tolerance"]) else "inherited"
                text += f"; fed the reference's own input {_number(row['own'])}: {born}"
            found.append(text)
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
