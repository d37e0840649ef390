"""Examining a run directory of train.py: configuration, log and checkpoints, and whether its data are there."""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from hrnet_jax import checkpoint, pipeline, skeletons
from hrnet_jax.datasets import records
from hrnet_jax.diagnosis.findings import Examination, Finding, at, found
from hrnet_jax.running import manifest

NEEDED = ("skeleton", "data.dir", "data.train_split", "data.val_split", "batch_size", "epochs", "log_every")
OTHER_CHECKPOINT = "delete this checkpoint's folder: `train.py` then goes on from the one before"
LOST = "these figures are lost; training is not harmed"
RESUME = "`train.py` with the same command mends it when it goes on"


def examine(workdir: pathlib.Path) -> list[Examination]:
    """Examines a run directory."""
    config, findings = _config(workdir / "config.json")
    steps, log_facts, about_log = _log(workdir / "metrics.jsonl", config)
    kept, network, saved_facts, about_saved = _checkpoints(workdir, steps, config.get("log_every", 1))
    parts = [
        Examination("config", {}, at(findings, workdir / "config.json", "config")),
        Examination("checkpoints", saved_facts, at(about_saved, workdir / "checkpoints", "checkpoints")),
        Examination("metrics", log_facts, at(about_log, workdir / "metrics.jsonl", "metrics")),
    ]
    if config:
        facts, about = _data(workdir, config, steps, max(kept, default=0), network)
        parts.append(Examination("data", facts, at(about, config["data.dir"], "data")))
    return parts


def _config(path: pathlib.Path) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the fields that are needed here, empty if some are missing."""
    remedy = "write it again: `train.py` with the run's --config does, if this file is removed with the log kept"
    try:
        content = json.loads(path.read_text())
        flat = {name: content.get(name) for name in NEEDED if "." not in name}
        flat |= {f"data.{name}": value for name, value in content.get("data", {}).items()}
        lost = [name for name in NEEDED if flat.get(name) is None]
    except (OSError, ValueError, AttributeError) as error:
        return {}, found("config", "error", [path.name], f"it cannot be read: {error}", remedy)
    return {} if lost else flat, found("config", "error", lost, "{count} fields are missing", remedy)


def _log(path: pathlib.Path, config: dict[str, Any]) -> tuple[list[dict], dict[str, str], list[Finding]]:
    """Returns the lines of metrics.jsonl that are whole."""
    if not path.is_file():
        return [], {}, found("log_missing", "warning", [path.name], "there is no metrics.jsonl", RESUME)
    text = path.read_text(errors="replace")
    lines, broken = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            entry = json.loads(line)
            lines.append(entry | {"step": int(entry["step"])})
        except (ValueError, KeyError, TypeError):
            broken.append(number)
    cut = [number for number in broken if number == len(text.splitlines())]
    rest = [number for number in broken if number not in cut]
    findings = found("log_cut", "warning", cut, "the last line is cut off, as a crash leaves it", RESUME)
    findings += found("log_damaged", "warning", rest, "{count} lines are not whole", LOST)
    findings += _order(lines, config)
    steps = [entry["step"] for entry in lines]
    return lines, {"log": f"{len(lines):,} lines, up to step {max(steps, default=0):,}"}, findings


def _order(lines: list[dict], config: dict[str, Any]) -> list[Finding]:
    """Looks for steps that were lost or done twice, and for figures that are not finite."""
    steps = np.array([entry["step"] for entry in lines if "loss" in entry], int)
    back = steps[1:][np.diff(steps) <= 0]
    remedy = "two runs may have written to this directory, or lines were copied: remove those written twice"
    findings = found("log_order", "warning", back, "steps are logged twice or out of order", remedy)
    every = config.get("log_every", 0)
    gaps = np.diff(steps, prepend=0)
    usual = max(every, int(np.median(gaps))) if len(gaps) else 0
    what = "steps are missing before {count} lines of the log"
    findings += found("log_gap", "warning", steps[gaps > usual] if every else (), what, LOST)
    odd = [entry["step"] for entry in lines if not all(_finite(value) for value in entry.values())]
    what = "{count} lines have figures that are not finite"
    remedy = "go back to a checkpoint before, with a lower learning rate"
    return findings + found("log_not_finite", "warning", odd, what, remedy)


def _finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _checkpoints(
    workdir: pathlib.Path, lines: list[dict], log_every: int
) -> tuple[list[int], dict[str, Any], dict[str, str], list[Finding]]:
    """Reads every checkpoint's weights; returns the steps, and what the newest says of its network."""
    steps, whole, network, findings = [], 0, {}, []
    folders = sorted(workdir.glob("checkpoints/*/*"), key=lambda path: (path.parent.name, _number(path)))
    for folder in folders:
        if not folder.name.isdigit():
            findings += at(_left_over(folder), folder, "")
            continue
        name = f"{folder.parent.name}/{folder.name}"
        steps.append(int(folder.name))
        try:
            state, network = checkpoint.read_everything(folder)
        except (ValueError, OSError) as error:
            findings += at(found("checkpoint_damaged", "error", [name], str(error), OTHER_CHECKPOINT), folder, "")
            continue
        odd = [path for path, leaf in _leaves(state) if not np.isfinite(leaf).all()]
        what = "{count} of its arrays have values that are not finite"
        findings += at(found("weights_not_finite", "error", odd, what, OTHER_CHECKPOINT), folder, "")
        whole += 1
    if not steps:
        none = found("checkpoints_none", "warning", ["checkpoints"], "there are no checkpoints", RESUME)
        return [], {}, {}, none
    last = max((entry["step"] for entry in lines), default=0)
    short = [max(steps)] if lines and last < max(steps) // log_every * log_every else []
    what = f"the log ends at step {last:,}, before the newest checkpoint"
    findings += found("log_short", "warning", short, what, LOST)
    return steps, network, {"checkpoints": f"{whole} of {len(steps)} can be read"}, findings


