"""The laboratory: our network against its PyTorch twin, layer by layer, gradient by gradient, step by step.

    python -m hrnet_jax.compare --config configs/coco_hrnet_w32_256x192.py
    python -m hrnet_jax.compare --config configs/... --checkpoint model.pth --batch data --precision all

The same weights and batch go through both. Every layer's output in evaluation and in training mode, every
gradient, running statistic and parameter is held to a tolerance, in the order of computation, so that the first
one past it is where a difference is born. PyTorch computes in float64; lower precisions are measured against that,
and held to a few times what PyTorch itself loses in them.

On a machine without PyTorch give ``--reference FILE``: what ``--save_reference FILE`` wrote on another one.
Into ``--out`` go ``report.json`` and ``report.html``. The exit status is 0 if all tolerances held, else 1.
"""

import datetime
import importlib.metadata
import pathlib
import platform
import sys
import zlib
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from hrnet_jax import console, convert
from hrnet_jax.comparison import laboratory, measured, ours, page, problem
from hrnet_jax.comparison.measured import Measured
from hrnet_jax.comparison.problem import Problem

OUT = pathlib.Path("runs/compare")
LIBRARIES = ("jax", "flax", "optax", "numpy", "torch")


def define_flags() -> None:
    """Defines the command line."""
    config_flags.DEFINE_config_file("config", None, "The network, its size and its loss: a file in configs/.")
    flags.DEFINE_string("checkpoint", "", "Weights, ours or PyTorch's. Default: drawn from the parameters' names.")
    flags.DEFINE_list("precision", ["float64"], f"One or more of {', '.join(ours.PRECISIONS)}, or all.")
    flags.DEFINE_enum("batch", "random", ["random", "data"], "Noise, or the first training batch of config.data.")
    flags.DEFINE_integer("people", problem.PEOPLE, "In the batch.", lower_bound=1)
    flags.DEFINE_integer("steps", 5, "Of Adam on the batch.", lower_bound=measured.STEP_OF_STATE)
    flags.DEFINE_integer("seed", 0, "Of drawn weights and batches.")
    flags.DEFINE_float("tolerance", None, "For layers, gradients and states, instead of the usual ones.")
    flags.DEFINE_string("reference", "", "Reference numbers to compare with instead of running PyTorch.")
    flags.DEFINE_string("save_reference", "", "Where to write reference numbers for machines without PyTorch.")
    flags.DEFINE_string("out", "", f"Where the report goes. Default: {OUT}/NETWORK.")
    flags.mark_flag_as_required("config")


def run() -> int:
    """Compares as the command line says; returns the exit status."""
    given = flags.FLAGS
    precisions = _precisions(given.precision)
    posed, reference, source = _pose(given)
    out = pathlib.Path(given.out or OUT / problem.tag(given.config))
    print(f"{laboratory.title(posed)}; weights {posed.weights_title}; {posed.batch.title}; against {source}\n")
    runs = []
    for precision in precisions:
        yardstick = _yardstick(posed, reference, precision, given)
        runs.append(laboratory.compare(posed, reference, precision, given.steps, yardstick, given.tolerance))
        print(laboratory.table(runs[-1]) + "\n", flush=True)
    report = _head(given, posed, source) | {"held": all(run["held"] for run in runs), "runs": runs}
    _write(out, report)
    return 0 if report["held"] else 1


def _precisions(named: list[str]) -> list[str]:
    wanted: list[str] = list(ours.PRECISIONS) if named == ["all"] else named
    if not wanted or not set(wanted) <= set(ours.PRECISIONS):
        raise ValueError(f"--precision (={','.join(named)}) must be some of {', '.join(ours.PRECISIONS)}, or all")
    return wanted


