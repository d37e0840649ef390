"""Speed and memory of each part, against its alternatives: ``python -m hrnet_jax.benchmark [PART ...]``.

========  ==================================================================================================
input     Loading of batches, against the original's way.
step      Training steps, against PyTorch and the device's limits.
predict   Prediction, against PyTorch.
photos    Poses in photos or a video, from the files to JSON, against loops over ONNX Runtime and PyTorch.
flow      Optical flow without weights: time, error, and the joints that it carries to the next frame.
track     Following twenty people: milliseconds a frame by stage.
group     People of a photo from heatmaps and tags, against the authors' Python (--authors).
evaluate  OKS, suppression and AP, against the original's Python.
compile   Time from the command to the end of the first step, with an empty and with a filled compilation cache.
memory    Device memory with and without recomputed activations, and growth of the loader's memory.
scale     Communication between devices in a step, counted, and its predicted time on up to 1,024 chips.
tpu       Training and prediction compiled for TPUs that need not be there: memory, and the compiler's estimates.
fits      People of a training step that fit into the memory of such TPUs, in a minute or two a row and TPU.
========  ==================================================================================================

The default is ``all``. Contenders take turns, and the ratio of their medians is reported. Results are printed,
written to ``OUT/report.json`` with a description of the machine, and drawn in ``OUT/*.svg``.
"""

import functools
import itertools
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from hrnet_jax import console, devices, heatmap, rows, sharding, tasks
from hrnet_jax.benchmark import (
    batches,
    evaluation,
    fits,
    flow,
    footprint,
    grouping,
    photos,
    race,
    report,
    scale,
    start,
    step,
    tpu,
    tracking,
    workload,
)
from hrnet_jax.predict import opening
from hrnet_jax.run import setup

Measured = tuple[Any, str]  # results for the report, and a text for the terminal


def define_flags() -> None:
    """Defines the command line."""
    default = os.fspath(rows.directory() / "default.py")
    config_flags.DEFINE_config_file("config", default, "Network, its size and its data.")
    flags.DEFINE_integer(
        "batch", 0, "Batch size of all parts but `input`, `evaluate`; in `tpu`, `fits` of a chip."
    )
    flags.DEFINE_string("photos", "", "Folder of photos for `photos` and `flow`, or a video for `photos`.")
    flags.DEFINE_string("authors", "", "Checkout of HigherHRNet's code that `group` is compared with.")
    flags.DEFINE_string("boxes", "whole", "People in these photos: `whole`, FILE.json, or a detector FILE.onnx.")
    flags.DEFINE_enum(
        "side", "both", ["both", "ours", "theirs"], "Contenders in `step` and `predict`; `theirs`: PyTorch."
    )
    flags.DEFINE_list("sweep", [], "Batch sizes to compare in `step` and `predict`.")
    flags.DEFINE_integer("batches", 10_000, "Number of batches that `memory` loads.")
    flags.DEFINE_integer("rounds", 7, "Number of rounds per contender.")
    flags.DEFINE_list("modes", ["default"], f"Modes of torch.compile, minutes each: {', '.join(step.MODES)}.")
    flags.DEFINE_boolean("profile", False, "Write a profile of one of our steps for Perfetto to OUT/profile.")
    flags.DEFINE_float("share", 0.3, "Share of a chip's peak that `scale` assumes for computing.")
    flags.DEFINE_float("loaded", math.inf, "People per second loaded by a host, for `scale`; see `input`.")
    hosts = ",".join(fits.TOPOLOGIES)
    flags.DEFINE_list("topology", [], f"TPUs that `tpu` ({tpu.TOPOLOGY}) and `fits` ({hosts}) compile for.")
    flags.DEFINE_integer("chips", 0, "The first chips of each topology that they compile for. Default: all.")
    flags.DEFINE_integer("slices", 1, "Slices of such chips, with a slower network between them.")
    flags.DEFINE_list("rows", [], "Rows that they compile, such as coco:hrnet_w32_256x192, or all.")
    flags.DEFINE_string("out", "runs/benchmark", "Directory of the report.")


