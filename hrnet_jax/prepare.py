"""Conversion of a data set into records: ``python -m hrnet_jax.prepare coco --root DIR --out DIR``.

The root of ``coco`` has COCO's layout: ``annotations/person_keypoints_<split>.json`` (for splits of a test server,
``image_info_<split>.json``, photos without ground truth), and photos in ``images/<split>/``, ``<split>/`` or zip
files of that name. The root of ``mpii`` has the authors' layout: ``annot/<split>.json``, ``annot/gt_<split>.mat``
(ground truth for PCKh), and photos in ``images/`` or ``images.zip``. Other data sets are found by name in the
layouts of `datasets.catalog`: ``python -m hrnet_jax.prepare crowdpose --root DIR --out DIR``.

A split is written into a hidden directory and renamed when complete, so an interrupted run leaves no broken split.
Run the same command again to do the rest.
"""

import argparse
import functools
import os
import pathlib
import shlex
from collections.abc import Sequence

from hrnet_jax import console, skeletons
from hrnet_jax.datasets import catalog, decoded, layouts, records, write_records
from hrnet_jax.datasets.annotations import Sources
from hrnet_jax.doctor import without_photos
from hrnet_jax.evaluation import caveats
from hrnet_jax.skeletons import Skeleton

MAX_SHOWN = 5  # unreadable photos named on the terminal


