"""Checks a run directory of train.py: configuration, checkpoints, log, and the data it was trained on."""

import math
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from hrnet_jax import checkpoint, checkpoint_files, configuration, pipeline, skeletons, validation
from hrnet_jax.datasets import annotated_photos, records
from hrnet_jax.doctor.findings import Examination, Finding, attempt, found, topic
from hrnet_jax.run import logger, manifest

COUNTS = ("batch_size", "epochs", "log_every", "checkpoint_every")
DATA = ("dir", "train_split", "val_split")
OTHER_CHECKPOINT = "move this folder out of the run directory: `train.py` then resumes from the one before"
UNMERGED = "keep it: `train.py`, `eval.py` and `hrnet convert` complete it when they read it"
LOST = "these metrics are lost; training is not affected"
ORIGINAL_DATA = "give the data that the run was trained on (--config.data.dir), or start a new run"
RESUME = "resume with the same `train.py` command, which repairs it"
RESTART = "copy this directory first: the same `train.py` command starts at step 0 and clears its log and pictures"


def examine(workdir: pathlib.Path) -> list[Examination]:
    """Examines a run directory."""
    parts = [Examination(name) for name in ("config", "checkpoints", "metrics", "data")]
    about_config, about_checkpoints, about_log, about_data = parts
    config, findings = _config(workdir / "config.json")
    about_config.add(workdir / "config.json", {}, findings)
    entries, log_facts, log_findings = _log(workdir, config)
    about_log.add(workdir / logger.METRICS, log_facts, log_findings)
    steps, network, facts, findings = _checkpoints(workdir)
    about_checkpoints.add(workdir / "checkpoints", facts, findings + _missing(entries, steps, config))
    if not config:
        return parts[:3]
    about_data.add(config["data.dir"], *_data(workdir, config, entries, max(steps, default=0), network))
    return parts


@topic("config", {})
def _config(path: pathlib.Path) -> tuple[dict[str, Any], list[Finding]]:
    """Returns the fields needed here; an empty dictionary if some are missing or of a wrong type."""
    remedy = f"restore it: `config` of the last start in {manifest.FILE} is its content"
    config: dict[str, Any] = {}
    try:
        content = validation.read_json(path)
        counts = {name: validation.require(content, name, int, path.name) for name in COUNTS}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"`{name}` (={count}) must be at least 1")
        skeleton = validation.require(content, "skeleton", str, path.name)
        data = validation.require(content, "data", dict, path.name)
        paths = {f"data.{name}": validation.require(data, name, str, f"{path.name}: `data`") for name in DATA}
        config = {**counts, **paths, "skeleton": skeleton, "task": content.get("task", "top_down")}
        configuration.check(content, configuration.package_fields(), path.name)
    except (OSError, ValueError, RecursionError) as error:
        return config, found("config", "error", [path.name], str(error), remedy)
    return config, []


@topic("metrics", [], {})
def _log(workdir: pathlib.Path, config: dict[str, Any]) -> tuple[list[dict], dict[str, str], list[Finding]]:
    """Returns the valid entries of the log."""
    path = workdir / logger.METRICS
    if not path.is_file():
        return [], {"log": "none yet"}, []
    lines = path.read_text(errors="replace").splitlines()
    parsed = {number: logger.parse(line) for number, line in enumerate(lines, start=1)}
    invalid = [number for number, entry in parsed.items() if not entry]
    last = [number for number in invalid if number == len(lines)]
    entries = [entry for entry in parsed.values() if entry]
    findings = found("log_cut", "warning", last, "the last line is incomplete, as after a crash", RESUME)
    damaged = [number for number in invalid if number not in last]
    findings += found("log_damaged", "warning", damaged, "{count} lines are no log entries", LOST)
    findings += _order(entries, config.get("log_every", 0), _starts(workdir))
    return entries, {"log": f"{len(entries):,} lines, up to step {_last_step(entries):,}"}, findings


def _last_step(entries: list[dict]) -> int:
    return max((entry["step"] for entry in entries), default=0)


def _starts(workdir: pathlib.Path) -> list[int]:
    """Returns the steps at which the run was resumed; none without a readable manifest."""
    try:
        steps = {start.get("step") for start in manifest.read(workdir)}
    except (OSError, ValueError, TypeError):  # `_same_data` reports it
        return []
    return sorted(step for step in steps if type(step) is int and 0 < step < validation.INT64_LIMIT)


