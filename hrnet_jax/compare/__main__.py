"""The laboratory: our network against its PyTorch twin, layer by layer, gradient by gradient, step by step.

    python -m hrnet_jax.compare --config configs/coco.py:hrnet_w32_256x192
    python -m hrnet_jax.compare --config configs/... --checkpoint model.pth --batch data --precision all

The same weights and batch go through both. Every layer's output in evaluation and in training mode, every
gradient, running statistic and parameter is held to a tolerance, in the order of computation, so that the first
one past it is where a difference is born. PyTorch computes in float64; lower precisions are measured against that,
and held to a few times what PyTorch itself loses in them.

On a machine without PyTorch give ``--reference FILE``: what ``--save_reference FILE`` wrote on another one.
Into ``--out`` go ``report.json`` and ``report.html``. The exit status is 0 if all tolerances held, else 1.
"""

import dataclasses
import datetime
import importlib.metadata
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from hrnet_jax import console
from hrnet_jax.compare import jax_runner, laboratory, measured, page, problem
from hrnet_jax.compare.measured import Measured
from hrnet_jax.compare.problem import Problem
from hrnet_jax.torch_interop import loading

OUT = pathlib.Path("runs/compare")
LIBRARIES = ("jax", "flax", "optax", "numpy", "torch")


def define_flags() -> None:
    """Defines the command line."""
    config_flags.DEFINE_config_file("config", None, "The network, its size and its loss: a file in configs/.")
    flags.DEFINE_string("checkpoint", "", "Weights, ours or PyTorch's. Default: drawn from the parameters' names.")
    flags.DEFINE_list("precision", ["float64"], f"One or more of {', '.join(jax_runner.PRECISIONS)}, or all.")
    flags.DEFINE_enum("batch", "random", ["random", "data"], "Noise, or the first training batch of config.data.")
    flags.DEFINE_integer("people", problem.PEOPLE, "In the batch.")
    flags.DEFINE_integer("steps", 5, "Of Adam on the batch, at the config's learning rate; 0: layers only.")
    flags.DEFINE_integer("seed", 0, "Of drawn weights and batches.")
    flags.DEFINE_float("tolerance", None, "For layers, gradients and states, instead of the usual ones.")
    flags.DEFINE_string("reference", "", "Reference numbers to compare with instead of running PyTorch.")
    flags.DEFINE_string("save_reference", "", "Where to write reference numbers for machines without PyTorch.")
    flags.DEFINE_string("out", "", f"Where the report goes. Default: {OUT}/NETWORK.")
    flags.mark_flag_as_required("config")


def run() -> int:
    """Compares as the command line says; returns the exit status."""
    given = flags.FLAGS
    out = pathlib.Path(given.out or OUT / problem.tag(given.config))
    _check_flags(given, out)
    posed, reference, source = _pose(given)
    yardsticks = _yardsticks(posed, reference, given)
    print(f"{laboratory.title(posed)}; weights {posed.weights_title}; {posed.batch.title}; against {source}\n")
    runs = []
    for precision in _precisions(given.precision):
        yardstick = yardsticks.get(measured.YARDSTICKS[precision])
        runs.append(laboratory.compare(posed, reference, precision, given.steps, yardstick, given.tolerance))
        print(laboratory.table(runs[-1]) + "\n", flush=True)
    report = _head(given, posed, source) | {"held": all(run["held"] for run in runs), "runs": runs}
    _write(out, report)
    return 0 if report["held"] else 1


def _check_flags(given: flags.FlagValues, out: pathlib.Path) -> None:
    """Raises ValueError for what cannot be done, before hours are spent on it."""
    _precisions(given.precision)
    if given.people < 1:
        raise ValueError(f"--people (={given.people}) must be at least 1")
    if given.steps and given.steps < measured.STEP_OF_STATE:
        raise ValueError(
            f"--steps (={given.steps}) must be 0, for layers only, or at least {measured.STEP_OF_STATE}"
        )
    if given.tolerance is not None and not 0 < given.tolerance < np.inf:
        raise ValueError(f"--tolerance (={given.tolerance}) must be a positive number")
    if given.reference and given.save_reference:
        raise ValueError("--save_reference writes what PyTorch computes: leave out --reference")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out (={out}) is a file: give a directory")
    if given.save_reference and not pathlib.Path(given.save_reference).absolute().parent.is_dir():
        raise ValueError(f"--save_reference (={given.save_reference}): its directory does not exist")


def _precisions(named: list[str]) -> list[str]:
    wanted: list[str] = list(jax_runner.PRECISIONS) if named == ["all"] else named
    if not wanted or not set(wanted) <= set(jax_runner.PRECISIONS):
        raise ValueError(
            f"--precision (={','.join(named)}) must be some of {', '.join(jax_runner.PRECISIONS)}, or all"
        )
    return wanted


