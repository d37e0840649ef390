"""Comparison of two measurements: a report of every deviation, and of the first one above its tolerance.

The report is plain data for JSON, for the HTML page (see `page`) and for the table on the terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hrnet_jax import models, skeletons
from hrnet_jax.compare import jax_runner
from hrnet_jax.compare.measured import (
    SECTIONS,
    Arrays,
    Measurement,
    Sampled,
    deviation,
    is_statistic,
    largest,
    relative,
)
from hrnet_jax.compare.problem import Setup
from hrnet_jax.torch_interop import loading

FLOAT64_TOLERANCES = {"evaluation": 1e-9, "training": 1e-9, "gradients": 1e-8, "statistics": 1e-8, "state": 1e-8}
"""Rounding in float64 makes a difference of about 1e-12. The rest is a margin for other machines."""

LAYERS = ("evaluation", "training")  # sections with a row for each layer

SMALLEST_GRADIENT = 1e-5
"""Gradients whose values are smaller than this share of the largest of all are compared relative to it: those of
biases before batch normalization are rounding errors of zero."""

AFTER_ADAM = ("state", "steps")
"""Results of Adam, which divides each gradient by its own size and so amplifies rounding. They may deviate by
`NOISE_FACTOR` times the effect of a perturbation on PyTorch, if that is more than the usual tolerance."""

EARLY_STEPS = 3
EARLY_TOLERANCE, LATE_TOLERANCE = 1e-8, 1e-3
"""For the losses of the first `EARLY_STEPS` steps, and of later ones, in which rounding has grown."""

NO_STEPS: dict[str, Any] = {
    **{name: [] for name in ("ours", "reference", "deviation", "tolerance", "drift")},
    "held": True,
}
"""The comparison of no training steps."""

NOISE_FACTOR = 3.0  # largest permitted ratio of our deviation to PyTorch's own rounding error


def compare(
    setup: Setup,
    reference: Measurement,
    precision: str,
    steps: int,
    noise_floor: Mapping[str, Mapping[str, float]] | None = None,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """Measures our network in one of `jax_runner.PRECISIONS` and compares it with a reference.

    The reference is PyTorch in float64, or our own network if there is a tolerance.

    `noise_floor` has the deviations of PyTorch's run in this precision, or for float64 of its run on the perturbed
    setup, see `estimate_noise_floor`. `tolerance` replaces all usual tolerances.

    Returns ``precision``, ``held`` (whether all tolerances held), ``sections`` and ``steps``; see `page.render`.
    """
    measured, noise_floor = jax_runner.measure(setup, precision, steps), noise_floor or {}
    kinds, sections = jax_runner.kinds(setup), []
    for name in SECTIONS:
        noise = noise_floor.get(name, {})
        if rows := _rows(name, measured.section(name), reference.section(name), kinds, noise):
            limit = _tolerance(name, precision, noise) if tolerance is None else tolerance
            sections.append(_section(name, SECTIONS[name], rows, limit))
    if precision != "float64" or not all(section["held"] for section in sections if section["name"] in LAYERS):
        _add_isolated(sections, jax_runner.isolated_outputs(setup, precision, reference.inputs()), reference)
    losses = _steps(measured, reference, precision, noise_floor.get("steps", {}), tolerance)
    held = bool(sections) and losses["held"] and all(section["held"] for section in sections)
    return {"precision": precision, "held": held, "sections": sections, "steps": losses}


def compare_variables(setup: Setup, other: Setup, tolerance: float) -> dict[str, Any]:
    """Compares the weights and statistics of two setups of a network, and returns a section of a report."""
    here, there = (loading.to_pytorch(each.variables) for each in (setup, other))
    rows = _rows("variables", here, there, jax_runner.kinds(setup), {})
    return _section("variables", "weights and running statistics", rows, tolerance)


def estimate_noise_floor(other: Measurement, reference: Measurement) -> dict[str, dict[str, float]]:
    """Returns the deviations of another PyTorch run from the one in float64, by section and name.

    Under ``steps`` are the relative deviations of the losses by the number of the step.
    """
    found = {}
    for name in SECTIONS:
        arrays = reference.section(name)
        found[name] = deviations(other.section(name), arrays, _least(name, arrays))
    pairs = zip(other.losses, reference.losses, strict=True)
    return found | {"steps": {str(i): relative(abs(a - b), abs(b)) for i, (a, b) in enumerate(pairs, start=1)}}


def deviations(measured: Arrays, reference: Arrays, least: float = 0.0) -> dict[str, float]:
    """Returns the deviation of every array that both have, see `measured.deviation`."""
    both = [name for name in measured if name in reference]
    return {name: deviation(np.asarray(measured[name]), reference[name], least) for name in both}


def _least(section: str, reference: Arrays) -> float:
    """Returns the least divisor of the deviations in a section."""
    sizes = np.array([largest(array) for array in reference.values()] if section == "gradients" else [])
    return SMALLEST_GRADIENT * float(sizes[np.isfinite(sizes)].max(initial=0.0))


def _tolerance(section: str, precision: str, noise: Mapping[str, float]) -> float | None:
    """Returns the tolerance of a section; None in lower precisions without a noise floor."""
    own = [NOISE_FACTOR * value for value in noise.values() if np.isfinite(value)]
    if precision != "float64":
        return max(own) if own else None
    return max([FLOAT64_TOLERANCES[section], *(own if section in AFTER_ADAM else [])])


def _add_isolated(sections: list[dict[str, Any]], outputs: Mapping[str, Arrays], reference: Measurement) -> None:
    """Adds the isolated deviations of layers with parameters, which tell a fault from its consequences."""
    with_parameters = {layer.__name__ for layer in jax_runner.WITH_PARAMETERS}
    for section in sections:
        isolated = deviations(outputs.get(section["name"], {}), reference.section(section["name"]))
        for row in section["rows"]:
            row["isolated"] = isolated.get(row["name"]) if row["kind"] in with_parameters else None


def _rows(
    section: str, measured: Mapping, reference: Mapping, kinds: Mapping[str, str], noise: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Returns a row for each array in the order of computation, which is backward for gradients."""
    modules = {name: number for number, name in enumerate(kinds)}
    if section in LAYERS:
        names = [name for name in measured if name in reference]
        names += [name for name in reference if name not in measured]  # missing ones fail
    else:
        names = sorted(reference, key=lambda name: modules.get(name.rpartition(".")[0], -1))
    rows, least = [], _least(section, reference)
    for name in reversed(names) if section == "gradients" else names:
        array, expected = measured.get(name), reference[name]
        module = name if name in kinds else name.partition("[")[0] if "[" in name else name.rpartition(".")[0]
        rows.append(
            {
                "name": name,
                "kind": kinds.get(module, ""),
                "shape": list(np.shape(expected if array is None else array)),
                "deviation": None if array is None else deviation(array, expected, least),
                "isolated": None,
                "noise_floor": noise.get(name),
            }
        )
    return rows


