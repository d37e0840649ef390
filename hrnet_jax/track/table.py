"""Result files of several ways to follow people, and the table that compares them."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Mapping

from hrnet_jax import buckets
from hrnet_jax.datasets import posetrack_files
from hrnet_jax.evaluation import joint_pairs
from hrnet_jax.evaluation.posetrack import TOTAL, measure, summarize
from hrnet_jax.track import follow, sequences
from hrnet_jax.track.estimators import Estimator
from hrnet_jax.track.sequences import Sequence
from hrnet_jax.tracking.settings import Settings

TRACKED, ALL = "tracked", "all"
"""Folders of the results with the least scores of the settings, and without."""

METRICS = ("AP", "MOTA", "MOTP", "precision", "recall", "IDF1", "HOTA")
"""Of the tracked results."""

ALL_AP = "AP_all"
"""Of all results: AP never gains from leaving joints out."""

Table = dict[str, dict[str, float]]
"""Metric in total by row and metric."""

Sequences = tuple[str, ...]
"""Names of sequences."""


def unlimited(settings: Settings) -> Settings:
    """Returns settings without least scores of boxes, people and joints, as AP is best."""
    return dataclasses.replace(settings, box_score=0.0, new_score=0.0, pose_score=0.0, joint_score=0.0)


def write(
    videos: Iterable[Sequence],
    rows: Mapping[str, Settings],
    estimator: Estimator,
    out: pathlib.Path,
    rate: float,
    *,
    resume: bool = False,
) -> None:
    """Follows the people of sequences and writes ``tracked/ROW/SEQUENCE.json`` and ``all/ROW/SEQUENCE.json``.

    Args:
      videos: the sequences.
      rows: settings by name.
      estimator: the network.
      out: folder of the results.
      rate: frames per second.
      resume: keep the sequences that are complete.
    """
    several = {f"{TRACKED}/{name}": row for name, row in rows.items()}
    several |= {f"{ALL}/{name}": unlimited(row) for name, row in rows.items()}
    for video in videos:
        files = {name: out / name / f"{video.truth.name}.json" for name in several}
        if resume and all(file.is_file() for file in files.values()):
            continue
        for name, tracks in follow.follow(video, several, estimator, rate).items():
            people = [(each.poses, each.box_scores, each.ids) for each in tracks]
            content = sequences.to_results(video.truth, people, several[name].joint_score)
            files[name].parent.mkdir(parents=True, exist_ok=True)
            buckets.write_atomically(files[name], json.dumps(content))


def evaluate(truth: pathlib.Path, names: Iterable[str], out: pathlib.Path) -> tuple[Table, Sequences]:
    """Evaluates what `write` has written. Returns the table, and the sequences too short to be tracked."""
    table: Table = {}
    untracked: Sequences = ()
    for name in names:
        (tracked, untracked), (everything, _) = (_totals(truth, out / kind / name) for kind in (TRACKED, ALL))
        table[name] = {ALL_AP: everything["AP"]} | {metric: tracked[metric] for metric in METRICS}
    return table, untracked


def _totals(truth: pathlib.Path, results: pathlib.Path) -> tuple[dict[str, float], Sequences]:
    pairs = [map(posetrack_files.read, files) for files in posetrack_files.pairs(truth, results)]
    evaluation = summarize([measure(joint_pairs.pair(*videos)) for videos in pairs])
    undefined = {name: math.nan for name in METRICS}  # in sequences of one frame
    return undefined | {name: values[TOTAL] for name, values in evaluation.metrics.items()}, evaluation.untracked


def lines(table: Table) -> list[str]:
    """Returns the lines of the printed table."""
    columns = (ALL_AP, *METRICS)
    width = max(map(len, table)) + 2
    head = f"{'':<{width}}" + "".join(f"{name:>10}" for name in columns)
    rows = [
        f"{name:<{width}}" + "".join(f"{values[metric]:10.1f}" for metric in columns)
        for name, values in table.items()
    ]
    return [head, *rows]
