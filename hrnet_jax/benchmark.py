"""How fast it is, beside what a user would otherwise run: ``python -m hrnet_jax.benchmark [PART ...]``.

Parts: ``input`` (loading batches, against the original's way), ``step`` (training) and ``predict``, against the
PyTorch twin, ``evaluate`` (OKS, suppression and AP, against the original's loops), ``start`` (from the command to
the first step). Ours and the reference take turns; what counts is the ratio of their medians. Every figure is
printed and written to ``OUT/report.json``, with the machine that it was measured on.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from hrnet_jax import augment, console, heatmap
from hrnet_jax.datasets import records
from hrnet_jax.performance import evaluation, race, start, step
from hrnet_jax.performance import input as loading

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless", "grain", "torch")


def define_flags() -> None:
    """Defines the command line."""
    config_flags.DEFINE_config_file("config", "configs/default.py", "The network, its size and its data.")
    flags.DEFINE_integer("batch", 0, "People in a batch of `step`, `predict` and `start`. Default: the config's.")
    flags.DEFINE_integer("rounds", 7, "How often each contender takes its turn.")
    flags.DEFINE_boolean("compiled", True, "Whether PyTorch is to be compiled, too, which takes minutes.")
    flags.DEFINE_string("out", "runs/benchmark", "Where the report goes.")


def run(parts: list[str]) -> None:
    """Measures the parts named, or all of them."""
    given = flags.FLAGS
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"there is no part {unknown[0]!r}: choose some of {', '.join(PARTS)}, or none for all")
    if given.rounds < 1:
        raise ValueError(f"--rounds (={given.rounds}) must be at least 1")
    report = {"machine": machine(), "command": " ".join(["python -m hrnet_jax.benchmark", *sys.argv[1:]])}
    print("  ".join(f"{name} {value}" for name, value in report["machine"].items()) + "\n", flush=True)
    for part in parts or PARTS:
        report[part], text = PARTS[part](given.config, given)
        print(f"{text}\n", flush=True)
        write(pathlib.Path(given.out), report)


def machine() -> dict[str, Any]:
    """Returns what it is measured on, and with."""
    found: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count()}
    found |= {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "date": f"{datetime.date.today()}",
    }
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = None
    return found | {"python": platform.python_version()}


def _processor() -> str:
    file = pathlib.Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def measure_input(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures loading on the training split, which must have its photos decoded."""
    split = records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)
    policy, size = augment.Policy(**config.augment), min(32, len(split.people))
    task = loading.Task(split, policy, tuple(config.image_size), config.heatmap.sigma, size)
    measured = loading.measure(task, given.rounds)
    return measured, loading.lines(measured)


def measure_step(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures training steps."""
    size = given.batch or config.batch_size
    found, cost = _race(config, given, size, train=True), step.cost(config, size)
    text = (
        f"  the compiler counts {cost['operations'] / 1e9:,.1f} G operations, {cost['bytes'] / 1e9:,.1f} GB moved"
    )
    return {"race": found, "cost": cost}, f"{race.table(found)}\n{text}, {cost['memory'] / 1e9:,.2f} GB needed"


def measure_predict(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures predictions."""
    heatmap.check_decoder(config.eval.decoder)
    found = _race(config, given, given.batch or config.eval.batch_size, train=False)
    return {"race": found}, race.table(found)


def _race(config: ConfigDict, given: flags.FlagValues, size: int, *, train: bool) -> race.Race:
    try:
        return step.measure(config, size, given.rounds, train=train, compiled=given.compiled)
    except ImportError as error:
        raise ValueError("there is nothing to compare with without PyTorch: pip install torch") from error


def measure_evaluate(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures what turns predictions into figures."""
    problem = evaluation.made_up(seed=0)
    found, shares = evaluation.run(problem, rounds=given.rounds), evaluation.shares(problem)
    parts = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
    return {
        "race": found,
        "shares": shares,
    }, f"{race.table(found)}\n  the same figures, bit for bit; ours: {parts}"


def measure_start(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures how long it takes until the first step is done."""
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    file = str(given["config"].config_filename)  # pyright: ignore[reportAttributeAccessIssue]
    measured = start.measure(file, overrides, given.batch or config.batch_size)
    rows = [
        f"  {name:<8}" + "".join(f"{stage} {seconds:.1f} s, " for stage, seconds in stages.items())
        + f"in all {sum(stages.values()):.1f} s"
        for name, stages in measured.items()
    ]  # fmt: skip
    return measured, "\n".join(["from the command to the end of the first step", *rows])


PARTS = {
    "input": measure_input,
    "step": measure_step,
    "predict": measure_predict,
    "evaluate": measure_evaluate,
    "start": measure_start,
}


def write(out: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes what was measured so far."""

    def plain(value: Any) -> Any:
        return vars(value) | {"ratio": value.ratio} if isinstance(value, race.Race) else np.asarray(value).tolist()

    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=1, default=plain) + "\n")


if __name__ == "__main__":
    define_flags()
    console.start(run, takes_arguments=True)
