"""The comparison: two measurements in, a report out, which says where they first part.

The report is plain data, for JSON, for the page (see `page`) and for the table on the terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrnet_jax import models, skeletons
from hrnet_jax.compare import jax_runner
from hrnet_jax.compare.measured import SECTIONS, Arrays, Measured, Sampled, deviation, is_statistic
from hrnet_jax.compare.problem import Problem

FLOAT64_TOLERANCES = {"evaluation": 1e-9, "training": 1e-9, "gradients": 1e-8, "statistics": 1e-8, "state": 1e-8}
"""In float64 two right networks differ by rounding alone, about 1e-12; these leave room for other machines."""

LAYERS = ("evaluation", "training")
"""The sections whose rows are layers."""

STEPPED = ("state", "steps")
"""What comes after Adam, which divides a gradient by its own size, and so makes rounding visible.

Here `FACTOR` times what a nudge of the last bits does to PyTorch's own run is allowed, if that is more.
"""

SURE_STEPS = 3
"""Losses are held to `SURE_TOLERANCE`; those of later steps, in which rounding has grown, to `LATE_TOLERANCE`."""
SURE_TOLERANCE, LATE_TOLERANCE = 1e-8, 1e-3

FACTOR = 3.0
"""How many times PyTorch's own rounding error ours may be."""


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
      yardstick: deviations of PyTorch's own run in this precision, or for float64 of its run on a problem whose
        last bits are nudged, by section and name; see `yardsticks`.
      tolerance: for all layers, gradients and states, instead of the usual one.

    Returns:
      ``precision``, whether it ``held``, the ``sections`` and the ``steps`` (see ``page.render``).
    """
    measured, yardstick = jax_runner.measure(problem, precision, steps), yardstick or {}
    limits = {name: _tolerance(name, precision, yardstick.get(name, {})) for name in SECTIONS}
    limits = limits if tolerance is None else dict.fromkeys(SECTIONS, tolerance)
    kinds = jax_runner.kinds(problem)
    found = {
        name: _rows(name, measured.section(name), reference.section(name), kinds, yardstick.get(name, {}))
        for name in SECTIONS
    }
    sections = [_section(name, rows, limits[name]) for name, rows in found.items() if rows]
    if precision != "float64" or not all(section["held"] for section in sections if section["name"] in LAYERS):
        _add_born(sections, jax_runner.born(problem, precision, reference.inputs()), reference)
    stepping = _steps(measured, reference, precision, yardstick.get("steps", {}))
    held = bool(sections) and stepping["held"] and all(section["held"] for section in sections)
    return {"precision": precision, "held": held, "sections": sections, "steps": stepping}


def yardsticks(twin: Measured, reference: Measured) -> dict[str, dict[str, float]]:
    """Returns the deviations of another run of the twin from its own in float64.

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
    own = [FACTOR * value for value in yardstick.values() if np.isfinite(value)]
    if precision != "float64":
        return max(own) if own else None
    return max([FLOAT64_TOLERANCES[section], *(own if section in STEPPED else [])])


def _add_born(sections: Sequence[dict[str, Any]], alone: Mapping[str, Arrays], reference: Measured) -> None:
    """Notes how far each layer with parameters is off by itself, which tells a fault from what it leads to."""
    for section in sections:
        born = deviations(alone.get(section["name"], {}), reference.section(section["name"]))
        for row in section["rows"]:
            row["own"] = born.get(row["name"]) if _has_parameters(row["kind"]) else None


def _rows(section, measured, reference, kinds, yardstick) -> list[dict[str, Any]]:
    """Returns a row for each array, in the order of computation; of gradients, backward."""
    modules = {name: number for number, name in enumerate(kinds)}
    if section in LAYERS:
        names = [name for name in measured if name in reference]
        names += [name for name in reference if name not in measured]  # missing ones fail
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
                "own": None,
                "yardstick": yardstick.get(name),
            }
        )
    return rows


def _shape(array: np.ndarray | Sampled) -> list[int]:
    return [] if isinstance(array, Sampled) else list(array.shape)


def _has_parameters(kind: str) -> bool:
    return kind in {layer.__name__ for layer in jax_runner.WITH_PARAMETERS}


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
        "held": bool(found) == bool(reference.losses)
        and not any(_past(value, limit) for value, limit in zip(found, limits, strict=True)),
    }


def _step_tolerance(number: int, precision: str, yardstick: Mapping[str, float]) -> float | None:
    if precision == "float64":
        own = [FACTOR * value for step, value in yardstick.items() if int(step) <= number]
        return max([SURE_TOLERANCE if number <= SURE_STEPS else LATE_TOLERANCE, *own])
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
            limit = (
                "that is no number" if section["tolerance"] is None else f"past {_number(section['tolerance'])}"
            )
            size = "missing" if row["deviation"] is None else _number(row["deviation"])
            text = f"{section['title']}: first {limit} is {row['name']} ({row['kind']}), {size}"
            if row["own"] is not None:
                born = "born there" if _past(row["own"], section["tolerance"]) else "inherited"
                text += f"; fed the reference's own input {_number(row['own'])}: {born}"
            found.append(text)
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
