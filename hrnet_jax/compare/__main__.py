"""Compares our network with PyTorch: every layer, gradient and training step, with the same weights and batch.

    python -m hrnet_jax.compare --config configs/coco.py:hrnet_w32_256x192
    python -m hrnet_jax.compare --config configs/... --checkpoint model.pth --batch data --precision all

The output of every layer has a tolerance, in evaluation and in training mode, and so has every gradient, running
statistic and parameter. Rows are in the order of computation, so a difference begins at the first row above its
tolerance. The reference is PyTorch in float64. In lower precisions our deviation may be a few times PyTorch's own.

On a machine without PyTorch give ``--reference FILE``, written elsewhere with ``--save_reference FILE``.
The directory ``--out`` receives ``report.json`` and ``report.html``. The exit status is 0 if all tolerances held,
1 if not.
"""

import dataclasses
import datetime
import functools
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
from hrnet_jax.compare.measured import Measurement, NoiseFloors
from hrnet_jax.compare.problem import Setup
from hrnet_jax.torch_interop import loading

OUT = pathlib.Path("runs/compare")


def define_flags() -> None:
    """Defines the command line."""
    config_flags.DEFINE_config_file("config", None, "File in configs/ with the network, its size and its loss.")
    flags.DEFINE_string("checkpoint", "", "Weights, ours or PyTorch's. Default: random weights.")
    flags.DEFINE_list("precision", ["float64"], f"One or more of {', '.join(jax_runner.PRECISIONS)}, or all.")
    flags.DEFINE_enum("batch", "random", ["random", "data"], "Noise, or the first training batch of config.data.")
    flags.DEFINE_integer("people", problem.PEOPLE, "Size of the batch.")
    flags.DEFINE_integer("steps", 5, "Adam steps on the batch at the config's learning rate; 0: layers only.")
    flags.DEFINE_integer("seed", 0, "Seed of random weights and batches.")
    flags.DEFINE_float("tolerance", None, "Tolerance of layers, gradients and states, instead of the usual ones.")
    flags.DEFINE_string("reference", "", "File with reference numbers, instead of running PyTorch.")
    flags.DEFINE_string("save_reference", "", "File to write for --reference on machines without PyTorch.")
    flags.DEFINE_string("out", "", f"Directory of the report. Default: {OUT}/NETWORK.")
    flags.mark_flag_as_required("config")


def run() -> int:
    """Runs the command and returns its exit status."""
    given = flags.FLAGS
    out = pathlib.Path(given.out or OUT / problem.tag(given.config))
    _check_flags(given, out)
    setup, reference, source = _setup_and_reference(given)
    noise_floors = _noise_floors(setup, reference, given)
    print(f"{laboratory.title(setup)}; weights {setup.weights_title}; {setup.batch.title}; against {source}\n")
    runs = []
    for precision in _precisions(given.precision):
        noise_floor = noise_floors.get(measured.NOISE_RUNS[precision])
        runs.append(laboratory.compare(setup, reference, precision, given.steps, noise_floor, given.tolerance))
        print(laboratory.table(runs[-1]) + "\n", flush=True)
    report = _head(given, setup, source) | {"held": all(run["held"] for run in runs), "runs": runs}
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(page.to_json(report))
    (out / "report.html").write_text(page.render(report), encoding="utf-8")
    verdict = "all tolerances held" if report["held"] else "NOT all tolerances held"
    print(f"{verdict}: {out}/report.html, report.json")
    return 0 if report["held"] else 1


def _check_flags(given: flags.FlagValues, out: pathlib.Path) -> None:
    """Raises ValueError for unusable flags, before hours of computation."""
    _precisions(given.precision)
    if given.people < 1:
        raise ValueError(f"--people (={given.people}) must be at least 1")
    if given.steps and given.steps < (least := measured.STEP_OF_STATE):
        raise ValueError(f"--steps (={given.steps}) must be 0, for layers only, or at least {least}")
    if given.tolerance is not None and not 0 < given.tolerance < np.inf:
        raise ValueError(f"--tolerance (={given.tolerance}) must be a positive number")
    if given.reference and given.save_reference:
        raise ValueError("--save_reference writes numbers of PyTorch: leave out --reference")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out (={out}) is a file: give a directory")
    if given.save_reference and not pathlib.Path(given.save_reference).absolute().parent.is_dir():
        raise ValueError(f"--save_reference (={given.save_reference}): its directory does not exist")


def _precisions(named: list[str]) -> list[str]:
    known = jax_runner.PRECISIONS
    wanted = [*known] if named == ["all"] else named
    if not wanted or not set(wanted) <= set(known):
        raise ValueError(f"--precision (={','.join(named)}) must be some of {', '.join(known)}, or all")
    return wanted