def _exceeds(value: float | None, tolerance: float | None) -> bool:
    """Whether a deviation is above the tolerance, missing or not finite."""
    return value is None or not np.isfinite(value) or (tolerance is not None and value > tolerance)


def _section(name: str, title: str, rows: list[dict[str, Any]], tolerance: float | None) -> dict[str, Any]:
    """Summarises rows: the worst, and the first above the tolerance."""
    above = [number for number, row in enumerate(rows) if _exceeds(row["deviation"], tolerance)]
    sizes = np.array([row["deviation"] for row in rows], float)  # NaN if missing
    worst = rows[np.where(np.isnan(sizes), np.inf, sizes).argmax()]
    first = {"index": above[0], **{key: rows[above[0]][key] for key in ("name", "deviation")}} if above else None
    return {
        "name": name,
        "title": title,
        "tolerance": tolerance,
        "held": not above,
        "worst": worst["deviation"],
        "worst_name": worst["name"],
        "first": first,
        "rows": rows,
    }


def _steps(
    measured: Measurement,
    reference: Measurement,
    precision: str,
    noise: Mapping[str, float],
    tolerance: float | None,
) -> dict[str, Any]:
    """Compares the losses, and the distance between the parameters, after each step."""
    count = min(len(measured.losses), len(reference.losses))
    found = [relative(abs(a - b), abs(b)) for a, b in zip(measured.losses, reference.losses, strict=False)]
    usual = [_step_tolerance(number, precision, noise) for number in range(1, count + 1)]
    limits = usual if tolerance is None else [tolerance] * count
    states = zip(measured.states, reference.states, strict=False)
    return {
        "ours": measured.losses[:count],
        "reference": reference.losses[:count],
        "deviation": found,
        "tolerance": limits,
        "drift": [_distance(a, b) for a, b in states if b and not _is_sampled(b)],
        "held": bool(found) == bool(reference.losses) and not any(map(_exceeds, found, limits)),
    }