def run(parts: list[str]) -> None:
    """Measures the named parts, or all of them."""
    options = flags.FLAGS
    # By default JAX reserves most of a GPU's memory, which would leave PyTorch little.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if options.side == "ours":
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.95")
    _check(parts, options)
    chosen = list(PARTS) if not parts or "all" in parts else parts
    results: dict[str, Any] = {"machine": report.machine()}
    results["command"] = " ".join(["python -m hrnet_jax.benchmark", *sys.argv[1:]])
    print("  ".join(f"{name} {value}" for name, value in results["machine"].items()) + "\n", flush=True)
    for part in chosen:
        for measured, text in _measure(part, options, alone=len(chosen) == 1):
            results[part] = measured
            print(text, flush=True)
            report.write(pathlib.Path(options.out), results)
        print(flush=True)


def _measure(part: str, options: flags.FlagValues, alone: bool) -> Iterator[Measured]:
    """Yields the results of a part, as often as it does, or the ``error`` of one that is not alone."""
    try:
        measured = PARTS[part](options.config, options)
        yield from [measured] if isinstance(measured, tuple) else measured
    except (ValueError, OSError) as error:
        if alone:
            raise
        yield {"error": str(error)}, f"{part}: not measured: {error}"


def _check(parts: list[str], options: flags.FlagValues) -> None:
    if unknown := sorted(set(parts) - {*PARTS, "all"}):
        raise ValueError(f"there is no part {unknown[0]!r}: choose some of {', '.join(PARTS)}, or all")
    for name, minimum in {"rounds": 1, "batch": 0, "batches": 2, "chips": 0, "slices": 1}.items():
        if (value := getattr(options, name)) < minimum:
            raise ValueError(f"--{name} (={value}) must be at least {minimum}")
    if not all(size.isascii() and size.isdecimal() and int(size) > 0 for size in options.sweep):
        raise ValueError(f"--sweep (={','.join(options.sweep)}) must be batch sizes, such as 32,64,128")
    if not set(options.modes) <= set(step.MODES):
        raise ValueError(f"--modes (={','.join(options.modes)}) must be some of {', '.join(step.MODES)}")


