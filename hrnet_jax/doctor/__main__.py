"""What is wrong with a data set or a run, before any step: ``python -m hrnet_jax.doctor DATA``.

DATA is what `prepare` takes (COCO's layout or MPII's), what it wrote (a prepared split, or the folder of several),
or a run directory of ``train.py``. Every finding says how grave it is (error, warning, note), where, what, and the
way out. The exit status is 0 if there is nothing, or notes only; 1 if there are errors or warnings; 2 if DATA is
none of these. ``--json FILE`` writes the same for programs.
"""

import argparse
import functools
import json
import pathlib
from collections.abc import Sequence

from hrnet_jax import console, validation
from hrnet_jax.doctor import findings, prepared, raw, run_directories, skeleton_files, splits
from hrnet_jax.doctor.findings import Examination

FINDINGS = 1  # the exit status if something is wrong
COCO, MPII, SPLIT, SPLITS, RUN = (
    "data set in COCO's layout",
    "data set in MPII's layout",
    "prepared split",
    "prepared splits",
    "run",
)


def kind_of(path: pathlib.Path) -> str:
    """Returns what a directory is.

    Raises:
      FileNotFoundError: there is no such directory.
      ValueError: it is nothing that can be examined.
    """
    if not path.exists():
        raise validation.missing(path)
    if path.is_dir():
        tests = {
            RUN: (path / "config.json").is_file() or (path / "checkpoints").is_dir(),
            SPLIT: prepared.is_split(path),
            COCO: (path / "annotations").is_dir(),
            MPII: (path / "annot").is_dir(),
            SPLITS: any(map(prepared.is_split, path.iterdir())),
        }
        for kind, is_it in tests.items():
            if is_it:
                return kind
    raise ValueError(
        f"{path} is neither a data set (annotations/ or annot/, and images/), nor prepared splits"
        " (summary.json), nor a run directory (config.json, checkpoints/)"
    )


def examine(
    path: pathlib.Path, detections: pathlib.Path | None = None, skeleton: str = "coco"
) -> tuple[str, list[Examination]]:
    """Examines whatever `path` is.

    Args:
      path: a data set in COCO's or MPII's layout, a prepared split or several, a run directory.
      detections: a detector's file for a data set in COCO's layout; None for the authors', if it is there.
      skeleton: name or file, for a data set in COCO's layout; the others say themselves.

    Returns:
      What it is, and the examination of each split or part.

    Raises:
      FileNotFoundError, ValueError: there is nothing that can be examined, or the options do not fit it.
    """
    kind = kind_of(path)
    if detections and (kind != COCO or not detections.is_file()):
        raise ValueError(f"`detections` (={detections}) must be a file, and go with a {COCO}, not a {kind}")
    if kind == RUN:
        return kind, run_directories.examine(path)
    if kind == MPII:
        return kind, raw.mpii_root(path)
    if kind == COCO:
        joints, about = skeleton_files.read(skeleton)
        first = [Examination("skeleton", {}, findings.with_location(about, skeleton, "skeleton"))] if about else []
        return kind, [*first, *(raw.coco(path, joints, detections) if joints else [])]
    inside = [path] if kind == SPLIT else sorted(filter(prepared.is_split, path.iterdir()))
    looks = {split: functools.partial(prepared.examine, split) for split in inside}
    return kind, raw.with_shared(path, {at.name: splits.guarded(at, at.name, look) for at, look in looks.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line, examines and reports; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.doctor", description="What is wrong?")
    parser.add_argument("data", type=pathlib.Path, help="data set, prepared split or splits, or run directory")
    parser.add_argument("--detections", type=pathlib.Path, help="a detector's JSON file for the photos")
    parser.add_argument("--skeleton", default="coco", help="name, or JSON file of your own")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="where the report for programs goes")
    args = parser.parse_args(arguments)
    if args.json:
        _write(args.json, "", "a")  # before all work, which would be lost
    kind, examinations = examine(args.data, args.detections, args.skeleton)
    print(findings.as_text(str(args.data), kind, examinations))
    if args.json:
        report = findings.as_json(str(args.data), kind, examinations)
        _write(args.json, json.dumps(report, indent=1) + "\n", "w")
    return FINDINGS if findings.has_problems(examinations) else 0


def _write(path: pathlib.Path, text: str, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(text)
    except OSError as error:
        raise ValueError(
            f"`json` (={path}) cannot be written ({error.strerror}): give a file in a folder that is there"
        ) from error


if __name__ == "__main__":
    console.run(main)
