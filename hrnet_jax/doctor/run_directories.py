"""Examining a run directory of train.py: configuration, log and checkpoints, and whether its data are there."""

import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from hrnet_jax import checkpoint, pipeline, skeletons, validation
from hrnet_jax.datasets import records
from hrnet_jax.doctor.findings import Examination, Finding, found, topic, with_location
from hrnet_jax.run import logger, manifest, setup

NEEDED = ("batch_size", "epochs", "log_every", "checkpoint_every")
DATA = ("dir", "train_split", "val_split")
OTHER_CHECKPOINT = "delete this checkpoint's folder: `train.py` then goes on from the one before"
LOST = "these figures are lost; training is not harmed"
RESUME = "`train.py` with the same command mends it when it goes on"
ANEW = (
    "copy this directory first: `train.py` with the same command begins at step 0, and clears its log and pictures"
)


def examine(workdir: pathlib.Path) -> list[Examination]:
    """Examines a run directory."""
    config, findings = _config(workdir / "config.json")
    lines, log_facts, about_log = _log(workdir, config)
    kept, network, saved_facts, about_saved = _checkpoints(workdir)
    about_saved += _missing(lines, kept, config)
    parts = [
        Examination("config", {}, with_location(findings, workdir / "config.json", "config")),
        Examination(
            "checkpoints", saved_facts, with_location(about_saved, workdir / "checkpoints", "checkpoints")
        ),
        Examination("metrics", log_facts, with_location(about_log, workdir / "metrics.jsonl", "metrics")),
    ]
    if config:
        facts, about = _data(workdir, config, lines, max(kept, default=0), network)
        parts.append(Examination("data", facts, with_location(about, config["data.dir"], "data")))
    return parts