def measure_input(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures loading from the training split, which must have decoded photos."""
    split, config = workload.train_split(config), config.copy_and_resolve_references()
    config.batch_size = min(32, len(split.people))
    measured = batches.measure(config, split, options.rounds)
    report.bars(measured["race"], f"{options.out}/input.svg")
    stages = {
        f"{race.OURS}, {name}": {stage: 1e3 * seconds for stage, seconds in stages.items() if stage != "whole"}
        for name, stages in measured["stages"].items()
    }
    report.stages("time per person by stage", "milliseconds", stages, f"{options.out}/input_stages.svg")
    return measured, batches.summary(measured)


def measure_step(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures training steps and the device's limits."""
    if options.sweep:
        return _sweep("step", config, options)
    config = workload.with_batch_size(config, options.batch or config.batch_size)
    if options.side == "theirs":
        return _race("step", config, options, None)
    compiled = setup.compile_step(config, workload.transformation(config), sharding.make_mesh())
    ours = workload.train(config, compiled)
    if options.profile:
        ours()  # warm-up
        with jax.profiler.trace(f"{options.out}/profile"):
            ours()
    results, text = _race("step", config, options, ours)
    cost, rates = workload.cost(compiled), step.peak_rates(config.model.dtype)
    seconds = config.batch_size / float(np.median(results["race"].rates[race.OURS]))
    limits = step.limits(cost, rates, seconds)
    results |= {"cost": cost, "rates": rates, "limits": limits}
    return results, f"{text}\n{step.limits_summary(cost, rates, limits)}"


def measure_predict(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures predictions."""
    if not workload.is_bottom_up(config):
        heatmap.find_decoder(config.eval.decoder)
    if options.sweep:
        return _sweep("predict", config, options)
    config = workload.with_batch_size(config, options.batch or config.eval.batch_size)
    ours = None if options.side == "theirs" else workload.predict(config)
    return _race("predict", config, options, ours)


def measure_photos(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the way from photos to JSON."""
    if not options.photos:
        raise ValueError("--photos is not given: name a folder of photos, or a video")
    size = options.batch or opening.default_batch_size(sharding.make_mesh())
    result = photos.measure(config, options.photos, options.boxes, size, options.rounds)
    report.bars(result, f"{options.out}/photos.svg")
    return {"race": result}, race.table(result)


def measure_flow(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures optical flow with given or made-up photos."""
    measured = flow.measure(options.photos, options.rounds)
    times = {name: {"a pair": spent} for name, spent in measured["milliseconds"].items()}
    report.stages("optical flow", "milliseconds of processor time", times, f"{options.out}/flow.svg")
    return measured, flow.table(measured)


def measure_track(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the stages of following twenty people."""
    measured = tracking.measure(config, options.rounds)
    rows = {name: measured[name] for name in ("paper", "ours")}
    parts = {name: {stage: ms for stage, ms in of.items() if stage != tracking.WHOLE} for name, of in rows.items()}
    report.stages("a step of the tracker", "milliseconds of processor time", parts, f"{options.out}/track.svg")
    return measured, tracking.table(measured)


def measure_group(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the way from the maps of a photo to its people."""
    races = grouping.measure(options.authors, options.rounds)
    chart = f"{options.out}/group.svg"
    report.curves("people of a photo", "people", "milliseconds", grouping.curves(races), chart)
    return races, grouping.table(races)


def measure_tpu(config: ConfigDict, options: flags.FlagValues) -> Iterator[Measured]:
    """Compiles for TPUs that need not be there. Yields the results so far after each row."""
    chosen, measured, stages = _chosen_rows(config, options), {}, {}
    topologies = options.topology or [tpu.TOPOLOGY]
    meshes = {topology: tpu.mesh_of(topology, options.chips, options.slices) for topology in topologies}
    print(tpu.FIRST_LINE, flush=True)
    for (topology, mesh), (name, row) in itertools.product(meshes.items(), chosen.items()):
        measure = functools.partial(tpu.measure, row, mesh, options.batch or devices.LANES)
        found = _or_error(measure, alone=len(chosen) == 1)
        measured.setdefault(topology, {})[name] = found
        if "error" not in found:
            stages[f"{name}, {topology}"] = tpu.milliseconds(found["step"], mesh)
            title = "a training step by the compiler's estimate"
            report.stages(title, "milliseconds", stages, f"{options.out}/tpu.svg")
        yield {"note": tpu.FIRST_LINE, "topologies": measured}, f"{name}\n{tpu.table(found, mesh)}"


def measure_fits(config: ConfigDict, options: flags.FlagValues) -> Iterator[Measured]:
    """Finds how many people fit into the memory of TPUs that need not be there. Yields as `measure_tpu`."""
    chosen, known, measured = _chosen_rows(config, options), {}, {}
    topologies, people = options.topology or [*fits.TOPOLOGIES], options.batch or devices.LANES
    for topology in topologies:  # a mistake is told before hours of compiling
        tpu.mesh_of(topology, options.chips, options.slices)
    print(fits.line("people on a chip, and what they need", topologies), flush=True)
    for name, row in chosen.items():
        program = fits.same_program(row)
        if program not in known:
            measure = functools.partial(fits.measure_all, row, topologies, people, options.chips, options.slices)
            known[program] = _or_error(measure, alone=len(chosen) == 1)
        measured[name] = found = known[program]
        yield measured, fits.line(name, [found["error"]] if "error" in found else map(fits.cell, found.values()))


def _chosen_rows(config: ConfigDict, options: flags.FlagValues) -> dict[str, ConfigDict]:
    changes = config_flags.get_override_values(options["config"])  # pyright: ignore[reportAttributeAccessIssue]
    return tpu.select(options.rows, config, changes)


def _or_error(measure: Callable[[], dict[str, Any]], alone: bool) -> dict[str, Any]:
    """Returns what is measured, or the ``error`` of a row that is not alone."""
    try:
        return measure()
    except ValueError as error:
        if alone:
            raise
        return {"error": str(error)}


def _race(part: str, config: ConfigDict, options: flags.FlagValues, ours: race.Contender | None) -> Measured:
    """Runs and draws the race of a part."""
    pytorch, modes = options.side != "ours", options.modes
    result = step.measure(config, options.rounds, ours, train=part == "step", pytorch=pytorch, modes=modes)
    if result.reference == race.OURS and options.side == "both":
        print("  no comparison with PyTorch, which is not installed: pip install torch", flush=True)
    report.bars(result, f"{options.out}/{part}.svg")
    return {"race": result}, race.table(result)


def _sweep(part: str, config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures a part at each batch size of `--sweep` and compares the contenders at their fastest."""
    arguments = [argument for argument in sys.argv[1:] if argument not in {*PARTS, "all"}]
    races = race.sweep(part, [*map(int, options.sweep)], arguments, pathlib.Path(options.out))
    best = race.best(f"{workload.title(config, 'each at its best batch')}, {part}", races)
    report.bars(best, f"{options.out}/{part}.svg")
    return {"best": best, "batches": races}, race.table(best)


def measure_evaluate(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the evaluation of made-up predictions."""
    predictions = evaluation.made_up(seed=0)
    result, shares = evaluation.run(predictions, rounds=options.rounds), evaluation.shares(predictions)
    report.bars(result, f"{options.out}/evaluate.svg")
    percent = {race.OURS: {stage: 100 * share for stage, share in shares.items()}}
    report.stages("time of an evaluation by stage", "percent", percent, f"{options.out}/evaluate_stages.svg")
    stages = ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items())
    text = f"{race.table(result)}\n  the metrics are identical, bit for bit; ours: {stages}"
    return {"race": result, "shares": shares}, text


def measure_compile(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the time to the end of the first step."""
    overrides = [argument for argument in sys.argv[1:] if argument.lstrip("-").startswith("config.")]
    size = workload.with_batch_size(config, options.batch or config.batch_size).batch_size
    file = str(options["config"].config_filename)  # pyright: ignore[reportAttributeAccessIssue]
    measured = start.measure(file, overrides, size)
    title = "from the command to the end of a first training step"
    report.stages(title, "seconds", measured, f"{options.out}/compile.svg")
    return measured, "\n".join([title, start.summary(measured)])


def measure_memory(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Measures the device memory of a training step, and the host's memory over many batches."""
    config = workload.with_batch_size(config, options.batch or config.batch_size)
    result, needs = footprint.measure_step(config, options.rounds)
    report.bars(result, f"{options.out}/memory_remat.svg")
    print(f"{race.table(result)}\n{footprint.step_summary(needs)}", flush=True)
    loader = tasks.build(config).examples().batches(0)
    readings = footprint.measure_loading(loader, options.batches)  # pyright: ignore[reportArgumentType]
    path = f"{options.out}/memory_host.svg"
    report.curves("memory of the host", "batches", "GB", {"loading process": readings}, path)
    return {"race": result, "needs": needs, "host": readings}, footprint.loading_summary(readings)


def measure_scale(config: ConfigDict, options: flags.FlagValues) -> Measured:
    """Counts the communication of a step and predicts its time on many chips."""
    mesh = sharding.make_mesh()
    if mesh.size == 1:
        raise ValueError(
            "one device has no communication: set JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=4 to simulate four"
        )
    if not 0 < options.share <= 1 or options.loaded <= 0:
        raise ValueError(f"--share (={options.share}) must be in (0, 1], --loaded (={options.loaded}) above 0")
    config = workload.with_batch_size(config, options.batch or config.batch_size)
    compiled = setup.lower_step(config, workload.transformation(config), mesh).compile()
    cost, communication = workload.cost(compiled), scale.totals(scale.read_collectives(compiled.as_text()))
    people = config.batch_size / mesh.size
    step_cost = scale.StepCost(people, cost["operations"], communication)
    predicted = scale.predict_all(step_cost, options.share, options.loaded)
    title = f"{workload.title(config)} on {mesh.size} devices"
    series = {name: [(row["chips"], 100 * row["efficiency"]) for row in rows] for name, rows in predicted.items()}
    chart = f"{options.out}/scale.svg"
    report.curves(f"{title}: predicted", "chips", "percent computing", series, chart, log=True)
    assumption = f"  predicted, if computing reaches {options.share:.0%} of the peak and overlaps with nothing:"
    tables = [scale.communication_table(communication), assumption, scale.prediction_table(predicted)]
    results = {"people": people, "cost": cost, "communication": communication, "predicted": predicted}
    return results, "\n".join([title, *tables])


PARTS = {
    "input": measure_input,
    "step": measure_step,
    "predict": measure_predict,
    "photos": measure_photos,
    "flow": measure_flow,
    "track": measure_track,
    "group": measure_group,
    "evaluate": measure_evaluate,
    "compile": measure_compile,
    "memory": measure_memory,
    "scale": measure_scale,
    "tpu": measure_tpu,
    "fits": measure_fits,
}


if __name__ == "__main__":
    define_flags()
    console.start(run, takes_arguments=True)