def _pose(given: flags.FlagValues) -> tuple[Problem, Measured, str]:
    """Returns the problem, the reference, and what that is in words."""
    config = given.config
    weights, weights_title = problem.weights_of(config, given.checkpoint, given.seed)

    def pose(labels: Any = None) -> Problem:
        if given.batch == "data":
            batch = problem.data_batch(config, given.people)
        else:
            people = len(labels[0]) if labels else given.people
            batch = problem.random_batch(config, people, given.seed, labels)
        posed = Problem(config, weights, weights_title, batch)
        problem.check(posed)
        return posed

    if not given.reference:
        posed = pose()
        return posed, _theirs().measure(posed, "float64", given.steps), "the PyTorch twin in float64"
    reference, about, arrays = measured.load(given.reference)
    _check_enough(given, reference)
    if not about:  # the authors' own numbers bring their joints along
        posed = pose((arrays["train/joints"], arrays["train/vis"]))
        _check_network(given.reference, reference, posed)
        return posed, reference, given.reference
    posed = pose()
    _check_same(given.reference, about, posed)
    drawn = dataclasses.replace(posed.batch, targets=arrays["targets"], weights=arrays["weights"])
    return dataclasses.replace(posed, batch=drawn), reference, given.reference


def _theirs() -> Any:
    """Returns the module that runs PyTorch, which is an extra."""
    try:
        from hrnet_jax.compare import torch_runner
    except ImportError as error:
        raise ValueError(
            "PyTorch is not installed: pip install torch, or give --reference FILE, numbers saved elsewhere"
        ) from error
    return torch_runner


def _yardsticks(posed: Problem, reference: Measured, given: flags.FlagValues) -> Mapping[str, Any]:
    """Returns what PyTorch itself loses, by its run: in lower precisions, and on the nudged problem.

    With ``--save_reference`` all of them are computed, and written down with the reference.
    """
    if given.reference:
        return reference.yardsticks
    wanted = measured.YARDSTICKS if given.save_reference else _precisions(given.precision)
    found = {}
    for run in sorted({measured.YARDSTICKS[precision] for precision in wanted}):
        nudged = run == "nudged"
        other = problem.perturbed(posed) if nudged else posed
        twin = _theirs().measure(other, "float64" if nudged else run, given.steps)
        found[run] = laboratory.yardsticks(twin, reference)
    if given.save_reference:
        labels = {"targets": posed.batch.targets, "weights": posed.batch.weights}
        measured.save(given.save_reference, reference, found, problem.summarize(posed), labels)
        print(f"{given.save_reference}: reference numbers for --reference\n")
    return found


def _check_same(path: str, about: Mapping[str, Any], posed: Problem) -> None:
    """Raises ValueError unless reference numbers are of this problem."""
    here = problem.summarize(posed)
    different = [name for name in here if name != "lengths" and about.get(name) != here[name]]
    if different:
        listed = "; ".join(f"`{name}` is {about.get(name)!r} there and {here[name]!r} here" for name in different)
        raise ValueError(f"{path} is of another problem: {listed:.400}")
    if not np.allclose(about["lengths"], here["lengths"], rtol=1e-6):
        raise ValueError(
            f"{path} was computed with other weights or another batch than this ({posed.weights_title};"
            f" {posed.batch.title}): give the same --config, --checkpoint, --batch, --people and --seed"
        )


def _check_network(path: str, reference: Measured, posed: Problem) -> None:
    """Raises ValueError unless the authors' numbers are of this network and of weights of these lengths."""
    own = loading.to_pytorch({"params": posed.variables["params"]})
    if other := sorted(set(reference.gradients) ^ set(own)):
        raise ValueError(f"{path} is of another network: {len(other)} parameters differ, the first {other[0]}")
    after = reference.section("state")  # two steps change little
    off = [name for name in own if not np.isclose(np.linalg.norm(own[name]), after[name].norm, rtol=0.2)]  # type: ignore
    if off:
        raise ValueError(f"{path} is of other weights: {len(off)} parameters are of another length, as {off[0]}")


def _check_enough(given: flags.FlagValues, reference: Measured) -> None:
    """Raises ValueError if reference numbers do not say what is asked for."""
    if given.steps > len(reference.losses):
        raise ValueError(f"--steps (={given.steps}): {given.reference} has {len(reference.losses)}")
    lower = [precision for precision in _precisions(given.precision) if precision != "float64"]
    unknown = [precision for precision in lower if measured.YARDSTICKS[precision] not in reference.yardsticks]
    if unknown and given.tolerance is None:
        raise ValueError(f"{given.reference} does not say what PyTorch loses in {unknown[0]}: give --tolerance")


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
        "device": device.device_kind,
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
