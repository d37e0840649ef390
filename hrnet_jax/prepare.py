"""Conversion of a data set into records: ``python -m hrnet_jax.prepare coco --root DIR --out DIR``.

The root of ``coco`` has COCO's layout: ``annotations/person_keypoints_<split>.json`` (for splits of a test server,
``image_info_<split>.json``, photos without ground truth), and photos in ``images/<split>/``, ``<split>/`` or zip
files of that name. The root of ``mpii`` has the authors' layout: ``annot/<split>.json``, ``annot/gt_<split>.mat``
(ground truth for PCKh), and photos in ``images/`` or ``images.zip``.

A split is written into a hidden directory and renamed when complete, so an interrupted run leaves no broken split.
Run the same command again to do the rest.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence

from hrnet_jax import console, skeletons, validation
from hrnet_jax.datasets import decoded, photo_stores, records, write_records
from hrnet_jax.datasets.annotations import Sources
from hrnet_jax.skeletons import Skeleton

# Detector files published by the authors of HRNet, in ROOT/person_detection_results/.
DETECTION_FILES = {
    "val2017": "COCO_val2017_detections_AP_H_56_person.json",
    "test-dev2017": "COCO_test-dev2017_detections_AP_H_609_person.json",
}
MPII_SPLITS = ("train", "valid", "test")  # the default; the authors' trainval is the union of two
MAX_SHOWN = 5  # unreadable photos named on the terminal


def prepare_coco(
    root: str | os.PathLike,
    out: str | os.PathLike,
    splits: Sequence[str] | None = None,
    detections: str | os.PathLike | None = None,
    skeleton: Skeleton = skeletons.COCO,
    force: bool = False,
    decode: bool = False,
) -> dict[str, dict]:
    """Prepares splits of a data set in COCO's layout. See `records` for the files written.

    Training splits keep the photos with selected people or detections, other splits keep all. An existing split
    from the same files is not rewritten. Detections are added to it without rewriting photos where possible. Only
    prepared splits are ever replaced.

    Args:
      root: of the data set.
      out: each split becomes a directory in it.
      splits: such as ``["val2017"]``; None for all with a ``person_keypoints`` file. A split with an
        ``image_info`` file instead has no ground truth and needs detections.
      detections: a detector's file for the only split, or the only one not for training; None for the authors'
        file in ``root/person_detection_results``, if it exists.
      skeleton: of the people.
      force: rewrite existing splits.
      decode: also store the decoded photos, see `decoded`.

    Returns the summary of each split. Raises FileNotFoundError if a file is missing, and ValueError for an invalid
    entry.
    """
    root = _existing(root, "annotations/ and images/")
    splits = list(splits) if splits else _found_splits(root)
    given = {detections_target(splits): pathlib.Path(detections)} if detections else {}
    return _prepare([_sources(root, split, given.get(split)) for split in splits], out, skeleton, force, decode)


def prepare_mpii(
    root: str | os.PathLike,
    out: str | os.PathLike,
    splits: Sequence[str] | None = None,
    force: bool = False,
    decode: bool = False,
) -> dict[str, dict]:
    """Prepares splits of MPII from the authors' JSON files. See `records` for the files written.

    People are in the order of the file, and `annotation_id` is the row. PCKh of a split needs
    ``annot/gt_<split>.mat``. An existing split from the same files is not rewritten.

    Arguments, result and errors are those of `prepare_coco`. `splits` is such as ``["valid"]``, or None for all of
    `MPII_SPLITS` with a file.
    """
    root = _existing(root, "annot/ and images/")
    found = [split for split in MPII_SPLITS if (root / "annot" / f"{split}.json").is_file()]
    sources = [_mpii_sources(root, split) for split in splits or found or MPII_SPLITS]
    return _prepare(sources, out, skeletons.MPII, force, decode)


def _existing(root: str | os.PathLike, content: str) -> pathlib.Path:
    path = pathlib.Path(root)
    if not path.is_dir():
        raise FileNotFoundError(f"`root` (={path}) does not exist: it must hold {content}")
    return path


def _mpii_sources(root: pathlib.Path, split: str) -> Sources:
    """Finds the files of a split. Missing files are an error before any work."""
    photo_stores.check_plain(split)
    annotations, truth = root / "annot" / f"{split}.json", root / "annot" / f"gt_{split}.mat"
    if not annotations.is_file():
        raise validation.missing(annotations)
    photos = photo_stores.locate(root, "images")
    return Sources("mpii", split, annotations, photos, truth=truth if truth.is_file() else None)


def _prepare(
    splits: Sequence[Sources], out: str | os.PathLike, skeleton: Skeleton, force: bool, decode: bool
) -> dict[str, dict]:
    """Prepares splits, prints their summaries and returns them by split."""
    summaries = {}
    for sources in splits:
        directory = pathlib.Path(out) / sources.split
        had_pixels = (directory / decoded.TABLE).is_file()
        summary, written = write_records.prepare(sources, directory, skeleton, force)
        unchanged = "already prepared from these files, not rewritten (--force rewrites it)"
        print(f"{directory}: {'prepared' if written else unchanged}\n{_describe(summary)}")
        if decode and (split := records.open_split(directory)).decoded is None:
            size = decoded.write(directory, split.photos, split.name)
            print(f"  decoded    {size / 1e9:>9,.2f} GB in {decoded.PIXELS}")
        elif had_pixels and not (directory / decoded.TABLE).is_file():
            print("  decoded    removed with the old photos; --decoded makes them again")
        summaries[sources.split] = summary
    return summaries


def _found_splits(root: pathlib.Path) -> list[str]:
    """Returns the splits with annotations of people."""
    prefix = "person_keypoints_"
    found = sorted((root / "annotations").glob(f"{prefix}*.json"))
    if not found:
        raise validation.missing(root / "annotations" / f"{prefix}<split>.json")
    return [file.stem.removeprefix(prefix) for file in found]


def detections_target(splits: list[str]) -> str:
    """Returns the split that a detector's file is for."""
    candidates = splits if len(splits) == 1 else [name for name in splits if not name.startswith("train")]
    if len(candidates) != 1:
        raise ValueError(f"`detections` is for one split, but `splits` is {', '.join(splits)}: give its name only")
    return candidates[0]