def _left_over(folder: pathlib.Path) -> list[Finding]:
    if folder.suffix == checkpoint.DAMAGED:
        what, remedy = "it was found damaged, and put aside", "delete it when you do not need it any more"
        return found("checkpoint_aside", "note", [folder.name], what, remedy)
    what = "it is left over from saving that was interrupted"
    return found("checkpoint_partial", "note", [folder.name], what, RESUME)


def _number(folder: pathlib.Path) -> int:
    return int(folder.name) if folder.name.isdigit() else -1


def _leaves(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path), leaf


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
    theirs = tuple(network.get("joints", split.skeleton.joints))
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
    except ValueError as error:
        return found("manifest", "warning", [manifest.FILE], str(error), RESUME)
    before = starts[0].get("data", {}).get(split.name) if starts else None
    other = [split.name] * (before not in (None, manifest.digest(split)))
    remedy = "give those that it was started with (--config.data.dir), or start a new run"
    return found("data_changed", "error", other, "the people or photos are not those that the run knows", remedy)


def _same_length(split: records.Split, config: dict[str, Any], lines: list[dict], newest: int) -> list[Finding]:
    """Looks whether the run's evaluations came at the ends of epochs: else there were other people then."""
    epoch = pipeline.steps_per_epoch(len(split.people), config["batch_size"])
    evaluated = {entry["step"] for entry in lines if any(name.endswith(("/AP", "/Mean")) for name in entry)}
    odd = sorted(step for step in evaluated if step % epoch)
    what = f"evaluations came at other steps than ends of epochs: {epoch:,} steps for {len(split.people):,} people"
    remedy = "the data were prepared anew since: give those of before, or start a new run"
    findings = found("data_changed", "error", odd, what, remedy)
    beyond = [newest] * (newest > epoch * config["epochs"])
    what = f"the run is longer than its {config['epochs']} epochs of {epoch:,} steps"
    return findings + found("data_changed", "error", beyond if not odd else (), what, remedy)
