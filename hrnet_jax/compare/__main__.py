"""Compares our network with PyTorch, or with itself: every layer, gradient and training step on the same batch.

    python -m hrnet_jax.compare --config configs/coco.py:hrnet_w32_256x192
    python -m hrnet_jax.compare --config configs/... --checkpoint model.pth --batch data --precision all

The output of every layer has a tolerance, in evaluation and in training mode, and so has every gradient, running
statistic and parameter. Rows are in the order of computation, so a difference begins at the first row above its
tolerance. The reference is PyTorch in float64. In lower precisions our deviation may be a few times PyTorch's own.
On a machine without PyTorch give ``--reference FILE``, written elsewhere with ``--save_reference FILE``.

With ``--against`` the reference is our own network, and the first result that differs is named. PyTorch is not
needed:

    python -m hrnet_jax.compare --config configs/... --measure before.npz           # on one commit
    python -m hrnet_jax.compare --config configs/... --against before.npz           # on another
    python -m hrnet_jax.compare --config configs/... --checkpoint A --against B     # two sets of weights
    python -m hrnet_jax.compare --workdir runs/a --against runs/b                   # two runs
    python -m hrnet_jax.compare --workdir runs/a --against runs/b --config my.py    # with parts of your own

Results must then be equal bit for bit, unless ``--tolerance`` is given. Two sets of weights are compared tensor by
tensor, then layer by layer. Two runs are compared by settings, logs and states, then by the weights of their
newest checkpoints of the same step. Differences in settings are notes. Only differences in results count.

The directory ``--out`` receives ``report.json`` and ``report.html``. The exit status is 0 if all tolerances held,
1 if not, 2 after a mistake.
"""

import datetime
import functools
import importlib.metadata
import pathlib
import platform
import sys
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from hrnet_jax import buckets, console
from hrnet_jax.compare import changes, jax_runner, laboratory, measured, page, problem, saved
from hrnet_jax.compare.changes import Comparison
from hrnet_jax.compare.measured import Measurement, NoiseFloors
from hrnet_jax.compare.problem import Setup
from hrnet_jax.run import directory, replay

OUT = pathlib.Path("runs/compare")
STEPS = 5
NUMBERS = ".npz"
"""Suffix of the files of --measure. Other paths are checkpoints or runs."""


