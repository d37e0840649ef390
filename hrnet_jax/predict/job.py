"""Predicts photos and videos into a folder: in shares, resumable, with memory that does not grow."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tqdm

from hrnet_jax import console, skeletons
from hrnet_jax.datasets import posetrack
from hrnet_jax.predict import ahead, boxes, progress, reports, sequences, shards, sources, track_reports, writers
from hrnet_jax.predict.box_files import FileBoxes, frame_name
from hrnet_jax.predict.box_predictor import BoxPredictor
from hrnet_jax.predict.items import Result
from hrnet_jax.predict.options import VIDEO, Options
from hrnet_jax.predict.predictor import Predictor
from hrnet_jax.predict.track_options import TrackOptions

UNREADABLE = 1
"""Exit status if a photo or video could not be read. The others were predicted."""

WRITE_THREADS = 2


def run(predictor: Predictor, found: sources.Sources, options: Options, about: dict[str, Any]) -> int:
    """Predicts this process's share of the photos and videos, and returns the exit status.

    `about` is what the results depend on, which must be the same when the run is resumed. Raises ValueError if the
    folder cannot be used, a file of boxes has none of the photos, or a result cannot be written.
    """
    groups, paths = (), found.share(options.process, options.processes)
    if options.track:
        groups = sequences.group(found)
        found = dataclasses.replace(found, paths=[path for group in groups for path in group.paths])
        groups = groups[options.process :: options.processes]
        paths = [path for group in groups for path in group.paths]
        track_reports.check(options, predictor.skeleton, groups)
    if isinstance(predictor, BoxPredictor):
        _check_boxes(predictor.find_boxes, paths, options)
    else:
        _check_without_boxes(options)
    skeleton = skeletons.to_json(predictor.skeleton)
    description = {"format": reports.FORMAT, "version": reports.VERSION, "skeleton": skeleton}
    keep_partial = options.track is not None
    shards.prepare(options.out, description | about, options.process, options.resume, keep_partial)
    earlier = shards.done(options.out) if options.resume else set()
    job = Job(predictor, found, options)
    rest = [path for path in paths if path not in earlier]
    if options.resume:
        print(f"{len(paths) - len(rest):,} of {len(paths):,} were done before")
    try:
        if options.track:
            job.follow([group for group in groups if not earlier.intersection(group.paths)], options.track)
        else:
            job.predict(rest)
    except KeyboardInterrupt:
        print("\nstopped: the same command with --resume goes on from here", file=sys.stderr)
        status = console.UNFINISHED
    else:
        status = UNREADABLE if job.skipped else 0
    job.report(finished=status != console.UNFINISHED)
    return status


def _check_without_boxes(options: Options) -> None:
    """Raises ValueError for what there is of boxes only."""
    if of_crops := [kind for kind in ("crops", "heatmaps") if kind in options.write]:
        raise ValueError(
            f"--write (={','.join(options.write)}): {of_crops[0]!r} are of people in boxes, and the network finds"
            " everyone in a photo without boxes: leave it out"
        )
    if options.detect_every > 1:
        raise ValueError(
            f"--detect_every (={options.detect_every}) is for detectors, and the network finds everyone without"
            " one: leave it out; --every reads fewer frames"
        )


def _check_boxes(find_boxes: boxes.Finder, paths: Sequence[str], options: Options) -> None:
    """Raises ValueError if a file of boxes has none of the photos, or there are videos."""
    if not isinstance(find_boxes, FileBoxes):
        return
    if options.track:
        _check_boxes_to_follow(find_boxes, paths, options)
        return
    if first := next(filter(sources.is_video, paths), None):
        raise ValueError(
            f"--boxes: a file has no boxes of the frames of {first}: give a detector, or leave it out"
        )
    _check_names(find_boxes, paths)


def _check_names(find_boxes: FileBoxes, photos: Sequence[str]) -> None:
    """Raises ValueError if a file of boxes has none of the photos."""
    if photos and all(find_boxes.key(path) is None for path in photos):
        raise ValueError(
            f"--boxes: none of the {len(photos):,} photos ({photos[0]}, ...) is in the file ({find_boxes}):"
            " name them there as their paths end, or give --images FILE.json with the names of its image ids"
        )


def _check_boxes_to_follow(find_boxes: FileBoxes, paths: Sequence[str], options: Options) -> None:
    """Raises ValueError if a file of boxes does not fit the frames to follow people through.

    Tells of frames without boxes, which people are followed across.
    """
    if find_boxes.has_tracks and options.detect_every > 1:
        raise ValueError(
            f"--detect_every (={options.detect_every}): the file of boxes has the ids of a tracker"
            f" ({find_boxes}), which are taken frame by frame: leave it out"
        )
    for path in filter(sources.is_video, paths):
        if not find_boxes.has_frames(path):
            raise ValueError(
                f"--boxes: no frame of {path} is in the file ({find_boxes}): name them as"
                f" {frame_name(path, 12)}, or give `frame`, from 0, beside `file_name`"
            )
    photos = [path for path in paths if not sources.is_video(path)]
    _check_names(find_boxes, photos)
    if photos:
        known = find_boxes.count_known(photos)
        if known < len(photos):
            print(f"note: {len(photos) - known:,} of {len(photos):,} frames have no boxes in the file")
        if others := find_boxes.frames - known:
            print(f"note: the file has boxes of {others:,} other frames, which are not read")
    if track_reports.POSETRACK in options.write:
        posetrack.check_track_id(find_boxes.largest_track_id, "--boxes")


class Job:
    """One process's share of a run."""

    def __init__(self, predictor: Predictor, found: sources.Sources, options: Options):
        self._predictor, self._found, self._options = predictor, found, options
        self._shards = shards.Writer(options.out, options.process)
        self._notes: collections.Counter[str] = collections.Counter()
        self._photos = self._frames = self._people = 0
        self._bar: tqdm.tqdm | None = None
        self.skipped = 0

    def predict(self, paths: Sequence[str]) -> None:
        """Predicts photos and videos in order."""
        try:
            with tqdm.tqdm(total=len(paths), unit="photo", disable=len(paths) < 2) as self._bar:
                for is_video, group in itertools.groupby(paths, sources.is_video):
                    if is_video:
                        for path in group:
                            self._predict_video(path)
                    else:
                        self._predict_photos(group)
        finally:
            self._shards.close()

    def follow(self, groups: Sequence[sequences.Sequence], track: TrackOptions) -> None:
        """Follows people through videos and folders of frames in order."""
        unfinished = shards.unfinished(self._options.out, self._options.process)
        try:
            with tqdm.tqdm(total=len(groups), unit="video", disable=len(groups) < 2) as self._bar:
                for group in groups:
                    stopped = next((unfinished[path] for path in group.paths if path in unfinished), None)
                    self._follow(group, track, stopped or self._shards.new_partial())
        finally:
            self._shards.close()

    def _follow(self, group: sequences.Sequence, track: TrackOptions, partial: pathlib.Path) -> None:
        from hrnet_jax.predict import tracked_clip, video

        during, after = tracked_clip.kinds(group, track)
        notes = group.notes()
        try:
            clip = tracked_clip.TrackedClip(
                self._predictor, self._options, track, group, partial, self._skip_frame
            )
            notes = clip.notes
            with contextlib.closing(clip.results()) as results:
                lines = self._counted(map(functools.partial(self._write, kinds=during), results))
                finish = functools.partial(clip.finish, functools.partial(self._write, kinds=after))
                self._shards.add_video(lines, partial, finish)
        except (video.VideoError, FileNotFoundError) as error:
            self._skip(group.source, error)
        else:
            self._advance()
        print(*[f"note: {note}" for note in notes], sep="\n", end="\n" * bool(notes))

    def _predict_photos(self, paths: Iterable[str]) -> None:
        results = self._predictor.results(paths, self._skip, heatmaps="heatmaps" in self._options.write)
        write = functools.partial(self._write, kinds=[*writers.WRITERS])
        for photo, notes in ahead.map_ahead(write, results, threads=WRITE_THREADS, depth=2 * WRITE_THREADS):
            self._shards.add(photo)
            self._notes.update(notes)
            self._photos += 1
            self._people += len(photo["people"])
            self._advance()

    def _write(self, result: Result, kinds: Sequence[str]) -> tuple[dict[str, Any], Sequence[str]]:
        """Writes the files of a photo or frame. Returns its poses in JSON, and notes about the photo."""
        poses, options = result.poses, self._options
        name = self._found.name(poses.source)
        if poses.frame is not None and sources.is_video(poses.source):
            name = f"{name}/{poses.frame:06d}"
        for kind in kinds:
            if kind in options.write:
                writers.WRITERS[kind](result, options.out / kind / name, options.joint_score)
        return poses.to_json(), poses.notes

    def _predict_video(self, path: str) -> None:
        from hrnet_jax.predict import clips, video

        clip = clips.Clip(self._predictor, self._options, path, self._found.name(path))
        write = functools.partial(self._write, kinds=[kind for kind in writers.WRITERS if kind != "pictures"])
        try:
            with contextlib.closing(clip.results()) as results:
                self._shards.add_video(self._counted(map(write, results)))
        except (video.VideoError, FileNotFoundError) as error:
            self._skip(path, error)
        else:
            self._advance()
        print(*[f"note: {note}" for note in clip.notes], sep="\n", end="\n" * bool(clip.notes))

    def _counted(self, frames: Iterable[tuple[dict[str, Any], Sequence[str]]]) -> Iterator[dict[str, Any]]:
        for frame, notes in frames:
            yield frame
            self._notes.update(notes)
            self._frames += 1
            self._people += len(frame["people"])

    def _advance(self) -> None:
        """Moves the progress bar by a photo or video."""
        if self._bar is not None:
            self._bar.set_postfix_str(progress.people_rate(self._bar, self._people), refresh=False)
            self._bar.update()

    def _skip(self, path: str, error: Exception) -> None:
        self._skip_frame(path, error)
        self._advance()

    def _skip_frame(self, path: str, error: Exception) -> None:
        self.skipped += 1
        self._shards.skip(path, str(error))
        tqdm.tqdm.write(f"error: {error}", file=sys.stderr)

    def report(self, finished: bool) -> None:
        """Prints what was done, and writes the files of the whole run unless other processes are still at it."""
        options = self._options
        counts = [f"{self._photos:,} photos"] + [f"{self._frames:,} frames"] * bool(self._frames)
        counts += [f"{self._people:,} people"] + [f"{self.skipped:,} could not be read"] * bool(self.skipped)
        print(", ".join(counts))
        for note, count in self._notes.items():
            print(f"note: {count:,} photos: {note}")
        if self._photos + self._frames and not self._people:
            print("note: no people were found")
        if finished and not shards.finish(options.out, options.process, options.processes):
            print("other processes are still at work: the last one writes the files of the whole run")
            return
        report = reports.Report(
            options.out,
            self._predictor.skeleton,
            self._found.paths,
            joint_score=options.joint_score,
            every=options.every,
            images=options.images,
            threads=self._predictor.threads,
            max_pixels=self._predictor.max_pixels,
            tracked=options.track is not None,
        )
        for kind, write in reports.WRITERS.items():
            if kind in options.write:
                print(write(report))
        for kind, write_tracks in track_reports.WRITERS.items():
            if options.track and kind in options.write:
                print(write_tracks(report, options.track, sequences.group(self._found)))
        for kind in (*writers.WRITERS, VIDEO):
            if kind in options.write and (options.out / kind).is_dir():
                print(f"{options.out / kind}/")
