"""Evaluates pose tracking as the benchmark does: ``python -m hrnet_jax.posetrack --truth DIR --results DIR``.

Both folders hold PoseTrack's JSON files of 2017, 2018 or 2021, one for each sequence, by the same names. It prints
the metrics of `hrnet_jax.evaluation.posetrack` by groups of joints, and whatever looks wrong about the files.
``--json FILE`` also writes all numbers, by joint and by sequence.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys
from typing import Any

from hrnet_jax import buckets, console, validation
from hrnet_jax.datasets import posetrack, posetrack_files
from hrnet_jax.evaluation import joint_pairs
from hrnet_jax.evaluation.posetrack import GROUPS, TOTAL, Evaluation, Measured, measure, summarize

SHOWN = {
    "AP": "average precision",
    "MOTA": "multiple object tracking accuracy",
    "MOTP": "precision of places, as in published tables",
    "precision": "of tracked joints",
    "recall": "of tracked joints",
    "IDF1": "with one track for each person",
    "HOTA_posetrack21": "as PoseTrack21's program counts",
    "HOTA": "as defined by its authors",
}
"""The printed metrics. The file has more."""

MAX_NOTES = 8  # printed


def main() -> int:
    """Evaluates two folders and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.posetrack", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--truth", type=pathlib.Path, required=True, help="folder of ground truth, such as annotations/val"
    )
    parser.add_argument(
        "--results", type=pathlib.Path, required=True, help="folder of results, with files of the same names"
    )
    parser.add_argument("--json", type=pathlib.Path, help="file for all numbers")
    options = parser.parse_args()
    if options.json:
        buckets.append_text(options.json, "")  # fails before the evaluation, not after
    videos, notes = read(options.truth, options.results)
    evaluation = summarize(videos)
    notes += [
        f"{name} has fewer than two frames with people, and the last is left out: it counts in AP but not in MOTA,"
        " MOTP, precision and recall"
        for name in evaluation.untracked
    ]
    _print_notes(notes)
    print(f"{len(videos):,} sequences, {evaluation.frames:,} frames with people")
    print("\n".join(table(evaluation)))
    if options.json:
        buckets.write_atomically(options.json, json.dumps(to_json(videos, evaluation, notes), indent=1))
    return 0


def _print_notes(notes: list[str]) -> None:
    for note in notes[:MAX_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > MAX_NOTES:
        print(f"note: {len(notes) - MAX_NOTES} more notes; --json FILE has all", file=sys.stderr)


def read(truth: pathlib.Path, results: pathlib.Path) -> tuple[list[Measured], list[str]]:
    """Reads and measures the videos of two folders. Returns also notes on what looks wrong.

    Raises FileNotFoundError or ValueError for files that are missing, invalid or do not belong together.
    """
    for folder in (truth, results):
        if not folder.exists():
            raise validation.missing(folder)
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file: give the folder with one file for each sequence")
    videos, notes, files = [], [], list(posetrack_files.pairs(truth, results))
    for truth_file, results_file in files:
        labelled, predicted = posetrack_files.read(truth_file), posetrack_files.read(results_file)
        videos.append(measure(joint_pairs.pair(labelled, predicted)))
        notes += [*joint_pairs.frame_differences(labelled, predicted), *_missing_scores(predicted)]
    if unused := sorted({file.name for file in results.glob("*.json")} - {file.name for file, _ in files}):
        notes.append(f"{len(unused)} files of results have no ground truth: {validation.short_repr(unused)}")
    return videos, notes


def _missing_scores(results: posetrack.Video) -> list[str]:
    if not (results.exists & (results.scores == posetrack.NO_SCORE)).any():
        return []
    return [f"{results.name}: predicted joints have no scores (`scores`), so their order in the file decides AP"]


def table(evaluation: Evaluation) -> list[str]:
    """Returns the lines of the printed table: a metric each, by groups of joints."""
    columns = (*GROUPS, TOTAL)
    lines = [f"{'':<17}" + "".join(f"{name:>7}" for name in columns)]
    for metric, meaning in SHOWN.items():
        values = evaluation.metrics.get(metric, {})
        cells = "".join(f"{values.get(name, math.nan):7.1f}" for name in columns).replace("nan", "  -")
        lines.append(f"{metric:<17}{cells}  {meaning}")
    return lines


def to_json(videos: list[Measured], evaluation: Evaluation, notes: list[str]) -> dict[str, Any]:
    """Returns the content of the file: metrics and counts over all sequences and of each, null where undefined."""
    each = {video.name: dataclasses.asdict(summarize([video])) for video in videos}
    return _without_nan({**dataclasses.asdict(evaluation), "sequences": each, "notes": notes})


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    console.run(main)
