"""Checks a data set or a run directory: ``python -m hrnet_jax.doctor DATA``.

DATA is a data set in COCO's or MPII's layout, a prepared split or a folder of several, or a run directory of
``train.py``. Each finding has a severity (error, warning or note), a place, a description and a remedy. The exit
status is 0 without findings or with notes only, 1 with errors or warnings, and 2 if DATA is none of these.
``--json FILE`` also writes the report as JSON.
"""

import argparse
import functools
import json
import pathlib
from collections.abc import Sequence

from hrnet_jax import console, validation
from hrnet_jax.datasets import layouts, records
from hrnet_jax.datasets.layouts import BESIDE_PHOTOS, Choices
from hrnet_jax.doctor import findings, prepared, raw, run_directories, skeleton_files, splits
from hrnet_jax.doctor.findings import Examination
from hrnet_jax.evaluation import caveats

FINDINGS = 1  # exit status with errors or warnings
COCO, MPII = "data set in COCO's layout", "data set in MPII's layout"
SPLIT, SPLITS, RUN = "prepared split", "prepared splits", "run"


def kind_of(path: pathlib.Path) -> str:
    """Returns the kind of a directory. Raises FileNotFoundError or, for an unknown kind, ValueError."""
    if not path.exists():
        raise validation.missing(path)
    if path.is_dir():
        tests = {
            RUN: (path / "config.json").is_file() or (path / "checkpoints").is_dir(),
            SPLIT: prepared.is_split(path),
            COCO: (path / "annotations").is_dir() or any(path.glob(f"*/{BESIDE_PHOTOS}")),
            MPII: (path / "annot").is_dir(),
            SPLITS: any(map(prepared.is_split, path.iterdir())),
        }
        for kind, matches in tests.items():
            if matches:
                return kind
    raise ValueError(
        f"{path} is neither a data set (annotations/ or annot/, and images/), nor prepared splits"
        f" (summary.json), nor a run directory (config.json, checkpoints/); {layouts.elsewhere(path)}"
    )


def examine(
    path: pathlib.Path,
    detections: pathlib.Path | None = None,
    skeleton: str = "coco",
    choices: Choices = Choices(),  # noqa: B008  (immutable)
) -> tuple[str, list[Examination]]:
    """Examines a directory of any kind. Returns the kind, and the examination of each split or part.

    A data set in COCO's layout may have `detections`, a detector's file (None for the authors' file if it exists),
    and a `skeleton`, a name or file. The `choices` are those of `prepare`.

    Raises:
      FileNotFoundError, ValueError: `path` cannot be examined, or the options do not apply to it.
    """
    kind = COCO if choices.annotations else kind_of(path)
    if detections and (kind != COCO or not detections.is_file()):
        raise ValueError(f"`detections` (={detections}) must be a file and go with a {COCO}, not a {kind}")
    if kind == RUN:
        return kind, run_directories.examine(path)
    if kind == MPII:
        return kind, raw.mpii_root(path)
    if kind == COCO:
        joints, about = skeleton_files.read(skeleton)
        part = Examination("skeleton")
        part.add(skeleton, {}, about)
        return kind, [part] * bool(about) + (raw.coco(path, joints, detections, choices) if joints else [])
    looks = {folder.name: (folder, functools.partial(prepared.examine, folder)) for folder in _folders(path)}
    return kind, splits.examine_all(path, looks)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hrnet_jax.doctor", description="Checks a data set or a run directory."
    )
    parser.add_argument("data", type=pathlib.Path, help="data set, prepared split or splits, or run directory")
    parser.add_argument("--detections", type=pathlib.Path, help="JSON file of detected boxes")
    parser.add_argument("--skeleton", help="name or JSON file; default: coco, if the joints' names agree")
    parser.add_argument("--annotations", type=pathlib.Path, help="file of the only split, in any layout")
    parser.add_argument("--photos", type=pathlib.Path, help="folder or zip file of the only split's photos")
    parser.add_argument("--follow-links", action="store_true", help="also to photos outside DATA")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write the report as JSON")
    truth_help = "only the AP or PCKh of a prepared split's people taken as predictions, and why it is not 1"
    parser.add_argument("--truth", action="store_true", help=truth_help)
    args = parser.parse_args(arguments)
    if args.json:
        _write(args.json, "", "a")  # fails before the examination, not after
    if args.truth:
        return _print_truth(args.data)
    choices = Choices(args.annotations, args.photos, args.follow_links, args.skeleton)
    kind, examinations = examine(args.data, args.detections, args.skeleton or "coco", choices)
    print(findings.as_text(str(args.data), kind, examinations))
    if args.json:
        report = findings.as_json(str(args.data), kind, examinations)
        _write(args.json, json.dumps(report, indent=1) + "\n", "w")
    return FINDINGS if findings.has_problems(examinations) else 0


def _print_truth(path: pathlib.Path) -> int:
    """Prints what the people of prepared splits score as predictions. Returns `FINDINGS` if one is below 1."""
    if kind_of(path) not in (SPLIT, SPLITS):
        raise ValueError(f"`--truth` is for prepared splits, but {path} is none: prepare it first")
    is_limited = False
    for folder in _folders(path):
        split = records.open_split(folder, with_pixels=False)
        found = caveats.truth_of_split(split)
        said = found or "no score: it has no ground truth, or of nobody"
        print(f"{folder}: the truth taken as predictions has {said}")
        is_limited |= found is not None and not found.is_perfect
    return FINDINGS if is_limited else 0


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the directories of a prepared split, or of several."""
    return [path] if prepared.is_split(path) else sorted(filter(prepared.is_split, path.iterdir()))


def _write(path: pathlib.Path, text: str, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise ValueError(
            f"`json` (={path}) cannot be written ({error.strerror}): give a file in an existing folder"
        ) from error


if __name__ == "__main__":
    console.run(main)
