"""Follows the people of PoseTrack's sequences by the rows of the paper's table and by our tracker, and compares.

    python -m hrnet_jax.track --truth posetrack18/annotations/val --images posetrack18 \
        --detections posetrack18_val_human_detections.json --checkpoint runs/posetrack --out results

OUT then holds ``tracked/ROW/SEQUENCE.json``, result files of the benchmark, ``all/ROW/SEQUENCE.json``, the same
without least scores for AP, and ``table.json``. Without ``--checkpoint`` an oracle takes the network's place.
"""

import argparse
import dataclasses
import json
import math
import pathlib
from typing import Any

import tqdm

from hrnet_jax import buckets, console
from hrnet_jax.track import estimators, sequences, table
from hrnet_jax.tracking.settings import PRESETS, ROWS, Settings, parse


def define_flags() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.track",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--truth", type=pathlib.Path, required=True, help="folder of ground truth, a JSON a sequence"
    )
    parser.add_argument("--images", type=pathlib.Path, required=True, help="folder that has images/val/...")
    parser.add_argument("--detections", type=pathlib.Path, required=True, help="boxes: COCO results by image id")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the results")
    parser.add_argument("--checkpoint", help="trained network; by default an oracle")
    parser.add_argument(
        "--row",
        action="append",
        help=f"settings to compare, one of {', '.join(PRESETS)} with changes: ours,memory_seconds=3. Repeatable."
        " Default: the paper's rows and ours",
    )
    parser.add_argument(
        "--set", action="append", default=[], help="a change of all rows: box_score=0.3. Repeatable"
    )
    parser.add_argument("--rate", type=float, default=25.0, help="frames per second")
    parser.add_argument("--resume", action="store_true", help="keep the sequences that are complete")
    return parser


def main() -> int:
    """Follows people, evaluates and prints the table."""
    options = define_flags().parse_args()
    if not 0 < options.rate < math.inf:
        raise ValueError(f"--rate (={options.rate}) must be above 0: frames per second")
    rows = {row: parse(",".join([row, *options.set])) for row in options.row or [*ROWS, "ours"]}
    estimator = _estimator(options.checkpoint)
    videos = list(sequences.read(options.truth, options.images, options.detections))
    bar = tqdm.tqdm(videos, unit="sequence")
    run = {"network": options.checkpoint or "oracle", "detections": str(options.detections), "rate": options.rate}
    run |= {"settings": {name: _to_json(row) for name, row in rows.items()}}
    _claim(options.out, run, options.resume)
    table.write(bar, rows, estimator, options.out, options.rate, resume=options.resume)
    measured, untracked = table.evaluate(options.truth, rows, options.out)
    if options.checkpoint is None:
        print("note: poses are those of an oracle, which knows the truth: give a network as --checkpoint")
    print("\n".join(table.lines(measured)))
    if untracked:
        print(f"note: one labelled frame each, not tracked: {', '.join(untracked)}")
    buckets.write_atomically(options.out / "table.json", json.dumps(run | {"rows": measured}, indent=1))
    return 0


def _claim(out: pathlib.Path, run: dict[str, Any], resume: bool) -> None:
    """Writes what results are made with. Raises ValueError if those to be kept are made with something else."""
    path = out / "run.json"
    if resume and path.is_file():
        before = json.loads(path.read_text())
        if changed := [name for name in run if before.get(name) != run[name]]:
            raise ValueError(f"--resume: {out} has results of other {', '.join(changed)}: give another --out")
    out.mkdir(parents=True, exist_ok=True)
    buckets.write_atomically(path, json.dumps(run, indent=1))


def _estimator(checkpoint: str | None) -> estimators.Estimator:
    if checkpoint is None:
        return estimators.oracle
    from hrnet_jax.predict import box_predictor, opening  # takes seconds

    predictor = opening.load(checkpoint, nms_threshold=1.0)
    if not isinstance(predictor, box_predictor.BoxPredictor):
        raise ValueError(
            f"--checkpoint (={checkpoint}) finds everyone in a photo without boxes, and the rows are of people in"
            " boxes: give a network for one person in a crop, or follow people by `hrnet predict --track`"
        )
    print("\n".join(predictor.notes[:-1]), flush=True)
    return estimators.of_network(predictor)


def _to_json(settings: Settings) -> dict[str, str | float | None]:
    """Returns the settings, with null in place of infinity."""
    return {name: None if value == math.inf else value for name, value in dataclasses.asdict(settings).items()}


if __name__ == "__main__":
    console.run(main)