@topic("config", {})
def _config(path: pathlib.Path) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the fields that are needed here, empty if some are missing or of another kind."""
    remedy = "write it again: `train.py` with the run's --config does, if this file is removed with the log kept"
    try:
        content = validation.read_json(path)
        config = {name: validation.require(content, name, int, path.name) for name in NEEDED}
        config["skeleton"] = validation.require(content, "skeleton", str, path.name)
        data = validation.require(content, "data", dict, path.name)
        config |= {f"data.{name}": validation.require(data, name, str, f"{path.name}: `data`") for name in DATA}
        for name in NEEDED:
            if config[name] < 1:
                raise ValueError(f"`{name}` (={config[name]}) must be at least 1")
    except (OSError, ValueError) as error:
        return {}, found("config", "error", [path.name], str(error), remedy)
    try:
        setup.check_counts(content, path.name)
    except (ValueError, RecursionError) as error:
        return config, found("config", "error", [path.name], str(error), remedy)
    return config, []


@topic("metrics", [], {})
def _log(workdir: pathlib.Path, config: dict[str, Any]) -> tuple[list[dict], dict[str, str], list[Finding]]:
    """Returns the lines of the log that are whole."""
    path = workdir / logger.METRICS
    if not path.is_file():
        return [], {"log": "there is none yet"}, []
    text = path.read_text(errors="replace").splitlines()
    parsed = {number: logger.parse(line) for number, line in enumerate(text, start=1)}
    broken = [number for number, entry in parsed.items() if not entry]
    cut = [number for number in broken if number == len(text)]
    rest = [number for number in broken if number not in cut]
    lines = [entry for entry in parsed.values() if entry]
    findings = found("log_cut", "warning", cut, "the last line is cut off, as a crash leaves it", RESUME)
    findings += found("log_damaged", "warning", rest, "{count} lines are not whole", LOST)
    findings += _order(lines, config.get("log_every", 0), _starts(workdir))
    return lines, {"log": f"{len(lines):,} lines, up to step {_last(lines):,}"}, findings


def _last(lines: list[dict]) -> int:
    return max((entry["step"] for entry in lines), default=0)


def _starts(workdir: pathlib.Path) -> list[int]:
    """Returns the steps from which the run went on, as far as its manifest tells."""
    try:
        steps = {start.get("step") for start in manifest.read(workdir)}
    except (OSError, ValueError, TypeError):  # it is told of where the data are held against it
        return []
    return sorted(step for step in steps if type(step) is int and 0 < step < validation.INT64_LIMIT)


def _order(lines: list[dict], every: int, starts: list[int]) -> list[Finding]:
    """Looks for steps that were lost or done twice, and for figures that are not finite."""
    steps = np.array([entry["step"] for entry in lines if "loss" in entry], int)
    back = steps[1:][np.diff(steps) <= 0]
    remedy = "two runs may have written to this directory, or lines were copied: remove those written twice"
    findings = found("log_order", "warning", back, "steps are logged twice or out of order", remedy)
    what = "steps are missing before {count} lines of the log"
    findings += found("log_gap", "warning", steps[_gaps(steps, every, starts)] if every else (), what, LOST)
    odd = [entry["step"] for entry in lines if not all(_finite(value) for value in entry.values())]
    what = "{count} lines have figures that are not finite"
    remedy = "go back to a checkpoint before, with a lower learning rate"
    return findings + found("log_not_finite", "warning", odd, what, remedy)


def _gaps(steps: np.ndarray, every: int, starts: list[int]) -> np.ndarray:
    """[N] bool: the way to a logged step is longer than `every` and than those beside it, so some are missing.

    From each start on, `log_every` may be another: the way over a start does not tell, nor those beside it.
    """
    before = np.append(0, steps[:-1])
    over_start = np.searchsorted(starts, steps) > np.searchsorted(starts, before)
    ways = np.where(over_start, np.inf, steps - before)
    beside = np.maximum(np.append(0, ways[:-1]), np.append(ways[1:], 0))
    return np.asarray(~over_start & (ways > np.maximum(every, beside)))


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and -math.inf < value < math.inf


@topic("checkpoints", [], {}, {})
def _checkpoints(
    workdir: pathlib.Path,
) -> tuple[list[int], dict[str, Any], dict[str, str], list[Finding]]:
    """Reads every checkpoint's weights; returns the steps, and what the newest says of its network."""
    steps, whole, network, findings = [], 0, {}, []
    folders = sorted(workdir.glob("checkpoints/*/*"), key=lambda path: (path.parent.name, _number(path)))
    for folder in folders:
        if _number(folder) < 0:
            findings += with_location(_left_over(folder), folder, "")
            continue
        name = f"{folder.parent.name}/{folder.name}"
        steps.append(_number(folder))
        try:
            state, told = checkpoint.read_everything(folder)
            network = told | {"joints": validation.names(told.get("joints", []), "its network's `joints`")}
        except (ValueError, OSError) as error:
            findings += with_location(
                found("checkpoint_damaged", "error", [name], str(error), OTHER_CHECKPOINT), folder, ""
            )
            continue
        odd = [path for path, leaf in _leaves(state) if not np.isfinite(leaf).all()]
        what = "{count} of its arrays have values that are not finite"
        findings += with_location(found("weights_not_finite", "error", odd, what, OTHER_CHECKPOINT), folder, "")
        whole += 1
    return steps, network, {"checkpoints": f"{whole} of {len(steps)} can be read"}, findings