def _sources(root: pathlib.Path, split: str, given: pathlib.Path | None) -> Sources:
    """Finds the files of a split. Missing files are an error before any work."""
    photo_stores.check_plain(split)
    annotations, photos_only = (
        root / "annotations" / f"{prefix}_{split}.json" for prefix in ("person_keypoints", "image_info")
    )
    with_people = annotations.is_file() or not photos_only.is_file()
    annotations = annotations if with_people else photos_only
    published = root / "person_detection_results" / DETECTION_FILES.get(split, "")
    boxes = given or (published if published.is_file() else None)
    if boxes is None and not with_people:
        raise ValueError(f"{split} has no ground truth: give a detector's boxes with --detections FILE")
    for file in (annotations, boxes):
        if file and not file.is_file():
            raise validation.missing(file)
    place = photo_stores.locate(root, photos_name(split, with_people))
    return Sources("coco", split, annotations, place, with_people, boxes)


def photos_name(split: str, with_people: bool) -> str:
    """Returns the name of the folder or zip file of a split's photos. COCO's test splits share one."""
    return split if with_people else split.replace("test-dev", "test")


def _describe(summary: dict) -> str:
    """Formats the summary for the terminal."""

    def line(name: str, kept: int, dropped: dict[str, int]) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        return f"  {name:<10} {kept:>9,}{reasons and f'   dropped: {reasons}'}"

    unreadable, count = summary["photos_unreadable"], summary["photos_unreadable"]["count"]
    lines = [line("photos", summary["photos"], summary["photos_dropped"])]
    lines += [f"    {example}" for example in unreadable["examples"][:MAX_SHOWN]]
    lines += [f"    and {count - MAX_SHOWN:,} more; summary.json has their ids"] * (count > MAX_SHOWN)
    lines.append(line("people", summary["people"], summary["people_dropped"]))
    if summary["detections"] is not None:
        lines.append(line("detections", summary["detections"], summary["detections_dropped"]))
    if records.dataset(summary) == "mpii" and "truth" not in summary["sources"]:
        lines.append(f"  there is no annot/gt_{summary['split']}.mat, so PCKh cannot be computed on this split")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m hrnet_jax.prepare", description="Data set -> records.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", required=True, help="annotations and images (folders or zip files)")
    common.add_argument("--out", required=True, help="directory of the prepared splits, such as data/coco")
    common.add_argument("--splits", nargs="+", help="such as val2017 or valid; default: all found")
    common.add_argument("--force", action="store_true", help="rewrite existing splits")
    decoded_help = "also store the decoded photos: much faster loading, much more disk"
    common.add_argument("--decoded", action="store_true", help=decoded_help)
    formats = parser.add_subparsers(dest="format", required=True)
    coco = formats.add_parser("coco", parents=[common], help="COCO, or any data set in its layout")
    coco.add_argument("--detections", help="a detector's JSON file for the evaluation split")
    coco.add_argument("--skeleton", default="coco", help="name, or your own JSON file")
    formats.add_parser("mpii", parents=[common], help="MPII, in the authors' layout")
    args = parser.parse_args(arguments)
    if args.format == "mpii":
        prepare_mpii(args.root, args.out, args.splits, args.force, args.decoded)
    else:
        skeleton = skeletons.load(args.skeleton)
        prepare_coco(args.root, args.out, args.splits, args.detections, skeleton, args.force, args.decoded)


if __name__ == "__main__":
    console.run(main)