def _order(entries: list[dict], every: int, starts: list[int]) -> list[Finding]:
    """Finds missing and repeated steps, and values that are not finite."""
    steps = np.array([entry["step"] for entry in entries if "loss" in entry], int)
    repeated = steps[1:][np.diff(steps) <= 0]
    remedy = "remove the repeated lines: two runs have written to this directory, or lines were copied"
    findings = found("log_order", "warning", repeated, "steps are logged twice or out of order", remedy)
    what = "steps are missing before {count} lines of the log"
    findings += found("log_gap", "warning", steps[_gaps(steps, every, starts)] if every else (), what, LOST)
    bad = [entry["step"] for entry in entries if not all(map(_is_finite, entry.values()))]
    remedy = "resume from an earlier checkpoint with a lower learning rate"
    what = "{count} lines have values that are not finite"
    return findings + found("log_not_finite", "warning", bad, what, remedy)


def _gaps(steps: np.ndarray, every: int, starts: list[int]) -> np.ndarray:
    """Returns [N] bool: the interval before a step is longer than `every` and than both adjacent intervals.

    `log_every` may change when a run is resumed. Intervals across a start and their neighbours are no gaps.
    """
    previous = np.append(0, steps[:-1])
    has_start = np.searchsorted(starts, steps) > np.searchsorted(starts, previous)
    intervals = np.where(has_start, np.inf, steps - previous)
    adjacent = np.maximum(np.append(0, intervals[:-1]), np.append(intervals[1:], 0))
    return np.asarray(~has_start & (intervals > np.maximum(every, adjacent)))


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and -math.inf < value < math.inf


@topic("checkpoints", [], {}, {})
def _checkpoints(workdir: pathlib.Path) -> tuple[list[int], dict[str, Any], dict[str, str], list[Finding]]:
    """Reads the weights of all checkpoints. Returns their steps and the description of the newest network."""
    steps, readable, network, findings = [], 0, {}, []
    folders = sorted(workdir.glob("checkpoints/*/*"), key=lambda path: (path.parent.name, _step(path)))
    for folder in folders:
        if _step(folder) < 0:
            findings += _left_over(folder)
            continue
        steps.append(_step(folder))
        name = f"{folder.parent.name}/{folder.name}"
        if checkpoint_files.has_unmerged_arrays(folder):
            what = "its arrays are there, but not merged, as version 0.1 left them in paths with brackets"
            findings += found("checkpoint_unmerged", "warning", [name], what, UNMERGED, file=folder)
            continue
        try:
            state, description = checkpoint_files.read_state(folder)
            joints = validation.names(description.get("joints", []), "its network's `joints`")
        except (ValueError, OSError) as error:
            findings += found("checkpoint_damaged", "error", [name], str(error), OTHER_CHECKPOINT, file=folder)
            continue
        network = description | {"joints": joints}
        leaves = jax.tree_util.tree_leaves_with_path(state)
        bad = [jax.tree_util.keystr(path) for path, leaf in leaves if not np.isfinite(leaf).all()]
        what = "{count} of its arrays have values that are not finite"
        findings += found("weights_not_finite", "error", bad, what, OTHER_CHECKPOINT, file=folder)
        readable += 1
    return steps, network, {"checkpoints": f"{readable} of {len(steps)} can be read"}, findings