def _missing(lines: list[dict], kept: list[int], config: dict[str, Any]) -> list[Finding]:
    """Looks for checkpoints without a log, and a log without checkpoints, which a run has that has just begun."""
    last, newest, every = _last(lines), max(kept, default=0), config.get("log_every", 1)
    saved = last >= config.get("checkpoint_every", 1) or bool(_evaluated(lines))
    severity, remedy = ("warning", ANEW) if saved else ("note", RESUME)
    none = ["checkpoints"] * (not kept)
    findings = found("checkpoints_none", severity, none, "there are no checkpoints", remedy)
    due = [newest] * (last < newest // every * every)
    if not lines:
        return findings + found("log_missing", "warning", due, "the log has no lines", LOST)
    what = f"the log ends at step {last:,}, before the newest checkpoint"
    return findings + found("log_short", "warning", due, what, LOST)


def _evaluated(lines: list[dict]) -> set[int]:
    """Returns the steps of evaluations, before each of which a checkpoint was saved."""
    return {entry["step"] for entry in lines if any(name.endswith(("/AP", "/Mean")) for name in entry)}


def _left_over(folder: pathlib.Path) -> list[Finding]:
    if folder.suffix == checkpoint.DAMAGED:
        what, remedy = "it was found damaged, and put aside", "delete it when you do not need it any more"
        return found("checkpoint_aside", "note", [folder.name], what, remedy)
    what = "it is left over from saving that was interrupted"
    return found("checkpoint_partial", "note", [folder.name], what, RESUME)


def _number(folder: pathlib.Path) -> int:
    """Returns the step of a checkpoint's folder, -1 if it is none."""
    return int(folder.name) if folder.name.isascii() and folder.name.isdigit() else -1


def _leaves(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path), leaf


@topic("data", {})
def _data(
    workdir: pathlib.Path, config: dict[str, Any], lines: list[dict], newest: int, network: dict[str, Any]
) -> tuple[dict[str, str], list[Finding]]:
    """Opens the splits that the configuration names and holds them against the run."""
    folders = [folder / config["data.dir"] for folder in (pathlib.Path(), *workdir.resolve().parents)]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    facts, findings = {}, []
    for name in dict.fromkeys((config["data.train_split"], config["data.val_split"])):
        try:
            split = records.open_split(folder / name)
        except Exception as error:  # TFDS raises what it happens to on damaged records
            remedy = f"prepare it again; `python -m hrnet_jax.doctor {folder / name}` tells more"
            findings += found("data_unavailable", "error", [name], str(error), remedy)
            continue
        facts[name] = f"{len(split.people):,} people in {folder / name}"
        findings += _same_joints(split, config, network) + _same_data(split, workdir)
        if name == config["data.train_split"]:
            findings += _same_length(split, config, lines, newest)
    return facts, findings


def _same_joints(split: records.Split, config: dict[str, Any], network: dict[str, Any]) -> list[Finding]:
    remedy = "give the data that the run was trained on (--config.data.dir), or start a new run"
    theirs = tuple(network.get("joints") or split.skeleton.joints)
    other = [f"{a}, not {b}" for a, b in zip(theirs, split.skeleton.joints, strict=False) if a != b]
    other += [f"{len(theirs)}, not {len(split.skeleton.joints)}"] * (len(theirs) != len(split.skeleton.joints))
    what = f"the network's joints are not those of {split.name}"
    findings = found("data_joints", "error", other, what, remedy)
    try:
        wanted = skeletons.load(config["skeleton"])
    except (ValueError, OSError) as error:
        return findings + found("skeleton", "error", [config["skeleton"]], str(error), "put the file there again")
    differs = [split.name] * (wanted != split.skeleton and not other)
    what = f"the config's skeleton {config['skeleton']!r} is not the one that {split.name} was prepared with"
    return findings + found("data_joints", "error", differs, what, remedy)


def _same_data(split: records.Split, workdir: pathlib.Path) -> list[Finding]:
    """Looks whether the people and photos are those that the run was started with."""
    try:
        starts = manifest.read(workdir)
    except (OSError, ValueError) as error:
        return found("manifest", "warning", [manifest.FILE], str(error), "delete it: the run can do without")
    before = starts[0].get("data", {}).get(split.name) if starts else None
    other = [split.name] * (before not in (None, manifest.digest(split)))
    remedy = "give those that it was started with (--config.data.dir), or start a new run"
    return found("data_changed", "error", other, "the people or photos are not those that the run knows", remedy)


def _same_length(split: records.Split, config: dict[str, Any], lines: list[dict], newest: int) -> list[Finding]:
    """Looks whether the run's evaluations came at the ends of epochs: else there were other people then."""
    epoch = pipeline.steps_per_epoch(len(split.people), config["batch_size"])
    odd = sorted(step for step in _evaluated(lines) if step % epoch)
    what = f"evaluations came at other steps than ends of epochs: {epoch:,} steps for {len(split.people):,} people"
    remedy = "the data were prepared anew since: give those of before, or start a new run"
    findings = found("data_changed", "error", odd, what, remedy)
    beyond = [newest] * (newest > epoch * config["epochs"])
    what = f"the run is longer than its {config['epochs']} epochs of {epoch:,} steps"
    return findings + found("data_changed", "error", beyond if not odd else (), what, remedy)