def _pose(given: flags.FlagValues) -> tuple[Problem, Measured, str]:
    """Returns the problem, the reference, and what that is in words."""
    config, labels = given.config, None
    reference, about, arrays = measured.load(given.reference) if given.reference else (None, {}, {})
    if reference and not about:  # numbers of the authors' own code bring their joints along
        labels = (arrays["train/joints"], arrays["train/vis"])
    weights, weights_title = problem.weights_of(config, given.checkpoint, given.seed)
    if given.batch == "data":
        batch = problem.data_batch(config, given.people)
    else:
        batch = problem.random_batch(config, len(labels[0]) if labels else given.people, given.seed, labels)
    posed = Problem(config, weights, weights_title, batch)
    if reference is None:
        return posed, _measure_twin(posed, given), "the PyTorch twin in float64"
    _check(given.reference, reference, about, posed)
    return posed, reference, given.reference


def _measure_twin(posed: Problem, given: flags.FlagValues) -> Measured:
    """Runs PyTorch in float64, and writes its numbers down if asked to."""
    twin = _theirs().measure(posed, "float64", given.steps)
    if given.save_reference:
        scales = {run: _twin_yardstick(posed, twin, run, given.steps) for run in set(measured.YARDSTICKS.values())}
        measured.save(given.save_reference, twin, scales, {"fingerprint": fingerprint(posed)})
        print(f"{given.save_reference}: reference numbers for --reference\n")
    return twin


def _theirs() -> Any:
    """Returns the module that runs PyTorch, which is an extra."""
    try:
        from hrnet_jax.comparison import theirs
    except ImportError as error:
        raise ValueError(f"{error}; or give --reference FILE, numbers saved on a machine that has it") from error
    return theirs


def _yardstick(posed: Problem, reference: Measured, precision: str, given: flags.FlagValues) -> dict[str, Any]:
    """Returns what PyTorch itself loses in a precision."""
    run = measured.YARDSTICKS[precision]
    if given.reference:
        return dict(reference.yardsticks.get(run, {}))
    return _twin_yardstick(posed, reference, run, given.steps)


def _twin_yardstick(posed: Problem, twin: Measured, run: str, steps: int) -> dict[str, Any]:
    """Runs PyTorch once more, in a lower precision or on the nudged problem."""
    if run == "nudged":
        other = _theirs().measure(problem.nudged(posed), "float64", steps)
    else:
        other = _theirs().measure(posed, run, steps)
    return laboratory.yardsticks(other, twin)


def fingerprint(posed: Problem) -> int:
    """Returns a number that tells problems apart: of images, targets and all weights."""
    arrays = [posed.batch.image, posed.batch.targets, posed.batch.weights, *jax.tree.leaves(posed.variables)]
    found = 0
    for array in arrays:
        found = zlib.crc32(np.asarray(array, np.float64).tobytes(), found)
    return found


def _check(path: str, reference: Measured, about: dict[str, Any], posed: Problem) -> None:
    """Raises ValueError unless reference numbers are of this network, these weights and this batch."""
    names = set(convert.to_pytorch({"params": posed.variables["params"]}))
    if set(reference.gradients) != names:
        other = sorted(set(reference.gradients) ^ names)
        raise ValueError(
            f"{path} is of another network than the config: {len(other)} parameters differ, {other[0]}"
        )
    if about and about["fingerprint"] != fingerprint(posed):
        raise ValueError(
            f"{path} was computed with other weights or another batch than this ({posed.weights_title};"
            f" {posed.batch.title}): give the same --config, --checkpoint, --batch, --people and --seed"
        )


def _head(given: flags.FlagValues, posed: Problem, source: str) -> dict[str, Any]:
    """Returns what was compared, by whom and with what."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = None
    device = jax.devices()[0]
    return {
        "title": laboratory.title(posed),
        "config": str(given["config"].config_filename),  # pyright: ignore[reportAttributeAccessIssue]
        "weights": posed.weights_title,
        "batch": posed.batch.title,
        "reference": source,
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m hrnet_jax.compare", *sys.argv[1:]]),
        "versions": versions,
        "device": f"{device.platform}, {device.device_kind}",
    }


def _write(out: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes the report for programs and for people."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(page.to_json(report))
    (out / "report.html").write_text(page.render(report), encoding="utf-8")
    print(
        f"{'all tolerances held' if report['held'] else 'NOT all tolerances held'}: {out}/report.html, report.json"
    )


if __name__ == "__main__":
    define_flags()
    console.start(run)
