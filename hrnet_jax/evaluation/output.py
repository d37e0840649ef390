"""Writes an evaluation to files: metrics, results for the data set's server, errors of joints, pictures."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from hrnet_jax import visualize
from hrnet_jax.datasets import records
from hrnet_jax.evaluation import evaluate, protocols, report


def write(outcomes: Sequence[evaluate.Outcome], split: records.Split, directory: pathlib.Path) -> None:
    """Writes all files and prints the tables and the names of the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [evaluate.write_results(split, outcome, directory) for outcome in outcomes]
    if metrics := evaluate.metrics(outcomes):
        path = directory / "metrics.json"  # metrics of other splits stay
        written.append(_save(path, (json.loads(path.read_text()) if path.is_file() else {}) | metrics))
        print("\n" + report.metric_table(outcomes, protocols.of_split(split).columns))
    for outcome in outcomes:
        if outcome.source == evaluate.GT_BOXES and outcome.people.visible.any():
            written += _write_errors(outcome, split, directory)
    print("\n" + "\n".join(map(str, written)))


def _write_errors(outcome: evaluate.Outcome, split: records.Split, directory: pathlib.Path) -> list[pathlib.Path]:
    """Writes and prints the errors of joints, and draws the best and the worst people."""
    errors = protocols.of_split(split).error_report(split, outcome)
    written = [_save(directory / f"per_joint_{split.name}.json", errors.per_joint)]
    print("\n" + report.joint_table(errors.per_joint))
    (directory / "pictures").mkdir(exist_ok=True)
    for name, picture in report.best_and_worst(split, outcome, errors).items():
        written.append(directory / "pictures" / f"{split.name}_{name}.jpg")
        written[-1].write_bytes(visualize.encode_jpeg(picture))
    return written


def _save(path: pathlib.Path, content: Any) -> pathlib.Path:
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