def define_flags(given: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the command line."""
    text, number = (
        functools.partial(define, flag_values=given) for define in (flags.DEFINE_string, flags.DEFINE_integer)
    )
    config = "File in configs/ with the network, its size and its loss."
    precision = f"Some of {', '.join(jax_runner.PRECISIONS)}, or all. Default: float64, or a file's own."
    batch = "Noise, or the first training batch of config.data."
    steps = "Training steps on the batch at the config's learning rate; 0: layers only."
    steps += f" Default: those of a file of numbers; 0 with other weights; else {STEPS}."
    tolerance = "Tolerance of all results, instead of the usual ones, or of 0 with --against."
    config_flags.DEFINE_config_file("config", None, config, flag_values=given)
    text("workdir", None, "A run to compare with another. Only if it has parts of yours, --config is needed, too.")
    text("checkpoint", None, "Weights, ours or PyTorch's. Default: random weights.")
    text("against", None, "Compare with this file of --measure, checkpoint or run, instead of PyTorch.")
    text("measure", None, f"File ({NUMBERS}) to write our numbers to, for --against on another commit.")
    text("reference", None, "File with reference numbers, instead of running PyTorch.")
    text("save_reference", None, "File to write for --reference on machines without PyTorch.")
    text("out", None, f"Directory of the report. Default: {OUT}/NETWORK.")
    flags.DEFINE_list("precision", None, precision, flag_values=given)
    flags.DEFINE_enum("batch", "random", ["random", "data"], batch, flag_values=given)
    number("people", problem.PEOPLE, "Size of the batch.")
    number("steps", None, steps)
    number("seed", 0, "Seed of random weights and batches.")
    flags.DEFINE_float("tolerance", None, tolerance, flag_values=given)
    exclusive = functools.partial(flags.mark_flags_as_mutual_exclusive, flag_values=given)
    flags.register_multi_flags_validator(
        ["config", "workdir"],
        lambda values: any(value is not None for value in values.values()),
        "give --config, or a run as --workdir",
        flag_values=given,
    )
    exclusive(["checkpoint", "workdir"])
    exclusive(["against", "measure", "reference", "save_reference"])


def run(given: flags.FlagValues = flags.FLAGS) -> int:
    """Runs the command and returns its exit status."""
    _check_flags(given)
    config = replay.read_config(buckets.path(given.workdir), given.config) if given.workdir else given.config
    out = pathlib.Path(given.out or OUT / problem.tag(config))
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out (={out}) is a file: give a directory")
    data, weights = given.batch == "data", given.checkpoint or ""
    make = functools.partial(problem.make_setup, config, given.people, given.seed, data=data, weights=weights)
    if given.measure:
        return _measure(given, make())
    comparison = _prepare(given, make)
    return _conclude(given, comparison, _run(comparison), out)


def _measure(given: flags.FlagValues, setup: Setup) -> int:
    """Writes the file of ``--measure``."""
    (precision,) = _precisions(given)
    saved.write_ours(given.measure, setup, precision, _steps(given))
    title = f"{laboratory.title(setup.config)}; weights {setup.weights_title}; {setup.batch.title}"
    print(f"{title}\n{given.measure}: our numbers in {precision}, for --against on another commit")
    return 0


def _prepare(given: flags.FlagValues, make: saved.MakeSetup) -> Comparison:
    """Returns the comparison that the flags describe."""
    if not given.against:
        return _with_pytorch(given, make)
    if _is_numbers(given.against):
        named = _precisions(given) if given.precision else []
        return changes.with_numbers(given.against, make, named, given.steps, given.tolerance)
    options = _precisions(given), given.steps or 0, given.tolerance or 0.0
    if given.workdir:
        there, here = buckets.path(given.against), buckets.path(given.workdir)
        return changes.with_run(there, here, make, *options, trusted=given.config)
    return changes.with_checkpoint(given.against, make(), *options)


def _run(comparison: Comparison) -> list[dict[str, Any]]:
    """Runs a comparison and prints the results."""
    about = {"batch": "no batch"} | comparison.about
    print("{title}; weights {weights}; {batch}; against {reference}".format(**about))
    for mark, texts in {"note": comparison.notes, "DIFFERENT": comparison.differences}.items():
        print("".join(f"{mark}: {text}\n" for text in texts), end="")
    print(flush=True)
    runs = []
    for precision in comparison.precisions:
        runs.append(comparison.compare(precision))
        print(laboratory.table(runs[-1]) + "\n", flush=True)
    return runs


def _conclude(
    given: flags.FlagValues, comparison: Comparison, runs: list[dict[str, Any]], out: pathlib.Path
) -> int:
    """Writes the report, prints the verdict and returns the exit status."""
    held = not comparison.differences and all(run["held"] for run in runs)
    found = [*comparison.differences, *(text for run in runs for text in laboratory.failures(run))]
    first = next(iter(found), "nothing to compare")
    report = _head(given, comparison) | {"held": held, "first": None if held else first, "runs": runs}
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(page.to_json(report))
    (out / "report.html").write_text(page.render(report), encoding="utf-8")
    verdict = "all tolerances held" if held else "NOT all tolerances held"
    if given.against:
        limit = f"within {given.tolerance:g}" if given.tolerance else "bit for bit"
        verdict = f"the same, {limit}" if held else f"DIFFERENT, first: {first}"
    print(f"{verdict}: {out}/report.html, report.json")
    return 0 if held else 1


def _check_flags(given: flags.FlagValues) -> None:
    """Raises ValueError for unusable flags, before hours of computation."""
    precisions = _precisions(given)
    if given.people < 1:
        raise ValueError(f"--people (={given.people}) must be at least 1")
    if given.steps and given.steps < (least := measured.STEP_OF_STATE):
        raise ValueError(f"--steps (={given.steps}) must be 0, for layers only, or at least {least}")
    if given.tolerance is not None and not 0 <= given.tolerance < np.inf:
        raise ValueError(f"--tolerance (={given.tolerance}) must be a number from 0 on")
    for name in ("save_reference", "measure"):
        if (path := given[name].value) and not pathlib.Path(path).absolute().parent.is_dir():
            raise ValueError(f"--{name} (={path}): its directory does not exist")
    if given.measure and not _is_numbers(given.measure):
        raise ValueError(f"--measure (={given.measure}) must end in {NUMBERS}: give another name")
    if given.measure and len(precisions) > 1:
        raise ValueError(f"--precision (={','.join(precisions)}): a file of --measure holds one: give one")
    _check_against(given)


def _check_against(given: flags.FlagValues) -> None:
    """Raises ValueError unless there is something to compare with ``--against``, and the other way round."""
    if given.workdir and (not given.against or _is_numbers(given.against)):
        raise ValueError(f"--workdir (={given.workdir}) is compared with a run: give --against=RUN, or --config")
    if given.against and not (given.workdir or given.checkpoint or _is_numbers(given.against)):
        raise ValueError(
            f"--against (={given.against}) is no {NUMBERS} file of --measure: to compare weights with it, give"
            " --checkpoint; to compare a run with it, --workdir instead of --config"
        )


def _is_numbers(path: str) -> bool:
    return path.endswith(NUMBERS)


def _precisions(given: flags.FlagValues) -> list[str]:
    named, known = given.precision or ["float64"], jax_runner.PRECISIONS
    wanted = [*known] if named == ["all"] else named
    if not set(wanted) <= set(known):
        raise ValueError(f"--precision (={','.join(named)}) must be some of {', '.join(known)}, or all")
    return wanted


def _steps(given: flags.FlagValues) -> int:
    return STEPS if given.steps is None else given.steps


def _with_pytorch(given: flags.FlagValues, make: saved.MakeSetup) -> Comparison:
    """Returns the comparison with PyTorch or with its numbers in a file."""
    if given.reference:
        setup, reference, about = saved.read(given.reference, make, given.steps)
        _check_pytorch(given, reference, about)
        floors, source = reference.noise_floors, given.reference
    else:
        setup = make()
        reference = _torch_runner().measure(setup, "float64", _steps(given))
        floors, source = _noise_floors(setup, reference, given), "PyTorch in float64"

    def compare(precision: str) -> dict[str, Any]:
        floor = floors.get(measured.NOISE_RUNS[precision])
        return laboratory.compare(setup, reference, precision, len(reference.losses), floor, given.tolerance)

    return Comparison(changes.about(setup, source), _precisions(given), compare)


def _torch_runner() -> Any:
    """Returns the module that runs PyTorch, an optional dependency."""
    try:
        from hrnet_jax.compare import torch_runner
    except ImportError as error:
        raise ValueError(
            "PyTorch is not installed: pip install torch, or give --reference FILE, numbers saved elsewhere"
        ) from error
    return torch_runner


def _noise_floors(setup: Setup, reference: Measurement, given: flags.FlagValues) -> NoiseFloors:
    """Returns the deviations of PyTorch's `NOISE_RUNS`. With ``--save_reference`` all are computed and saved."""
    wanted = measured.NOISE_RUNS if given.save_reference else _precisions(given)
    found = {}
    for run in sorted({measured.NOISE_RUNS[precision] for precision in wanted}):
        inputs, precision = (problem.perturb(setup), "float64") if run == "perturbed" else (setup, run)
        other = _torch_runner().measure(inputs, precision, len(reference.losses))
        found[run] = laboratory.estimate_noise_floor(other, reference)
    if given.save_reference:
        saved.write_pytorch(given.save_reference, setup, reference, found)
        print(f"{given.save_reference}: reference numbers for --reference\n")
    return found


def _check_pytorch(given: flags.FlagValues, reference: Measurement, about: dict[str, Any]) -> None:
    """Raises ValueError if a file has numbers of our own, or no noise floor of a requested precision."""
    if saved.PROGRAM in about:
        raise ValueError(f"{given.reference} holds our own numbers: give it as --against")
    lower = [precision for precision in _precisions(given) if precision != "float64"]
    unknown = [precision for precision in lower if measured.NOISE_RUNS[precision] not in reference.noise_floors]
    if unknown and given.tolerance is None:
        raise ValueError(f"{given.reference} has no noise floor of PyTorch in {unknown[0]}: give --tolerance")


def _head(given: flags.FlagValues, comparison: Comparison) -> dict[str, Any]:
    """Returns the description of the comparison: inputs, command, versions and device."""
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    libraries = {library: installed.get(library) for library in ("jax", "flax", "optax", "numpy", "torch")}
    file: Any = given["config"]
    config = f"{given.workdir}/{directory.CONFIG}" if given.workdir else file.config_filename
    return {
        **comparison.about,
        "config": str(config),
        "notes": [*comparison.notes],
        "differences": [*comparison.differences],
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m hrnet_jax.compare", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **libraries},
        "device": jax.devices()[0].device_kind,
    }


if __name__ == "__main__":
    define_flags()
    console.start(run)
