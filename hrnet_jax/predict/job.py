"""Predicts photos and videos into a folder: in shares, resumable, with memory that does not grow."""

import collections
import contextlib
import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tqdm

from hrnet_jax import console, skeletons
from hrnet_jax.predict import ahead, boxes, progress, reports, shards, sources, writers
from hrnet_jax.predict.box_files import FileBoxes
from hrnet_jax.predict.items import Result
from hrnet_jax.predict.options import VIDEO, Options
from hrnet_jax.predict.predictor import Predictor

UNREADABLE = 1
"""Exit status if a photo or video could not be read. The others were predicted."""

WRITE_THREADS = 2


def run(predictor: Predictor, found: sources.Sources, options: Options, about: dict[str, Any]) -> int:
    """Predicts this process's share of the photos and videos, and returns the exit status.

    `about` is what the results depend on, which must be the same when the run is resumed. Raises ValueError if the
    folder cannot be used, a file of boxes has none of the photos, or a result cannot be written.
    """
    paths = found.share(options.process, options.processes)
    _check_boxes(predictor.find_boxes, paths)
    skeleton = skeletons.to_json(predictor.network.skeleton)
    description = {"format": reports.FORMAT, "version": reports.VERSION, "skeleton": skeleton}
    shards.prepare(options.out, description | about, options.process, options.resume)
    earlier = shards.done(options.out) if options.resume else set()
    job = Job(predictor, found, options)
    rest = [path for path in paths if path not in earlier]
    if options.resume:
        print(f"{len(paths) - len(rest):,} of {len(paths):,} were done before")
    try:
        job.predict(rest)
    except KeyboardInterrupt:
        print("\nstopped: the same command with --resume goes on from here", file=sys.stderr)
        status = console.UNFINISHED
    else:
        status = UNREADABLE if job.skipped else 0
    job.report(finished=status != console.UNFINISHED)
    return status


def _check_boxes(find_boxes: boxes.Finder, paths: Sequence[str]) -> None:
    """Raises ValueError if a file of boxes has none of the photos, or there are videos."""
    if not isinstance(find_boxes, FileBoxes):
        return
    if first := next(filter(sources.is_video, paths), None):
        raise ValueError(
            f"--boxes: a file has no boxes of the frames of {first}: give a detector, or leave it out"
        )
    if paths and all(find_boxes.key(path) is None for path in paths):
        raise ValueError(
            f"--boxes: none of the {len(paths):,} photos ({paths[0]}, ...) is in the file ({find_boxes}):"
            " name them there as their paths end, or give --images FILE.json with the names of its image ids"
        )


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
        if poses.frame is not None:
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
        for frame, _ in frames:
            yield frame
            self._frames += 1
            self._people += len(frame["people"])

    def _advance(self) -> None:
        """Moves the progress bar by a photo or video."""
        if self._bar is not None:
            self._bar.set_postfix_str(progress.people_rate(self._bar, self._people), refresh=False)
            self._bar.update()

    def _skip(self, path: str, error: Exception) -> None:
        self.skipped += 1
        self._shards.skip(path, str(error))
        tqdm.tqdm.write(f"error: {error}", file=sys.stderr)
        self._advance()

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
            self._predictor.network.skeleton,
            self._found.paths,
            joint_score=options.joint_score,
            every=options.every,
            images=options.images,
            threads=self._predictor.threads,
            max_pixels=self._predictor.max_pixels,
        )
        for kind, write in reports.WRITERS.items():
            if kind in options.write:
                print(write(report))
        for kind in (*writers.WRITERS, VIDEO):
            if kind in options.write and (options.out / kind).is_dir():
                print(f"{options.out / kind}/")