def prepare_coco(
    root: str | os.PathLike,
    out: str | os.PathLike,
    splits: Sequence[str] | None = None,
    detections: str | os.PathLike | None = None,
    skeleton: Skeleton = skeletons.COCO,
    force: bool = False,
    decode: bool = False,
    choices: layouts.Choices = layouts.Choices(),  # noqa: B008  (immutable)
) -> dict[str, dict]:
    """Prepares splits of a data set in COCO's layout. See `records` for the files written.

    Training splits keep the photos with annotations of people or detections, other splits keep all. An existing
    split from the same files is not rewritten. Detections are added to it without rewriting photos where possible.
    Only prepared splits are ever replaced.

    Args:
      root: of the data set.
      out: each split becomes a directory in it.
      splits: such as ``["val2017"]``; None for all with a ``person_keypoints`` file. A split with an
        ``image_info`` file instead has no ground truth. Without detections it is for whole photos alone.
      detections: a detector's file for the only split, or the only one not for training; None for the authors'
        file in ``root/person_detection_results``, if it exists.
      skeleton: of the people.
      force: rewrite existing splits.
      decode: also store the decoded photos, see `decoded`.
      choices: the files of the only split in any layout, links, and whether the skeleton is a guess.

    Returns the summary of each split. Raises FileNotFoundError if a file is missing, and ValueError for an invalid
    entry.
    """
    root = _existing(root, "annotations/ and images/")
    files = layouts.coco_files(root, splits, choices)
    given = {layouts.detections_target([*files]): pathlib.Path(detections)} if detections else {}
    sources = [layouts.coco(root, split, file, given.get(split), choices) for split, file in files.items()]
    named = {"detections": detections, "annotations": choices.annotations, "photos": choices.photos}
    named |= {"skeleton": choices.skeleton}
    options = [part for name, value in named.items() if value for part in (f"--{name}", str(value))]
    command = ["hrnet", "doctor", str(root), *options, *["--follow-links"] * choices.follow_links]
    return _prepare(sources, out, skeleton, force, decode, shlex.join(command))


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
    `layouts.MPII_SPLITS` with a file.
    """
    root = _existing(root, "annot/ and images/")
    found = [split for split in layouts.MPII_SPLITS if (root / "annot" / f"{split}.json").is_file()]
    sources = [layouts.mpii(root, split) for split in splits or found or layouts.MPII_SPLITS]
    return _prepare(sources, out, skeletons.MPII, force, decode, shlex.join(["hrnet", "doctor", str(root)]))


def prepare_published(
    name: str,
    root: str | os.PathLike,
    out: str | os.PathLike,
    splits: Sequence[str] | None = None,
    detections: str | os.PathLike | None = None,
    force: bool = False,
    decode: bool = False,
    choices: layouts.Choices = layouts.Choices(),  # noqa: B008  (immutable)
) -> dict[str, dict]:
    """Prepares splits of a data set in `catalog.DATA_SETS`, with its own skeleton and metrics.

    Arguments, result and errors are those of `prepare_coco`.
    """
    root = _existing(root, "the files of the data set")
    boxes = pathlib.Path(detections) if detections else None
    sources = catalog.sources(name, root, splits, boxes, choices)
    skeleton = skeletons.load(catalog.DATA_SETS[name].skeleton)
    return _prepare(sources, out, skeleton, force, decode, shlex.join(["hrnet", "doctor", str(out)]))


def _existing(root: str | os.PathLike, content: str) -> pathlib.Path:
    path = pathlib.Path(root)
    if path.is_file():
        raise NotADirectoryError(
            f"`root` (={path}) is a file, not a folder of {content}: unpack it if it is packed"
        )
    if not path.is_dir():
        raise FileNotFoundError(f"`root` (={path}) does not exist: it must hold {content}")
    return path


def _prepare(
    splits: Sequence[Sources], out: str | os.PathLike, skeleton: Skeleton, force: bool, decode: bool, doctor: str
) -> dict[str, dict]:
    """Prepares splits, prints their summaries and returns them by split. `doctor` is the command to see more."""
    summaries = {}
    for sources in splits:
        directory = pathlib.Path(out) / sources.split
        had_pixels = (directory / decoded.TABLE).is_file()
        examine = functools.partial(without_photos.examine, sources, skeleton)
        summary, written = write_records.prepare(sources, directory, skeleton, force, examine)
        unchanged = "already prepared from these files, not rewritten (--force rewrites it)"
        print(f"{directory}: {'prepared' if written else unchanged}\n{_describe(summary, doctor)}")
        if not sources.split.startswith("train"):
            said = caveats.of_split(records.open_split(directory, with_pixels=False))
            print("".join(f"  the score on this split {caveat}\n" for caveat in said), end="")
        if decode and (split := records.open_split(directory)).decoded is None:
            size = decoded.write(directory, split.photos, split.name)
            print(f"  decoded    {size / 1e9:>9,.2f} GB in {decoded.PIXELS}")
        elif had_pixels and not (directory / decoded.TABLE).is_file():
            print("  decoded    removed with the old photos; --decoded makes them again")
        summaries[sources.split] = summary
    return summaries


def _describe(summary: dict, doctor: str) -> str:
    """Formats the summary for the terminal."""

    def line(name: str, kept: int, dropped: dict[str, int]) -> str:
        return f"  {name:<10} {kept:>9,}{records.dropped_text(dropped)}"

    unreadable, count = summary["photos_unreadable"], summary["photos_unreadable"]["count"]
    lines = [line("photos", summary["photos"], summary["photos_dropped"])]
    lines += [f"    {example}" for example in unreadable["examples"][:MAX_SHOWN]]
    lines += [f"    and {count - MAX_SHOWN:,} more; summary.json has their ids"] * (count > MAX_SHOWN)
    if (renamed := summary.get("photos_renamed", {"count": 0}))["count"]:
        lines.append(f"    {renamed['count']:,} found by another name: {renamed['examples'][0]}")
    lines.append(line("people", summary["people"], summary["people_dropped"]))
    if summary["detections"] is not None:
        lines.append(line("detections", summary["detections"], summary["detections_dropped"]))
    elif not summary["people"]:
        lines.append("  no boxes: for networks that find people in whole photos; others need --detections FILE")
    if records.dataset(summary) == "mpii" and "truth" not in summary["sources"]:
        lines.append(f"  there is no annot/gt_{summary['split']}.mat, so PCKh cannot be computed on this split")
    findings = summary.get("findings", [])
    lines += [
        f"  {each['severity']:<10} {each['kind']}: {each['what']}\n    -> {each['remedy']}" for each in findings
    ]
    return "\n".join(lines + [f"  to see more: {doctor}"] * bool(findings))


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
    data_sets = catalog.DATA_SETS
    formats = parser.add_subparsers(dest="format", required=True)
    files = argparse.ArgumentParser(add_help=False, parents=[common])
    files.add_argument("--annotations", type=pathlib.Path, help="file of the only split, in any layout")
    files.add_argument("--photos", type=pathlib.Path, help="folder or zip file of the only split's photos")
    files.add_argument("--follow-links", action="store_true", help="also to photos outside the root")
    files.set_defaults(detections=None)
    coco = formats.add_parser("coco", parents=[files], help="COCO, or any data set in its layout")
    coco.add_argument("--skeleton", help="name, or your own JSON file; default: coco, if the joints' names agree")
    formats.add_parser("mpii", parents=[common], help="MPII, in the authors' layout")
    named = {name: formats.add_parser(name, parents=[files], help="a published data set") for name in data_sets}
    for parser_of_one in (coco, *(named[name] for name, data in data_sets.items() if data.by_box)):
        parser_of_one.add_argument("--detections", help="a detector's JSON file for the evaluation split")
    args = parser.parse_args(arguments)
    if args.format == "mpii":
        prepare_mpii(args.root, args.out, args.splits, args.force, args.decoded)
    elif args.format in data_sets:
        choices = layouts.Choices(args.annotations, args.photos, args.follow_links)
        options = (args.splits, args.detections, args.force, args.decoded, choices)
        prepare_published(args.format, args.root, args.out, *options)
    else:
        choices = layouts.Choices(args.annotations, args.photos, args.follow_links, args.skeleton)
        skeleton = skeletons.load(args.skeleton or "coco")
        prepare_coco(
            args.root, args.out, args.splits, args.detections, skeleton, args.force, args.decoded, choices
        )


if __name__ == "__main__":
    console.run(main)