def _missing(entries: list[dict], steps: list[int], config: dict[str, Any]) -> list[Finding]:
    """Finds checkpoints without a log, and a log without checkpoints unless the run has just started."""
    last, newest, every = _last_step(entries), max(steps, default=0), config.get("log_every", 1)
    saved = last >= config.get("checkpoint_every", 1) or bool(_evaluated(entries))
    severity, remedy = ("warning", RESTART) if saved else ("note", RESUME)
    none = ["checkpoints"] * (not steps)
    findings = found("checkpoints_none", severity, none, "there are no checkpoints", remedy)
    due = [newest] * (last < newest // every * every)
    if not entries:
        return findings + found("log_missing", "warning", due, "the log has no lines", LOST)
    what = f"the log ends at step {last:,}, before the newest checkpoint"
    return findings + found("log_short", "warning", due, what, LOST)


def _evaluated(entries: list[dict]) -> set[int]:
    """Returns the steps of evaluations. A checkpoint was saved before each."""
    return {entry["step"] for entry in entries if any(name.endswith(("/AP", "/Mean")) for name in entry)}


def _left_over(folder: pathlib.Path) -> list[Finding]:
    if folder.suffix == checkpoint.DAMAGED:
        kind, what = "checkpoint_aside", "it was damaged and has been set aside"
        return found(kind, "note", [folder.name], what, "delete it if you no longer need it", file=folder)
    return found("checkpoint_partial", "note", [folder.name], "saving it was interrupted", RESUME, file=folder)


def _step(folder: pathlib.Path) -> int:
    """Returns the step of a checkpoint's folder, -1 for other folders."""
    return int(folder.name) if folder.name.isascii() and folder.name.isdigit() else -1


@topic("data", {})
def _data(
    workdir: pathlib.Path, config: dict[str, Any], entries: list[dict], newest: int, network: dict[str, Any]
) -> tuple[dict[str, str], list[Finding]]:
    """Opens the configured splits and compares them with the run."""
    folders = [folder / config["data.dir"] for folder in (pathlib.Path(), *workdir.resolve().parents)]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0])
    facts, findings, train, val = {}, [], config["data.train_split"], config["data.val_split"]
    for name in dict.fromkeys((train, val)):
        try:
            split = records.open_split(folder / name)
            examples = _examples(split, config["task"] if name == train else "")
        except Exception as error:  # TFDS raises anything on damaged records
            remedy = f"prepare it again; for details run `python -m hrnet_jax.doctor {folder / name}`"
            findings += found("data_unavailable", "error", [name], str(error), remedy)
            continue
        facts[name] = f"{examples.count:,} {examples.what} in {folder / name}"
        digest = records.digest(split) if name == val else examples.digest
        findings += _same_joints(split, config, network) + _same_data(name, digest, workdir)
        if name == train:
            findings += _same_length(examples, config, entries, newest)
    return facts, findings


class _Examples(NamedTuple):
    """What a run is trained on."""

    count: int
    what: str
    digest: str


def _examples(split: records.Split, task: str) -> _Examples:
    """Returns what a task trains on. Raises ValueError for `bottom_up` without masks."""
    if task != "bottom_up":
        return _Examples(len(split.people), "people", records.digest(split))
    photos = annotated_photos.AnnotatedPhotos.of_split(split)
    return _Examples(len(photos), "photos", annotated_photos.digest(split))


def _same_joints(split: records.Split, config: dict[str, Any], network: dict[str, Any]) -> list[Finding]:
    """Compares the joints of the split with those of the network and the configuration."""
    joints, expected = split.skeleton.joints, tuple(network.get("joints") or split.skeleton.joints)
    other = [f"{a}, not {b}" for a, b in zip(expected, joints, strict=False) if a != b]
    other += [f"{len(expected)}, not {len(joints)}"] * (len(expected) != len(joints))
    what = f"the network's joints are not those of {split.name}"
    findings = found("data_joints", "error", other, what, ORIGINAL_DATA)
    name = config["skeleton"]
    skeleton, lost = attempt(lambda: skeletons.load(name), "skeleton", name, "restore the file")
    if skeleton is None:
        return findings + lost
    differs = [split.name] * (skeleton != split.skeleton and not other)
    what = f"the config's skeleton {name!r} is not that of {split.name}"
    return findings + found("data_joints", "error", differs, what, ORIGINAL_DATA)


def _same_data(split: str, digest: str, workdir: pathlib.Path) -> list[Finding]:
    """Compares the digest of people and photos with that of the run's first start."""
    try:
        starts = manifest.read(workdir)
    except (OSError, ValueError) as error:
        return found("manifest", "warning", [manifest.FILE], str(error), "rename it: the run does not need it")
    first = starts[0].get("data", {}).get(split) if starts else None
    other = [split] * (first not in (None, digest))
    what = "the people or photos are not those that the run was started with"
    return found("data_changed", "error", other, what, ORIGINAL_DATA)


def _same_length(examples: _Examples, config: dict[str, Any], entries: list[dict], newest: int) -> list[Finding]:
    """Checks that evaluations were at ends of epochs. Otherwise the number of examples has changed."""
    epoch = pipeline.steps_per_epoch(examples.count, config["batch_size"])
    odd = sorted(step for step in _evaluated(entries) if step % epoch)
    what = f"evaluations were not at ends of epochs, of {epoch:,} steps for {examples.count:,} {examples.what}"
    findings = found("data_changed", "error", odd, what, ORIGINAL_DATA)
    beyond = [newest] * (newest > epoch * config["epochs"] and not odd)
    what = f"the run is longer than its {config['epochs']} epochs of {epoch:,} steps"
    return findings + found("data_changed", "error", beyond, what, ORIGINAL_DATA)
