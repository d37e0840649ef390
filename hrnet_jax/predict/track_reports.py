"""The files of a run in which people were followed: a page for each video, and results in PoseTrack's form."""

import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hrnet_jax import buckets, validation
from hrnet_jax.datasets import posetrack_files
from hrnet_jax.predict import posetrack_results, sequences
from hrnet_jax.predict.reports import Report
from hrnet_jax.predict.track_options import TrackOptions
from hrnet_jax.skeletons import Skeleton

if TYPE_CHECKING:
    from hrnet_jax.predict.options import Options

TRACKS, POSETRACK = "tracks", "posetrack"


def check(options: "Options", skeleton: Skeleton, groups: Sequence[sequences.Sequence]) -> None:
    """Raises ValueError or FileNotFoundError if the files of a run cannot be written."""
    if options.track is None:
        return
    options.track.for_detections(options.detect_every)
    if POSETRACK in options.write:
        posetrack_results.check(skeleton, groups, options.every)
    if options.track.truth:
        _check_truth(options.track.truth, groups)


def _check_truth(truth: pathlib.Path, groups: Sequence[sequences.Sequence]) -> None:
    if not truth.exists():
        raise validation.missing(truth)
    if truth.is_file() and len(groups) > 1:
        raise ValueError(f"--truth (={truth}) is one file, but there are {len(groups)} videos: give the folder")
    files = {group: file for group in groups if (file := _truth_file(truth, group))}
    if groups and not files:
        raise ValueError(
            f"--truth (={truth}) has a file for none of the {len(groups)} videos, such as {groups[0].base}.json"
        )
    for group, file in files.items():
        frames = posetrack_files.read(file).frames
        stems = {pathlib.PurePath(name).stem for name in (*frames, *group.paths)}
        if not group.is_video and len(stems) == len(frames) + len(group.paths):
            raise ValueError(
                f"--truth: {file} has none of the frames of {group.source}: it names them as {frames[0]}, not"
                f" {pathlib.PurePath(group.paths[0]).name}; those of 2017 and 2018 differ"
            )


def _truth_file(truth: pathlib.Path, group: sequences.Sequence) -> pathlib.Path | None:
    """Returns the file of a video's ground truth, None if there is none."""
    path = truth if truth.is_file() else truth / f"{group.base}.json"
    return path if path.is_file() else None


def write_pages(report: Report, track: TrackOptions, groups: Sequence[sequences.Sequence]) -> str:
    """Writes a page for each video, and returns a line about them."""
    from hrnet_jax.predict import track_page, track_truth

    folder = report.out / TRACKS
    for group, lines in _by_sequence(report, groups):
        file = _truth_file(track.truth, group) if track.truth else None
        truth = track_truth.Comparison(posetrack_files.read(file), report.skeleton) if file else None
        page = track_page.Writer(folder, group, report.skeleton, joint_score=report.joint_score, truth=truth)
        for line in lines:
            page.add(line)
        page.close()
    return f"{folder}/"


def write_posetrack(report: Report, track: TrackOptions, groups: Sequence[sequences.Sequence]) -> str:
    """Writes a file of results for each video, and returns a line about them."""
    folder = report.out / POSETRACK
    for group, lines in _by_sequence(report, groups):
        content = posetrack_results.make(group, lines, report.skeleton, track.settings.joint_score)
        with buckets.explain_write_errors(folder):
            folder.mkdir(exist_ok=True)
        buckets.write_atomically(folder / f"{group.base}.json", json.dumps(content))
    return f"{folder}/"


WRITERS: Mapping[str, Callable[[Report, TrackOptions, Sequence[sequences.Sequence]], str]] = {
    TRACKS: write_pages,
    POSETRACK: write_posetrack,
}
"""Writes one kind of output of a run and returns a line about it."""


def _by_sequence(
    report: Report, groups: Sequence[sequences.Sequence]
) -> Iterator[tuple[sequences.Sequence, Iterable[dict[str, Any]]]]:
    """Yields each video with its lines."""
    places = {path: place for place, group in enumerate(groups) for path in group.paths}
    for place, lines in itertools.groupby(report.lines(), key=lambda line: places.get(line["source"])):
        if place is not None:
            yield groups[place], lines
