"""How fast it is, beside what a user would otherwise run: ``python -m hrnet_jax.benchmark [PART ...]``.

Parts: ``input`` (loading batches, against the original's way), ``step`` (training) and ``predict``, against the
PyTorch twin and the device's limits, ``evaluate`` (OKS, suppression and AP, against the original's loops),
``compile`` (from the command to the end of the first step, with and without what JAX keeps), ``memory`` (what
keeping activations costs the device, and whether the loader grows), ``scale`` (what devices say to each other in
a step, counted, and its time on up to 1,024 chips, predicted); ``all`` of them by default. Ours and the reference
take turns; what counts is the ratio of their medians. Every figure is printed and written to
``OUT/report.json``, with the machine that it was measured on, and drawn in ``OUT/*.svg``.
"""

import datetime
import importlib.metadata
import itertools
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from hrnet_jax import augment, console, heatmap, pipeline, sharding
from hrnet_jax.benchmark import (  # fmt: skip
    batches,
    chart,
    collectives,
    evaluation,
    footprint,
    race,
    roofline,
    scale,
    start,
    step,
)
from hrnet_jax.datasets import records
from hrnet_jax.run import setup

LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "opencv-python-headless", "grain", "torch")


def define_flags() -> None:
    """Defines the command line."""
    config_flags.DEFINE_config_file("config", "configs/default.py", "The network, its size and its data.")
    flags.DEFINE_integer(
        "batch", 0, "People in a batch of `step`, `predict`, `compile`, `memory`, `scale`. Default: the config's."
    )
    flags.DEFINE_enum("side", "both", ["both", "ours", "theirs"], "Who takes part in `step` and `predict`.")
    flags.DEFINE_list("sweep", [], "Batches at which `step` and `predict` measure, instead, to tell each's best.")
    flags.DEFINE_integer("batches", 10_000, "How many batches `memory` loads.")
    flags.DEFINE_integer("rounds", 7, "How often each contender takes its turn.")
    flags.DEFINE_list(
        "modes", ["default"], f"Of torch.compile, each takes minutes: some of {', '.join(step.MODES)}, or none."
    )
    flags.DEFINE_boolean("profile", False, "Whether `step` profiles one of ours, for Perfetto, to OUT/profile.")
    flags.DEFINE_float("share", 0.3, "Of a chip's peak, that `scale` assumes computing to reach.")
    flags.DEFINE_float("loaded", math.inf, "People a second that a host can load, for `scale`; see `input`.")
    flags.DEFINE_string("out", "runs/benchmark", "Where the report goes.")


def run(parts: list[str]) -> None:
    """Measures the parts named, or all of them."""
    given = flags.FLAGS
    # Else JAX takes most of a GPU for itself, and PyTorch is measured in what is left.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if given.side == "ours":
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    if unknown := sorted(set(parts) - {*PARTS, "all"}):
        raise ValueError(f"there is no part {unknown[0]!r}: choose some of {', '.join(PARTS)}, or all")
    for name, value, least in (
        ("rounds", given.rounds, 1),
        ("batch", given.batch, 0),
        ("batches", given.batches, 2),
    ):
        if value < least:
            raise ValueError(f"--{name} (={value}) must be at least {least}")
    if not all(size.isascii() and size.isdecimal() and int(size) > 0 for size in given.sweep):
        raise ValueError(f"--sweep (={','.join(given.sweep)}) must be numbers of people, such as 32,64,128")
    if not set(given.modes) <= set(step.MODES):
        raise ValueError(f"--modes (={','.join(given.modes)}) must be some of {', '.join(step.MODES)}, or none")
    chosen = list(PARTS) if not parts or "all" in parts else parts
    report: dict[str, Any] = {"machine": machine()}
    report["command"] = " ".join(["python -m hrnet_jax.benchmark", *sys.argv[1:]])
    print("  ".join(f"{name} {value}" for name, value in report["machine"].items()) + "\n", flush=True)
    for part in chosen:
        try:
            report[part], text = PARTS[part](given.config, given)
        except (ValueError, OSError) as error:
            if len(chosen) == 1:
                raise
            report[part], text = {"error": str(error)}, f"{part}: not measured: {error}"
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
    """Measures loading from the training split, which must have its photos decoded."""
    split = train_split(config)
    policy, size = augment.Policy(**config.augment), min(32, len(split.people))
    task = batches.Task(split, policy, tuple(config.image_size), config.heatmap.sigma, size)
    measured = batches.measure(task, given.rounds)
    chart.bars(measured["race"], picture(given, "input"))
    parts = {
        f"{race.OURS}, {name}": {stage: 1e3 * seconds for stage, seconds in stages.items() if stage != "whole"}
        for name, stages in measured["stages"].items()
    }
    chart.stages("where a person's time goes", "milliseconds", parts, picture(given, "input_stages"))
    return measured, batches.lines(measured)