def _setup_and_reference(given: flags.FlagValues) -> tuple[Setup, Measurement, str]:
    """Returns the setup, the reference, and a description of the reference."""
    path, inputs = given.reference, {"weights": given.checkpoint, "data": given.batch == "data"}
    make = functools.partial(problem.make_setup, given.config, given.people, given.seed, **inputs)
    if not path:
        setup = make()
        return setup, _torch_runner().measure(setup, "float64", given.steps), "PyTorch in float64"
    reference, about, arrays = measured.load(path)
    _check_enough(given, reference)
    if not about:  # the authors' own numbers come with joints
        setup = make(labels=(arrays["train/joints"], arrays["train/vis"]))
        _check_network(path, reference, setup)
        return setup, reference, path
    _check_same(path, about, setup := make())
    batch = dataclasses.replace(setup.batch, targets=arrays["targets"], weights=arrays["weights"])
    return dataclasses.replace(setup, batch=batch), reference, path


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
    if given.reference:
        return reference.noise_floors
    wanted = measured.NOISE_RUNS if given.save_reference else _precisions(given.precision)
    found = {}
    for run in sorted({measured.NOISE_RUNS[precision] for precision in wanted}):
        inputs, precision = (problem.perturb(setup), "float64") if run == "perturbed" else (setup, run)
        other = _torch_runner().measure(inputs, precision, given.steps)
        found[run] = laboratory.estimate_noise_floor(other, reference)
    if given.save_reference:
        labels = {"targets": setup.batch.targets, "weights": setup.batch.weights}
        measured.save(given.save_reference, reference, found, problem.summarize(setup), labels)
        print(f"{given.save_reference}: reference numbers for --reference\n")
    return found


def _check_same(path: str, about: Mapping[str, Any], setup: Setup) -> None:
    """Raises ValueError unless the reference is of this setup."""
    here = problem.summarize(setup)
    about = {"optimizer": "adam", **about}  # version 0.1 had no other
    if different := loading.differences(about, here, here.keys() - {"lengths"}):
        raise ValueError(f"{path} is of another setup: {'; '.join(different):.400}")
    if not np.allclose(about["lengths"], here["lengths"], rtol=1e-6):
        raise ValueError(
            f"{path} was computed with other weights or another batch than this ({setup.weights_title};"
            f" {setup.batch.title}): give the same --config, --checkpoint, --batch, --people and --seed"
        )


def _check_network(path: str, reference: Measurement, setup: Setup) -> None:
    """Raises ValueError unless the authors' numbers are of this network and of weights of these norms."""
    own = loading.to_pytorch({"params": setup.variables["params"]})
    if other := sorted(set(reference.gradients) ^ set(own)):
        raise ValueError(f"{path} is of another network: {len(other)} parameters differ, the first {other[0]}")
    after = reference.section("state")  # two steps change little
    off = [name for name in own if not np.isclose(np.linalg.norm(own[name]), after[name].norm, rtol=0.2)]  # type: ignore
    if off:
        raise ValueError(f"{path} is of other weights: {len(off)} parameters have another norm, first {off[0]}")


def _check_enough(given: flags.FlagValues, reference: Measurement) -> None:
    """Raises ValueError if the reference has fewer steps or precisions than requested."""
    if given.steps > len(reference.losses):
        raise ValueError(f"--steps (={given.steps}): {given.reference} has {len(reference.losses)}")
    lower = [precision for precision in _precisions(given.precision) if precision != "float64"]
    unknown = [precision for precision in lower if measured.NOISE_RUNS[precision] not in reference.noise_floors]
    if unknown and given.tolerance is None:
        raise ValueError(f"{given.reference} has no noise floor of PyTorch in {unknown[0]}: give --tolerance")


def _head(given: flags.FlagValues, setup: Setup, source: str) -> dict[str, Any]:
    """Returns the description of the comparison: inputs, command, versions and device."""
    installed = {package.name: package.version for package in importlib.metadata.distributions()}
    libraries = {library: installed.get(library) for library in ("jax", "flax", "optax", "numpy", "torch")}
    return {
        "title": laboratory.title(setup),
        "config": str(given["config"].config_filename),  # pyright: ignore[reportAttributeAccessIssue]
        "weights": setup.weights_title,
        "batch": setup.batch.title,
        "reference": source,
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m hrnet_jax.compare", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **libraries},
        "device": jax.devices()[0].device_kind,
    }


if __name__ == "__main__":
    define_flags()
    console.start(run)