def _is_sampled(arrays: Arrays) -> bool:
    """Whether only samples are known, which are not enough for a distance."""
    return any(isinstance(array, Sampled) for array in arrays.values())


def _step_tolerance(number: int, precision: str, noise: Mapping[str, float]) -> float | None:
    if precision == "float64":
        own = [NOISE_FACTOR * value for step, value in noise.items() if int(step) <= number]
        return max([EARLY_TOLERANCE if number <= EARLY_STEPS else LATE_TOLERANCE, *own])
    # A single loss may be right by chance, so the worst of all steps counts.
    return NOISE_FACTOR * max(noise.values()) if noise else None


def _distance(ours: Arrays, reference: Arrays) -> float:
    """Returns the Euclidean distance of all parameters, relative to their norm."""
    names = [name for name in reference if name in ours and not is_statistic(name)]
    pairs = [(np.asarray(ours[name], np.float64), np.asarray(reference[name], np.float64)) for name in names]
    squares = sum(float(np.square(a - b).sum()) for a, b in pairs)
    return float(np.sqrt(squares / sum(float(np.square(b).sum()) for _, b in pairs)))


def title(config: ConfigDict) -> str:
    """Returns a title for the report, such as ``HRNet-W32, 17 joints, 256x192``."""
    joints, (height, width) = skeletons.load(config.skeleton).num_joints, config.image_size
    return f"{models.title(config.model)}, {joints} joints, {height}x{width}"


def table(run: Mapping[str, Any]) -> str:
    """Returns the results in one precision as a table for the terminal."""
    lines = [f"{run['precision']:<44}{'worst':>9}{'tolerance':>11}   worst at"]
    for section in run["sections"]:
        mark = " " if section["held"] else "!"
        numbers = f"{_number(section['worst']):>9}{_number(section['tolerance']):>11}"
        lines.append(f"{mark} {section['title']:<42}{numbers}   {section['worst_name']}")
    steps = run["steps"]
    for name, key in (("losses, a column a step", "deviation"), ("drift of the parameters", "drift")):
        if steps[key]:
            mark = "!" if key == "deviation" and not steps["held"] else " "
            lines.append(f"{mark} {name:<42}" + "".join(f"{_number(value):>9}" for value in steps[key]))
    return "\n".join([*lines, *(f"  -> {text}" for text in failures(run))])


def failures(run: Mapping[str, Any]) -> Sequence[str]:
    """Returns a line for each section that failed, about its first row above the tolerance, and one for losses."""
    found = []
    for section in (section for section in run["sections"] if section["first"]):
        row, tolerance = section["rows"][section["first"]["index"]], section["tolerance"]
        size = "missing" if row["deviation"] is None else _number(row["deviation"])
        found.append(f"{section['title']}: first {_limit(tolerance)} is {row['name']} ({row['kind']}), {size}")
        if row["isolated"] is not None:
            origin = "introduced there" if _exceeds(row["isolated"], tolerance) else "propagated"
            found[-1] += f"; with the reference's input {_number(row['isolated'])}: {origin}"
    columns = (run["steps"][name] for name in ("ours", "reference", "deviation", "tolerance"))
    for step, (ours, reference, size, tolerance) in enumerate(zip(*columns, strict=True), start=1):
        if _exceeds(size, tolerance):
            text = (
                f"first {_limit(tolerance)} is that of step {step}, {_number(size)}: {ours!r}, not {reference!r}"
            )
            return [*found, f"losses: {text}"]
    return found


def _limit(tolerance: float | None) -> str:
    return "not finite" if tolerance is None else f"above {_number(tolerance)}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if value else "0"