def train_split(config: ConfigDict) -> records.Split:
    """Opens the split that is trained on."""
    return records.open_split(pathlib.Path(config.data.dir) / config.data.train_split)


def measure_step(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures training steps, and what the device could do at best."""
    if given.sweep:
        return _sweep("step", config, given)
    config = step.sized(config, given.batch or config.batch_size)
    if given.side == "theirs":
        found = _race("step", config, given, None)
        return {"race": found}, race.table(found)
    compiled = setup.compile_step(config, step.adam(config), sharding.make_mesh())
    ours = step.ours_training(config, compiled)
    if given.profile:
        _profile(ours, pathlib.Path(given.out) / "profile")
    found = _race("step", config, given, ours)
    cost, rates = step.cost(compiled), roofline.rates(config.model.dtype)
    limits = roofline.shares(cost, rates, config.batch_size / float(np.median(found.rates[race.OURS])))
    text = roofline.lines(cost, rates, limits)
    return {"race": found, "cost": cost, "rates": rates, "limits": limits}, f"{race.table(found)}\n{text}"


def _profile(run: Callable[[], int], directory: pathlib.Path) -> None:
    run()
    with jax.profiler.trace(os.fspath(directory)):
        run()


def measure_predict(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures predictions."""
    heatmap.check_decoder(config.eval.decoder)
    if given.sweep:
        return _sweep("predict", config, given)
    config = step.sized(config, given.batch or config.eval.batch_size)
    ours = None if given.side == "theirs" else step.ours_prediction(config, config.batch_size)
    found = _race("predict", config, given, ours)
    return {"race": found}, race.table(found)


def _race(part: str, config: ConfigDict, given: flags.FlagValues, ours: Callable[[], int] | None) -> race.Race:
    found = step.measure(
        config,
        given.rounds,
        ours,
        train=part == "step",
        theirs=given.side != "ours",
        modes=given.modes,
    )
    if found.reference == race.OURS and given.side == "both":
        print("  nothing to compare with: that is PyTorch, which is not installed (pip install torch)", flush=True)
    chart.bars(found, picture(given, part))
    return found


def _sweep(part: str, config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures a part at each batch of `--sweep`, and tells what each contender reached at its best.

    Each side has a process of its own at each batch, and so the device's memory for itself; what that does not
    hold ends that process only. Their reports lie in folders of their own.
    """
    parents = [argument for argument in sys.argv[1:] if argument not in {*PARTS, "all"}]
    races: dict[int, list[race.Race]] = {}
    for size, side in itertools.product(dict.fromkeys(map(int, given.sweep)), ("ours", "theirs")):
        out = pathlib.Path(given.out) / f"{part}-{size}-{side}"
        own = [f"--batch={size}", f"--side={side}", "--sweep=", f"--out={out}"]
        done = subprocess.run([sys.executable, "-m", "hrnet_jax.benchmark", part, *parents, *own])
        if done.returncode:
            print(f"batch {size}, {side}: not measured; why stands above\n", flush=True)
        else:
            found = json.loads((out / "report.json").read_text())[part]["race"]
            del found["ratios"]
            races.setdefault(size, []).append(race.Race(**found))
    if not races:
        raise ValueError(f"--sweep (={','.join(given.sweep)}): none of these batches could be measured")
    best = race.best(f"{step.title(config, 'each at its best batch')}, {part}", races)
    chart.bars(best, picture(given, part))
    return {"best": best, "batches": races}, race.table(best)


def measure_evaluate(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures what turns predictions into figures."""
    problem = evaluation.made_up(seed=0)
    found, shares = evaluation.run(problem, rounds=given.rounds), evaluation.shares(problem)
    chart.bars(found, picture(given, "evaluate"))
    percent = {race.OURS: {stage: 100 * share for stage, share in shares.items()}}
    chart.stages("where the time of an evaluation goes", "percent", percent, picture(given, "evaluate_stages"))
    parts = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
    text = f"{race.table(found)}\n  the same figures, bit for bit; ours: {parts}"
    return {"race": found, "shares": shares}, text


def measure_compile(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures how long it takes until the first step is done."""
    overrides = [argument for argument in sys.argv[1:] if argument.lstrip("-").startswith("config.")]
    size = step.sized(config, given.batch or config.batch_size).batch_size
    file = str(given["config"].config_filename)  # pyright: ignore[reportAttributeAccessIssue]
    measured = start.measure(file, overrides, size)
    title = "from the command to the end of a first training step"
    chart.stages(title, "seconds", measured, picture(given, "compile"))
    rows = [
        f"  {name:<8}" + "".join(f"{stage} {seconds:.1f} s, " for stage, seconds in stages.items())
        + f"in all {sum(stages.values()):.1f} s"
        for name, stages in measured.items()
    ]  # fmt: skip
    return measured, "\n".join([title, *rows])


def measure_memory(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Measures the memory of the device that a training step takes, and that of the host over many batches."""
    config = step.sized(config, given.batch or config.batch_size)
    found, needs = footprint.remat(config, given.rounds)
    chart.bars(found, picture(given, "memory_remat"))
    print(f"{race.table(found)}\n{footprint.sizes(needs)}", flush=True)
    loader = pipeline.train_batches(
        train_split(config),
        image_size=tuple(config.image_size),
        batch_size=config.batch_size,
        seed=0,
        policy=augment.Policy(**config.augment),
        threads=config.loader.threads,
        workers=config.loader.workers,
    )
    readings = footprint.host(loader, given.batches)
    chart.line("memory of the loading process", "batches", "GB", readings, picture(given, "memory_host"))
    return {"race": found, "needs": needs, "host": readings}, footprint.growth(readings)


def measure_scale(config: ConfigDict, given: flags.FlagValues) -> tuple[Any, str]:
    """Counts what devices say to each other in a step, and predicts its time on many chips."""
    mesh = sharding.make_mesh()
    if mesh.size == 1:
        raise ValueError(
            "one device has nobody to talk to: set JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=4 to simulate four"
        )
    if not 0 < given.share <= 1 or given.loaded <= 0:
        raise ValueError(f"--share (={given.share}) must be in (0, 1], --loaded (={given.loaded}) above 0")
    config = step.sized(config, given.batch or config.batch_size)
    compiled = setup.lower_step(config, step.adam(config), mesh).compile()
    cost, talk = step.cost(compiled), collectives.read(compiled.as_text())
    asked = scale.Step(config.batch_size / mesh.size, cost["operations"], collectives.totals(talk))
    predicted = scale.predictions(asked, given.share, given.loaded)
    series = {name: [(row["chips"], 100 * row["efficiency"]) for row in rows] for name, rows in predicted.items()}
    title = f"{step.title(config)} on {mesh.size} devices, spread"
    chart.curves(f"{title}: predicted", "chips", "percent computing", series, picture(given, "scale"))
    found = {"people": asked.people, "cost": cost, "talk": asked.talk, "predicted": predicted}
    predicting = f"predicted, if computing reaches {given.share:.0%} of the peak and waits for all talk"
    return found, "\n".join([title, collectives.lines(talk), f"  {predicting}:", scale.table(predicted)])


PARTS = {
    "input": measure_input,
    "step": measure_step,
    "predict": measure_predict,
    "evaluate": measure_evaluate,
    "compile": measure_compile,
    "memory": measure_memory,
    "scale": measure_scale,
}


def picture(given: flags.FlagValues, name: str) -> pathlib.Path:
    """Returns where a chart goes."""
    return pathlib.Path(given.out) / f"{name}.svg"


def write(out: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes what was measured so far."""

    def plain(value: Any) -> Any:
        return (
            vars(value) | {"ratios": value.ratios} if isinstance(value, race.Race) else np.asarray(value).tolist()
        )

    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=1, default=plain) + "\n")


if __name__ == "__main__":
    define_flags()
    console.start(run, takes_arguments=True)
